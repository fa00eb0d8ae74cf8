"""The layers of the VU-Net: weight-normalised convolution, residual block, down and sub-pixel up."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from vunet_tf.models.operations import activate, add_bias, as_int8, masked, normalised_kernel, small_convolution

PACKAGE = "vunet_tf"
Shape = tuple[int | None, ...]  # of a batch of tensors; None is any size
VARIANCE_EPSILON = 1e-10  # released program
# If a channel's output does not vary on the first batches (a constant input, a single position), it is not scaled:
# 1 / sqrt(0 + VARIANCE_EPSILON) would multiply it by 1e5 as soon as it varies.
SMALLEST_VARIANCE = 1e-8


@keras.saving.register_keras_serializable(PACKAGE)
class WeightNormConv2D(keras.layers.Layer):
    """Convolution with kernel w = g * V / ||V||, "same" padding and a bias b (Salimans & Kingma 2016, Eq. 2).

    ||V|| is taken over all axes except the output channels, in float32 under mixed precision. V is drawn from a normal
    distribution with mean 0 and standard deviation 0.05. g is 1 and b is 0 until `data_dependent_initialisation`.

    If a filter has a single weight (a 1x1 convolution of one channel), V / ||V|| is only its sign. Training would
    sometimes flip this sign and invert the whole channel. So V is then a fixed sign that is not trained, and w = g * V.

    Args:
        filters: output channels.
        kernel_size: side of the kernel in positions.
        strides: step in positions, the same for both axes.

    Call: [B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), filters]; `gain` is a factor of w.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self._from_data = False

    def build(self, input_shape: Shape) -> None:
        # Without autocast the norm has the variable's own precision, and not that of the activations.
        def weight(name, shape, initializer, trainable=True):
            return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=trainable, autocast=False)

        kernel_shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        normal = keras.initializers.RandomNormal(stddev=0.05)
        self._single_weight = self.kernel_size**2 * input_shape[-1] == 1
        if self._single_weight:
            self.v = weight("v", kernel_shape, lambda shape, dtype: ops.sign(normal(shape, dtype)), trainable=False)
        else:
            self.v = weight("v", kernel_shape, normal)
        self.g = weight("g", (self.filters,), "ones")
        self.b = weight("b", (self.filters,), "zeros")

    def _kernel(self, gain=1.0):
        if self._single_weight:
            return gain * self.g * self.v
        return normalised_kernel(tf.convert_to_tensor(self.v), gain * tf.convert_to_tensor(self.g))

    def _convolve(self, inputs, gain):
        kernel = ops.cast(self._kernel(gain), self.compute_dtype)
        largest_side = max(side or self.kernel_size for side in inputs.shape[1:3])
        if self.strides == 1 and largest_side < self.kernel_size:
            y = small_convolution(inputs, kernel)
        else:
            y = ops.conv(inputs, kernel, self.strides, padding="same")
        return add_bias(y, ops.cast(self.b, self.compute_dtype))

    def call(self, inputs: tf.Tensor, gain: float = 1.0) -> tf.Tensor:
        if self._from_data:
            self._initialise(inputs, gain)
        return self._convolve(inputs, gain)

    def _initialise(self, inputs, gain):
        """g = 1 / sqrt(var + 1e-10), b = -mean * g of the output at g = 1, b = 0 (Salimans & Kingma 2016, Eq. 5-6)."""
        self.g.assign(ops.ones_like(self.g))
        self.b.assign(ops.zeros_like(self.b))
        mean, variance = ops.moments(ops.cast(self._convolve(inputs, gain), self.variable_dtype), axes=(0, 1, 2))
        g = ops.where(variance > SMALLEST_VARIANCE, ops.rsqrt(variance + VARIANCE_EPSILON), 1.0)
        self.g.assign(g)
        self.b.assign(-mean * g)

    def fold(self) -> tuple[np.ndarray, np.ndarray]:
        """(kernel [k, k, C, filters], bias [filters]) of the plain convolution with the same output, as arrays."""
        return ops.convert_to_numpy(self._kernel()), ops.convert_to_numpy(self.b)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        height, width = (side and -(-side // self.strides) for side in input_shape[1:3])
        return (input_shape[0], height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "kernel_size": self.kernel_size, "strides": self.strides}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class RandomMask(keras.layers.Dropout):
    """Dropout that does not scale the kept values. Its user scales by `gain` where that costs less.

    One random byte per value decides, so the rate is rounded to a multiple of 1 / 256 (0.1 becomes 0.1016). Keras'
    Dropout draws a float32, which has four times as many random bits. Together with the rest it took 11 to 16 % of a
    training step.
    """

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(rate, **kwargs)
        self._dropped = min(round(256 * rate), 255)

    def gain(self, training: bool | None) -> float:
        """1 / (1 - rate) in training."""
        return 256 / (256 - self._dropped) if training else 1.0

    def call(self, inputs: tf.Tensor, training: bool | None = False) -> tf.Tensor:
        if not (training and self._dropped):
            return inputs
        *positions, channels = ops.shape(inputs)
        words = (*positions, -(-channels // 4))
        seed = tf.cast(self.seed_generator.next(), tf.int64)
        random_bytes = tf.bitcast(tf.random.stateless_uniform(words, seed, None, None, tf.uint32), tf.uint8)
        random_bytes = tf.reshape(random_bytes, (*positions, 4 * words[-1]))[..., :channels]
        return masked(inputs, random_bytes >= tf.constant(self._dropped, tf.uint8))


@keras.saving.register_keras_serializable(PACKAGE)
class Int8Rounding(keras.layers.Layer):
    """Stands where an int8 file rounds. It changes nothing, except in the training of a `quantisation_aware` model.

    Attributes:
        active: whether it rounds in training.
    """

    active = False

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return as_int8(x) if self.active and training else x


def rounded(h: keras.KerasTensor) -> keras.KerasTensor:
    """A symbolic tensor, rounded in the training of a `quantisation_aware` model."""
    return Int8Rounding(dtype=h.dtype)(h)


def quantisation_aware(model: keras.Model) -> None:
    """From now on, `model` rounds activations in training, about where an --all_int8 file does (`export.tflite`)."""
    for layer in model._flatten_layers():
        if isinstance(layer, Int8Rounding):
            layer.active = True


def convolution(
    filters: int, kernel_size: int, strides: int = 1, weight_norm: bool = True, **kwargs: Any
) -> keras.layers.Layer:
    """A convolution with "same" padding: weight-normalised, or a plain one."""
    if weight_norm:
        return WeightNormConv2D(filters, kernel_size, strides, **kwargs)
    return keras.layers.Conv2D(filters, kernel_size, strides, padding="same", **kwargs)


CONVOLUTIONS = (WeightNormConv2D, keras.layers.Conv2D)


def convolutions(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """All convolutions in `layer` (a model or a composite layer), plain and weight-normalised, in a fixed order."""
    return [inner for inner in layer._flatten_layers() if isinstance(inner, CONVOLUTIONS)]


def with_weights(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """All layers in `layer` that have trained weights themselves, in a fixed order."""
    return [inner for inner in layer._flatten_layers() if inner._trainable_variables]


@contextlib.contextmanager
def data_dependent_initialisation(model: keras.Model) -> Iterator[None]:
    """In the block, an eager call of `model` sets every g and b in the order in which it passes them.

    Each convolution's output then has mean 0 and variance 1 per channel on the inputs of that call. For statistics over
    several batches, make one call on all of them together. Under a `tf.distribute` strategy make the call outside
    `strategy.run`: an assignment there reaches every replica, so all get equal weights.
    """
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "_from_data")]
    try:
        for layer in layers:
            layer._from_data = True
        yield
    finally:
        for layer in layers:
            layer._from_data = False


@keras.saving.register_keras_serializable(PACKAGE)
class Activation(keras.layers.Layer):
    """The activation of the residual blocks as a layer."""

    def __init__(self, activation: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return activate(self.activation, x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


@keras.saving.register_keras_serializable(PACKAGE)
class ResidualBlock(keras.layers.Layer):
    """x + conv3x3(dropout(f(concat[x, conv1x1(f(skip))]))). f is the activation. Without a skip, the concat is only x.

    As in the released program there is one convolution, no normalisation layer and no gate.

    Args:
        filters: channels of x, and of the result.
        skip: whether the block is called with a skip.
        activation: name of f.
        dropout: rate in [0, 1), active in training only.
        weight_norm: see `convolution`.
        kernel_size: side of its convolution; 1 for vectors, which are maps of one position.

    Call: x [B, H, W, filters], skip [B, H, W, any] -> [B, H, W, filters].
    """

    def __init__(
        self,
        filters: int,
        skip: bool = False,
        activation: str = "elu",
        dropout: float = 0.0,
        weight_norm: bool = True,
        kernel_size: int = 3,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.skip = skip
        self.activation = keras.activations.get(activation)
        self.weight_norm = weight_norm
        self.skip_conv = convolution(filters, 1, weight_norm=weight_norm, dtype=self.dtype_policy) if skip else None
        self.dropout = RandomMask(dropout, dtype=self.dtype_policy)
        self.kernel_size = kernel_size
        self.conv = convolution(filters, kernel_size, weight_norm=weight_norm, dtype=self.dtype_policy)
        self.rounding = Int8Rounding(dtype=self.dtype_policy)

    def build(self, x_shape: Shape, skip_shape: Shape | None = None) -> None:
        if self.skip:
            self.skip_conv.build(skip_shape)
        self.conv.build((*x_shape[:-1], self.filters * (2 if self.skip else 1)))

    def call(self, x: tf.Tensor, skip: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        h = x
        if self.skip:
            h = ops.concatenate([x, self.skip_conv(activate(self.activation, skip))], axis=-1)
        h = self.dropout(activate(self.activation, h), training=training)
        h = self.rounding(h, training=training)
        gain = self.dropout.gain(training)
        if self.weight_norm:
            added = self.conv(h, gain=gain)
        else:
            added = self.conv(h * gain if training else h)
        return self.rounding(x + self.rounding(added, training=training), training=training)

    def get_config(self) -> dict[str, Any]:
        own = {
            "filters": self.filters,
            "skip": self.skip,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout.rate,
            "weight_norm": self.weight_norm,
            "kernel_size": self.kernel_size,
        }
        return {**super().get_config(), **own}


def down(filters: int, weight_norm: bool = True, **kwargs: Any) -> keras.layers.Layer:
    """Halves the resolution: a 3x3 convolution with stride 2, without activation (released program).

    Call: [B, 2H, 2W, C] -> [B, H, W, filters].
    """
    return convolution(filters, 3, strides=2, weight_norm=weight_norm, **kwargs)


@keras.saving.register_keras_serializable(PACKAGE)
class SubPixelUp(keras.layers.Layer):
    """Doubles the resolution: a 3x3 convolution to 4 * filters channels, then depth to space (released program).

    Call: [B, H, W, C] -> [B, 2H, 2W, filters].
    """

    def __init__(self, filters: int, weight_norm: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.weight_norm = weight_norm
        self.conv = convolution(4 * filters, 3, weight_norm=weight_norm, dtype=self.dtype_policy)
        self.rounding = Int8Rounding(dtype=self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        self.conv.build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return tf.nn.depth_to_space(self.rounding(self.conv(inputs), training=training), 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "weight_norm": self.weight_norm}
