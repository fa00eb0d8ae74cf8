"""Scores of pictures and features, and intervals of means: pure functions, each with its source.

Pictures are bytes as a file would hold them: [B, H, W, 3] uint8. Scores are one number per picture, [B].
"""

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
import tensorflow as tf
from skimage.color import deltaE_ciede2000, rgb2lab

RANGE = 255
SSIM_WINDOW = 11  # pixels (Wang et al. 2004)
LAB_AXES = ("lightness", "green_magenta", "blue_yellow")
RANDOM_CHANNELS = (16, 16, 16)  # channels of the random convolutions
RESAMPLES = 1000
COVERAGE = 0.95


def absolute_error(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Mean |a - b| on the 0-255 scale, over the pixels of `mask` [B, H, W] (bool) or all. NaN for an empty mask."""
    return _mean_over(np.abs(_wide(a) - _wide(b)).mean(-1), mask)


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared error); infinite for equal pictures."""
    mean_square = np.square(_wide(a) - _wide(b)).mean((1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(RANGE**2 / mean_square)


def ssim(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Structural similarity (Wang et al. 2004) by `tf.image.ssim`, at most 1.

    Protocol: RGB, range 255, Gaussian windows of 11 pixels with sigma 1.5, k1 = .01, k2 = .03, no padding, mean over
    the channels. With `mask` [B, H, W] (bool), the mean over the windows whose centre lies in the mask. Pictures under
    11 pixels get one window of their own size.
    """
    window = min(SSIM_WINDOW, *a.shape[1:3])
    local = tf.image.ssim(tf.constant(a), tf.constant(b), RANGE, filter_size=window, return_index_map=True).numpy()
    if mask is not None:
        top, left = window // 2, window // 2
        mask = mask[:, top : top + local.shape[1], left : left + local.shape[2]]
    return _mean_over(local, mask)


def lab_errors(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Errors of colours in CIELAB (sRGB, white D65). Each is a mean over `mask` [B, H, W] (bool) or over all pixels.

    Returns:
        dict: {"delta_e": CIEDE2000 (Sharma et al. 2005; about 1 can just be seen), "lightness": |dL*|, "green_magenta":
        |da*|, "blue_yellow": |db*|}, [B] each.
    """
    a, b = rgb2lab(np.asarray(a)), rgb2lab(np.asarray(b))
    axes = np.moveaxis(np.abs(a - b), -1, 0)
    found = {"delta_e": deltaE_ciede2000(a, b), **dict(zip(LAB_AXES, axes, strict=True))}
    return {name: _mean_over(values, mask) for name, values in found.items()}


def colour_histogram(picture: np.ndarray, mask: np.ndarray | None = None, levels: int = 8) -> np.ndarray:
    """Shares [levels ** 3] of the RGB colours in a picture [H, W, 3], or in its `mask` [H, W]. Their sum is 1."""
    pixels = picture[mask] if mask is not None and mask.any() else picture.reshape(-1, 3)
    bins = pixels.astype(np.int64) * levels // (RANGE + 1) @ [levels**2, levels, 1]
    return np.bincount(bins, minlength=levels**3) / len(pixels)


def gradient_energy(pictures: np.ndarray) -> np.ndarray:
    """Mean squared difference of neighbouring pixels, right and below, of pictures [B, H, W, 3]: [B]."""
    pictures = _wide(pictures)
    return sum(np.square(np.diff(pictures, axis=axis)).mean((1, 2, 3)) for axis in (1, 2))


def random_features(pictures: np.ndarray) -> np.ndarray:
    """Features [N, 96] of pictures [N, H, W, 3] uint8: fixed random convolutions, without any training.

    There are three 3x3 convolutions with stride 2 and 16 channels, each followed by a ReLU. Their weights are from
    N(0, 2 / fan-in) with a fixed seed. The features are the mean and the standard deviation of each channel over the
    positions. Random convolutions already separate textures and places of edges (Saxe et al. 2011, "On random weights
    and unsupervised feature learning"). They do not know what a picture shows.
    """
    random, found = np.random.default_rng(0), []
    kernels, channels = [], 3
    for filters in RANDOM_CHANNELS:
        kernels.append(random.normal(0, (2 / (9 * channels)) ** 0.5, (3, 3, channels, filters)).astype(np.float32))
        channels = filters
    for start in range(0, len(pictures), 64):
        h, features = tf.constant(_wide(pictures[start : start + 64]) / 127.5 - 1), []
        for kernel in kernels:
            h = tf.nn.relu(tf.nn.conv2d(h, kernel, 2, "SAME"))
            features += [tf.reduce_mean(h, (1, 2)), tf.math.reduce_std(h, (1, 2))]
        found.append(tf.concat(features, axis=1).numpy())
    return np.concatenate(found)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two sets of features [N, D], [M, D] as Gaussians (Heusel et al. 2017, Eq. 6).

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), with covariances divided by N - 1. With fewer examples than
    features it is biased upwards. So compare only distances from equally many examples.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(covariance_a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # C_a C_b has the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2).
    trace = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0)).sum()
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * trace
    return float(max(distance, 0.0))


def inception_score(probabilities: np.ndarray) -> float:
    """exp of the mean KL(p(class | picture) || p(class)) (Salimans et al. 2016) of [N, classes], in one split."""
    p = np.maximum(np.asarray(probabilities, np.float64), 1e-16)
    marginal = p.mean(0, keepdims=True)
    return float(np.exp((p * (np.log(p) - np.log(marginal))).sum(1).mean()))


def spread(features: np.ndarray) -> np.ndarray:
    """Mean Euclidean distance of features [..., N, D] from their mean: [...]. They should be equal (paper, Table 3)."""
    features = np.asarray(features, np.float64)
    return np.linalg.norm(features - features.mean(-2, keepdims=True), axis=-1).mean(-1)


def mean_pairwise_error(pictures: Sequence[np.ndarray] | np.ndarray) -> float:
    """Mean |a - b| on the 0-255 scale over all pairs of pictures [N, H, W, 3]: how much they differ. NaN for one."""
    pairs = combinations(_wide(pictures), 2)
    distances = [np.abs(a - b).mean() for a, b in pairs]
    return float(np.mean(distances)) if distances else np.nan


def shape_agreement(a: np.ndarray, b: np.ndarray) -> float:
    """How well the edges of two pictures [H, W, 3] agree in place and direction: 1 for the same, 0 by chance.

    It is the correlation of their structure tensors (Bigun and Granlund 1987), which are the fields of double angles of
    the gradients. Each gradient is weighted by its strength, and the field is blurred by 1/64 of the side. From light
    to dark is the same direction as from dark to light. Noise shares no directions with anything. The agreement with a
    picture without any edge is 0.
    """
    a, b = _directions(a), _directions(b)
    sizes = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / sizes) if sizes else 0.0


def _directions(picture):
    """The field [H, W, 2]: strength times (cos, sin) of twice the angle of the gradient."""
    pixels = np.asarray(picture, np.float32)
    x, y = cv2.Sobel(pixels, cv2.CV_32F, 1, 0), cv2.Sobel(pixels, cv2.CV_32F, 0, 1)
    strength = np.sqrt((x**2 + y**2).sum(-1, keepdims=True))
    doubled = np.stack([(x**2 - y**2).sum(-1), (2 * x * y).sum(-1)], axis=-1)
    return cv2.GaussianBlur(doubled / np.maximum(strength, 1e-6), (0, 0), len(pixels) / 64)


def _wide(pictures):
    return np.asarray(pictures).astype(np.float32)


def _mean_over(values, mask):
    """Means [B] of [B, H, W] over a mask."""
    if mask is None:
        return values.mean((1, 2))
    inside = mask.sum((1, 2))
    return np.where(inside > 0, (values * mask).sum((1, 2)) / np.maximum(inside, 1), np.nan)


def finite_mean(values: np.ndarray) -> float | None:
    """The mean over finite scores; an empty mask and the PSNR of equal pictures have none. None if all are missing."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def mean_interval(values: np.ndarray, clusters: Sequence | np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean of `values` [N] with a 95 % bootstrap interval (Efron 1979, percentiles of 1,000 resamples).

    Whole clusters are resampled, since examples of one appearance depend on each other. `clusters` [N] has the cluster
    of each value. With one cluster the interval is NaN.
    """
    return ratio_interval(values, np.ones(len(values)), clusters, seed)


def ratio_interval(
    numerators: np.ndarray, denominators: np.ndarray, clusters: Sequence | np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """sum(numerators) / sum(denominators), both [N], with its interval as in `mean_interval`."""
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    count = cluster.max() + 1
    tops = np.bincount(cluster, np.asarray(numerators, np.float64), count)
    bottoms = np.bincount(cluster, np.asarray(denominators, np.float64), count)
    value = float(tops.sum() / bottoms.sum())
    if count == 1:
        return value, np.nan, np.nan
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = (weights @ tops) / (weights @ bottoms)
    low, high = np.nanquantile(resampled, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return value, float(low), float(high)
