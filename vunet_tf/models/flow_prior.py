"""p(z | shape) as a normalising flow (--prior=flow)."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.models import bijectors
from vunet_tf.models.flows import MapFlow
from vunet_tf.models.layers import PACKAGE, ResidualBlock

HIDDEN = 128  # channels inside the networks of the couplings
COUPLINGS = 6  # for maps, every mask of `MapFlow` once in each way; vectors have two kinds of masks, so more often


@keras.saving.register_keras_serializable(PACKAGE)
class FlowPrior(keras.layers.Layer):
    """p(z | shape) = N(f(z; h); 0, 1) |det df / dz|. f is a RealNVP whose networks see h, the decoder's features.

    A latent [H, W, C] stays a map, and h is a map of the same size. Codes of parts [K, c] become one vector, and h is
    the mean of the features at the bottom of E. A new flow is the identity, so p(z | shape) begins as a standard
    normal. There is no dropout, since f has to be the same in both directions.

    Args:
        shape: shape of z, (H, W, C) or (K, c).
        features: channels of h.
        activation, weight_norm: see `ResidualBlock`.

    Call: h [B, any, any, features] ([B, H, W, features] if z is a map) with either
        z, with the shape `shape`: the density of this z is computed; or
        noise, with the same shape, standard normal: z = f^-1(noise; h) is sampled; or
        neither: noise is 0.

    Returns:
        (log p(z | shape) in nats [B], z), float32. The other priors give parameters of a Gaussian instead of the first.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        activation: str = "elu",
        weight_norm: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**{**kwargs, "autocast": False})  # z stays float32
        self.shape, self.features = tuple(shape), features
        self._settings: dict[str, Any] = {"activation": activation, "weight_norm": weight_norm}
        self.is_map = len(self.shape) == 3
        self.flow_shape = self.shape if self.is_map else (1, 1, math.prod(self.shape))
        self.read = None
        if self.is_map:
            self.read = ResidualBlock(features, dtype=self.dtype_policy, name="read", **self._settings)
            self.read.build((None, *self.shape[:2], features))
        side = 3 if max(self.flow_shape[:2]) > 1 else 1
        networks = {"hidden": HIDDEN, "kernel_size": side, "condition_channels": features, **self._settings}
        self.flow = MapFlow(self.flow_shape, COUPLINGS, networks, dtype=self.dtype_policy, name="flow")
        self.built = True

    def call(
        self, h: tf.Tensor, z: tf.Tensor | None = None, noise: tf.Tensor | None = None, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        condition = self.read(h) if self.is_map else ops.mean(ops.cast(h, "float32"), axis=(1, 2), keepdims=True)
        if z is not None:
            found, log_det = self.flow(ops.reshape(z, (-1, *self.flow_shape)), condition)
            return bijectors.standard_normal_log_prob(found) + log_det, z
        count = ops.shape(h)[0]
        noise = ops.zeros((count, *self.shape)) if noise is None else ops.cast(noise, "float32")
        noise = ops.reshape(noise, (-1, math.prod(self.shape)))
        drawn, log_det = self.flow(noise, condition, inverse=True)
        return bijectors.standard_normal_log_prob(noise) - log_det, ops.reshape(drawn, (-1, *self.shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": self.shape, "features": self.features, **self._settings}
