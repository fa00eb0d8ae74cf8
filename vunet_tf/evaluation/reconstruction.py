"""Reconstruction: the appearance encoder sees the picture itself, and the model makes this picture again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.evaluation.examples import batches, masks, text
from vunet_tf.evaluation.measures import MODEL, Measure, Missing
from vunet_tf.evaluation.scoring import Scorer, Tally
from vunet_tf.files.pixels import to_uint8
from vunet_tf.models.generative import GenerativeModel

SECTION = "reconstruction"


def reconstructions(
    model: GenerativeModel, directory: Path | str, split: str, positions: list[int], batch_size: int
) -> Iterator[tuple[dict, np.ndarray]]:
    """(batch, its reconstructions [B, S, S, 3] uint8), with the posterior's mean as z."""
    reconstruct = tf.function(model.reconstruct, reduce_retracing=True)
    crops = model.appearance_input.crops
    for batch in batches(directory, split, positions, batch_size, f"reconstructing {split}", crops):
        seen = {key: value for key, value in batch.items() if value.dtype == np.float32}
        yield batch, to_uint8(reconstruct(seen))


def measure(
    model: GenerativeModel,
    directory: Path | str,
    split: str,
    positions: list[int],
    scorer: Scorer,
    batch_size: int,
    seed: int,
) -> tuple[list[Measure | Missing], Tally]:
    """The scores of the reconstructions, and the tally that they come from."""
    tally = Tally(SECTION, split)
    tally.positions = sorted(positions)
    for batch, made in reconstructions(model, directory, split, positions, batch_size):
        scores = scorer(to_uint8(batch["image"]), made, masks(batch))
        tally.add(MODEL, scores, text(batch["appearance_id"]))
    return tally.measures(seed), tally
