"""Schedules at their corners, whatever the number of steps; the controller finds its target."""

import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.files.errors import InputError
from vunet_tf.objective.schedules import KLWeight, kl_ramp, learning_rate


@pytest.mark.parametrize("steps", [400, 100_000])
def test_the_released_schedules_at_their_corners(steps):
    """Learning rate: flat for 1 %, then linear to 0. KL weight: 1e-6 to half of the steps, 1 from three quarters."""
    at = [int(part * steps) for part in (0, 0.01, 0.505, 1)]
    np.testing.assert_allclose([learning_rate(s, steps, 1e-3) for s in at], [1e-3, 1e-3, 5e-4, 0], atol=1e-9)
    at = [int(part * steps) for part in (0, 0.5, 0.625, 0.75, 1)]
    np.testing.assert_allclose([kl_ramp(s, steps) for s in at], [1e-6, 1e-6, 0.5, 1, 1], rtol=1e-5)


def test_steps_may_be_tensors():
    steps = tf.range(0, 101, 10, dtype=tf.int64)
    ramp = tf.map_fn(lambda s: kl_ramp(s, 100), steps, tf.float32).numpy()
    np.testing.assert_allclose(ramp[[0, 6, 9]], [1e-6, 1e-6 + 0.4 * (1 - 1e-6), 1], rtol=1e-6)


def test_constant_and_ramp_have_no_state():
    constant, ramp = KLWeight("constant", 0.5), KLWeight("ramp", 2.0)
    assert float(constant(7, 10, None)) == 0.5 and constant.next_state(1.0, 100.0) == 1.0
    assert float(ramp(10, 10, None)) == 2.0


def test_the_controller_holds_the_rate():
    """On a model whose KL is 100 / (1 + 10 beta), a KL of 20 nats needs beta = 0.4."""
    weight = KLWeight("target_rate", 1e-3, target_rate=20)
    beta = tf.constant(weight.start)
    for _ in range(2000):
        assert float(weight(0, 1, beta)) == float(beta)
        beta = weight.next_state(beta, 100 / (1 + 10 * beta))
    assert abs(float(beta) - 0.4) < 1e-3


def test_the_controller_stays_in_bounds():
    weight = KLWeight("target_rate", 1.0, target_rate=20)
    low = high = tf.constant(1.0)
    for _ in range(3000):
        low, high = weight.next_state(low, 0.0), weight.next_state(high, 1e9)
    np.testing.assert_allclose([low, high], [1e-6, 100], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rampe", 1.0), "--kl_schedule=rampe: must be one of ramp, constant, target_rate"),
        (("constant", -1.0), "--kl_weight=-1"),
        (("target_rate", 1.0), "--target_rate=0"),
        (("target_rate", 0.0, 5.0), "--kl_weight=0"),
    ],
)
def test_wrong_settings_name_the_flag(arguments, message):
    with pytest.raises(InputError, match=message):
        KLWeight(*arguments)
