"""Our procedural people: looks and poses are sampled independently, and some of each are kept for validation."""

from functools import partial

import numpy as np

from vunet_tf.data.example import Example
from vunet_tf.data.sources.source import Options, Source
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.people import draw, sample_look, sample_pose

GRID = 24  # looks, and poses, in each validation split, which has all pairs of them


def open_source(options: Options) -> Source:
    """--examples training pictures of random looks in random poses, and three validation grids.

    Raises:
        InputError: --looks, --poses or --examples is too small.
    """
    options = options.with_defaults(image_size=64, encoding="png")
    size = options.image_size
    if size < 16:
        raise InputError(f"--image_size={size}: a person needs at least 16 pixels")
    for flag in ("looks", "poses"):
        if getattr(options, flag) < GRID:
            raise InputError(f"--{flag}={getattr(options, flag)}: at least {GRID} are needed for the validation grids")
    if options.examples < 1:
        raise InputError(f"--examples={options.examples}: at least one picture is needed")
    looks, poses = options.looks, options.poses
    training = _training_pairs(options)
    seen_looks, seen_poses = (sorted({pair[i] for pair in training})[:GRID] for i in (1, 2))
    unseen_looks, unseen_poses = range(looks, looks + GRID), range(poses, poses + GRID)

    def grid(split, look_indices, pose_indices):
        return [(split, look, pose) for look in look_indices for pose in pose_indices]

    return Source(
        items=[
            *training,
            *grid("valid", unseen_looks, unseen_poses),
            *grid("valid_appearance", unseen_looks, seen_poses),
            *grid("valid_shape", seen_looks, unseen_poses),
        ],
        make=partial(_make, seed=options.seed, size=size, encoding=options.encoding),
        name_of=_name,
        image_size=size,
        has_joints=True,
        how={
            "picture": "look i in pose j is `draw(sample_look(seed, i), sample_pose(seed, j), size)` of "
            f"`vunet_tf.people`; seed {options.seed}",
            "split": f"train: looks under {looks} in poses under {poses}; valid: {GRID} other looks in {GRID} other "
            "poses; valid_shape: seen looks in other poses; valid_appearance: other looks in seen poses",
        },
    )


def _make(item: tuple[str, int, int], seed: int, size: int, encoding: str) -> list[Example]:
    split, look_index, pose_index = item
    look, pose = sample_look(seed, look_index), sample_pose(seed, pose_index)
    figure = draw(look, pose, size)
    return [
        Example(
            split=split,
            name=_name(item),
            appearance_id=f"look{look_index}",
            shape_id=f"pose{pose_index}",
            image=pictures.encode(figure.image, encoding),
            joints=pose.joints,
            mask=pictures.encode(figure.mask, "png"),
            attributes={**look.names, "action": pose.action},
        )
    ]


def _name(item: tuple[str, int, int]) -> str:
    return f"look{item[1]}_pose{item[2]}"


def _training_pairs(options: Options) -> list[tuple[str, int, int]]:
    """Distinct random pairs of a look and a pose."""
    every = options.looks * options.poses
    random = np.random.default_rng([options.seed, 3])
    chosen = random.choice(every, size=min(options.examples, every), replace=False)
    return [("train", int(pair) // options.poses, int(pair) % options.poses) for pair in chosen]
