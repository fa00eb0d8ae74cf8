"""p(z | shape) for codes of parts, part by part."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.models.distributions import SOFTPLUS_OF_ONE, DiagonalGaussian
from vunet_tf.models.layers import PACKAGE, Shape

HIDDEN = 32  # units of each part
# With much smaller scales, a part that the prior does not expect would cost 10^6 nats and disturb the training. With
# larger ones, samples have gaudy colours: over all looks, most numbers of a code deviate by about 0.05.
SMALLEST_SCALE = 0.03
# Codes begin with a colour, and codes of pictures lie about within the range of colours. Outside of it the network has
# learned nothing: one unlikely part would send the next ones farther out, and the last ones would be noise.
LARGEST_CODE = 1.0
_LOWEST = math.log(math.expm1(SMALLEST_SCALE)) - SOFTPLUS_OF_ONE  # the raw parameter of that scale


@keras.saving.register_keras_serializable(PACKAGE)
class PartPrior(keras.layers.Layer):
    """p(z | shape) = prod_k p(z_k | z_<k, shape). A masked network (Germain et al. 2015) trains it in one pass.

    The hidden units of part k see the codes of the parts before it, and the mean of the features at the bottom of E.
    The parameters of part k see the hidden units of the parts up to k. The numbers within a code depend on each other
    (red, green and blue, for example, are all high or all low): z_k = mean_k + L_k (scale_k * noise), with a learned
    lower triangular L_k that has ones on its diagonal. So p(z_k | z_<k, shape) is a Gaussian with a full covariance.

    Args:
        parts, channels: K and c, see `ModelConfig`.
        variance: see `DiagonalGaussian`.

    Call: h [B, H, W, C] with z [B, K, c], with noise [B, K, c], or with neither, as in `GroupPrior`. Or with noise, z
    and `keep` (one number per part, [B, K, 1]): parts with keep 1 have their code from z, and the others are sampled
    given the parts before them.

    With learned scales, sampled codes are cut off at `LARGEST_CODE` on both sides.

    Returns:
        (parameters [B, K, parameters_per_channel * c], z [B, K, c]), float32. The parameters are those of each number
        of z, given the numbers before it (in a sample: before they are cut off).
    """

    def __init__(self, parts: int, channels: int, variance: str = "unit", **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.parts, self.channels = parts, channels
        self.latent = DiagonalGaussian(variance)
        self.outputs_per_part = channels * self.latent.parameters_per_channel

    def build(self, h_shape: Shape) -> None:
        units, outputs = self.parts * HIDDEN, self.parts * self.outputs_per_part

        def weight(name, shape, initializer):
            return self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False)

        self.from_shape = weight("from_shape", (h_shape[-1], units), "glorot_uniform")
        self.from_codes = weight("from_codes", (self.parts * self.channels, units), "glorot_uniform")
        self.hidden_bias = weight("hidden_bias", (units,), "zeros")
        # Parameters begin at 0, which is a standard normal.
        self.to_parameters = weight("to_parameters", (units, outputs), "zeros")
        self.parameters_bias = weight("parameters_bias", (outputs,), "zeros")
        self.within_codes = weight("within_codes", (self.parts, self.channels, self.channels), "zeros")

    def call(
        self,
        h: tf.Tensor,
        z: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        of_shape = tf.matmul(ops.mean(ops.cast(h, "float32"), axis=(1, 2)), self.from_shape) + self.hidden_bias
        if z is None or keep is not None:
            return self._one_by_one(of_shape, noise, z, keep)
        return self._all_at_once(of_shape, z), z

    def zero_masked(self) -> None:
        """Sets the weights that the masks hide to 0. It changes no result, and zeros take hardly any room in a file."""
        self.from_codes.assign(self.from_codes * self._mask_of_codes())
        self.to_parameters.assign(self.to_parameters * self._mask_of_hidden())
        self.within_codes.assign(self.within_codes * self._below_diagonal())

    def _below_diagonal(self):
        """[c, c]: 1 where the column comes before the row."""
        return tf.transpose(_mask(self.channels, 1, 1, below=True))

    def _within(self):
        """L [K, c, c]."""
        return self.within_codes * self._below_diagonal() + tf.eye(self.channels)

    def _mask_of_codes(self):
        return _mask(self.parts, self.channels, HIDDEN, below=True)

    def _mask_of_hidden(self):
        return _mask(self.parts, HIDDEN, self.outputs_per_part, below=False)

    def _all_at_once(self, of_shape, z):
        kernel = self.from_codes * self._mask_of_codes()
        hidden = tf.nn.leaky_relu(of_shape + tf.matmul(ops.reshape(z, (-1, self.parts * self.channels)), kernel))
        kernel = self.to_parameters * self._mask_of_hidden()
        found = self._bounded(self._by_part(tf.matmul(hidden, kernel) + self.parameters_bias))
        differences = tf.transpose(z - found[..., : self.channels], (1, 2, 0))
        own = tf.transpose(tf.linalg.triangular_solve(self._within(), differences), (2, 0, 1))
        return _with_means(z - own, found)

    def _one_by_one(self, of_shape, noise, z=None, keep=None):
        # All tensors have two dimensions, and only two are joined at a time, so that XNNPACK can run all of it.
        flat_noise = None if noise is None else ops.reshape(noise, (-1, self.parts * self.channels))
        codes = hidden = parameters = None
        within = tf.unstack(self._within())
        for k in range(self.parts):
            before, after = k * self.channels, (k + 1) * self.channels
            units = slice(k * HIDDEN, (k + 1) * HIDDEN)
            outputs = slice(k * self.outputs_per_part, (k + 1) * self.outputs_per_part)
            new = of_shape[:, units]
            if k:
                new = new + tf.matmul(codes, self.from_codes[:before, units])
            hidden = _joined(hidden, tf.nn.leaky_relu(new))
            found = tf.matmul(hidden, self.to_parameters[: units.stop, outputs]) + self.parameters_bias[outputs]
            found = self._bounded(found)
            code, scale = self.latent.mean_and_scale(found)
            if noise is not None:
                own = scale * flat_noise[:, before:after]
                code = code + tf.matmul(own, within[k], transpose_b=True)
                found = _with_means(code - own, found)
            if self.latent.parameters_per_channel == 2:
                code = tf.clip_by_value(code, -LARGEST_CODE, LARGEST_CODE)
            if keep is not None:
                code = keep[:, k] * z[:, k] + (1 - keep[:, k]) * code
            codes = _joined(codes, code)
            parameters = _joined(parameters, found)
        return self._by_part(parameters), ops.reshape(codes, (-1, self.parts, self.channels))

    def _bounded(self, parameters):
        """Parameters [..., n] with a lower bound on the scales, which are the second half."""
        if self.latent.parameters_per_channel == 1:
            return parameters
        lowest = tf.concat([tf.fill([self.channels], parameters.dtype.min), tf.fill([self.channels], _LOWEST)], 0)
        return tf.maximum(parameters, lowest)

    def _by_part(self, parameters):
        return ops.reshape(parameters, (-1, self.parts, self.outputs_per_part))

    def get_config(self) -> dict[str, Any]:
        own = {"parts": self.parts, "channels": self.channels, "variance": self.latent.variance}
        return {**super().get_config(), **own}


def _joined(before, new):
    return new if before is None else ops.concatenate([before, new], -1)


def _with_means(means, parameters):
    """The parameters with other means."""
    return ops.concatenate([means, parameters[..., means.shape[-1] :]], -1)


def _mask(parts, inputs, outputs, below):
    """[parts * inputs, parts * outputs]: 1 where the input's part comes before the output's, or (not `below`) is it."""
    seen = tf.linalg.band_part(tf.ones((parts, parts)), 0, -1)  # row: part of the input; column: part of the output
    if below:
        seen -= tf.eye(parts)
    return tf.repeat(tf.repeat(seen, inputs, axis=0), outputs, axis=1)
