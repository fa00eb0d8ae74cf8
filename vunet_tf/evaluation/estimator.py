"""How far a pose estimator is from annotated joints, and how fast it is."""

import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.estimation import Estimator, estimated, nearest
from vunet_tf.body.skeleton import COCO_17
from vunet_tf.data.sources.coco import photographs
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

SIDE = 256  # errors are in pixels of a picture whose longer side has so many pixels
_HIDDEN, _VISIBLE = 1, 2  # COCO's labels of annotated joints


class Accuracy(NamedTuple):
    """What was measured.

    Attributes:
        errors: {"visible", "hidden": distances of the joints with this label, in pixels of pictures of `SIDE`, for the
            people who were found}. If the annotators call a joint hidden, its place is their guess.
        people: number of annotated people.
        found: number of those for whom an estimate has an overlapping box.
        missed: the files of the others.
        pictures_per_second: speed of reading and estimating.
    """

    errors: dict[str, np.ndarray]
    people: int
    found: int
    missed: list[str]
    pictures_per_second: float


def measure(estimator: Estimator, images: Path, annotations: Path, leave_out: Sequence[str] = ()) -> Accuracy:
    """Compares the joints of every annotated person with those of the estimate whose box overlaps most with theirs.

    All annotated joints count, whatever their confidence.

    Args:
        images: the folder of the photographs.
        annotations: COCO's person keypoints.
        leave_out: patterns of file names (such as "coco_12*") that are not measured.

    Raises:
        InputError: a file cannot be read, or nothing is left to be measured.
    """
    items = [
        item for item in photographs(annotations, "", []) if not any(fnmatch(item.file, text) for text in leave_out)
    ]
    if not items:
        raise InputError(f"{annotations} has no annotated person, or all are left out")
    errors, missed, count = {"visible": [], "hidden": []}, [], 0
    start = time.perf_counter()
    for item, picture, people in estimated(estimator, ((item, _read(images / item.file)) for item in items)):
        height, width = picture.shape[:2]
        for annotation in filter(_is_annotated, item.people):
            count += 1
            found = nearest(people, annotation["bbox"])
            if found is None:
                missed.append(item.file)
                continue
            table = np.asarray(annotation["keypoints"], np.float32).reshape(-1, 3)
            made = keypoints.fractions_to_pixels(found.joints, width, height)
            for name, label in (("visible", _VISIBLE), ("hidden", _HIDDEN)):
                truth = keypoints.to_canonical(table[:, :2], COCO_17, visible=table[:, 2] == label)
                distances = np.hypot(*(made - truth).T) * SIDE / max(height, width)
                errors[name] += distances[np.isfinite(distances)].tolist()
    return Accuracy(
        errors={name: np.array(values) for name, values in errors.items()},
        people=count,
        found=count - len(missed),
        missed=missed,
        pictures_per_second=len(items) / (time.perf_counter() - start),
    )


def _is_annotated(annotation: dict) -> bool:
    """Whether it is one person with a box and at least one joint. COCO has many people without joints."""
    labels = annotation.get("keypoints", ())[2::3]
    return any(labels) and "bbox" in annotation and not annotation.get("iscrowd")


def _read(path: Path) -> np.ndarray:
    try:
        return pictures.read_picture(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
