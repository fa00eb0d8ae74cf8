"""Gaussians over latent maps: the KL identity, Monte-Carlo agreement, shapes, reparameterisation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.models.distributions import DiagonalGaussian

B, H, W, C = 5, 3, 4, 2


def parameters(variance, seed):
    channels = C * DiagonalGaussian(variance).parameters_per_channel
    return tf.constant(np.random.default_rng(seed).normal(size=(B, H, W, channels)), tf.float32)


@pytest.mark.parametrize("variance", ["unit", "learned"])
def test_event_and_batch_shapes(variance):
    latent = DiagonalGaussian(variance)
    q, p = parameters(variance, 0), parameters(variance, 1)
    distribution = latent.distribution(q)
    assert distribution.event_shape == (H, W, C)
    assert distribution.batch_shape == (B,)
    assert latent.kl(q, p).shape == latent.log_prob(q, latent(p)).shape == (B,)
    assert latent(q).shape == (B, H, W, C)


def test_unit_variance_kl_is_half_the_squared_distance_of_the_means():
    q, p = parameters("unit", 0), parameters("unit", 1)
    expected = 0.5 * np.sum((q.numpy().astype("float64") - p.numpy()) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(DiagonalGaussian().kl(q, p), expected, rtol=1e-5)


@pytest.mark.parametrize("variance", ["unit", "learned"])
def test_kl_agrees_with_a_monte_carlo_estimate(variance):
    latent = DiagonalGaussian(variance)
    q, p = parameters(variance, 0), parameters(variance, 1)
    noise = tf.random.stateless_normal((2000, B, H, W, C), seed=(0, 1))
    mean, scale = latent.mean_and_scale(q)
    z = mean + scale * noise
    ratios = (latent.distribution(q).log_prob(z) - latent.distribution(p).log_prob(z)).numpy()
    error = ratios.std(axis=0) / np.sqrt(len(ratios))
    assert np.all(np.abs(ratios.mean(axis=0) - latent.kl(q, p)) < 5 * error)


def test_log_prob_equals_numpy():
    latent = DiagonalGaussian("learned")
    q, z = parameters("learned", 0), np.random.default_rng(3).normal(size=(B, H, W, C)).astype("float32")
    mean, raw = np.split(q.numpy().astype("float64"), 2, axis=-1)
    scale = np.log1p(np.exp(raw + np.log(np.e - 1)))
    expected = np.sum(-0.5 * ((z - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi), axis=(1, 2, 3))
    np.testing.assert_allclose(latent.log_prob(q, z), expected, rtol=1e-4)


def test_parameters_of_zero_are_a_standard_normal_under_either_variance():
    for latent in (DiagonalGaussian("unit"), DiagonalGaussian("learned")):
        zeros = tf.zeros((1, H, W, C * latent.parameters_per_channel))
        mean, scale = latent.mean_and_scale(zeros)
        np.testing.assert_allclose(mean, 0)
        np.testing.assert_allclose(scale, 1, rtol=1e-6)


def test_sample_is_reparameterised_by_the_given_noise():
    latent = DiagonalGaussian("learned")
    q, noise = tf.Variable(parameters("learned", 0)), np.full((B, H, W, C), 0.5, "float32")
    mean, scale = latent.mean_and_scale(q)
    np.testing.assert_allclose(latent(q, noise), mean + 0.5 * scale)
    np.testing.assert_array_equal(latent(q, 0 * noise), latent(q))
    with tf.GradientTape() as tape:
        z = tf.reduce_sum(latent(q, noise))
    gradient_of_mean, gradient_of_raw = np.split(tape.gradient(z, q).numpy(), 2, axis=-1)
    np.testing.assert_allclose(gradient_of_mean, 1)
    assert np.all(gradient_of_raw > 0)


def test_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        latent = DiagonalGaussian()
        q = tf.cast(parameters("unit", 0), tf.bfloat16)
        assert latent(q, np.ones((B, H, W, C), "float32")).dtype == "float32"
        assert latent.kl(q, q).dtype == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


def test_unknown_variance_is_refused():
    with pytest.raises(ValueError, match="--variance"):
        DiagonalGaussian("full")
