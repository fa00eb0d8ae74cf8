"""Keypoint schemas, mirroring and unseen joints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vunet_tf.body import keypoints
from vunet_tf.body.skeleton import BODY_PARTS, JOINT_INDEX, JOINTS, LEFT_BONES, MIRRORED, RIGHT_BONES, SCHEMAS, TORSO

# The position of each canonical joint, from the schemas' own documentation (OpenPose, COCO, MediaPipe):
# rankle rknee rhip rshoulder relbow rwrist reye, lankle lknee lhip lshoulder lelbow lwrist leye, cnose.
DOCUMENTED = {
    "coco17": [16, 14, 12, 6, 8, 10, 2, 15, 13, 11, 5, 7, 9, 1, 0],
    "openpose18": [10, 9, 8, 2, 3, 4, 14, 13, 12, 11, 5, 6, 7, 15, 0],
    "body25": [11, 10, 9, 2, 3, 4, 15, 14, 13, 12, 5, 6, 7, 16, 0],
    "mediapipe33": [28, 26, 24, 12, 14, 16, 5, 27, 25, 23, 11, 13, 15, 2, 0],
    "vunet15": list(range(15)),
}
COUNTS = {"coco17": 17, "openpose18": 18, "body25": 25, "mediapipe33": 33, "vunet15": 15}

fractions = arrays(np.float32, (15, 2), elements=st.floats(0, 1, width=32))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schemas_map_to_the_canonical_joints(schema):
    points = np.arange(2 * COUNTS[schema]).reshape(-1, 2)
    np.testing.assert_array_equal(keypoints.to_canonical(points, schema), points[DOCUMENTED[schema]])


@pytest.mark.parametrize("schema", SCHEMAS)
@given(data=st.data())
def test_mapping_there_and_back_keeps_every_canonical_joint(schema, data):
    joints = data.draw(fractions)
    scattered = np.full((COUNTS[schema], 2), np.nan, np.float32)
    scattered[DOCUMENTED[schema]] = joints
    np.testing.assert_array_equal(keypoints.to_canonical(scattered, schema), joints)


@pytest.mark.parametrize("count", [0, 14, 16, 18])
def test_a_wrong_number_of_joints_is_refused(count):
    with pytest.raises(ValueError, match=f"coco17 has 17 joints .* \\({count}, 2\\)"):
        keypoints.to_canonical(np.zeros((count, 2)), "coco17")


def test_an_unknown_schema_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown keypoint schema 'halpe'; known: vunet15, coco17"):
        keypoints.to_canonical(np.zeros((15, 2)), "halpe")


def test_invisible_and_nan_joints_are_unseen():
    points = np.full((17, 2), 0.5)
    points[0] = np.nan
    points[2] = 0.5, np.inf
    visible = np.ones(17, bool)
    visible[16] = False
    joints = keypoints.to_canonical(points, "coco17", visible)
    unseen = {name for name in JOINTS if np.isnan(joints[JOINT_INDEX[name]]).all()}
    assert unseen == {"cnose", "reye", "rankle"}


@pytest.mark.parametrize("value", [-0.001, 1.001, np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("axis", [0, 1])
def test_joints_outside_the_picture_are_unseen(value, axis):
    joints = np.full((15, 2), 0.5, np.float32)
    joints[3, axis] = value
    marked = keypoints.mark_unseen(joints)
    assert marked[3].tolist() == [-1, -1]
    np.testing.assert_array_equal(np.delete(marked, 3, axis=0), np.full((14, 2), 0.5, np.float32))
    assert keypoints.missing_required(joints) == ["rshoulder"]


@given(fractions)
def test_mirroring_twice_is_the_identity(joints):
    np.testing.assert_allclose(keypoints.mirror(keypoints.mirror(joints)), joints, atol=1e-7)


@given(fractions, st.sets(st.integers(0, 14)))
def test_mirroring_swaps_the_sides_and_keeps_unseen_joints_unseen(joints, unseen):
    joints[list(unseen)] = -1
    mirrored = keypoints.mirror(joints)
    for name, i in JOINT_INDEX.items():
        other = JOINT_INDEX[{"r": "l", "l": "r", "c": "c"}[name[0]] + name[1:]]
        if i in unseen:
            assert mirrored[other].tolist() == [-1, -1]
        else:
            np.testing.assert_allclose(mirrored[other], [1 - joints[i, 0], joints[i, 1]], atol=1e-7)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 3999), st.integers(0, 3999))
def test_pixels_and_fractions_are_inverse(width, height, x, y):
    point = np.array([x % width, y % height], np.float32)
    fraction = keypoints.pixels_to_fractions(point, width, height)
    assert (fraction > 0).all() and (fraction < 1).all()
    np.testing.assert_allclose(keypoints.fractions_to_pixels(fraction, width, height), point, atol=1e-3)


def test_tables_are_consistent():
    assert len(JOINTS) == 15 and [MIRRORED[i] for i in MIRRORED] == list(range(15))
    named = {name for bone in RIGHT_BONES + LEFT_BONES for name in bone} | set(TORSO)
    assert named == set(JOINTS)
    for count, parts in BODY_PARTS.items():
        assert len(parts) == count == len({part.name for part in parts})
        assert {joint for part in parts for joint in part.joints} <= set(JOINTS)


def test_poses_between_two_go_in_straight_lines_and_need_both_ends():
    first, second = np.full((15, 2), 0.2, np.float32), np.full((15, 2), 0.6, np.float32)
    second[3] = -1
    np.testing.assert_allclose(keypoints.between(first, second, 0.25)[0], [0.3, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(keypoints.between(first, second, 0.25)[3], [-1, -1])
    np.testing.assert_array_equal(keypoints.between(first, second, 0), first)
    np.testing.assert_array_equal(keypoints.between(first, second, 1), second)
