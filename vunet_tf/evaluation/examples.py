"""Chooses the examples of a split that are measured, and makes their batches."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from vunet_tf.body.body_parts import Crops
from vunet_tf.data.batches import evaluation_batches, undamaged
from vunet_tf.data.dataset import evenly_spread, read_examples
from vunet_tf.data.example import Example

progress = partial(tqdm, leave=False, disable=None)  # shows a bar on a terminal, and nothing in a file


def read_index(directory: Path | str, split: str) -> list[Example]:
    """The examples of a split without their pictures, in the order of the files."""
    examples = progress(
        undamaged(read_examples(directory, split), directory), desc=f"reading {split}", unit=" examples"
    )
    return [example._replace(image=b"", shape=None, mask=None) for example in examples]


T = TypeVar("T")  # a position, or what else is chosen from


def evenly(positions: list[T], limit: int) -> list[T]:
    """At most `limit` of the positions, evenly spread; 0 for all."""
    if not limit or len(positions) <= limit:
        return positions
    return [positions[i] for i in evenly_spread(len(positions), limit)]


def batches(
    directory: Path | str, split: str, positions: Iterable[int], batch_size: int, what: str, crops: Crops | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """NumPy batches of these examples in ascending order of position (`evaluation_batches`), with a progress bar."""
    positions = sorted(positions)
    found = evaluation_batches(directory, batch_size, split=split, positions=positions, crops=crops)
    total = -(-len(positions) // batch_size)
    for batch in progress(undamaged(found, directory), total=total, desc=what, unit=" batches"):
        yield {key: value.numpy() for key, value in batch.items()}


def masks(batch: dict[str, np.ndarray]) -> np.ndarray | None:
    """The masks of a batch, [B, S, S] bool, or None if the dataset has no masks."""
    return batch["mask"][..., 0] > 0.5 if "mask" in batch else None


def text(values: np.ndarray) -> list[str]:
    """Turns a batch of bytes into strings."""
    return [value.decode(errors="replace") for value in values]
