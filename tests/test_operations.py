"""The operations that are written for speed have the values and gradients of the plain ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.models.operations import activate, add_bias, masked, small_convolution, sum_per_channel


def normal(*shape, seed=0, dtype="float32"):
    return tf.cast(np.random.default_rng(seed).normal(size=shape), dtype)


def with_gradients(function, *inputs):
    """[result, gradient by each input], all for one fixed cotangent, as float32 arrays."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = function(*inputs)
    cotangent = normal(*result.shape, seed=9, dtype=result.dtype)
    gradients = tape.gradient(result, inputs, output_gradients=cotangent)
    return [tf.cast(value, tf.float32).numpy() for value in (result, *gradients)]


def assert_same(function, plain, *inputs, **tolerance):
    for value, expected in zip(with_gradients(function, *inputs), with_gradients(plain, *inputs), strict=True):
        np.testing.assert_allclose(value, expected, **tolerance)


@pytest.mark.parametrize("height, width, side", [(1, 1, 3), (2, 2, 3), (1, 2, 3), (2, 1, 3), (4, 3, 5)])
def test_small_convolution_is_the_convolution(height, width, side):
    x, kernel = normal(5, height, width, 6), normal(side, side, 6, 7, seed=1)
    assert_same(small_convolution, lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"), x, kernel, atol=1e-4)


@pytest.mark.parametrize(
    "dtype, tolerance", [("float64", 1e-6), ("float32", 1e-5), ("bfloat16", 1e-2), ("float16", 1e-2)]
)
def test_sum_per_channel(dtype, tolerance):
    x = normal(4, 3, 5, 7, dtype=dtype)
    expected = np.asarray(tf.cast(x, tf.float64)).sum((0, 1, 2))
    np.testing.assert_allclose(tf.cast(sum_per_channel(x), tf.float64), expected, rtol=tolerance, atol=10 * tolerance)


def test_a_long_sum_in_float32_stays_exact():
    """There are as many positions as in the largest maps of a batch, since rounding must not add up."""
    x = 1 + 0.1 * normal(16, 128, 128, 3)
    np.testing.assert_allclose(sum_per_channel(x), x.numpy().astype("float64").sum((0, 1, 2)), rtol=1e-5)


def test_add_bias():
    assert_same(add_bias, lambda y, b: y + b, normal(2, 3, 4, 5), normal(5, seed=1), rtol=1e-5)


def test_masked():
    keep = normal(2, 3, 4, 5, seed=2) > 0
    assert_same(lambda x: masked(x, keep), lambda x: tf.where(keep, x, 0.0), normal(2, 3, 4, 5))


@pytest.mark.parametrize("name", ["elu", "leaky_relu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activate(name, dtype):
    function = keras.activations.get(name)
    rounding = {"rtol": 2**-7, "atol": 2**-7} if dtype == "bfloat16" else {}
    assert_same(lambda x: activate(function, x), function, 3 * normal(50, 40, dtype=dtype), **rounding)
