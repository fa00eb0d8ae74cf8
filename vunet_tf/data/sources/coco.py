"""People of COCO: a person-keypoints JSON and a folder of photographs (https://cocodataset.org/#format-data)."""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.estimation import nearest
from vunet_tf.body.skeleton import SCHEMAS
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.source import (
    Options,
    Source,
    completed,
    estimation_in_words,
    leaves_folder,
    people_in,
    person_example,
    square_around,
)
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes
from vunet_tf.files.words import DOCUMENT_ERRORS, json_fault

SCHEMA = "coco17"
_NOTHING = [0] * 3 * len(SCHEMAS[SCHEMA])


class Photograph(NamedTuple):
    """One photograph and the annotations of its people. The split is "" if a hash decides it."""

    file: str
    people: tuple[dict, ...]
    split: str


def open_source(options: Options) -> Source:
    """People cropped from photographs, a square around each with a margin.

    An annotation may have the fields `person` and `sequence` besides COCO's own. Pictures in which both are the same
    share their `appearance_id`. All others have an `appearance_id` of their own.

    Raises:
        InputError: if a flag is missing or an annotation file is not in COCO's format.
    """
    options.require("images", "annotations")
    options.require_estimator()
    if not options.images.is_dir():
        raise InputError(f"--images={options.images} is not a folder")
    options = options.with_defaults(image_size=256, encoding="jpeg")
    rejects: list[Rejected] = []
    if options.valid_annotations:
        items = photographs(options.annotations, "train", rejects)
        items += photographs(options.valid_annotations, "valid", rejects)
    else:
        items = photographs(options.annotations, "", rejects)

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
            **estimation_in_words(options),
            "appearance_id": "person and sequence where annotated, else the annotation's id",
            "split": "by annotation file"
            if options.valid_annotations
            else "by hash of the person where annotated, else of the file name, "
            f"{options.valid_fraction:.0%} valid, at least one",
        },
    )


def _make(item: Photograph, options: Options) -> list[Example | Rejected]:
    picture = pictures.read_picture(options.images / item.file)
    people = people_in(picture, options)
    made: list[Example | Rejected] = []
    for annotation in item.people:
        name = f"{item.file}#{annotation.get('id')}"
        try:
            made.append(_person(picture, annotation, item, name, options, people))
        except InputError as error:
            made.append(Rejected(name, str(error)))
    return made


def _person(picture, annotation, item, name, options, people) -> Example:
    if annotation.get("iscrowd"):
        raise InputError("a crowd, not one person")
    box = square_around(annotation.get("bbox"), options.margin, options.min_person)
    try:
        given = annotation.get("keypoints", _NOTHING) if options.estimate else annotation["keypoints"]
        values = np.asarray(given, np.float32).reshape(-1, 3)
    except DOCUMENT_ERRORS as error:
        raise InputError("its keypoints are no list of x, y, v") from error
    joints = keypoints.to_canonical(values[:, :2], SCHEMA, visible=values[:, 2] > 0)
    height, width = picture.shape[:2]
    found = nearest(people, annotation["bbox"])
    joints = completed(keypoints.pixels_to_fractions(joints, width, height), found)
    person, sequence = annotation.get("person"), annotation.get("sequence")
    appearance = "/".join(str(part) for part in (person, sequence) if part is not None)
    return person_example(
        picture,
        joints,
        box,
        options,
        mask=found and found.mask,
        split=item.split,
        split_key=appearance or item.file,
        name=name,
        appearance_id=appearance or name,
        shape_id=name,
        attributes={"box": list(box)},
    )


def photographs(path: Path, split: str, rejects: list[Rejected]) -> list[Photograph]:
    """The photographs of a person-keypoints file, each with its people. What is left out is added to `rejects`.

    Raises:
        InputError: the file cannot be read or has another format.
    """
    try:
        content = json.loads(read_bytes(path))
        images, annotations = content["images"], content["annotations"]
        files = {image["id"]: str(image["file_name"]) for image in images}
        people: dict[object, list[dict]] = {}
        for annotation in annotations:
            people.setdefault(annotation["image_id"], []).append(annotation)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except DOCUMENT_ERRORS as error:
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
