"""Shows a dataset: pictures, shape maps and body parts side by side."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.body.body_parts import Crops
from vunet_tf.body.skeleton import PARTS_10
from vunet_tf.data.batches import evaluation_batches, undamaged
from vunet_tf.data.dataset import evenly_spread, read_info
from vunet_tf.files.grids import enlarge, grid, label
from vunet_tf.files.pixels import to_uint8

_CELL = 128  # about how many pixels high a picture is shown


def contact_sheet(directory: Path | str, split: str = "train", rows: int = 8) -> np.ndarray:
    """Draws examples evenly spread over a split: picture, shape map and, if there are joints, ten body parts.

    Returns:
        [H, W, 3] uint8.

    Raises:
        InputError: if it is no dataset or has no such split.
    """
    info = read_info(directory)
    count = info.examples(split)
    titles = ["picture", "shape map"]
    crops = None
    if info.joints:
        crops = Crops(len(PARTS_10), info.image_size // 2)
        titles += [part.name.replace("right", "r.").replace("left", "l.") for part in PARTS_10]
    chosen = evenly_spread(count, rows)
    sheet = []
    batches = evaluation_batches(directory, 1, split=split, positions=chosen, crops=crops)
    for batch in undamaged(batches, directory):
        row = [enlarge(to_uint8(batch[key][0]), _CELL) for key in ("image", "shape")]
        if crops:
            parts = tf.split(batch["parts"][0], len(PARTS_10), axis=-1)
            row += [enlarge(to_uint8(part), _CELL // 2) for part in parts]
        sheet.append(row)
    return grid([[label(title, cell.shape[1]) for title, cell in zip(titles, sheet[0], strict=True)], *sheet])
