"""Learning rate and weight of the KL term over a run. Both scale with its total number of steps.

Steps count from 0 and may be Python numbers or tensors. The results are float32 scalars.
"""

from typing import TypeAlias

import tensorflow as tf

Step: TypeAlias = tf.Tensor | tf.Variable | int


def linear(step: Step, first: float, last: float, start: float, end: float) -> tf.Tensor:
    """`start` until step `first`, `end` from step `last` on, and a straight line between them."""
    fraction = (tf.cast(step, tf.float32) - first) / max(last - first, 1)
    return start + (end - start) * tf.clip_by_value(fraction, 0.0, 1.0)


def learning_rate(step: Step, steps: int, peak: float, warmup: int = 0, flat: float = 0.01) -> tf.Tensor:
    """`peak` for the part `flat` of all steps, then linearly down to 0 (released program: 1,000 of 100,000 steps).

    In the first `warmup` steps it rises linearly, from `peak` / `warmup` on.
    """
    rising = tf.clip_by_value((tf.cast(step, tf.float32) + 1) / max(warmup, 1), 0.0, 1.0)
    return rising * linear(step, flat * steps, steps, peak, 0.0)


def kl_ramp(
    step: Step, steps: int, end: float = 1.0, start: float = 1e-6, first: float = 0.5, last: float = 0.75
) -> tf.Tensor:
    """1e-6 until half of the steps, then linearly up to `end` at three quarters (released program)."""
    return linear(step, first * steps, last * steps, min(start, end), end)


def kl_weight(step: Step, steps: int, schedule: str, weight: float) -> tf.Tensor:
    """beta, the weight of the KL term: `kl_ramp` up to `weight`, or `weight` at every step (schedule "constant")."""
    return kl_ramp(step, steps, weight) if schedule == "ramp" else tf.constant(weight, tf.float32)
