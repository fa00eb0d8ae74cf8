"""People of COCO: a person-keypoints JSON and a folder of photographs (https://cocodataset.org/#format-data)."""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.source import Options, Source, leaves_folder, person_example
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import json_fault

SCHEMA = "coco17"


class Photograph(NamedTuple):
    """One photograph and the annotations of its people; split "": by hash."""

    file: str
    people: tuple[dict, ...]
    split: str


def open_source(options: Options) -> Source:
    """People cropped from photographs, a square around each with a margin.

    An annotation may name `person` and `sequence` besides COCO's own fields: pictures with the same ones share their
    `appearance_id`. Others have one each.

    Raises:
        InputError: if a flag is missing or an annotation file is not in COCO's format.
    """
    options.require("images", "annotations")
    if not options.images.is_dir():
        raise InputError(f"--images={options.images} is not a folder")
    options = options.with_defaults(image_size=256, encoding="jpeg")
    rejects: list[Rejected] = []
    if options.valid_annotations:
        items = _photographs(options.annotations, "train", rejects)
        items += _photographs(options.valid_annotations, "valid", rejects)
    else:
        items = _photographs(options.annotations, "", rejects)

    return Source(
        items=items,
        make=partial(_make, options=options),
        name_of=lambda item: item.file,
        image_size=options.image_size,
        has_joints=True,
        rejects=rejects,
        valid_fraction=options.valid_fraction,
        how={
            "picture": f"a square around the person's box, {options.margin:.0%} of its longer side added on each side, "
            "the photograph's edge repeated beyond it",
            "left out": f"crowds, boxes under {options.min_person} pixels, people with fewer than {options.min_joints} "
            "of the 15 joints seen or without shoulders and hips",
            "appearance_id": "person and sequence where annotated, else the annotation's id",
            "split": "by annotation file"
            if options.valid_annotations
            else "by hash of the person where annotated, else of the file name, "
            f"{options.valid_fraction:.0%} valid, at least one",
        },
    )


def _make(item: Photograph, options: Options) -> list[Example | Rejected]:
    picture = pictures.read_picture(options.images / item.file)
    made: list[Example | Rejected] = []
    for annotation in item.people:
        name = f"{item.file}#{annotation.get('id')}"
        try:
            made.append(_person(picture, annotation, item, name, options))
        except InputError as error:
            made.append(Rejected(name, str(error)))
    return made


def _person(picture, annotation, item, name, options) -> Example:
    if annotation.get("iscrowd"):
        raise InputError("a crowd, not one person")
    box = square_around(annotation.get("bbox"), options.margin, options.min_person)
    try:
        values = np.asarray(annotation["keypoints"], np.float32).reshape(-1, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("its keypoints are no list of x, y, v") from error
    joints = keypoints.to_canonical(values[:, :2], SCHEMA, visible=values[:, 2] > 0)
    height, width = picture.shape[:2]
    person, sequence = annotation.get("person"), annotation.get("sequence")
    appearance = "/".join(str(part) for part in (person, sequence) if part is not None)
    return person_example(
        picture,
        keypoints.pixels_to_fractions(joints, width, height),
        box,
        options,
        split=item.split,
        split_key=appearance or item.file,
        name=name,
        appearance_id=appearance or name,
        shape_id=name,
        attributes={"box": list(box)},
    )


def square_around(bbox, margin: float, least: int = 0) -> pictures.Box:
    """The square around a person.

    Args:
        bbox: COCO's box [x, y, width, height] in pixels.
        margin: what is added on each side, as a fraction of the longer side.
        least: length in pixels that the longer side must have.

    Raises:
        InputError: if it is no such box, or too small.
    """
    try:
        left, top, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError) as error:
        raise InputError("it has no box of x, y, width, height") from error
    longer = max(width, height)
    if not (np.isfinite([left, top, width, height]).all() and min(width, height) > 0 and longer < 1e5):
        raise InputError(f"its box {bbox} is no rectangle of pixels")
    if longer < least:
        raise InputError(f"a box smaller than --min_person={least} pixels")
    side = round(longer * (1 + 2 * margin))
    return pictures.Box(round(left + width / 2 - side / 2), round(top + height / 2 - side / 2), side, side)


def _photographs(path: Path, split: str, rejects: list[Rejected]) -> list[Photograph]:
    try:
        content = json.loads(path.read_bytes())
        images, annotations = content["images"], content["annotations"]
        files = {image["id"]: str(image["file_name"]) for image in images}
        people: dict[object, list[dict]] = {}
        for annotation in annotations:
            people.setdefault(annotation["image_id"], []).append(annotation)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a COCO person-keypoints file: {json_fault(error)}") from error
    for image_id in [image_id for image_id in people if image_id not in files]:
        rejects.append(Rejected(f"{path.name}: image {image_id}", "annotated, but not in the file's list of images"))
    by_file: dict[str, list[dict]] = {}  # a photograph that is listed twice is read once, with all its people
    for image_id, file in files.items():
        if image_id not in people:
            rejects.append(Rejected(file, "no person is annotated"))
        elif leaves_folder(file):
            rejects.append(Rejected(file, "the file name leaves the folder of --images"))
        else:
            by_file.setdefault(file, []).extend(people[image_id])
    return [Photograph(file, tuple(annotations), split) for file, annotations in by_file.items()]
