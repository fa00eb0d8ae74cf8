"""Pose: an estimator looks for the joints in the model's pictures (the paper's Table 2), in pixels at 256.

Each example's shape gets the appearance of another example. The same estimator looks at the true pictures. No model can
be expected to have a smaller error than that.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.body import keypoints
from vunet_tf.body.estimation import Estimate, largest, open_estimator
from vunet_tf.data.dataset import read_info
from vunet_tf.evaluation.estimator import SIDE
from vunet_tf.evaluation.examples import batches, evenly, text
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, mean
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_uint8
from vunet_tf.models.generative import GenerativeModel

SECTION = "pose"
TRUE = "true pictures"
ERROR = Quantity("joints found again, mean distance", f"px of {SIDE}", "lower")
FOUND = Quantity("people found again", "of 1", "higher")
LARGEST = 256  # examples measured


def measure(
    model: GenerativeModel, directory: Path | str, split: str, positions: list[int], batch_size: int, seed: int
) -> list[Measure | Missing]:
    """Both quantities, for the model's transfers and for the true pictures of the same examples."""
    if read_info(directory).joints is None:
        return [Missing(SECTION, split, "all", "the dataset has shape maps, no joints")]
    try:
        estimator = open_estimator()
    except InputError as error:
        return [Missing(SECTION, split, "all", str(error))]
    errors: dict[str, list[float]] = {MODEL: [], TRUE: []}
    appearances = []
    for batch, made in _transfers(model, directory, split, evenly(positions, LARGEST), batch_size):
        appearances += text(batch["appearance_id"])
        for of, shown in ((MODEL, made), (TRUE, to_uint8(batch["image"]))):
            for people, truth in zip(estimator.people(shown), batch["joints"], strict=True):
                errors[of].append(error_of(largest(people), truth))
    rows: list[tuple] = [(ERROR, of, values) for of, values in errors.items()]
    rows += [(FOUND, of, np.isfinite(values)) for of, values in errors.items()]
    return [mean(SECTION, split, quantity, of, values, appearances, seed) for quantity, of, values in rows]


def error_of(found: Estimate | None, truth: np.ndarray) -> float:
    """Mean distance of an `Estimate`'s joints from the seen joints of [15, 2] fractions; NaN without an estimate."""
    if found is None:
        return np.nan
    seen = keypoints.seen(truth)
    return float(np.hypot(*(found.joints - truth)[seen].T).mean() * SIDE)


def _transfers(model, directory, split, positions, batch_size):
    """(batch, [B, S, S, 3] uint8: its shapes with the appearances of other examples)."""
    crops, positions = model.appearance_input.crops, sorted(positions)
    shapes = batches(directory, split, positions, batch_size, f"poses of {split}", crops)
    looks = _looks(model, directory, split, positions, batch_size)
    generate, done = tf.function(model.generate, reduce_retracing=True), 0
    for batch in shapes:
        count = len(batch["image"])
        z = [tf.constant(scale[done : done + count]) for scale in looks]
        done += count
        yield batch, to_uint8(generate(tf.constant(batch["shape"]), z))


def _looks(model, directory, split, positions, batch_size) -> list[np.ndarray]:
    """For each example, the z of the example half the list further on: [n, h, w, c] for every scale."""
    crops = model.appearance_input.crops
    found = batches(directory, split, positions, batch_size, f"appearances of {split}", crops)
    encoded = (
        [[scale.numpy() for scale in model.encode(batch)] for batch in found] if model.config.latent_shapes else []
    )
    return [np.roll(np.concatenate(scale), len(positions) // 2, axis=0) for scale in zip(*encoded, strict=True)]
