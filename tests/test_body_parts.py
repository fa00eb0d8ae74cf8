"""Body-part crops, against OpenCV's perspective warp and under turns of the picture."""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from vunet_tf.body.body_parts import MISSING_PART, crop_body_parts, part_corners
from vunet_tf.body.skeleton import JOINT_INDEX, PARTS_8, PARTS_10
from vunet_tf.files.pixels import to_float

SIZE = 32
NAMES = [part.name for part in PARTS_10]


def crops(pictures, joints, height=SIZE, width=SIZE, num_parts=10):
    """[B, P, height, width, 3] crops in [-1, 1]."""
    flat = crop_body_parts(to_float(tf.constant(pictures)), tf.constant(joints), height, width, num_parts)
    return np.stack(np.split(flat.numpy(), num_parts, axis=-1), axis=1)


def corners_in_pixels(joints, height, width):
    """{name: 4 corners} of the parts of one person in NumPy, written from the description of the format."""
    point = {name: joints[i] * [width, height] for name, i in JOINT_INDEX.items() if (joints[i] >= 0).all()}

    def box(top, bottom, aspect):
        along = bottom - top
        half = np.array([along[1], -along[0]]) * aspect / 2
        return np.array([top - half, top + half, bottom + half, bottom - half])

    def limb(a, b, fallback=False):
        if a not in point or (b not in point and not fallback):
            return None
        return box(point[a], point[b] if b in point else np.array([point[a][0], height]), 0.5)

    found = {"torso": None, "head": None}
    if {"rshoulder", "lshoulder"} <= point.keys():
        neck = (point["rshoulder"] + point["lshoulder"]) / 2
        if "cnose" in point:
            found["head"] = box(neck + 2 * (point["cnose"] - neck), neck, 1)
        else:
            side = np.linalg.norm(point["rshoulder"] - point["lshoulder"])
            found["head"] = box(neck - [0, side], neck, 1)
        if {"rhip", "lhip"} <= point.keys():
            found["torso"] = np.array([point[n] for n in ("rshoulder", "lshoulder", "lhip", "rhip")])
    for side, word in (("r", "right"), ("l", "left")):
        found[f"{word} upper arm"] = limb(side + "shoulder", side + "elbow")
        found[f"{word} forearm"] = limb(side + "elbow", side + "wrist")
        found[f"{word} thigh"] = limb(side + "hip", side + "knee", fallback=True)
        found[f"{word} shin"] = limb(side + "knee", side + "ankle")
    return found


def opencv_crop(picture, corners, height, width):
    whole = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    transform = cv2.getPerspectiveTransform(whole, (corners - 0.5).astype(np.float32))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, transform, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize(("height", "width"), [(SIZE, SIZE), (40, 24)])
def test_equals_opencv_on_real_poses(people, height, width):
    """The mean absolute difference is at most 2 of 255 in every part of every person. The right parts are missing."""
    pictures, joints = people
    assert len(joints) >= 50
    ours = (crops(pictures, joints, height, width) + 1) * 127.5
    compared = 0
    for picture, person, parts in zip(pictures, joints, ours, strict=True):
        found = corners_in_pixels(person, *picture.shape[:2])
        for name, part in zip(NAMES, parts, strict=True):
            corners = found[name]
            if corners is None:
                assert (part == (MISSING_PART + 1) * 127.5).all()
            elif cv2.contourArea(corners.astype(np.float32)) > 8 and cv2.isContourConvex(corners.astype(np.float32)):
                difference = np.abs(part - opencv_crop(picture, corners, height, width)).mean()
                if (part != 127.5).any():
                    compared += 1
                    assert difference <= 2, (name, difference)
                else:
                    assert name == "torso"  # only a torso can be convex and yet too thin
    assert compared > 7 * len(joints)


def test_of_pictures_that_are_not_square(figure_people):
    pictures, joints = figure_people
    wide = np.stack([cv2.resize(picture, (192, 96)) for picture in pictures[:20]])
    ours = (crops(wide, joints[:20]) + 1) * 127.5
    for picture, person, parts in zip(wide, joints, ours, strict=False):
        corners = corners_in_pixels(person, 96, 192)["right thigh"]
        difference = np.abs(parts[NAMES.index("right thigh")] - opencv_crop(picture, corners, SIZE, SIZE))
        assert difference.mean() <= 2


def test_eight_parts_are_the_first_of_ten(figure_people):
    pictures, joints = figure_people
    ten, eight = crops(pictures[:4], joints[:4]), crops(pictures[:4], joints[:4], num_parts=8)
    np.testing.assert_array_equal(eight, ten[:, :8])


def test_another_number_of_parts_is_refused(figure_people):
    pictures, joints = figure_people
    with pytest.raises(ValueError, match="8 and 10 body parts, not of 9"):
        crop_body_parts(to_float(tf.constant(pictures)), tf.constant(joints), SIZE, SIZE, 9)


def with_joints(joints, **points):
    changed = joints.copy()
    for name, value in points.items():
        changed[:, JOINT_INDEX[name]] = value
    return changed


def found_parts(joints, size=128):
    _, found = part_corners(tf.constant(joints), size, size, PARTS_8)
    return {part.name: found[:, i].numpy() for i, part in enumerate(PARTS_8)}


UPRIGHT = np.full((1, 15, 2), -1, np.float32)
for _name, _point in {
    "rshoulder": (0.4, 0.3),
    "lshoulder": (0.6, 0.3),
    "rhip": (0.42, 0.6),
    "lhip": (0.58, 0.6),
    "cnose": (0.5, 0.2),
    "relbow": (0.35, 0.45),
}.items():
    UPRIGHT[0, JOINT_INDEX[_name]] = _point


def test_fallbacks():
    """A thigh without a knee goes down to the edge; a head without a nose is the square above the shoulders."""
    corners, found = part_corners(tf.constant(with_joints(UPRIGHT, cnose=-1)), 100, 100, PARTS_8)
    names = [part.name for part in PARTS_8]
    assert found.numpy()[0, names.index("head")] and found.numpy()[0, names.index("right thigh")]
    head = corners.numpy()[0, names.index("head")]
    np.testing.assert_allclose(head, [[40, 10], [60, 10], [60, 30], [40, 30]], atol=1e-3)
    thigh = corners.numpy()[0, names.index("right thigh")]
    np.testing.assert_allclose(thigh[:2].mean(0), [42, 60], atol=1e-3)
    np.testing.assert_allclose(thigh[2:].mean(0), [42, 100], atol=1e-3)
    np.testing.assert_allclose(thigh[1] - thigh[0], [20, 0], atol=1e-3)


def test_parts_without_their_joints_are_missing():
    found = found_parts(UPRIGHT)
    assert found["right upper arm"].all() and not found["left upper arm"].any() and not found["right forearm"].any()
    assert not found_parts(with_joints(UPRIGHT, lshoulder=np.nan))["torso"].any()
    assert not found_parts(with_joints(UPRIGHT, lshoulder=np.nan))["head"].any()


@pytest.mark.parametrize(
    "points",
    [
        {"rshoulder": (0.6, 0.3), "lshoulder": (0.4, 0.3)},  # shoulders crossed over hips: twisted
        {"rshoulder": (0.5, 0.3), "lshoulder": (0.5, 0.3), "rhip": (0.5, 0.6), "lhip": (0.5, 0.6)},  # exact profile
        {"rshoulder": (0.5, 0.3), "lshoulder": (0.5, 0.4), "rhip": (0.5, 0.7), "lhip": (0.5, 0.6)},  # all on a line
        {"rhip": (0.5, 0.30001), "lhip": (0.5, 0.30001)},  # no height
    ],
)
def test_degenerate_torsos_are_missing(points):
    joints = with_joints(UPRIGHT, **points)
    assert not found_parts(joints)["torso"].any()
    part = crops(np.zeros((1, 64, 64, 3), np.uint8), joints)[:, 0]
    assert (part == MISSING_PART).all()


def test_a_back_view_is_not_degenerate():
    mirrored = UPRIGHT.copy()
    mirrored[..., 0] = np.where(mirrored[..., 0] >= 0, 1 - mirrored[..., 0], -1)
    assert found_parts(mirrored)["torso"].all()


@settings(max_examples=25, deadline=None)
@given(quarter=st.integers(1, 3), index=st.integers(0, 59))
def test_crops_do_not_change_when_the_picture_is_turned(figure_people, quarter, index):
    """In-plane normalisation: a picture that is turned by a right angle with its joints gives the same limbs."""
    picture, joints = figure_people[0][index : index + 1], figure_people[1][index : index + 1]
    turned_picture = np.rot90(picture, quarter, axes=(1, 2)).copy()
    turned = joints.copy()
    for _ in range(quarter):
        seen = (turned >= 0).all(-1, keepdims=True)
        turned = np.where(seen, np.stack([turned[..., 1], 1 - turned[..., 0]], -1), -1).astype(np.float32)
    before, after = crops(picture, joints), crops(turned_picture, turned)
    for name in ("torso", "right upper arm", "left upper arm", "right forearm", "left forearm", "right shin"):
        part = NAMES.index(name)
        assert np.abs(before[:, part] - after[:, part]).mean() < 0.02, name


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-0.5, 1.5) | st.just(float("nan")), min_size=30, max_size=30))
def test_any_joints_give_finite_crops(values):
    joints = np.array(values, np.float32).reshape(1, 15, 2)
    result = crops(np.full((1, 16, 16, 3), 200, np.uint8), joints, 8, 8)
    assert np.isfinite(result).all() and np.abs(result).max() <= 1 + 1e-5
