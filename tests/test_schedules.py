"""Schedules at their corners, for different numbers of steps."""

import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.objective.schedules import kl_ramp, kl_weight, learning_rate


@pytest.mark.parametrize("steps", [400, 100_000])
def test_the_released_schedules_at_their_corners(steps):
    """Learning rate: flat for 1 %, then linear to 0. KL weight: 1e-6 to half of the steps, 1 from three quarters."""
    at = [int(part * steps) for part in (0, 0.01, 0.505, 1)]
    np.testing.assert_allclose([learning_rate(s, steps, 1e-3) for s in at], [1e-3, 1e-3, 5e-4, 0], atol=1e-9)
    at = [int(part * steps) for part in (0, 0.5, 0.625, 0.75, 1)]
    np.testing.assert_allclose([kl_ramp(s, steps) for s in at], [1e-6, 1e-6, 0.5, 1, 1], rtol=1e-5)


def test_the_learning_rate_rises_in_the_first_steps():
    rates = [float(learning_rate(s, 1000, 1e-3, warmup=200)) for s in (0, 99, 199, 505)]
    np.testing.assert_allclose(rates, [1e-3 / 200, 5e-4 * (1 - 89 / 990), 1e-3 * (1 - 189 / 990), 5e-4], rtol=1e-4)


def test_steps_may_be_tensors():
    steps = tf.range(0, 101, 10, dtype=tf.int64)
    ramp = tf.map_fn(lambda s: kl_ramp(s, 100), steps, tf.float32).numpy()
    np.testing.assert_allclose(ramp[[0, 6, 9]], [1e-6, 1e-6 + 0.4 * (1 - 1e-6), 1], rtol=1e-6)


def test_beta_is_constant_or_ends_the_ramp_at_its_weight():
    assert [float(kl_weight(step, 10, "constant", 0.5)) for step in (0, 7)] == [0.5, 0.5]
    np.testing.assert_allclose([kl_weight(step, 10, "ramp", 2.0) for step in (0, 10)], [1e-6, 2])
