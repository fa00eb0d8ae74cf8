"""Normalising flows: the layers that hold the weights of RealNVP (Dinh, Sohl-Dickstein, Bengio 2017)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.models import bijectors
from vunet_tf.models.layers import PACKAGE, SMALLEST_VARIANCE, VARIANCE_EPSILON, ResidualBlock, convolution
from vunet_tf.models.operations import activate

# A coupling scales by exp(-this) to exp(this). The paper also bounds with a tanh, but learns the bound (Sec. 4.1).
LARGEST_LOG_SCALE = 2.0


@keras.saving.register_keras_serializable(PACKAGE)
class Normalisation(keras.layers.Layer):
    """Shift and log-scale of `bijectors.ActNorm`, one per channel. They begin at 0.

    In `data_dependent_initialisation` they are set so that every channel has mean 0 and variance 1 afterwards.
    """

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.channels = channels
        numbers = {"shape": (channels,), "initializer": "zeros", "autocast": False}
        self.shift = self.add_weight(name="shift", **numbers)
        self.log_scale = self.add_weight(name="log_scale", **numbers)
        self.built = True
        self._from_data = False

    def shift_and_log_scale(self, x: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(shift [C], log_scale [C]). During the initialisation they are set to normalise x [B, H, W, C]."""
        if self._from_data and x is not None:
            mean, variance = ops.moments(x, axes=(0, 1, 2))
            self.shift.assign(-mean)
            log_scale = -0.5 * ops.log(variance + VARIANCE_EPSILON)
            self.log_scale.assign(ops.where(variance > SMALLEST_VARIANCE, log_scale, 0.0))
        return tf.convert_to_tensor(self.shift), tf.convert_to_tensor(self.log_scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable(PACKAGE)
class ShiftAndLogScale(keras.layers.Layer):
    """s and t of an affine coupling: a convolution in, residual blocks, a convolution out that starts at 0.

    So a new coupling changes nothing.

    Args:
        shape: (H, W, C) of x.
        hidden: channels inside.
        condition_channels: channels of the condition of a conditional flow; 0 for none.
        blocks: number of residual blocks.
        kernel_size: side of the convolutions; 1 for vectors.
        activation, dropout, weight_norm: see `ResidualBlock`.

    Call: x [B, H, W, C] and condition [B, H, W, condition_channels] or None -> (t, s), each [B, H, W, C], float32.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int,
        condition_channels: int = 0,
        blocks: int = 1,
        kernel_size: int = 3,
        activation: str = "elu",
        dropout: float = 0.0,
        weight_norm: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._settings: dict[str, Any] = {"activation": activation, "dropout": dropout, "weight_norm": weight_norm}
        self._sizes = {"shape": tuple(shape), "hidden": hidden, "condition_channels": condition_channels}
        self._sizes |= {"blocks": blocks, "kernel_size": kernel_size}
        height, width, self.channels = shape
        self.activation = keras.activations.get(activation)
        own = {"dtype": self.dtype_policy}
        self.enter = convolution(hidden, kernel_size, weight_norm=weight_norm, name="enter", **own)
        self.blocks = [
            ResidualBlock(hidden, kernel_size=kernel_size, name=f"block_{i}", **self._settings, **own)
            for i in range(blocks)
        ]
        # float32: the density is a sum of these numbers.
        self.leave = keras.layers.Conv2D(
            2 * self.channels, kernel_size, padding="same", kernel_initializer="zeros", dtype="float32", name="leave"
        )
        self.enter.build((None, height, width, self.channels + condition_channels))
        for layer in (*self.blocks, self.leave):
            layer.build((None, height, width, hidden))
        self.built = True

    def call(
        self, x: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        h = ops.cast(x, self.compute_dtype)
        if condition is not None:
            h = ops.concatenate([h, ops.cast(condition, self.compute_dtype)], axis=-1)
        h = self.enter(h)
        for block in self.blocks:
            h = block(h, training=training)
        made = self.leave(ops.cast(activate(self.activation, h), "float32"))
        shift, raw = made[..., : self.channels], made[..., self.channels :]
        return shift, LARGEST_LOG_SCALE * ops.tanh(raw / LARGEST_LOG_SCALE)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._sizes, **self._settings}


@keras.saving.register_keras_serializable(PACKAGE)
class Coupling(keras.layers.Layer):
    """The weights of a normalisation and of an affine coupling after it.

    Args:
        mask: name of a function of `bijectors` that makes the mask.
        first: whether the mask begins with 1.
        shape: (H, W, C) of x.
        settings: settings of `ShiftAndLogScale`, except `shape`.
    """

    def __init__(self, mask: str, first: bool, shape: Sequence[int], settings: Mapping[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self._own = {"mask": mask, "first": first, "shape": tuple(shape), "settings": dict(settings)}
        sizes = shape[:2] if mask == "checkerboard" else shape[2:]
        self.mask = getattr(bijectors, mask)(*sizes, first)
        self.normalisation = Normalisation(shape[-1], name="normalisation")
        self.network = ShiftAndLogScale(shape, name="network", dtype=self.dtype_policy, **settings)
        self.built = True

    def bijectors(
        self, condition: tf.Tensor | None = None, training: bool | None = None
    ) -> list[bijectors.tfb.Bijector]:
        """[the normalisation, the coupling], given the condition of the flow, [B, H, W, any] or None."""
        return [
            bijectors.ActNorm(self.normalisation.shift_and_log_scale),
            bijectors.AffineCoupling(self.mask, lambda x: self.network(x, condition, training=training)),
        ]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._own}


class Flow(keras.layers.Layer):
    """A bijection f between data x and noise z, made of couplings. `bijector` gives it as a `tfb.Bijector`.

    Call: x [B, H, W, C] -> (z [B, D], log |det df / dx| in nats [B]); with inverse=True z -> (x, log |det dx / dz|).
    `condition` [B, H, W, any] is for a conditional flow. All is float32.
    """

    def __init__(self, **kwargs: Any):
        # Only the networks follow the policy of mixed precision. x and z are not cast.
        super().__init__(**{**kwargs, "autocast": False})

    def bijector(self, condition: tf.Tensor | None = None, training: bool | None = None) -> bijectors.tfb.Bijector:
        """f for one pass. A new one is needed for each pass, since a bijector remembers what it computed."""
        raise NotImplementedError

    def call(
        self, x: tf.Tensor, condition: tf.Tensor | None = None, inverse: bool = False, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        x = ops.cast(x, "float32")
        f = self.bijector(condition, training)
        if inverse:
            return f.inverse(x), f.inverse_log_det_jacobian(x, event_ndims=1)
        return f.forward(x), f.forward_log_det_jacobian(x, event_ndims=3)


@keras.saving.register_keras_serializable(PACKAGE)
class MultiScaleFlow(Flow):
    """RealNVP over pictures (Sec. 3.6). At each scale: couplings, squeeze, couplings; then half of the numbers leaves.

    Every scale except the last has `couplings` couplings with checkerboard masks in turn, a squeeze, and as many
    couplings with channel masks. Then half of the channels is factored out (Eq. 13-16). The last scale has one more
    coupling with a checkerboard mask and no others. The flow is not conditional.

    Args:
        shape: (H, W, C) of x. H and W can be halved `scales` - 1 times.
        scales: number of scales, at least 1.
        couplings: number of couplings of each kind at each scale; the paper has 3.
        hidden: channels of the networks at the first scale. It doubles at every later one (paper), up to `max_hidden`.
        settings: settings of `ShiftAndLogScale`, except `shape` and `hidden`.
        unit_interval: whether x is in (0, 1). Its logit then comes first (`bijectors.logit`).
    """

    def __init__(
        self,
        shape: Sequence[int],
        scales: int,
        couplings: int,
        hidden: int,
        max_hidden: int,
        settings: Mapping[str, Any],
        unit_interval: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._own = {"shape": tuple(shape), "scales": scales, "couplings": couplings, "hidden": hidden}
        self._own |= {"max_hidden": max_hidden, "settings": dict(settings)}
        self._own["unit_interval"] = unit_interval
        self.levels = []  # for each scale: [couplings before the squeeze, couplings after it]
        height, width, channels = shape
        for scale in range(scales):
            last = scale == scales - 1
            own = {**settings, "hidden": min(hidden * 2**scale, max_hidden)}

            def made(mask, count, shape, own=own, scale=scale):
                name = f"{mask}_{scale}"
                return [
                    Coupling(mask, i % 2 == 0, shape, own, dtype=self.dtype_policy, name=f"{name}_{i}")
                    for i in range(count)
                ]

            spatial = made("checkerboard", couplings + last, (height, width, channels))
            if last:
                self.levels.append([spatial, []])
                self._last = (height, width, channels)
            else:
                height, width, channels = height // 2, width // 2, 4 * channels
                self.levels.append([spatial, made("channel_halves", couplings, (height, width, channels))])
                channels //= 2
        self.built = True

    def bijector(self, condition: tf.Tensor | None = None, training: bool | None = None) -> bijectors.tfb.Bijector:
        f = None
        shape = self._last
        for before, after in reversed(self.levels):
            steps = [b for coupling in before for b in coupling.bijectors(training=training)]
            if f is None:
                f = bijectors.in_order([*steps, bijectors.flatten(shape)])
                continue
            steps.append(bijectors.Squeeze())
            steps += [b for coupling in after for b in coupling.bijectors(training=training)]
            height, width, channels = shape
            whole = (height, width, 2 * channels)
            f = bijectors.in_order([*steps, bijectors.FactorOut(f, whole)])
            shape = (2 * height, 2 * width, channels // 2)
        return bijectors.in_order([bijectors.logit(), f]) if self._own["unit_interval"] else f

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._own}


@keras.saving.register_keras_serializable(PACKAGE)
class MapFlow(Flow):
    """A flow at one scale, over small maps or vectors [1, 1, C]. It is conditional if it is called with a condition.

    The masks take turns: checkerboard (if there are several positions), halves of the channels, every second channel,
    each in both ways.

    Args:
        shape: (H, W, C) of x.
        couplings: their number.
        settings: settings of `ShiftAndLogScale`, except `shape`.
    """

    def __init__(self, shape: Sequence[int], couplings: int, settings: Mapping[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self._own: dict[str, Any] = {"shape": tuple(shape), "couplings": couplings, "settings": dict(settings)}
        height, width, channels = shape
        masks = ["checkerboard"] * (height * width > 1) + ["channel_halves", "every_second_channel"] * (channels > 1)
        turns = [(mask, first) for mask in masks for first in (True, False)]
        self.couplings = [
            Coupling(*turns[i % len(turns)], shape, settings, dtype=self.dtype_policy, name=f"coupling_{i}")
            for i in range(couplings)
        ]
        self.built = True

    def bijector(self, condition: tf.Tensor | None = None, training: bool | None = None) -> bijectors.tfb.Bijector:
        steps = [b for coupling in self.couplings for b in coupling.bijectors(condition, training)]
        return bijectors.in_order([*steps, bijectors.flatten(self._own["shape"])])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._own}


def log_prob(flow: Flow, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
    """log p(x) = log N(f(x); 0, 1) + log |det df / dx| in nats, [B] (Eq. 3), of x [B, H, W, C]."""
    z, log_det = flow(x, condition)
    return bijectors.standard_normal_log_prob(z) + log_det
