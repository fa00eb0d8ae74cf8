"""A look at a dataset: pictures, shape maps and body parts side by side."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.data.dataset import read_info
from vunet_tf.data.pipeline import evaluation_batches
from vunet_tf.images import grid, to_uint8


def contact_sheet(directory: Path | str, split: str = "train", rows: int = 8) -> np.ndarray:
    """Draws examples of a split, evenly spread over it: picture, shape map and, where there are joints, ten parts.

    Returns:
      [H, W, 3] uint8.

    Raises:
      InputError: if it is no dataset or has no such split.
    """
    info = read_info(directory)
    count = info.examples(split)
    part_size = info.image_size // 2 if info.joints else None
    chosen = set(np.linspace(0, count - 1, min(rows, count)).round().astype(int).tolist())
    sheet = []
    batches = evaluation_batches(directory, 1, split=split, num_parts=10, part_size=part_size)
    for i, batch in enumerate(batches):
        if i not in chosen:
            continue
        row = [to_uint8(batch["image"][0]), to_uint8(batch["shape"][0])]
        if part_size:
            row += [to_uint8(part) for part in tf.split(batch["parts"][0], 10, axis=-1)]
        sheet.append(row)
    return grid(sheet)
