"""A picture given to `generate` is fitted as `prepare` would have fitted it: the two examples are compared."""

import json

import numpy as np
import pytest
from PIL import Image

from vunet_tf.body.keypoint_files import read_person
from vunet_tf.body.skeleton import SCHEMAS
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.data import recognise
from vunet_tf.data.dataset import DatasetInfo
from vunet_tf.data.edges import edge_map
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import cut, encode, fit_box, read_picture
from vunet_tf.files.pixels import to_uint8

SIZE = 32


def save_picture(path, width=90, height=140, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 5, 3), np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def person(schema):
    """Keypoints inside of a picture of 90 x 140 pixels, as x, y, confidence."""
    random = np.random.default_rng(1)
    return [[*map(float, random.uniform((20, 30), (70, 110))), 2.0] for _ in SCHEMAS[schema]]


def prepared(name, tmp_path, **options):
    """The example that `prepare` makes of the folder's only picture, and the fitting of its dataset."""
    options = {"image_size": SIZE, "encoding": "png", "min_joints": 4, **options}
    source = SOURCES[name](Options(**options))
    (example,) = source.make(source.items[0])
    info = DatasetInfo(
        name, {"flags": options}, SIZE, source.joints, source.shape_channels, False, {}, {}, {}, rejected=0
    )
    return example, Fitting.of_dataset(info)


def assert_alike(ours, theirs):
    np.testing.assert_array_equal(read_picture(ours.image), read_picture(theirs.image))
    if theirs.joints is None:
        np.testing.assert_array_equal(read_picture(ours.shape), read_picture(theirs.shape))
        assert ours.joints is None
    else:
        np.testing.assert_array_equal(ours.joints, theirs.joints)
        assert (ours.joints[:, 0] >= 0).sum() > 10


@pytest.mark.parametrize("margin", [0.15, 0.4])
def test_a_person_with_a_box_as_coco(tmp_path, margin):
    picture = save_picture(tmp_path / "a.png")
    keypoints = [value for row in person("coco17") for value in row]
    annotation = {"id": 3, "image_id": 1, "bbox": [15, 25, 60, 90], "keypoints": keypoints}
    annotations = tmp_path / "coco.json"
    annotations.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": [annotation]}))
    theirs, fitting = prepared("coco", tmp_path, images=tmp_path, annotations=annotations, margin=margin)
    assert_alike(fitting.person("a", read_picture(picture), read_person(annotations, "a.png", (90, 140))), theirs)


@pytest.mark.parametrize("fit", [None, "pad", "crop"])
def test_a_person_in_a_whole_picture_as_market(tmp_path, fit):
    picture = save_picture(tmp_path / "0002_c1s1_000451_03.png")
    points = person("openpose18")
    (tmp_path / "openpose.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": np.ravel(points).tolist()}]}))
    rows = ["name:keypoints_y:keypoints_x", f"{picture.name}: {[p[1] for p in points]}: {[p[0] for p in points]}"]
    (tmp_path / "keypoints.csv").write_text("\n".join(rows))
    theirs, fitting = prepared("market", tmp_path, images=tmp_path, annotations=tmp_path / "keypoints.csv", fit=fit)
    ours = fitting.person("a", read_picture(picture), read_person(tmp_path / "openpose.json", picture.name, (90, 140)))
    assert_alike(ours, theirs)


@pytest.mark.parametrize("fit", [None, "stretch", "crop"])
@pytest.mark.parametrize("with_maps", [False, True])
def test_any_picture_as_folder(tmp_path, fit, with_maps):
    for name in ("pictures", "maps"):
        (tmp_path / name).mkdir()
    picture = read_picture(save_picture(tmp_path / "pictures/a.png"))
    shape = read_picture(save_picture(tmp_path / "maps/a.png", 50, 60, seed=2))
    maps = {"shapes": tmp_path / "maps"} if with_maps else {}
    theirs, fitting = prepared("folder", tmp_path, input=tmp_path / "pictures", fit=fit, **maps)
    assert fitting.edges is not with_maps
    assert_alike(fitting.mapped("a", picture, shape if with_maps else None), theirs)
    if with_maps:
        alone = fitting.shape_map("a", shape)
        np.testing.assert_array_equal(read_picture(alone.shape), read_picture(theirs.shape))
        assert alone.image == b""


def test_a_picture_and_its_edges_as_pairs(tmp_path):
    picture = read_picture(save_picture(tmp_path / "photo.png", 80, 60))
    edges = np.asarray(Image.fromarray(picture).convert("L")) > 128
    both = np.concatenate([np.repeat(edges[..., None], 3, -1).astype(np.uint8) * 255, picture], axis=1)
    (tmp_path / "pairs").mkdir()
    Image.fromarray(both).save(tmp_path / "pairs/a.png")
    theirs, fitting = prepared("pairs", tmp_path, input=tmp_path / "pairs")
    assert_alike(fitting.mapped("a", picture, both[:, :80]), theirs)
    with pytest.raises(InputError, match="a shape map in colour; the run's maps have 1 channel"):
        fitting.mapped("a", picture, picture)


def test_people_that_cannot_be_cut_out_are_refused(tmp_path):
    fitting = Fitting(SIZE, "person", 0.15, 3, stickmen=True, edges=False)
    picture = read_picture(save_picture(tmp_path / "a.png"))
    (tmp_path / "k.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": [0.0] * 75}]}))
    with pytest.raises(InputError, match="no rectangle"):
        fitting.person("a", picture, read_person(tmp_path / "k.json", "a.png", (90, 140)))
    with pytest.raises(InputError, match="unseen: rshoulder, lshoulder, rhip, lhip"):
        fitting._replace(fit="pad").person("a", picture, read_person(tmp_path / "k.json", "a.png", (90, 140)))
    with pytest.raises(InputError, match="1 x 5 pixels are too few to show a person"):
        fitting._replace(fit="pad").person("a", picture[:5, :1], read_person(tmp_path / "k.json", "a.png", (1, 5)))


@pytest.mark.parametrize("size", [32, 64, 128])
def test_kinds_of_pictures_are_told_apart(photo_people, figure_people, size):
    def resized(pictures):
        return [cut(picture, fit_box(*picture.shape[1::-1], "stretch"), size) for picture in pictures]

    photos, drawn = resized(photo_people[0]), resized(figure_people[0])
    joints = np.concatenate([photo_people[1], figure_people[1]])
    stickmen = list(to_uint8(draw_stickman(joints, size, size)))
    jpegs = [read_picture(encode(stickman, "jpeg")) for stickman in stickmen]
    assert all(map(recognise.is_drawn, drawn)) and not any(map(recognise.is_drawn, photos))
    assert all(map(recognise.is_stickman, stickmen + jpegs)) and not any(map(recognise.is_stickman, photos + drawn))
    assert all(map(recognise.is_shape_map, map(edge_map, photos)))
    assert not any(map(recognise.is_shape_map, photos + drawn))
    assert recognise.is_stickman(np.zeros((size, size, 3), np.uint8)), "nobody is seen"


@pytest.mark.parametrize("shape_map", ["body", "mask", "edges", "joints"])
def test_the_maps_of_sprites_are_shape_maps_and_sprites_are_drawn(sprites_dir, shape_map):
    source = SOURCES["sprites"](Options(input=sprites_dir, shape_map=shape_map, image_size=32))
    examples = source.make(source.items[0])
    assert all(recognise.is_shape_map(read_picture(example.shape)) for example in examples)
    assert all(recognise.is_drawn(read_picture(example.image)) for example in examples)
