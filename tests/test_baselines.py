"""Baselines: which pictures replace a shape that training does not have, and which appearance is the nearest."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from vunet_tf.baselines import gallery, transfer
from vunet_tf.baselines.transfer import COPY, MEAN, NEAREST, TransferBaselines
from vunet_tf.data.dataset import read_examples
from vunet_tf.data.example import Example
from vunet_tf.data.preparation import prepare
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.files import pictures


@pytest.fixture
def folder(tmp_path):
    """Pictures of 16 pixels with edge maps. Each has its own shape and its own appearance."""
    (tmp_path / "pictures").mkdir()
    for i in range(16):
        noise = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8)
        picture = Image.fromarray(noise).resize((16, 16), Image.Resampling.NEAREST)
        picture.save(tmp_path / "pictures" / f"{i}.png")
    source = SOURCES["folder"](Options(input=tmp_path / "pictures", image_size=16, valid_fraction=0.4))
    prepare(source, tmp_path / "dataset", "folder", {}, workers=1)
    return tmp_path / "dataset"


def test_the_nearest_shapes_stand_in_for_an_unknown_one(folder, monkeypatch):
    monkeypatch.setattr(gallery, "NEIGHBOURS", 3)
    target = next(read_examples(folder, "valid"))
    found = gallery.Gallery(folder, {target.shape_id: ("valid", 0)})
    train = list(read_examples(folder, "train"))
    wanted = pictures.read_picture(target.shape).astype(int)
    distances = [np.abs(pictures.read_picture(each.shape).astype(int) - wanted).mean() for each in train]
    nearest = {train[i].appearance_id for i in np.argsort(distances, kind="stable")[:3]}
    assert set(found.of_shape(target.shape_id)) == nearest
    assert not found.has_shape(target.shape_id) and found.of_shape("nowhere") == {}


class ThreeColours:
    """A gallery of plain pictures: red, green and blue, in the shapes "known" and "new"."""

    image_size = 8

    def of_shape(self, shape_id):
        colours = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
        return {who: plain(who, shape_id, colour) for who, colour in colours.items()}

    def has_shape(self, shape_id):
        return shape_id == "known"


def plain(who, shape_id, colour):
    picture = np.full((8, 8, 3), colour, np.uint8)
    return Example("train", f"{who}/{shape_id}", who, shape_id, pictures.encode(picture, "png"))


@pytest.mark.parametrize("shape_of_reference", ["known", "unknown"], ids=["by pictures", "by colours"])
def test_baselines_of_plain_colours(shape_of_reference):
    baselines = TransferBaselines(ThreeColours())
    reference = plain("dark green", shape_of_reference, (10, 120, 30))
    made = baselines.pictures(reference, plain("dark green", "new", (0, 0, 0)))
    assert (made[COPY] == (10, 120, 30)).all()
    assert (made[NEAREST] == (0, 250, 0)).all()
    assert (made[MEAN] == 83).all()
    without = baselines.pictures(plain("green", shape_of_reference, (0, 250, 0)), plain("green", "new", (0, 0, 0)))
    assert (without[MEAN] == (125, 0, 125)).all()
    assert (without[NEAREST] != (0, 250, 0)).any()


def test_the_memory_does_not_grow_with_the_shapes(monkeypatch):
    """The sums of pictures are kept for ten shapes and not for all. The answers stay the same."""
    monkeypatch.setattr(transfer, "BYTES_OF_SUMS", 10 * 8 * 8 * 3 * 4, raising=False)
    baselines, reference = TransferBaselines(ThreeColours()), plain("red", "known", (250, 0, 0))

    def answer(shapes):
        for shape in shapes:
            made = baselines.pictures(reference, Example("valid", shape, "other", shape, reference.image))
            assert (made[MEAN] == 83).all()

    answer(map(str, range(50)))
    tracemalloc.start()
    answer(map(str, range(50, 150)))
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 100 * 8 * 8 * 3 * 4 / 2
