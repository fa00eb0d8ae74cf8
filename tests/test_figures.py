"""Procedural people: the seed decides them, look and pose are independent, joints are where they are drawn."""

import numpy as np
import pytest

from vunet_tf.body.keypoints import missing_required
from vunet_tf.body.skeleton import JOINT_INDEX
from vunet_tf.data.example import Example
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.people import draw, looks, poses, sample_look, sample_pose


def test_the_same_seed_draws_the_same_picture():
    first, second = (draw(sample_look(3, 5), sample_pose(3, 9), 64) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    for look, pose in (((4, 5), (3, 9)), ((3, 6), (3, 9)), ((3, 5), (4, 9)), ((3, 5), (3, 10))):
        assert (draw(sample_look(*look), sample_pose(*pose), 64).image != first.image).any()


def test_the_pose_alone_decides_where_the_figure_is():
    """Clothes and hair change the outline only a little. Joints do not depend on the look at all."""
    for index in range(20):
        pose = sample_pose(0, index)
        masks = [draw(sample_look(0, k), pose, 64).mask > 127 for k in range(10)]
        for mask in masks[1:]:
            assert (mask & masks[0]).sum() / (mask | masks[0]).sum() > 0.6


def test_the_look_alone_decides_the_colours():
    """The background, one colour of many, is the same in all poses of a look, and differs between looks."""
    corners = np.array(
        [[draw(sample_look(0, k), sample_pose(0, p), 32).image[0, 0] for p in range(6)] for k in range(8)]
    )
    assert (corners == corners[:, :1]).all() and len(np.unique(corners[:, 0], axis=0)) > 4


def test_everybody_stands_whole_in_the_picture():
    for index in range(300):
        pose = sample_pose(1, index)
        assert not missing_required(pose.joints)
        assert all((point > 0.02).all() and (point < 0.98).all() for point in pose.points.values())
        mask = draw(sample_look(1, index), pose, 32).mask
        rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert (rim > 127).sum() <= 2, index
        assert 0.03 < (mask > 127).mean() < 0.5


def test_joints_lie_on_the_figure():
    """Body joints are in the mask. A wrist has the colour of skin if the nearer arm shows it."""
    on = total = 0
    for index in range(100):
        pose, size = sample_pose(2, index), 96
        mask = draw(sample_look(2, index), pose, size).mask
        for name in JOINT_INDEX:
            if name not in ("cnose", "reye", "leye"):
                x, y = (pose.points[name] * size).astype(int)
                on, total = on + (mask[y, x] > 127), total + 1
    assert on / total > 0.97


def test_left_and_right_are_the_persons_own():
    """If a person faces the viewer, the right shoulder is on the left of the picture."""
    frontal = [p for p in (sample_pose(0, i) for i in range(200)) if p.forward[1] > 0.9]
    away = [p for p in (sample_pose(0, i) for i in range(200)) if p.forward[1] < -0.9]
    assert len(frontal) > 20 and len(away) > 5
    assert all(p.points["rshoulder"][0] < p.points["lshoulder"][0] for p in frontal)
    assert all(p.points["rshoulder"][0] > p.points["lshoulder"][0] for p in away)
    face = [JOINT_INDEX[name] for name in ("cnose", "reye", "leye")]
    assert all((p.joints[face] >= 0).all() for p in frontal) and all((p.joints[face] == -1).all() for p in away)


def test_every_kind_of_look_and_pose_occurs():
    sampled = [sample_look(0, i) for i in range(400)]
    for part, table in (("pattern", looks.PATTERNS), ("hair_style", looks.HAIR_STYLES), ("legwear", looks.LEGWEAR)):
        assert {getattr(look, part) for look in sampled} == set(table)
    assert {sample_pose(0, i).action for i in range(200)} == set(poses.ACTIONS)
    assert {look.names["skin"] for look in sampled} == set(looks.SKINS)


@pytest.mark.parametrize("size", [16, 64, 130])
def test_pictures_of_any_size(size):
    figure = draw(sample_look(0, 0), sample_pose(0, 0), size)
    assert figure.image.shape == (size, size, 3) and figure.mask.shape == (size, size)
    assert figure.image.dtype == figure.mask.dtype == np.uint8


def test_the_source_keeps_unseen_looks_and_poses_apart_and_holds_the_truth():
    source = SOURCES["figures"](Options(looks=30, poses=40, examples=200, image_size=32))
    names = {split: [(i[1], i[2]) for i in source.items if i[0] == split] for split, *_ in source.items}
    assert {split: len(set(pairs)) for split, pairs in names.items()} == {
        "train": 200,
        "valid": 576,
        "valid_appearance": 576,
        "valid_shape": 576,
    }
    seen = {split: ({a for a, _ in pairs}, {s for _, s in pairs}) for split, pairs in names.items()}
    train_looks, train_poses = seen["train"]
    assert train_looks <= set(range(30)) and train_poses <= set(range(40))
    assert not seen["valid"][0] & set(range(30)) and not seen["valid"][1] & set(range(40))
    assert not seen["valid_appearance"][0] & set(range(30)) and seen["valid_appearance"][1] <= set(range(40))
    assert seen["valid_shape"][0] <= set(range(30)) and not seen["valid_shape"][1] & set(range(40))
    (made,) = source.make(source.items[0])
    assert isinstance(made, Example)
    _, look, pose = source.items[0]
    truth = draw(sample_look(0, look), sample_pose(0, pose), 32).image
    np.testing.assert_array_equal(pictures.read_picture(made.image), truth)


def test_seen_looks_and_poses_were_seen_even_in_a_small_training_set():
    items = SOURCES["figures"](Options(looks=500, poses=500, examples=30)).items
    train = [item for item in items if item[0] == "train"]
    for split, position in (("valid_shape", 1), ("valid_appearance", 2)):
        seen = {item[position] for item in items if item[0] == split}
        assert seen <= {item[position] for item in train} and len(seen) > 20


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"looks": 3}, "looks"),
        ({"poses": 0}, "poses"),
        ({"examples": 0}, "examples"),
        ({"image_size": 8}, "image_size"),
    ],
)
def test_too_few_people_are_refused(options, flag):
    with pytest.raises(InputError, match=f"--{flag}={next(iter(options.values()))}"):
        SOURCES["figures"](Options(**options))
