"""p(z | shape): the autoregressive prior of one latent, computed from the decoder's features (released program)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.models.distributions import DiagonalGaussian
from vunet_tf.models.layers import ResidualBlock, convolution


@keras.saving.register_keras_serializable("vunet_tf")
class GroupPrior(keras.layers.Layer):
    """p(z | shape) = prod_g p(z_g | z_<g, shape). g are the four positions of each 2x2 square of the latent map.

    There are a residual block, space to depth, and for each group a 3x3 convolution to its parameters. Between groups,
    a residual block takes the group before as its skip. A map of a single position is one group.

    Args:
        filters: channels of the features and of z.
        groups: 4, or 1 for a 1x1 map.
        variance: see `DiagonalGaussian`.
        activation, dropout, weight_norm: see `ResidualBlock`.

    Call: h [B, H, W, filters] with either
        z [B, H, W, filters]: the groups of z are fed back (teacher forcing by the posterior's sample); or
        noise, the same shape: the prior's own samples are fed back; or
        neither: the prior's own means are fed back.

    Returns:
        (parameters [B, H, W, parameters_per_channel * filters], z [B, H, W, filters]), float32.
    """

    def __init__(
        self,
        filters: int,
        groups: int = 4,
        variance: str = "unit",
        activation: str = "elu",
        dropout: float = 0.0,
        weight_norm: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._settings = {"activation": activation, "dropout": dropout, "weight_norm": weight_norm}
        self.filters = filters
        self.groups = groups
        self.latent = DiagonalGaussian(variance)
        blocks = {**self._settings, "dtype": self.dtype_policy}
        self.features = ResidualBlock(filters, name="features", **blocks)
        channels = filters * self.latent.parameters_per_channel
        self.to_parameters = [
            convolution(channels, 3, weight_norm=weight_norm, dtype="float32", name=f"group_{g}") for g in range(groups)
        ]
        self.feedback = [
            ResidualBlock(groups * filters, skip=True, name=f"feedback_{g}", **blocks) for g in range(1, groups)
        ]

    def _split(self, x):
        return [x] if self.groups == 1 else ops.split(tf.nn.space_to_depth(x, 2), self.groups, axis=-1)

    def _merge(self, groups):
        return groups[0] if self.groups == 1 else tf.nn.depth_to_space(ops.concatenate(groups, axis=-1), 2)

    def call(
        self, h: tf.Tensor, z: tf.Tensor | None = None, noise: tf.Tensor | None = None, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        h = self.features(h, training=training)
        if self.groups > 1:
            h = tf.nn.space_to_depth(h, 2)
        z_groups = [None] * self.groups if z is None else self._split(z)
        noise_groups = [None] * self.groups if noise is None else self._split(noise)
        parameters, samples = [], []
        for g in range(self.groups):
            if g:
                h = self.feedback[g - 1](h, samples[-1], training=training)
            parameters.append(self.to_parameters[g](h))
            samples.append(self.latent(parameters[-1], noise_groups[g]) if z is None else z_groups[g])
        return self._merge(parameters), self._merge(samples)

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "groups": self.groups, "variance": self.latent.variance, **self._settings}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("vunet_tf")
class StandardNormalPrior(keras.layers.Layer):
    """p(z) = N(0, 1) for every shape: the prior of a plain VAE, for the ablation. Called like the other priors."""

    def __init__(self, shape: Sequence[int], variance: str = "unit", **kwargs: Any):
        super().__init__(**kwargs)
        self.shape = tuple(shape)  # shape of z, without the batch
        self.latent = DiagonalGaussian(variance)

    def call(
        self,
        h: tf.Tensor,
        z: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        mean = ops.zeros((ops.shape(h)[0], *self.shape), self.latent.compute_dtype)
        parameters = ops.concatenate([mean] * self.latent.parameters_per_channel, axis=-1)
        if z is not None and keep is None:
            return parameters, z
        drawn = self.latent(parameters, noise)
        return parameters, drawn if keep is None else keep * z + (1 - keep) * drawn

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": self.shape, "variance": self.latent.variance}
