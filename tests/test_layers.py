"""The layers: weight normalisation against NumPy, its gradients, folding, data-dependent initialisation."""

import functools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.tflite import quantise
from vunet_tf.models.layers import (
    RandomMask,
    ResidualBlock,
    SubPixelUp,
    WeightNormConv2D,
    data_dependent_initialisation,
    quantisation_aware,
    rounded,
)
from vunet_tf.models.operations import as_int8

GOLDEN = np.load(Path(__file__).parent / "golden/weight_norm.npz")
CASES = {"3x3": (3, 1), "1x1": (1, 1), "down": (3, 2)}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def golden_layer(case, dtype="float32"):
    """The layer of a golden case with its v, g and b, and the case's arrays."""
    arrays = {key.split("/")[1]: GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{case}/")}
    layer = WeightNormConv2D(7, *CASES[case], dtype=dtype)
    layer.build(arrays["x"].shape)
    for name in "vgb":
        getattr(layer, name).assign(arrays[name])
    return layer, arrays


@pytest.mark.parametrize("case", CASES)
def test_weight_normalisation_equals_numpy(case):
    layer, golden = golden_layer(case)
    np.testing.assert_allclose(layer(golden["x"].astype("float32")), golden["y"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.fold()[0], golden["kernel"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_data_dependent_initialisation_equals_numpy(case):
    layer, golden = golden_layer(case)
    with data_dependent_initialisation(layer):
        layer(golden["x"].astype("float32"))
    np.testing.assert_allclose(layer.g, golden["initial_g"], rtol=1e-4)
    np.testing.assert_allclose(layer.b, golden["initial_b"], rtol=1e-4, atol=1e-5)
    before = layer.g.numpy()
    layer(golden["x"].astype("float32") + 1)
    np.testing.assert_array_equal(layer.g, before)  # only inside the context


def test_a_filter_of_a_single_weight_keeps_its_sign():
    """Such a normalised weight would be only a sign. It is not trained: w changes its sign only through g."""
    keras.utils.set_random_seed(0)
    layer = WeightNormConv2D(64, 1)
    x = normal(2, 4, 4, 1)
    layer.build(x.shape)
    assert [variable.path for variable in layer.trainable_variables] == [layer.g.path, layer.b.path]
    assert set(layer.v.numpy().ravel()) == {-1.0, 1.0}
    layer.g.assign(normal(64, seed=1))
    np.testing.assert_allclose(layer(x), x * layer.g.numpy() * layer.v.numpy().ravel(), rtol=1e-6)
    np.testing.assert_allclose(layer.fold()[0].ravel(), layer.g.numpy() * layer.v.numpy().ravel())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weight", "vgb")
def test_gradient_equals_finite_differences_in_float64(case, weight):
    layer, golden = golden_layer(case, dtype="float64")
    variable = getattr(layer, weight)
    direction = np.random.default_rng(1).normal(size=variable.shape)
    cotangent = np.random.default_rng(2).normal(size=golden["y"].shape)

    def loss():
        return tf.reduce_sum(layer(golden["x"]) * cotangent)

    with tf.GradientTape() as tape:
        value = loss()
    slope = np.sum(tape.gradient(value, variable.value).numpy() * direction)
    here, step = variable.numpy(), 1e-6
    variable.assign(here + step * direction)
    above = loss()
    variable.assign(here - step * direction)
    np.testing.assert_allclose(slope, (above - loss()) / (2 * step), rtol=1e-6)


def test_gradient_to_v_is_orthogonal_to_v():
    """Scaling V changes nothing, so no gradient points along it (Salimans & Kingma 2016, Sec. 2.1)."""
    layer, golden = golden_layer("3x3", dtype="float64")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(golden["x"]) ** 2)
    gradient = tape.gradient(value, layer.v.value).numpy()
    assert np.abs(gradient).max() > 1
    np.testing.assert_allclose(np.sum(gradient * golden["v"], axis=(0, 1, 2)), 0, atol=1e-9 * np.abs(gradient).max())


def test_initialisation_leaves_a_constant_channel_unscaled():
    layer = WeightNormConv2D(4, 1)
    with data_dependent_initialisation(layer):
        layer(np.ones((2, 4, 4, 3), "float32"))
    np.testing.assert_allclose(layer.g, 1)
    np.testing.assert_allclose(layer(np.ones((2, 4, 4, 3), "float32")), 0, atol=1e-6)


def test_initialisation_statistics_are_those_of_all_batches_together():
    layer = WeightNormConv2D(5, 3)
    batches = np.concatenate([normal(2, 8, 8, 3), 3 + 2 * normal(2, 8, 8, 3, seed=1)])
    with data_dependent_initialisation(layer):
        layer(batches)
    outputs = layer(batches).numpy()
    np.testing.assert_allclose(outputs.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(outputs.var(axis=(0, 1, 2)), 1, rtol=1e-4)


@pytest.mark.parametrize("skip", [False, True])
def test_residual_block_equals_its_formula(skip):
    block = ResidualBlock(6, skip=skip, activation="elu")
    x, s = normal(2, 5, 5, 6), normal(2, 5, 5, 9, seed=1)
    result = block(x, s) if skip else block(x)

    def elu(a):
        return np.where(a > 0, a, np.expm1(a))

    def convolve(layer, a):
        kernel, bias = layer.fold()
        return tf.nn.conv2d(a, kernel, 1, "SAME").numpy() + bias

    h = np.concatenate([x, convolve(block.skip_conv, elu(s))], -1) if skip else x
    np.testing.assert_allclose(result, x + convolve(block.conv, elu(h)), rtol=1e-4, atol=1e-5)


def test_dropout_acts_in_training_only():
    block = ResidualBlock(6, dropout=0.5)
    x = normal(2, 5, 5, 6)
    np.testing.assert_array_equal(block(x), block(x, training=False))
    assert np.abs(block(x, training=True) - block(x)).max() > 0.01


@pytest.mark.parametrize("channels", [4, 6], ids=["whole words", "parts of words"])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_random_mask_drops_its_rate_anew_at_every_call(rate, channels):
    mask = RandomMask(rate, seed=3)
    x = np.ones((40, 16, 16, channels), "float32")
    first, second = (mask(x, training=True).numpy() for _ in range(2))
    assert set(np.unique(first)) == {0.0, 1.0}
    sigma = np.sqrt(rate * (1 - rate))
    dropped = 1 - 1 / mask.gain(training=True)
    assert dropped == pytest.approx(rate, abs=1 / 512)
    assert abs(1 - first.mean() - dropped) < 5 * sigma / np.sqrt(first.size)  # of all
    assert np.abs(1 - first.mean((0, 1, 2)) - dropped).max() < 5 * sigma / np.sqrt(first[..., 0].size)  # of a channel
    assert np.abs(1 - first.mean((0, 3)) - dropped).max() < 6 * sigma / np.sqrt(first[:, 0, 0].size)  # of a position
    both = np.mean((first == 0) & (second == 0))  # independent: the product of the rates
    assert both == pytest.approx(dropped**2, abs=5 * dropped / np.sqrt(first.size))
    np.testing.assert_array_equal(RandomMask(rate, seed=3)(x, training=True), first)


@pytest.mark.parametrize("weight_norm", [True, False])
def test_dropout_keeps_the_mean_and_masks_the_gradient(weight_norm):
    """Over the masks, conv(dropout(h)) has the mean conv(h). Dropped values get no gradient."""
    block = ResidualBlock(8, activation="relu", dropout=0.3, weight_norm=weight_norm)
    x = tf.constant(np.abs(normal(1, 4, 4, 8)))
    block(x)
    draws = np.stack([block(x, training=True) for _ in range(600)])
    error = np.abs(draws.mean(0) - block(x)) / (draws.std(0) / np.sqrt(len(draws)))
    assert error.max() < 5.5
    with tf.GradientTape() as tape:
        tape.watch(x)
        kept = block.dropout(x, training=True)
    np.testing.assert_array_equal(tape.gradient(kept, x), kept / x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rounding_has_the_step_of_an_int8_file_and_every_gradient(dtype):
    x = tf.cast(np.array([1, 1, 1, 3])[:, None, None, None] * (normal(4, 9, 9, 8) + 0.7), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = as_int8(x)
    exact, made = x.numpy().astype("float32"), y.numpy().astype("float32")
    ranges = [{"min": np.minimum(each.min(), 0), "max": each.max()} for each in exact]
    found = functools.reduce(quantise._with, ranges[1:], ranges[0])
    low, high = quantise._between(found).values()
    step = (high - low) / 255
    assert len(np.unique(made)) < len(np.unique(exact))
    assert np.abs(made - exact).max() <= step * 0.51 + np.abs(exact).max() * (0 if dtype == "float32" else 2**-8)
    np.testing.assert_array_equal(as_int8(tf.zeros_like(x)), tf.zeros_like(x))
    np.testing.assert_array_equal(tape.gradient(y, x), tf.ones_like(x))
    if dtype == "float32":
        assert np.abs(made / step - np.round(made / step)).max() < 1e-3


def test_a_quantisation_aware_model_rounds_in_training_only():
    inputs = keras.Input((6, 6, 4))
    h = ResidualBlock(4, activation="leaky_relu", weight_norm=False)(inputs)
    plain = keras.Model(inputs, rounded(SubPixelUp(2, weight_norm=False)(h)))
    x = normal(3, 6, 6, 4)
    exact = plain(x, training=True).numpy()
    quantisation_aware(plain)
    np.testing.assert_array_equal(plain(x, training=False), exact)
    coarse = plain(x, training=True).numpy()
    assert len(np.unique(coarse)) < 0.6 * len(np.unique(exact))
    assert 0 < np.abs(coarse - exact).mean() < 0.02 * np.abs(exact).max()


def test_sub_pixel_up_lays_four_channel_groups_out_as_squares():
    up = SubPixelUp(2)
    x = normal(1, 3, 3, 4)
    y, depth = up(x).numpy(), up.conv(x).numpy()
    assert y.shape == (1, 6, 6, 2)
    for row, column in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        group = 2 * row + column
        np.testing.assert_array_equal(y[:, row::2, column::2], depth[..., 2 * group : 2 * group + 2])


@pytest.mark.parametrize(
    "layer",
    [WeightNormConv2D(4, 3, 2), ResidualBlock(3, activation="leaky_relu", dropout=0.2), SubPixelUp(5)],
    ids=lambda layer: type(layer).__name__,
)
def test_config_round_trip(layer):
    layer(normal(1, 4, 4, 3))
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    again(normal(1, 4, 4, 3))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(normal(1, 4, 4, 3)), layer(normal(1, 4, 4, 3)))


def test_mixed_precision_normalises_in_float32():
    """Under bfloat16 only the convolution is coarse: its kernel is computed in float32 and then rounded."""
    layer = WeightNormConv2D(4, 3, dtype="mixed_bfloat16")
    x = normal(1, 6, 6, 3)
    assert layer(x).dtype == "bfloat16"
    assert layer.v.dtype == layer.g.dtype == "float32"
    v = layer.v.numpy().astype("float64")
    np.testing.assert_allclose(layer.fold()[0], v / np.sqrt((v**2).sum((0, 1, 2))), rtol=1e-6)
    exact = WeightNormConv2D(4, 3)
    exact.build(x.shape)
    exact.set_weights(layer.get_weights())
    np.testing.assert_allclose(tf.cast(layer(x), "float32"), exact(x), atol=0.05)
