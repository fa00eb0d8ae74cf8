"""The objective: the evidence lower bound (paper, Eq. 3-5) as named terms.

    negative ELBO = reconstruction + beta * KL(q(z | x, shape) || p(z | shape))

A reconstruction loss is a callable (image, image_hat), both [B, S, S, 3] in [-1, 1]. It returns a dict of weighted
terms, which are scalars over the batch. Their sum stands for -log p(x | shape, z). All losses share one unit, so that
beta means the same with each: 5 (`LAMBDA`) times a mean absolute difference of pictures or features on the 0-255 scale.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf
from keras import ops

from vunet_tf.config import TrainingConfig
from vunet_tf.objective.perceptual import FEATURES, VGG19Features

ReconstructionLoss: TypeAlias = Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]

LAMBDA = 5.0  # released program; the paper's lambda is 1 / (number of elements), i.e. means instead of sums
HALF_RANGE = 127.5  # from [-1, 1] to 0-255
STRUCTURE = 1.0  # weight of structural similarity beside L1; .1 and .3 were worse after 600 steps of an earlier state


def mean_absolute(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """mean |a - b| over all axes, a scalar."""
    return ops.mean(ops.abs(a - b))


def l1(image: tf.Tensor, image_hat: tf.Tensor) -> dict[str, tf.Tensor]:
    """Plain pixel L1: LAMBDA * mean |x - x_hat| on the 0-255 scale."""
    return {"l1": LAMBDA * HALF_RANGE * mean_absolute(image, image_hat)}


def mse(image: tf.Tensor, image_hat: tf.Tensor) -> dict[str, tf.Tensor]:
    """Squared error, LAMBDA * 127.5 * mean (x - x_hat)^2. It equals `l1` where pictures differ by 1."""
    return {"mse": LAMBDA * HALF_RANGE * ops.mean(ops.square(image - image_hat))}


def gaussian_log_likelihood(image: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """log N(x; mu, diag(sigma^2)) = -sum ((x - mu)^2 / (2 sigma^2) + log sigma + log(2 pi) / 2), in nats, [B].

    The observation model of a VAE (Kingma and Welling 2014, Appendix C.2).

    Args:
        image, mean: [B, S, S, 3] in [-1, 1].
        scale: sigma, of the same shape, or one number for all.
    """
    deviation = (image - mean) / scale
    log_scale = ops.log(scale) if ops.ndim(scale) else math.log(scale)
    return -ops.sum(ops.square(deviation) / 2 + log_scale + math.log(2 * math.pi) / 2, axis=(1, 2, 3))


def structural_similarity(a: tf.Tensor, b: tf.Tensor, window: int = 7) -> tf.Tensor:
    """Mean SSIM (Wang et al. 2004) of pictures [B, H, W, C] in [-1, 1] over uniform windows without padding, a scalar.

    It is for training. The evaluation uses Gaussian windows, as published figures do.
    """
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # (k1 L)^2, (k2 L)^2 with range L = 2
    means = _window_means(ops.concatenate([a, b, a * a, b * b, a * b], axis=-1), window)
    mu_a, mu_b, mean_aa, mean_bb, mean_ab = ops.split(means, 5, axis=-1)
    luminance = (2 * mu_a * mu_b + c1) / (mu_a**2 + mu_b**2 + c1)
    covariance, variances = mean_ab - mu_a * mu_b, mean_aa - mu_a**2 + mean_bb - mu_b**2
    return ops.mean(luminance * (2 * covariance + c2) / (variances + c2))


def _window_means(x: tf.Tensor, side: int) -> tf.Tensor:
    """Means over all windows of [B, H, W, C]: pooling as two matrix products, which take a sixth of the time."""

    def means_of(length: int) -> tf.Tensor:
        """[length - window + 1, length]: row i is the mean over a window that begins at i."""
        window = min(side, length)
        rows = length - window + 1
        ones = tf.ones((rows, length), x.dtype)
        return tf.linalg.band_part(ones, 0, window - 1) / window

    _, height, width, channels = x.shape
    x = tf.matmul(means_of(height), ops.reshape(x, (-1, height, width * channels)))
    x = tf.matmul(means_of(width), ops.reshape(x, (-1, width, channels)))
    return ops.reshape(x, (-1, height - min(side, height) + 1, width - min(side, width) + 1, channels))


def l1_ssim(image: tf.Tensor, image_hat: tf.Tensor) -> dict[str, tf.Tensor]:
    """L1 plus structural similarity: `l1` and LAMBDA * `STRUCTURE` * (1 - SSIM) / 2 on the 0-255 scale.

    Zhao et al. 2017 ("Loss functions for image restoration with neural networks") found that training with such a sum
    gives a lower L1 than training with L1 alone. Here this holds in short runs on drawn people (docs/laid.md).
    """
    structure = LAMBDA * STRUCTURE * HALF_RANGE * (1 - structural_similarity(image, image_hat))
    return {**l1(image, image_hat), "ssim": structure}


def gram(features: tf.Tensor) -> tf.Tensor:
    """Gram matrices F^T F / (4 h w) of features [B, h, w, c]: [B, c, c] (released program; Gatys et al. 2016)."""
    _, height, width, channels = features.shape
    flat = ops.reshape(features, (-1, height * width, channels))
    return ops.matmul(ops.transpose(flat, (0, 2, 1)), flat) / (4 * height * width)


class Perceptual:
    """VGG19 loss: LAMBDA * sum_k (w_k mean |Phi_k(x) - Phi_k(x_hat)| + v_k mean |Gram_k(x) - Gram_k(x_hat)|).

    This is the released program's loss; with w_k = 1 and v_k = 0 it is the paper's. Features of x have no gradient. x
    and x_hat go through the network as one batch.

    Args:
        vgg_weights: see `VGG19Features`.
        feature_weights: w, one per entry of `FEATURES`.
        gram_weights: v, likewise.
    """

    def __init__(
        self,
        vgg_weights: str | None = "imagenet",
        feature_weights: Sequence[float] = (1.0,) * 6,
        gram_weights: Sequence[float] = (0.0,) * 6,
    ):
        self.features = VGG19Features(vgg_weights)
        self.feature_weights = tuple(feature_weights)
        self.gram_weights = tuple(gram_weights)

    def __call__(self, image: tf.Tensor, image_hat: tf.Tensor) -> dict[str, tf.Tensor]:
        both = ops.concatenate([ops.cast(x, "float32") for x in (image, image_hat)])
        terms = {}
        for name, phi, w, v in zip(FEATURES, self.features(both), self.feature_weights, self.gram_weights, strict=True):
            x, x_hat = ops.split(phi, 2)
            x = ops.stop_gradient(x)
            if w:
                terms[f"vgg_{name}"] = LAMBDA * w * mean_absolute(x, x_hat)
            if v:
                terms[f"gram_{name}"] = LAMBDA * v * mean_absolute(gram(x), gram(x_hat))
        return terms


def kl_terms(
    kl: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    posterior: Sequence[tf.Tensor],
    prior: Sequence[tf.Tensor],
    z: Sequence[tf.Tensor],
) -> dict[str, tf.Tensor]:
    """KL(q || p) of each latent scale in nats, a mean over the batch: {"kl_0": bottom scale, "kl_1", ...}.

    Args:
        kl: the model's `GenerativeModel.kl`.
        posterior, prior: parameters per scale, as the models return them.
        z: the posterior's sample per scale.
    """
    scales = enumerate(zip(posterior, prior, z, strict=True))
    return {f"kl_{scale}": ops.mean(kl(*of_scale)) for scale, of_scale in scales}


def kl_estimate(log_posterior: tf.Tensor, log_prior: tf.Tensor) -> tf.Tensor:
    """KL(q || p) from one sample z of q, for a p without closed form (Kingma & Welling 2014, Eq. 6, first estimator):

        KL(q || p) = E_q[log q(z | x, shape) - log p(z | shape)]

    Its mean over samples is the KL. A single value can be below 0.

    Args:
        log_posterior, log_prior: log-densities of z in nats, [B].
    """
    return log_posterior - log_prior


def negative_elbo(
    reconstruction: dict[str, tf.Tensor], kl: dict[str, tf.Tensor], kl_weight: tf.Tensor | float
) -> tf.Tensor:
    """reconstruction + beta * KL, a scalar (paper, Eq. 3-5; there the signs of the KL term are mixed up).

    Args:
        reconstruction: terms of a reconstruction loss.
        kl: terms of `kl_terms`, in nats.
        kl_weight: beta, a number or tensor.
    """
    return sum(reconstruction.values()) + kl_weight * sum(kl.values())


def reconstruction_loss(config: TrainingConfig) -> ReconstructionLoss:
    """The loss that `config.reconstruction` names, with its settings."""
    if config.reconstruction == "vgg19":
        return Perceptual(config.vgg_weights, config.feature_weights, config.gram_weights)
    return {"l1_ssim": l1_ssim, "l1": l1, "mse": mse}[config.reconstruction]
