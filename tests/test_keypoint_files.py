"""Keypoint files as people have them: COCO's in three forms, OpenPose's in two; what is none is refused."""

import json

import numpy as np
import pytest

from vunet_tf.body.keypoint_files import read_person
from vunet_tf.body.skeleton import JOINT_INDEX, SCHEMAS
from vunet_tf.files.errors import InputError


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
    path.write_text(content if isinstance(content, str) else json.dumps(content))
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
    person = read_person(written(tmp_path, content), "a.png")
    for name in ("rwrist", "lhip", "cnose"):
        i = SCHEMAS[schema].index(name)
        np.testing.assert_array_equal(person.joints[JOINT_INDEX[name]], [10 + i, 20 + 2 * i])
    last = len(SCHEMAS[schema]) - 1
    assert person.box == (10, 20, last, 2 * last)


def test_a_number_in_the_name_finds_its_results(tmp_path):
    path = written(tmp_path, [annotation(12, 1), annotation(139, 3)])
    assert read_person(path, "000000000139.jpg").box[0] == 30


def test_unseen_joints_and_the_files_own_box(tmp_path):
    content = annotation(bbox=[1, 2, 30, 40]) | {"keypoints": numbers("coco17", unseen=["lknee"])}
    person = read_person(written(tmp_path, content), "a.png")
    assert np.isnan(person.joints[JOINT_INDEX["lknee"]]).all() and np.isfinite(person.joints).sum() == 28
    assert person.box == (1, 2, 30, 40)


def test_of_several_people_the_largest(tmp_path):
    people = [{"pose_keypoints_2d": numbers("openpose18", scale)} for scale in (1, 3, 2)]
    assert read_person(written(tmp_path, {"people": people}), "a.png").joints[JOINT_INDEX["cnose"]][0] == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "neither COCO's nor OpenPose's JSON"),
        ("[1]", "neither COCO's nor OpenPose's JSON"),
        ({"a": 1}, "neither COCO's nor OpenPose's JSON"),
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
        read_person(written(tmp_path, content), "a.png")
    assert str(tmp_path / "k.json") in str(error.value)


def test_a_missing_file_and_a_changed_one(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_person(tmp_path / "k.json", "a.png")
    assert read_person(written(tmp_path, annotation(scale=1)), "a.png").box[0] == 10
    assert read_person(written(tmp_path, annotation(scale=22)), "a.png").box[0] == 220
