"""Diagonal Gaussians over latents: tensors inside the networks, and TFP distributions outside."""

import math
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.files.errors import InputError

if TYPE_CHECKING:
    from tensorflow_probability import distributions as tfd

# softplus(x + this) is 1 at x = 0, so parameters of 0 are a standard normal with either kind of variance.
SOFTPLUS_OF_ONE = math.log(math.e - 1)
SMALLEST_SCALE = 1e-3


def _tfd():
    """TFP's distributions. The import takes a second, and `generate` does not need it, so it happens on first use."""
    import tensorflow_probability as tfp

    return tfp.distributions


@keras.saving.register_keras_serializable("vunet_tf")
class DiagonalGaussian(keras.layers.Layer):
    """N(mean, diag(scale**2)) over feature maps [H, W, C] or codes of parts [K, C], always in float32.

    The event shape is [H, W, C] or [K, C], the batch shape [B]. The parameters are one tensor [B, ...,
    `parameters_per_channel` * C]: the means, and with a learned variance then the raw scales; scale = softplus(raw +
    log(e - 1)).

    Args:
        variance: "unit" (released program: scale 1) or "learned".

    Call: parameters, noise=None -> z [B, ..., C] = mean + scale * noise, reparameterised. Without noise it is the mean
    itself, without a random op. Noise is standard normal, has the shape of z, and always comes from outside.
    """

    def __init__(self, variance: str = "unit", **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        if variance not in ("unit", "learned"):
            raise InputError(f"--variance={variance}: must be one of unit, learned")
        self.variance = variance
        self.built = True  # it has no weights to build

    @property
    def parameters_per_channel(self) -> int:
        """1 for the unit variance, or 2 for a learned one."""
        return 1 if self.variance == "unit" else 2

    def mean_and_scale(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | float]:
        """Mean and standard deviation, each of the shape of z (the scale is the number 1.0 for the unit variance)."""
        parameters = ops.cast(parameters, self.compute_dtype)
        if self.variance == "unit":
            return parameters, 1.0
        # Sliced and not split, since an unused half must leave nothing in an exported graph.
        half = parameters.shape[-1] // 2
        mean, raw = parameters[..., :half], parameters[..., half:]
        return mean, ops.maximum(ops.softplus(raw + SOFTPLUS_OF_ONE), SMALLEST_SCALE)

    def call(self, parameters: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        mean, scale = self.mean_and_scale(parameters)
        return mean if noise is None else mean + scale * noise

    def distribution(self, parameters: tf.Tensor) -> "tfd.Independent":
        """The `tfd.Independent` normal of these parameters, with batch shape [B] and the event shape of one z."""
        tfd = _tfd()
        mean, scale = self.mean_and_scale(parameters)
        return tfd.Independent(tfd.Normal(mean, scale), reinterpreted_batch_ndims=len(mean.shape) - 1)

    def kl(self, posterior: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
        """KL(q || p) in nats, [B], summed over all of z. With unit variance it is 1/2 ||mu_q - mu_p||^2."""
        return _tfd().kl_divergence(self.distribution(posterior), self.distribution(prior))

    def log_prob(self, parameters: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """Log-density of z in nats, [B]."""
        return self.distribution(parameters).log_prob(ops.cast(z, self.compute_dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "variance": self.variance}
