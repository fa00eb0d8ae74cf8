"""What all sources share: their options and what they give."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.estimation import Estimate, Estimator, Mask, cut_out, open_estimator
from vunet_tf.body.pose_weights import default_directory
from vunet_tf.body.skeleton import JOINTS
from vunet_tf.config import Settings, one_of, within
from vunet_tf.data.example import LARGEST_SIDE, Example, Rejected
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

# How the sources make a picture square if --fit is not given.
DEFAULT_FITS = {"deepfashion": "stretch", "market": "stretch", "index": "stretch", "pairs": "stretch", "folder": "pad"}

CUTOUTS = {"grey": 128, "white": 255, "black": 0}  # backgrounds of people who are cut out

_READ_WHILE_WORKING = ("input", "images", "shapes")  # options that name files which each worker reads

LEAST_SIDE = 8  # pixels: a smaller picture shows no person


@dataclass(frozen=True)
class Options(Settings):
    """How `prepare` reads a source. Each field is a flag of the same name. A source takes the flags that it needs.

    Attributes:
        input: for the sources pairs, folder and sprites, which need it: folder of the pictures. For the source index,
            which needs it too: the file index.p, or its folder.
        images: for the sources coco, deepfashion and market, which need it: folder of the pictures.
        annotations: for the sources coco, deepfashion and market: file that says where the joints of the people are, in
            the format that --source names. Only deepfashion and market with --estimate can do without it.
        valid_annotations: for the sources coco, deepfashion and market: a file like --annotations, of the valid split.
            It needs --annotations, whose pictures are then all for training. Without it, a hash decides the split
            (--valid_fraction).
        image_size: side of the square pictures in pixels. Training needs a power of two, such as 32, 64, 128 or 256. By
            default 256; for market 128, for figures 64 (they need at least 16), for digits 8 (a multiple of 8), and for
            sprites the side of their cells.
        fit: for the sources deepfashion, market, index, pairs and folder: how a picture becomes square. stretch: it is
            stretched (default of all but folder). pad: its short side is continued with the edge (default of folder).
            crop: its middle is cut out. For folder with --estimate the default is a square around each person
            (--margin); with --fit, the picture as a whole becomes square in this way, once for each person.
        encoding: how pictures are stored: jpeg (quality 95; default for photographs) or png (exact; default of sprites,
            figures and digits). Shape maps are always png.
        valid_fraction: the part for the valid split, where a hash decides the split. It is the hash of the identity for
            deepfashion and market, of person and sequence for coco (where they are annotated), and otherwise of the
            file name. 0 makes no split valid.
        margin: for the source coco, and for folder with --estimate: what is added to a person's box on each side, as a
            fraction of its longer side.
        min_person: for the source coco, and for folder with --estimate: people are left out if the longer side of their
            box, without --margin, has fewer pixels than this in the original picture.
        estimate: a pose estimator finds people and their joints. For the sources coco, deepfashion and market: each
            joint that the annotations lack; deepfashion and market then need no annotations, and take the largest
            person of a picture. For the source folder: the people, each of whom becomes an example. The dataset also
            gets masks, which say where the people are.
        pose_model: folder of the pose estimator's weights, for --estimate. By default the user's cache folder, where
            `python -m vunet_tf.estimate get` puts them.
        cutout: people are cut out, and the background gets this colour; grey is 128 of 255. People whom the estimator
            does not find are left out. By default the background stays. Needs --estimate.
        min_score: for the source folder with --estimate: people are left out if the estimator's score of them is lower
            than this.
        min_joints: for sources of people: people are left out if fewer than so many of their 15 joints are seen. Both
            shoulders and both hips must always be seen.
        shape_map: for the source sprites: which shape map to use: body (default), mask, edges or joints.
        shapes: for the source folder: a folder of ready shape maps with the same names as the pictures, with the ending
            of any picture format. They are stored with 3 channels. Without it, the shape is the edges of the picture.
            Not with --estimate.
        edges_side: for the source pairs: which half of the picture is the edge map.
        seed: for the source figures: seed of the people that are drawn. Another seed gives other people.
        looks: for the source figures: number of looks (hair, clothes and colours) of the training pictures; at least
            24.
        poses: for the source figures: number of poses of the training pictures; at least 24.
        examples: for the source figures: number of training pictures; at least 1. There are never more than --looks
            times --poses. Each of the three other splits has 576 besides.
    """

    input: Path | None = None
    images: Path | None = None
    annotations: Path | None = None
    valid_annotations: Path | None = None
    image_size: int | None = within(8, LARGEST_SIDE, None)
    fit: str | None = one_of(*pictures.FITS, optional=True)
    encoding: str | None = one_of(*pictures.ENCODINGS, optional=True)
    valid_fraction: float = within(0, 1, 0.05)
    margin: float = within(0, 2, 0.15)
    min_person: int = within(1, None, 64)
    estimate: bool = False
    pose_model: Path | None = None
    cutout: str | None = one_of(*CUTOUTS, optional=True)
    min_score: float = within(0, 1, 0.8)
    min_joints: int = within(0, 15, 8)
    shape_map: str | None = None
    shapes: Path | None = None
    edges_side: str = one_of("left", "right")
    seed: int = within(0, None, 0)
    looks: int = 1000
    poses: int = 1000
    examples: int = 8000

    def with_defaults(self, **defaults: Any) -> "Options":
        """These options, with a source's own defaults for options that were not given."""
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def for_other_machines(self) -> "Options":
        """These options with absolute paths, the folder of the pose estimator's weights among them."""
        pose_model = self.pose_model or (default_directory() if self.estimate else None)
        paths = {"pose_model": pose_model, **{name: getattr(self, name) for name in _READ_WHILE_WORKING}}
        absolute: dict[str, Any] = {name: Path(os.path.abspath(path)) for name, path in paths.items() if path}
        return replace(self, **absolute)

    def read_while_working(self) -> tuple[Path, ...]:
        """Files and folders that are read while pictures are made, after the source was opened."""
        names = (*_READ_WHILE_WORKING, *(["pose_model"] if self.estimate else []))
        return tuple(path for name in names if (path := getattr(self, name)))

    def require(self, *names: str) -> None:
        """Raises InputError if one of these flags was not given."""
        for name in names:
            if getattr(self, name) is None:
                raise InputError(f"this source needs --{name}")

    def require_estimator(self) -> None:
        """Raises InputError if --estimate is given and there is no estimator, or if it is needed and not given."""
        if self.estimate:
            open_estimator(self.pose_model, workers=1)
        elif self.cutout:
            raise InputError(f"--cutout={self.cutout} needs --estimate, by which people are found")


@dataclass(frozen=True)
class Source:
    """A source that was opened: what its pictures are and how to make them.

    Attributes:
        items: the work items in a fixed order. Each is small.
        make: turns an item into examples and rejects. It runs in many processes, so it is a partial of a module's
            function. It raises InputError if nothing can be made of the item.
        name_of: gives the file of an item, for the list of rejects.
        image_size: side of the square pictures in pixels.
        has_joints: whether the examples carry joints (and the shape is the stickman) or a shape map.
        shape_channels: channels of the shape map.
        how: how each picture was made, in words: {what it concerns: text}.
        rejects: what was left out already when the source was opened.
        valid_fraction: the part for validation, if examples come without a split (see `split_by_hash`).
    """

    items: Sequence
    make: Callable[[Any], Sequence[Example | Rejected]]
    name_of: Callable[[Any], str]
    image_size: int
    has_joints: bool
    how: dict[str, str]
    shape_channels: int = 3
    rejects: list[Rejected] = field(default_factory=list)
    valid_fraction: float = 0.0

    @property
    def joints(self) -> tuple[str, ...] | None:
        return JOINTS if self.has_joints else None


def pictures_below_input(options: Options) -> dict:
    """Fields of a `Source` whose items are the paths of all pictures below --input.

    Raises:
        InputError: if --input is no folder or has no pictures.
    """
    if not options.input.is_dir():
        raise InputError(f"--input={options.input} is not a folder")
    return {
        "items": pictures.list_pictures(options.input),
        "name_of": lambda path: path.relative_to(options.input).as_posix(),
        "image_size": options.image_size,
        "valid_fraction": options.valid_fraction,
    }


@functools.cache
def _estimator(pose_model: Path | None) -> Estimator:
    """The estimator of this process. There is one process for each core."""
    return open_estimator(pose_model, workers=1)


def people_in(picture: np.ndarray, options: Options) -> list[Estimate]:
    """The people that the estimator finds in a [H, W, 3] uint8 picture, the surest first; none without --estimate."""
    if not options.estimate:
        return []
    (people,) = _estimator(options.pose_model).people([picture])
    return people


def completed(joints: np.ndarray, found: Estimate | None) -> np.ndarray:
    """Annotated joints [15, 2]. Those that are NaN come from the estimate of the same person, if there is one."""
    return joints if found is None else np.where(np.isnan(joints), found.person().joints, joints)


def square_around(bbox: Sequence[float], margin: float, least: int = 0) -> pictures.Box:
    """The square around a person.

    Args:
        bbox: COCO's box [x, y, width, height] in pixels.
        margin: what is added on each side, as a fraction of the longer side.
        least: length in pixels that the longer side must have.

    Raises:
        InputError: `bbox` is not such a box, or is too small.
    """
    try:
        left, top, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("it has no box of x, y, width, height") from error
    longer = max(width, height)
    if not (np.isfinite([left, top, width, height]).all() and min(width, height) > 0 and longer < 1e5):
        raise InputError(f"its box {bbox} is no rectangle of pixels")
    if longer < least:
        raise InputError(f"a box smaller than --min_person={least} pixels")
    side = round(longer * (1 + 2 * margin))
    return pictures.Box(round(left + width / 2 - side / 2), round(top + height / 2 - side / 2), side, side)


def leaves_folder(name: str) -> bool:
    """Whether a file name from a user's list points outside the folder in which it should lie."""
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
    mask: Mask | None = None,
    **fields: Any,
) -> Example:
    """Cuts a person out of a picture, with the joints.

    Args:
        picture: [H, W, 3] uint8.
        joints: [15, 2] float32 fractions of the picture; NaN where unseen.
        box: the square to cut out.
        options: the side of the result (`image_size`, pixels), its `encoding` and `cutout`, and `min_joints`: how many
            joints must lie in the box.
        mask: where the person is, if known.
        **fields: the other fields of the `Example`.

    Raises:
        InputError: the picture is too small, a shoulder or hip is not in the box, or too few joints are in it; or the
            person has to be cut out and there is no mask.
    """
    require_room(picture)
    height, width = picture.shape[:2]
    cut_joints = joints_in_box(joints, width, height, box)
    if (count := int(keypoints.seen(cut_joints).sum())) < options.min_joints:
        raise InputError(f"only {count} joints are seen (--min_joints={options.min_joints})")
    image, size = pictures.cut(picture, box, options.image_size), options.image_size
    if mask is not None:
        inside = mask.over(box, size, size)
        fields["mask"] = pictures.encode(np.rint(255 * inside).astype(np.uint8), "png")
        if options.cutout:
            image = cut_out(image, inside, CUTOUTS[options.cutout])
    elif options.cutout:
        raise InputError("the pose estimator does not find this person, who was to be cut out")
    return Example(image=pictures.encode(image, options.encoding), joints=cut_joints, **fields)


def joints_in_box(joints: np.ndarray, width: int, height: int, box: pictures.Box) -> np.ndarray:
    """Turns joints [15, 2] from fractions of a picture into fractions of a box in it; -1 where unseen.

    Raises:
        InputError: a shoulder or hip is not in the box.
    """
    in_box = keypoints.mark_unseen(pictures.fractions_in_box(joints, width, height, box))
    if missing := keypoints.missing_required(in_box):
        raise InputError(f"unseen: {', '.join(missing)} (both shoulders and hips are needed)")
    return in_box


def estimation_in_words(options: Options) -> dict[str, str]:
    """The entries of `Source.how` for estimated joints and for people who are cut out."""
    how = {"joints": "those that the annotations lack are estimated"} if options.estimate else {}
    return {**how, "background": f"{options.cutout}, people are cut out"} if options.cutout else how


def fit_in_words(fit: str) -> str:
    return {
        "stretch": "the whole picture, stretched to a square",
        "pad": "the whole picture, its short side padded with its edge",
        "crop": "the square in the picture's middle",
    }[fit]
