"""The pictures of training appearances in a dataset, from which the baselines choose."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.data.batches import evaluation_batches, undamaged
from vunet_tf.data.dataset import evenly_spread, read_examples, read_info
from vunet_tf.data.example import Example
from vunet_tf.files import pictures

# Splits with training appearances. valid_shape helps the baselines: the model has never seen these pictures.
SPLITS = ("train", "valid_shape")
SEARCHED = 20_000  # examples of `train`, evenly spread, among which the shapes nearest to an unknown one are searched
NEIGHBOURS = 8  # pictures that are used instead of an unknown shape
_THUMBNAIL = 16  # pixels


class Gallery:
    """Pictures of training appearances by shape, held encoded (kilobytes each).

    If the training appearances have no picture in a shape, the 8 examples of `train` with the nearest shape maps are
    used instead. Near means a small mean |difference| of the maps, reduced to 16 x 16 pixels.

    Args:
        directory: a dataset.
        targets: {shape_id: (split, position) of an example that has the shape}.
        watch: wraps the passes over the data, for example in a progress bar.
    """

    def __init__(self, directory: Path | str, targets: dict[str, tuple[str, int]], watch: Callable = lambda x: x):
        self.image_size = read_info(directory).image_size
        self._pools: dict[str, dict[str, Example]] = {}
        splits = [split for split in SPLITS if split in read_info(directory).splits]
        for split in splits:
            for example in watch(undamaged(read_examples(directory, split), directory)):
                if example.shape_id in targets:
                    members = self._pools.setdefault(example.shape_id, {})
                    members.setdefault(example.appearance_id, _slim(example))
        self._exact = set(self._pools)
        if "train" in splits:
            self._stand_in({shape: at for shape, at in targets.items() if shape not in self._exact}, directory)

    def of_shape(self, shape_id: str) -> dict[str, Example]:
        """{appearance_id: an encoded picture with its mask} in a shape, or in the shapes nearest to it."""
        return self._pools.get(shape_id, {})

    def has_shape(self, shape_id: str) -> bool:
        """Whether the training appearances have pictures in exactly this shape."""
        return shape_id in self._exact

    def _stand_in(self, unknown, directory):
        if not unknown:
            return
        count = read_info(directory).examples("train")
        searched = evenly_spread(count, SEARCHED).tolist()
        thumbnails = _thumbnails(directory, "train", searched)
        chosen: dict[int, list[str]] = {}
        for split in {split for split, _ in unknown.values()}:
            of_split = {at: shape for shape, (where, at) in unknown.items() if where == split}
            for at, thumbnail in zip(sorted(of_split), _thumbnails(directory, split, list(of_split)), strict=True):
                distances = np.abs(thumbnails - thumbnail).mean(1)
                for nearest in np.argsort(distances, kind="stable")[:NEIGHBOURS]:
                    chosen.setdefault(searched[nearest], []).append(of_split[at])
        for position, example in enumerate(undamaged(read_examples(directory, "train"), directory)):
            for shape in chosen.get(position, ()):
                self._pools.setdefault(shape, {}).setdefault(example.appearance_id, _slim(example))


def _slim(example):
    return example._replace(joints=None, shape=None, attributes={})


def _thumbnails(directory, split, positions: Sequence[int]):
    """Small shape maps [N, values] of examples, in the order of their positions."""
    batches = evaluation_batches(directory, 64, split=split, positions=positions)
    made = [
        tf.image.resize(batch["shape"], (_THUMBNAIL, _THUMBNAIL), antialias=True).numpy()
        for batch in undamaged(batches, directory)
    ]
    return np.concatenate([thumbnails.reshape(len(thumbnails), -1) for thumbnails in made]).astype(np.float16)


def decoded(example: Example) -> np.ndarray:
    """The picture of an example, [S, S, 3] uint8."""
    return pictures.read_picture(example.image)


def figure(example: Example) -> np.ndarray | None:
    """The mask of an example, [S, S] bool, or None."""
    return None if example.mask is None else pictures.read_picture(example.mask)[..., 0] > 127
