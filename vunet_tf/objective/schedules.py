"""Learning rate and weight of the KL term over a run, keyed to its total number of steps.

Steps count from 0 and may be Python numbers or tensors; the results are float32 scalars.
"""

import tensorflow as tf

from vunet_tf.files.errors import InputError

KL_SCHEDULES = ("ramp", "constant", "target_rate")
SMALLEST_KL_WEIGHT, LARGEST_KL_WEIGHT = 1e-6, 1e2  # between which the controller stays; the first: released program


def linear(step, first, last, start, end):
    """`start` up to step `first`, `end` from step `last` on, and a straight line between."""
    fraction = (tf.cast(step, tf.float32) - first) / max(last - first, 1)
    return start + (end - start) * tf.clip_by_value(fraction, 0.0, 1.0)


def learning_rate(step, steps, peak, flat=0.01):
    """`peak` for the part `flat` of all steps, then linearly down to 0 (released program: 1,000 of 100,000 steps)."""
    return linear(step, flat * steps, steps, peak, 0.0)


def kl_ramp(step, steps, end=1.0, start=1e-6, first=0.5, last=0.75):
    """1e-6 until half of the steps, then linearly up to `end` at three quarters (released program)."""
    return linear(step, first * steps, last * steps, min(start, end), end)


class KLWeight:
    """beta, the weight of the KL term: a schedule, or a controller that looks at the KL itself.

    Args:
        schedule: "ramp" (`kl_ramp` up to `weight`); "constant" (`weight` at every step); "target_rate" (a controller:
            log beta moves by `GAIN` times the relative distance of the KL from `target_rate`, at most `LARGEST_MOVE` a
            step, from `weight` on; a multiplier of the constraint KL = target, cf. Rezende & Viola 2018).
        weight: beta, see above.
        target_rate: nats per picture, all latent scales together.

    Raises:
        InputError: a schedule that does not exist, or a weight or target that makes no sense.
    """

    GAIN = 0.01
    LARGEST_MOVE = 0.02

    def __init__(self, schedule, weight=1.0, target_rate=0.0):
        if schedule not in KL_SCHEDULES:
            raise InputError(f"--kl_schedule={schedule}: must be one of {', '.join(KL_SCHEDULES)}")
        if weight < 0 or (schedule == "target_rate" and weight == 0):
            raise InputError(f"--kl_weight={weight}: must be positive")
        if schedule == "target_rate" and target_rate <= 0:
            raise InputError(f"--target_rate={target_rate}: --kl_schedule=target_rate needs a number of nats above 0")
        self.schedule, self.weight, self.target_rate = schedule, weight, target_rate

    @property
    def start(self):
        """What the controller's state, beta, begins with."""
        return float(self.weight)

    def __call__(self, step, steps, state):
        """beta at a step out of `steps`; `state` is the controller's."""
        if self.schedule == "ramp":
            return kl_ramp(step, steps, self.weight)
        return tf.convert_to_tensor(self.weight if self.schedule == "constant" else state, tf.float32)

    def next_state(self, state, kl):
        """The controller's state after a step with this KL in nats; a schedule leaves it as it is."""
        if self.schedule != "target_rate":
            return state
        move = self.GAIN * (kl / self.target_rate - 1)
        moved = state * tf.exp(tf.clip_by_value(move, -self.LARGEST_MOVE, self.LARGEST_MOVE))
        return tf.clip_by_value(moved, SMALLEST_KL_WEIGHT, LARGEST_KL_WEIGHT)
