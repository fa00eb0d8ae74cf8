"""The benchmarks measure what they claim, here for tiny models."""

import numpy as np
import pytest

from vunet_tf.benchmark import matrix_product_peak, measure, operation_times, speeds_of_workers, training_speed
from vunet_tf.command_line.startup import in_own_process
from vunet_tf.config import ModelConfig
from vunet_tf.models import VUNet
from vunet_tf.models.layers import convolutions
from vunet_tf.models.sizes import multiply_accumulates


def test_rates_count_images_and_leave_the_first_runs_out():
    calls = []
    (rate,) = measure(lambda: calls.append(1) or 8, seconds=0.05, repeat=1)
    made = 8 * (len(calls) - 3)
    assert made >= 8 and 0 < rate.per_second <= made / 0.05


def test_a_matrix_product_has_a_speed():
    assert 0.01 < matrix_product_peak("float32", size=64, repeat=2) < 1e6


TINY = ModelConfig(image_size=16, bottleneck_factor=2, width=2, max_width=4, latent_scales=1)


def test_the_training_step_has_speed_and_memory():
    speed = training_speed("float32", TINY, batch_size=2, seconds=0.01, repeat=2, product_size=64)
    assert len(speed.per_second) == len(speed.gflops) == len(speed.of_peak) == 2
    gflop = 6 * sum(map(multiply_accumulates, convolutions(VUNet(TINY)))) / 1e9
    np.testing.assert_allclose(np.divide(speed.gflops, speed.per_second), gflop)
    assert min(speed.per_second) > 0 and min(speed.of_peak) > 0 and 100 < speed.memory < 100_000


@pytest.mark.slow
def test_processes_are_measured_apart_and_together():
    for together in (False, True):
        first, second = speeds_of_workers(2, together, 1000, TINY, batch_size=2, seconds=0.1, repeat=1)
        assert min(first.step, second.step) > 0
        assert (min(first.exchange, second.exchange) > 0) == together


def test_times_of_operations():
    times = in_own_process(operation_times, "float32", TINY, 2)
    assert sum("Conv2D" in operation for operation in times) >= 3  # forward, and the gradients of inputs and kernels
    assert "Elu" in times and min(times.values()) > 0
    assert list(times.values()) == sorted(times.values(), reverse=True)
