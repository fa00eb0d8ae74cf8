"""The picture that shows what a model has learned: every appearance in every shape."""

import numpy as np

from vunet_tf.data.batches import evaluation_batches
from vunet_tf.data.dataset import read_info
from vunet_tf.files.grids import Header, draw_table
from vunet_tf.files.pixels import to_uint8

SEARCHED = 2000  # examples of the split among which the shown ones are chosen


class TransferMatrix:
    """Rows: appearances, columns: shapes. The first column has the appearances' pictures, the first row the shapes.

    Args:
        directory: a dataset.
        split: which split.
        size: appearances, and as many shapes.
        crops: of body parts that the model sees, or None.
    """

    def __init__(self, directory, split="valid", size=6, crops=None):
        count = min(read_info(directory).examples(split), SEARCHED)
        batches = evaluation_batches(directory, min(count, 100), split=split, crops=crops).take(-(-count // 100))
        found = {}
        for batch in batches:
            for key, value in batch.items():
                found.setdefault(key, []).append(value.numpy())
        found = {key: np.concatenate(values) for key, values in found.items()}
        self.appearances = _spread(found, "appearance_id", size)
        self.shapes = _spread(found, "shape_id", size)

    def draw(self, model) -> np.ndarray:
        """The matrix of a model, [H, W, 3] uint8."""
        seen = {key: value for key, value in self.appearances.items() if value.dtype == np.float32}
        cells = [
            to_uint8(model.transfer({key: value[i : i + 1] for key, value in seen.items()}, self.shapes["shape"]))
            for i in range(len(seen["image"]))
        ]
        return draw_table(cells, _headers(seen["image"]), _headers(self.shapes["shape"]))


def _headers(pictures):
    return [Header(pictures=(picture,)) for picture in to_uint8(pictures)]


def _spread(examples, key, size):
    """Up to `size` examples that differ in `key`, evenly spread over those there are."""
    _, first = np.unique(examples[key], return_index=True)
    chosen = first[np.linspace(0, len(first) - 1, min(size, len(first))).round().astype(int)]
    return {name: values[chosen] for name, values in examples.items()}
