"""What pictures, features and repeated measurements are worth: pure functions, each with its source.

Pictures here are bytes as a file would hold them: [B, H, W, 3] uint8. Scores are one number per picture, [B].
"""

import numpy as np
import tensorflow as tf

RANGE = 255
SSIM_WINDOW = 11  # pixels (Wang et al. 2004)
RESAMPLES = 1000
COVERAGE = 0.95


def absolute_error(a, b, mask=None) -> np.ndarray:
    """Mean |a - b| on the 0-255 scale, over the pixels of `mask` [B, H, W] (bool) or all; NaN for an empty mask."""
    return _mean_over(np.abs(_wide(a) - _wide(b)).mean(-1), mask)


def psnr(a, b) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared error); infinite for equal pictures."""
    mean_square = np.square(_wide(a) - _wide(b)).mean((1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(RANGE**2 / mean_square)


def ssim(a, b, mask=None) -> np.ndarray:
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


def colour_histogram(picture, mask=None, levels=8) -> np.ndarray:
    """Shares [levels ** 3] of the RGB colours in a picture [H, W, 3], or in its `mask` [H, W] (bool): they sum to 1."""
    pixels = picture[mask] if mask is not None and mask.any() else picture.reshape(-1, 3)
    bins = pixels.astype(np.int64) * levels // (RANGE + 1) @ [levels**2, levels, 1]
    return np.bincount(bins, minlength=levels**3) / len(pixels)


def band_colours(picture, mask=None, bands=8) -> np.ndarray:
    """Mean colours [bands + 1, 3] of the figure's horizontal bands from top to bottom, and last of what is around it.

    Which colours a figure wears where, whatever its pose: bands of equal height between the highest and the lowest
    pixel of `mask` [H, W] (bool) in `picture` [H, W, 3] uint8. Without a mask the figure is the whole picture, and what
    is around it black.
    """
    mask = np.ones(picture.shape[:2], bool) if mask is None or not mask.any() else mask
    rows, columns = np.nonzero(mask)
    band = (rows - rows.min()) * bands // (rows.max() - rows.min() + 1)
    counts = np.bincount(band, minlength=bands)
    sums = np.stack([np.bincount(band, channel, bands) for channel in picture[rows, columns].T.astype(float)], axis=1)
    around = picture[~mask].mean(0) if not mask.all() else np.zeros(3)
    return np.concatenate([sums / np.maximum(counts, 1)[:, None], [around]])


def _wide(pictures):
    return np.asarray(pictures).astype(np.float32)


def _mean_over(values, mask):
    """Means [B] of [B, H, W] over a mask."""
    if mask is None:
        return values.mean((1, 2))
    inside = mask.sum((1, 2))
    return np.where(inside > 0, (values * mask).sum((1, 2)) / np.maximum(inside, 1), np.nan)


def mean_interval(values, clusters, seed=0) -> tuple[float, float, float]:
    """Mean of `values` [N] with a 95 % bootstrap interval (Efron 1979, percentiles of 1,000 resamples).

    Whole clusters are resampled, since examples of one appearance are not independent of each other: `clusters` [N]
    names each value's. With one cluster the interval is NaN.
    """
    return ratio_interval(values, np.ones(len(values)), clusters, seed)


def ratio_interval(numerators, denominators, clusters, seed=0) -> tuple[float, float, float]:
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
