"""Files of joints: COCO's in three forms, OpenPose's in two, our own and a plain list. Others are refused."""

import json

import numpy as np
import pytest

from vunet_tf.body import keypoints
from vunet_tf.body.keypoint_files import FORMAT, read_joints, read_person, write_joints
from vunet_tf.body.skeleton import JOINT_INDEX, JOINTS, SCHEMAS
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

SIZE = (100, 200)  # width and height of the picture


def numbers(schema, scale=1.0, unseen=()):
    """Keypoints of a schema: joint i at (10 + i, 20 + 2 i) * scale."""
    rows = [
        [(10 + i) * scale, (20 + 2 * i) * scale, 0 if name in unseen else 2] for i, name in enumerate(SCHEMAS[schema])
    ]
    return [value for row in rows for value in row]


def annotation(image_id=1, scale=1.0, **fields):
    return {"image_id": image_id, "keypoints": numbers("coco17", scale), **fields}


def written(tmp_path, content):
    path = tmp_path / "k.json"
    if not isinstance(content, (str, bytes)):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("schema", "content"),
    [
        ("coco17", {"images": [{"id": 7, "file_name": "sub/a.png"}], "annotations": [annotation(7)]}),
        ("coco17", [annotation("a.png"), annotation("b.png", 2)]),
        ("coco17", annotation()),
        ("openpose18", {"people": [{"pose_keypoints_2d": numbers("openpose18")}]}),
        ("body25", {"version": 1.3, "people": [{"pose_keypoints_2d": numbers("body25")}]}),
    ],
)
def test_joints_come_by_name(tmp_path, schema, content):
    person = read_person(written(tmp_path, content), "a.png", SIZE)
    pixels = keypoints.fractions_to_pixels(person.joints, *SIZE)
    for name in ("rwrist", "lhip", "cnose"):
        i = SCHEMAS[schema].index(name)
        np.testing.assert_allclose(pixels[JOINT_INDEX[name]], [10 + i, 20 + 2 * i], atol=1e-4)
    last = len(SCHEMAS[schema]) - 1
    assert person.box == (10, 20, last, 2 * last)


def test_a_number_in_the_name_finds_its_results(tmp_path):
    path = written(tmp_path, [annotation(12, 1), annotation(139, 3)])
    assert read_person(path, "000000000139.jpg", SIZE).box[0] == 30


def test_unseen_joints_and_the_files_own_box(tmp_path):
    content = annotation(bbox=[1, 2, 30, 40]) | {"keypoints": numbers("coco17", unseen=["lknee"])}
    person = read_person(written(tmp_path, content), "a.png", SIZE)
    assert np.isnan(person.joints[JOINT_INDEX["lknee"]]).all() and np.isfinite(person.joints).sum() == 28
    assert person.box == (1, 2, 30, 40)


def test_of_several_people_the_largest(tmp_path):
    people = [{"pose_keypoints_2d": numbers("openpose18", scale)} for scale in (1, 3, 2)]
    assert read_person(written(tmp_path, {"people": people}), "a.png", SIZE).box[:2] == (30, 60)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "neither COCO's nor OpenPose's JSON nor vunet-joints-1: it is not JSON from line 1, column 2 on$"),
        (b"\xff\xfe{\x00", "it is not JSON|it is not text"),
        ("[1]", r"must hold 15 pairs \[x, y\], it has the shape \[1\]"),
        ({"a": 1}, "neither COCO's nor OpenPose's JSON nor vunet-joints-1: an entry has no 'annotations'$"),
        ([{"keypoints": numbers("coco17")}], "an entry has no 'image_id'$"),
        ({"people": 3}, "an entry is of another kind than the format says$"),
        ([[40, 20]] * 15, "not fractions of the picture.*pixels are read from COCO's and OpenPose's files only"),
        ({"format": "vunet-joints-9", "unit": "fractions"}, "format 'vunet-joints-9'; known is 'vunet-joints-1'"),
        ({"format": FORMAT, "unit": "pixels"}, "it has joints in 'pixels'"),
        ({"format": FORMAT, "unit": "fractions", "order": ["cnose"], "joints": []}, "must hold 1 pairs"),
        ({"people": []}, "has no person for a.png"),
        ({"people": [{"pose_keypoints_2d": [1, 2, 3]}]}, "3 numbers for a person; OpenPose writes 54 or 75"),
        ({"people": [{"pose_keypoints_2d": numbers("body25", 0.005)}]}, "lie within one pixel"),
        (
            {
                "images": [{"id": 7, "file_name": "b.png"}, {"id": 8, "file_name": "c.png"}],
                "annotations": [annotation(7)],
            },
            "it has no picture a.png",
        ),
        (annotation() | {"keypoints": [1, 2, 0]}, "coco17 has 17 joints"),
    ],
)
def test_what_is_no_keypoint_file_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        read_person(written(tmp_path, content), "a.png", SIZE)
    assert str(tmp_path / "k.json") in str(error.value) and "Error" not in str(error.value)


def test_a_missing_file_and_a_changed_one(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_person(tmp_path / "k.json", "a.png", SIZE)
    assert read_person(written(tmp_path, annotation(scale=1)), "a.png", SIZE).box[0] == 10
    assert read_person(written(tmp_path, annotation(scale=22)), "a.png", SIZE).box[0] == 220


FRACTIONS = np.array([[0.5 + i / 100, 0.25 + i / 50] for i in range(15)], np.float32)
FRACTIONS[4] = -1  # unseen


def test_joints_written_are_read_with_and_without_a_picture(tmp_path):
    write_joints(tmp_path / "k.json", FRACTIONS)
    content = json.loads((tmp_path / "k.json").read_text())
    assert (content["format"], content["unit"], content["order"]) == (FORMAT, "fractions", list(JOINTS))
    assert content["joints"][4] is None and content["joints"][0] == [0.5, 0.25]
    np.testing.assert_allclose(read_joints(tmp_path / "k.json"), FRACTIONS, atol=1e-6)
    person = read_person(tmp_path / "k.json", "a.png", SIZE)
    np.testing.assert_allclose(keypoints.mark_unseen(person.joints), FRACTIONS, atol=1e-6)
    np.testing.assert_allclose(person.box, [49.5, 49.5, 14, 56], atol=1e-3)


def test_another_order_and_a_bare_list_of_fractions(tmp_path):
    order = list(reversed(JOINTS))
    content = {"format": FORMAT, "unit": "fractions", "order": order, "joints": FRACTIONS[::-1].tolist()}
    np.testing.assert_array_equal(read_joints(written(tmp_path, content)), FRACTIONS)
    bare = [None if i == 4 else pair for i, pair in enumerate(FRACTIONS.tolist())]
    np.testing.assert_array_equal(read_joints(written(tmp_path, bare)), FRACTIONS)


def test_pixels_need_the_size_of_their_picture(tmp_path):
    """The size is that of the named picture, of the picture beside the file, or in a COCO file of one picture."""
    path = written(tmp_path, annotation())
    with pytest.raises(
        InputError, match=r"k\.json has joints in pixels, .* put the picture of the same name beside it"
    ):
        read_joints(path)
    seen = [JOINT_INDEX["cnose"]]
    of_coco = {"images": [{"id": 1, "file_name": "b.png", "width": 200, "height": 400}], "annotations": [annotation()]}
    np.testing.assert_allclose(read_joints(written(tmp_path, of_coco))[seen], [[10.5 / 200, 20.5 / 400]])
    (tmp_path / "k.png").write_bytes(pictures.encode(np.zeros((200, 100, 3), np.uint8), "png"))
    np.testing.assert_allclose(read_joints(written(tmp_path, annotation()))[seen], [[10.5 / 100, 20.5 / 200]])
    (tmp_path / "other.png").write_bytes(pictures.encode(np.zeros((50, 40, 3), np.uint8), "png"))
    np.testing.assert_allclose(read_joints(path, tmp_path / "other.png")[seen], [[10.5 / 40, 20.5 / 50]])
    with pytest.raises(InputError, match=r"none\.png: cannot be read"):
        read_joints(path, tmp_path / "none.png")
