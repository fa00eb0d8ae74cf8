"""One example of a dataset, and one picture that did not become an example. Plain values without TensorFlow."""

from typing import NamedTuple

import numpy as np

LARGEST_SIDE = 4096  # pixels of an example's picture


class Example(NamedTuple):
    """A picture with its shape.

    Attributes:
        split: "train", "valid", or another split of the source; "" if `split_key` decides, see `split_by_hash`.
        name: where it came from; unique within the split.
        appearance_id: examples with the same id have the same appearance (person and clothes).
        shape_id: examples with the same id have the same shape (pose and camera).
        image: bytes of a square PNG or JPEG file.
        joints: [15, 2] float32 fractions of the picture, -1 unseen; None if the shape is a map.
        shape: bytes of a PNG file of 1 or 3 channels; None if it is drawn from the joints.
        mask: bytes of a PNG file of 1 channel, 255 inside the figure; None if unknown.
        attributes: other facts about it (colours, clothes, action, the box it was cut from), for the evaluation.
        split_key: the identity or name whose hash decides the split; not part of the dataset.
    """

    split: str
    name: str
    appearance_id: str
    shape_id: str
    image: bytes
    joints: np.ndarray | None = None
    shape: bytes | None = None
    mask: bytes | None = None
    attributes: dict = {}  # noqa: RUF012 (never changed)
    split_key: str = ""


class Rejected(NamedTuple):
    """A picture that was left out: a row of rejects.csv."""

    file: str
    reason: str
