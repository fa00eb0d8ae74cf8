"""DeepFashion and Market-1501 with the widely published keypoint files: `name:keypoints_y:keypoints_x`.

There is one person in a picture, with 18 OpenPose joints as two lists of pixels; -1 is unseen. The file name has the
person's identity.
"""

import csv
import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.estimation import largest
from vunet_tf.body.skeleton import SCHEMAS
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.source import (
    DEFAULT_FITS,
    Options,
    Source,
    completed,
    estimation_in_words,
    fit_in_words,
    leaves_folder,
    people_in,
    person_example,
)
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes
from vunet_tf.files.words import DOCUMENT_ERRORS

SCHEMA = "openpose18"
_NOTHING = str([-1] * len(SCHEMAS[SCHEMA]))
COLUMNS = ["name", "keypoints_y", "keypoints_x"]

# Person 00000002 in outfit 02: "WOMEN/Dresses/id_00000002/02_1_front.jpg", or in flat folders
# "fashionWOMENDressesid0000000202_1front.jpg".
_DEEPFASHION = re.compile(r"id_?(\d{8})/?(\d{2})_")
# "0002_c1s1_000451_03.jpg": person 0002. 0000 and -1 are not persons but distractors and junk.
_MARKET = re.compile(r"^(-1|\d{4})_c\d")


def deepfashion_identity(file: str) -> str | None:
    """Person and outfit in the name of a DeepFashion picture: "00000002_02"; None if there is none."""
    match = _DEEPFASHION.search(file)
    return f"{match[1]}_{match[2]}" if match else None


def market_identity(file: str) -> str | None:
    """The person in the name of a Market-1501 picture, such as "0002". Every distractor counts as a new person."""
    match = _MARKET.match(Path(file).name)
    if not match:
        return None
    return Path(file).stem if match[1] in ("-1", "0000") else match[1]


class Row(NamedTuple):
    """A line of the file. The two lists are still text, so that a bad line is one reject.

    The split is "" if a hash decides it. A picture without a line, whose joints are estimated, has no seen joint.
    """

    file: str
    y: str = _NOTHING
    x: str = _NOTHING
    split: str = ""


def open_deepfashion(options: Options) -> Source:
    """DeepFashion's in-shop pictures, 256 pixels unless told otherwise."""
    return _open(options, deepfashion_identity, 256, DEFAULT_FITS["deepfashion"])


def open_market(options: Options) -> Source:
    """Market-1501, 64 x 128 pixels stretched to 128 x 128 unless told otherwise."""
    return _open(options, market_identity, 128, DEFAULT_FITS["market"])


def _open(options: Options, identity_of: Callable[[str], str | None], default_size: int, default_fit: str) -> Source:
    options.require("images")
    if not (options.annotations or options.estimate):
        raise InputError("this source needs --annotations, or --estimate, which finds the joints without them")
    if options.valid_annotations and not options.annotations:  # its pictures would also be among all of --images
        raise InputError(
            f"--valid_annotations={options.valid_annotations} needs --annotations, the pictures for training; or leave "
            "it out, and a hash of the identity decides the split"
        )
    options.require_estimator()
    if not options.images.is_dir():
        raise InputError(f"--images={options.images} is not a folder")
    options = options.with_defaults(image_size=default_size, fit=default_fit, encoding="jpeg")
    rejects: list[Rejected] = []
    if options.annotations:
        rows = _rows(options.annotations, "train" if options.valid_annotations else "", rejects)
    else:
        rows = [Row(path.relative_to(options.images).as_posix()) for path in pictures.list_pictures(options.images)]
    if options.valid_annotations:
        rows += _rows(options.valid_annotations, "valid", rejects)

    return Source(
        items=rows,
        make=partial(_make, options=options, identity_of=identity_of),
        name_of=lambda row: row.file,
        image_size=options.image_size,
        has_joints=True,
        rejects=rejects,
        valid_fraction=options.valid_fraction,
        how={
            "picture": fit_in_words(options.fit),
            "left out": f"people with fewer than {options.min_joints} of the 15 joints or without shoulders and hips",
            **estimation_in_words(options),
            "appearance_id": "the identity in the file name",
            "split": "by keypoint file"
            if options.valid_annotations
            else f"by hash of the identity, {options.valid_fraction:.0%} valid, at least one",
        },
    )


def _make(row: Row, options: Options, identity_of) -> list[Example | Rejected]:
    identity = identity_of(row.file)
    if identity is None:
        raise InputError("its name holds no identity of this data set; use --source=folder or --source=coco")
    joints = _joints(row)
    picture = pictures.read_picture(options.images / row.file)
    height, width = picture.shape[:2]
    found = largest(people_in(picture, options))
    return [
        person_example(
            picture,
            completed(keypoints.pixels_to_fractions(joints, width, height), found),
            pictures.fit_box(width, height, options.fit),
            options,
            mask=found and found.mask,
            split=row.split,
            split_key=identity,
            name=row.file,
            appearance_id=identity,
            shape_id=row.file,
        )
    ]


def _rows(path: Path, split: str, rejects: list[Rejected]) -> list[Row]:
    csv.field_size_limit(2**20)
    try:
        text = io.StringIO(read_bytes(path).decode("utf-8-sig"), newline="")
        lines = list(csv.reader(text, delimiter=":", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a keypoint file: {error}") from error
    if not lines or [column.strip() for column in lines[0]] != COLUMNS:
        raise InputError(f"{path} is not a keypoint file: its first line is not {':'.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        if len(line) != len(COLUMNS):
            rejects.append(Rejected(f"{path.name}:{number}", f"{len(line)} columns instead of {len(COLUMNS)}"))
        elif leaves_folder(line[0].strip()):
            rejects.append(Rejected(line[0], "the file name leaves the folder of --images"))
        else:
            rows.append(Row(line[0].strip(), line[1], line[2], split))
    return rows


def _joints(row: Row) -> np.ndarray:
    try:
        points = np.array([json.loads(row.x), json.loads(row.y)], np.float32).T
    except DOCUMENT_ERRORS as error:
        raise InputError("its keypoints are not two lists of numbers of one length") from error
    if points.ndim != 2:
        raise InputError("its keypoints are not two lists of numbers of one length")
    return keypoints.to_canonical(points, SCHEMA, visible=(points >= 0).all(axis=1))
