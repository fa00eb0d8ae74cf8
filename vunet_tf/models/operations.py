"""Operations of the layers for which TensorFlow's usual way is too slow. docs/speed.md says what they gain."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

TO_WIDEST = 1 / 3  # where an end of an int8 range lies: 0 is the mean of the examples' ends, 1 the widest of them


def sum_per_channel(x: tf.Tensor) -> tf.Tensor:
    """The sum over all axes except the last. `reduce_sum` takes up to six times as long on CPU."""
    x = tf.reshape(x, (-1, x.shape[-1]))
    if x.dtype == tf.bfloat16:
        return tf.matmul(tf.ones((1, tf.shape(x)[0]), x.dtype), x)[0]
    return tf.raw_ops.BiasAddGrad(out_backprop=x)


@tf.custom_gradient
def normalised_kernel(v: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
    """g * v / ||v|| with its gradient (Salimans & Kingma 2016, Eq. 2-3). The norm is over all axes except the last.

    Automatic differentiation would read v twice as often, which takes time with the 34 M weights of the prior.

    Args:
        v: [..., filters].
        g: [filters].
    """
    inverse = tf.math.rsqrt(sum_per_channel(tf.square(v)))
    scale = g * inverse

    def gradient(upstream):
        of_g = sum_per_channel(upstream * v) * inverse
        return scale * (upstream - v * (inverse * of_g)), of_g

    return v * scale, gradient


def small_convolution(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The "same" convolution with stride 1 of a map smaller than the kernel, as a matrix product.

    For the kernels of the prior (5 M weights on 1 to 4 positions) this takes two thirds of the time.

    Args:
        x: [B, h, w, C].
        kernel: [k, k, C, filters], k odd.

    Returns:
        [B, h, w, filters].
    """
    height, width, channels = x.shape[1:]
    side, _, _, filters = kernel.shape

    def seen(extent):  # [output, tap, input]: 1 where this tap of this output is at this input
        return np.stack([np.eye(extent, k=tap - side // 2) for tap in range(side)], axis=1)

    taps = np.einsum("yku,xlv->yxkluv", seen(height), seen(width)).reshape(-1, height * width)
    patches = tf.constant(taps, x.dtype) @ tf.reshape(x, (-1, height * width, channels))
    y = tf.reshape(patches, (-1, side * side * channels)) @ tf.reshape(kernel, (-1, filters))
    return tf.reshape(y, (-1, height, width, filters))


@tf.custom_gradient
def add_bias(y: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """y + b, with y [..., filters] and b [filters]. TensorFlow fuses this into the convolution that gave y.

    The gradient of b is computed separately. TensorFlow would fuse it into the gradient of the kernel, which is slower.
    """
    return tf.nn.bias_add(y, b), lambda upstream: (upstream, sum_per_channel(upstream))


@tf.custom_gradient
def masked(x: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    """x where `keep` (booleans) is true, else 0. For the gradient only `keep` is stored, a byte per value."""
    return x * tf.cast(keep, x.dtype), lambda upstream: (upstream * tf.cast(keep, upstream.dtype), None)


def as_int8(x: tf.Tensor) -> tf.Tensor:
    """x rounded to whole steps of 1 / 255 of its range, as an int8 file rounds. The gradient is that of x.

    After Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
    (CVPR 2018, Sec. 3), for activations only. The range follows from the examples as in
    `export.tflite.quantise.ranges_of`. A file also cuts off what lies beyond. Training does not: the model would rely
    on the cut, which a float file does not have.

    Args:
        x: [B, ...].
    """
    exact = tf.stop_gradient(x)
    width = _int8_end(exact, tf.maximum, tf.reduce_max) - _int8_end(exact, tf.minimum, tf.reduce_min)
    step = tf.maximum(width / 255, tf.constant(1e-12, x.dtype))
    return x + (tf.round(exact / step) * step - exact)


def _int8_end(x, further, furthest):
    """An end of the range, which lies between the mean of the examples' ends and the widest of them. 0 is inside."""
    ends = further(furthest(x, axis=range(1, x.shape.rank)), 0)
    mean = tf.reduce_mean(ends)
    return mean + TO_WIDEST * (furthest(ends) - mean)


def activate(activation: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """activation(x). On CPU, ELU is computed in float32: TensorFlow's ELU in bfloat16 takes 1.6 times as long."""
    if activation is keras.activations.elu and x.dtype == tf.bfloat16 and not tf.config.list_physical_devices("GPU"):
        return _elu_by_float32(x)
    return activation(x)


@tf.custom_gradient
def _elu_by_float32(x):
    y = tf.cast(tf.nn.elu(tf.cast(x, tf.float32)), x.dtype)
    return y, lambda upstream: tf.raw_ops.EluGrad(gradients=upstream, outputs=y)
