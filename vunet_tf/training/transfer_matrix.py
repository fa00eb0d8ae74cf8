"""The picture that shows what a model has learned: every appearance in every shape."""

from pathlib import Path

import numpy as np

from vunet_tf.body.body_parts import Crops
from vunet_tf.data.batches import evaluation_batches
from vunet_tf.data.dataset import evenly_spread, read_examples
from vunet_tf.files.grids import Header, draw_table
from vunet_tf.files.pixels import to_uint8
from vunet_tf.models.generative import GenerativeModel

SEARCHED = 2000  # number of examples of the split among which the shown ones are chosen


class TransferMatrix:
    """Rows: appearances, columns: shapes. The first column has the appearances' pictures, the first row the shapes.

    Args:
        directory: a dataset.
        split: name of the split.
        size: number of appearances and of shapes.
        crops: crops of body parts that the model sees, or None.
    """

    def __init__(self, directory: Path | str, split: str = "valid", size: int = 6, crops: Crops | None = None):
        examples = read_examples(directory, split, count=SEARCHED)  # as they are on disk, not decoded
        ids = np.array([(example.appearance_id, example.shape_id) for example in examples])
        chosen = [_spread(column, size) for column in ids.T]
        positions = np.unique(np.concatenate(chosen)).tolist()
        batches = evaluation_batches(directory, len(positions), split=split, positions=positions, crops=crops)
        (batch,) = batches.take(1)
        self.appearances, self.shapes = (
            {key: value.numpy()[np.searchsorted(positions, at)] for key, value in batch.items()} for at in chosen
        )

    def draw(self, model: GenerativeModel) -> np.ndarray:
        """The matrix of a model, [H, W, 3] uint8. For a model without transfers it is `draw_pictures`."""
        if "transfer" not in model.uses:
            return self.draw_pictures(model)
        wanted = self.shapes[model.wanted_shape]
        seen = {key: value for key, value in self.appearances.items() if value.dtype == np.float32}
        cells = [
            to_uint8(model.transfer({key: value[i : i + 1] for key, value in seen.items()}, wanted))
            for i in range(len(seen["image"]))
        ]
        return draw_table(cells, _headers(seen["image"]), _headers(wanted))

    def draw_pictures(self, model: GenerativeModel) -> np.ndarray:
        """A sheet [H, W, 3] uint8: true pictures, then their reconstructions and samples, if the model has them."""
        seen = {key: value for key, value in self.appearances.items() if value.dtype == np.float32}
        rows = {}
        if "reconstruct" in model.uses:
            rows["reconstructed"] = to_uint8(model.reconstruct(seen))
        if "sample" in model.uses:
            rows["sampled"] = to_uint8(model.sample(seed=0, count=len(seen["image"]))[0])
        return draw_table(list(rows.values()), [Header(name) for name in rows], _headers(seen["image"]))


def _headers(pictures):
    return [Header(pictures=(picture,)) for picture in to_uint8(pictures)]


def _spread(ids, size):
    """Positions of up to `size` examples with different ids, evenly spread over all ids."""
    _, first = np.unique(ids, return_index=True)
    return first[evenly_spread(len(first), size)]
