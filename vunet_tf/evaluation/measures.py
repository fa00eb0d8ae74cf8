"""The result of a measurement: a number with its unit, its interval and the examples that it is from."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vunet_tf.evaluation.metrics import mean_interval

MODEL = "model"


class Measure(NamedTuple):
    """One measured number.

    Attributes:
        section: "reconstruction", "transfer", ...
        split: split of the dataset.
        quantity: what was measured, with its protocol if there are several.
        of: what it was measured of: "model", a baseline, "chance", "true pictures".
        unit: "0-255", "dB", "nats", ...
        value: the number.
        low: lower end of the 95 % bootstrap interval, with appearances resampled; None if there is none.
        high: its upper end.
        better: "lower", "higher", or "" if neither is better.
        examples: on how many examples it was measured.
        appearances: on how many appearances it was measured.
    """

    section: str
    split: str
    quantity: str
    of: str
    unit: str
    value: float
    low: float | None
    high: float | None
    better: str
    examples: int
    appearances: int


class Missing(NamedTuple):
    """Something that could not be measured, and why."""

    section: str
    split: str
    quantity: str
    why: str


class Quantity(NamedTuple):
    """A quantity that has a value for each example."""

    name: str
    unit: str
    better: str


def mean(
    section: str,
    split: str,
    quantity: Quantity,
    of: str,
    values: Sequence | np.ndarray,
    appearances: Sequence | np.ndarray,
    seed: int,
) -> Measure | Missing:
    """The mean of one value per example, with its interval. Values that are not finite are left out."""
    values, appearances = np.asarray(values, np.float64), np.asarray(appearances)
    kept = np.isfinite(values)
    if not kept.any():
        return Missing(section, split, f"{quantity.name} ({of})", "no example has it")
    interval = mean_interval(values[kept], appearances[kept], seed)
    return measured(section, split, quantity, of, interval, appearances[kept])


def measured(
    section: str,
    split: str,
    quantity: Quantity,
    of: str,
    interval: tuple[float, float, float],
    appearances: Sequence | np.ndarray,
) -> Measure:
    """The `Measure` of a number (value, low, high) from examples of these appearances."""
    value, low, high = (None if math.isnan(number) else float(number) for number in interval)
    counts = len(appearances), len(set(np.asarray(appearances).tolist()))
    return Measure(section, split, quantity.name, of, quantity.unit, value, low, high, quantity.better, *counts)
