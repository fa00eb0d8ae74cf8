"""The picture of every appearance in every shape: what it shows, and that it reads only a few records."""

import numpy as np

from vunet_tf.body.body_parts import Crops
from vunet_tf.data.dataset import read_examples, write_dataset
from vunet_tf.training.transfer_matrix import TransferMatrix

IDS = ("appearance_id", "shape_id")


def test_only_what_is_shown_is_decoded(maps_run, tmp_path):
    """The matrix is the same for a copy of the dataset whose other pictures cannot be decoded."""
    whole = TransferMatrix(maps_run.parent / "maps", "train", size=3)
    shown = {*whole.appearances["name"], *whole.shapes["name"]}
    with write_dataset(tmp_path / "damaged") as writer:
        for example in read_examples(maps_run.parent / "maps", "train"):
            picture = example.image if example.name.encode() in shown else b"none"
            writer.add(example._replace(image=picture))
        writer.finish(source="test", made_with={}, image_size=32, joints=None, shape_channels=1)
    damaged = TransferMatrix(tmp_path / "damaged", "train", size=3)
    for ours, theirs in [(damaged.appearances, whole.appearances), (damaged.shapes, whole.shapes)]:
        for key in theirs:
            np.testing.assert_array_equal(ours[key], theirs[key])


def test_appearances_and_shapes_differ_and_are_spread(tiny_figures):
    """Six of each, with the first and the last by name. Body parts are cut out, since the model needs them."""
    matrix = TransferMatrix(tiny_figures, "train", crops=Crops(8, 8))
    ids = {key: sorted({getattr(each, key) for each in read_examples(tiny_figures, "train")}) for key in IDS}
    for key, shown in zip(IDS, (matrix.appearances, matrix.shapes), strict=True):
        names = [name.decode() for name in shown[key]]
        assert len(set(names)) == 6 and names == sorted(names)
        assert (names[0], names[-1]) == (ids[key][0], ids[key][-1])
    assert matrix.appearances["parts"].shape == (6, 8, 8, 24) and matrix.shapes["shape"].shape == (6, 16, 16, 3)
