"""What all sources share: their options and what they give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.skeleton import JOINTS
from vunet_tf.config import Settings, one_of, within
from vunet_tf.data.example import Example, Rejected
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

# How the sources make a picture square where --fit is not given.
DEFAULT_FITS = {"deepfashion": "stretch", "market": "stretch", "index": "stretch", "pairs": "stretch", "folder": "pad"}

LEAST_SIDE = 8  # pixels: a smaller picture shows no person


@dataclass(frozen=True)
class Options(Settings):
    """How `prepare` reads a source. Each field is a flag of the same name; a source takes those that it needs.

    Attributes:
        input: folder (or index.p) of the sources index, pairs, folder and sprites.
        images: folder of the pictures of the sources coco, deepfashion and market.
        annotations: annotation file of the sources coco, deepfashion and market.
        valid_annotations: annotation file of the valid split; without it the split is by hash.
        image_size: side of the square pictures in pixels. By default 256; market 128, figures 64, sprites their cell.
        fit: how a picture becomes square: stretch it (default of deepfashion, market, index and pairs), pad its short
            side with its edge (default of folder), or crop its middle.
        encoding: how pictures are stored: jpeg (quality 95; default of photographs) or png (exact; default of sprites
            and figures). Shape maps are always png.
        valid_fraction: part of the pictures in the valid split, where names decide by their hash.
        margin: coco: what is added to a person's box on each side, as a fraction of its longer side.
        min_person: coco: people whose box has a smaller longer side (pixels) are left out.
        min_joints: people with fewer of the 15 joints seen are left out.
        shape_map: sprites: which shape map: body (default), mask, edges or joints.
        shapes: folder: a folder of ready shape maps with the pictures' names; without it, edges are found.
        edges_side: pairs: which half is the edge map.
        seed: figures: a different seed gives different people.
        looks: figures: how many looks to train on.
        poses: figures: how many poses to train on.
        examples: figures: how many training pictures.
    """

    input: Path | None = None
    images: Path | None = None
    annotations: Path | None = None
    valid_annotations: Path | None = None
    image_size: int | None = within(8, 4096, None)
    fit: str | None = one_of(*pictures.FITS, optional=True)
    encoding: str | None = one_of(*pictures.ENCODINGS, optional=True)
    valid_fraction: float = within(0, 1, 0.05)
    margin: float = within(0, 2, 0.15)
    min_person: int = within(1, None, 64)
    min_joints: int = within(0, 15, 8)
    shape_map: str | None = None
    shapes: Path | None = None
    edges_side: str = one_of("left", "right")
    seed: int = within(0, None, 0)
    looks: int = 1000
    poses: int = 1000
    examples: int = 8000

    def with_defaults(self, **defaults) -> "Options":
        """These options, with a source's own defaults for what was not given."""
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def require(self, *names: str) -> None:
        """Raises InputError if one of these flags was not given."""
        for name in names:
            if getattr(self, name) is None:
                raise InputError(f"this source needs --{name}")


@dataclass(frozen=True)
class Source:
    """A source that was opened: what its pictures are and how to make them.

    items: the work, in a fixed order; each is small.
    make: turns an item into examples and rejects, in many processes (so it is a partial of a module's function); raises
      InputError if nothing can be made of the item.
    name_of: the file an item speaks of, for the list of rejects.
    image_size: side of the square pictures in pixels.
    has_joints: whether the examples carry joints (and the shape is the stickman) or a shape map.
    shape_channels: channels of the shape map.
    how: how each picture was made, in words, by what it concerns.
    rejects: what was already left out while opening.
    valid_fraction: how much is for validation, where examples come without a split (see `split_by_hash`).
    """

    items: Sequence
    make: Callable[[object], list[Example | Rejected]]
    name_of: Callable[[object], str]
    image_size: int
    has_joints: bool
    how: dict[str, str]
    shape_channels: int = 3
    rejects: list[Rejected] = field(default_factory=list)
    valid_fraction: float = 0.0

    @property
    def joints(self) -> tuple[str, ...] | None:
        return JOINTS if self.has_joints else None


def leaves_folder(name: str) -> bool:
    """Whether a file name out of somebody's list points outside the folder it should lie in."""
    return Path(name).is_absolute() or ".." in Path(name).parts


def require_room(picture: np.ndarray) -> None:
    """Raises InputError if a [H, W, 3] picture is too small to show a person."""
    height, width = picture.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise InputError(f"{width} x {height} pixels are too few to show a person: it needs {LEAST_SIDE} a side")


def person_example(
    picture: np.ndarray,
    joints: np.ndarray,
    box: pictures.Box,
    options: Options,
    **fields,
) -> Example:
    """Cuts a person out of a picture, joints and all.

    Args:
        picture: [H, W, 3] uint8.
        joints: [15, 2] float32 fractions of the picture; NaN where unseen.
        box: what to cut out.
        options: the side of the result (`image_size`, pixels), its `encoding`, and `min_joints`, how many must lie in
            the box.
        **fields: the other fields of the `Example`.

    Raises:
        InputError: if the picture is too small, a shoulder or hip is not in the box, or too few joints are.
    """
    require_room(picture)
    height, width = picture.shape[:2]
    cut_joints = keypoints.mark_unseen(pictures.fractions_in_box(joints, width, height, box))
    if missing := keypoints.missing_required(cut_joints):
        raise InputError(f"unseen: {', '.join(missing)} (both shoulders and hips are needed)")
    if (count := int(keypoints.seen(cut_joints).sum())) < options.min_joints:
        raise InputError(f"only {count} joints are seen (--min_joints={options.min_joints})")
    image = pictures.encode(pictures.cut(picture, box, options.image_size), options.encoding)
    return Example(image=image, joints=cut_joints, **fields)


def fit_in_words(fit: str) -> str:
    return {
        "stretch": "the whole picture, stretched to a square",
        "pad": "the whole picture, its short side padded with its edge",
        "crop": "the square in the picture's middle",
    }[fit]
