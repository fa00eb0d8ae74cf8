"""Keypoint files beside pictures: a person's joints from COCO's or OpenPose's JSON.

Understood are a COCO person-keypoints file (https://cocodataset.org/#format-data), a list of COCO results, one
annotation alone, and what OpenPose writes for a picture with --write_json. Coordinates are pixels of the picture.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.skeleton import SCHEMAS
from vunet_tf.files.errors import InputError

_OPENPOSE_SCHEMAS = {3 * len(SCHEMAS[name]): name for name in ("body25", "openpose18")}


class Person(NamedTuple):
    """One person of a file.

    joints: [15, 2] float32 in pixels, whole numbers at the pixels' centres; NaN where unseen.
    box: left, top, width and height in pixels: the file's own box, else the one around the seen joints.
    """

    joints: np.ndarray
    box: tuple[float, float, float, float]


def read_person(path: Path, picture: str) -> Person:
    """The person of a picture; of several the one with the largest box.

    Args:
        path: the JSON file.
        picture: file name of the picture, by which a file of many pictures finds its own.

    Raises:
        InputError: if the file cannot be read, is of neither format, or has no person for this picture.
    """
    try:
        status = path.stat()
        people = _people(_content(path, status.st_mtime_ns, status.st_size), picture)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from error
        raise InputError(f"{path} is neither COCO's nor OpenPose's JSON ({type(error).__name__}: {error})") from error
    if not people:
        raise InputError(f"{path} has no person for {picture}")
    return max(people, key=lambda person: person.box[2] * person.box[3])


class _Content(NamedTuple):
    """A parsed file: what it holds, and the annotations of each picture where it is COCO's."""

    people: list[dict]
    by_image: dict[object, list[dict]]
    image_ids: dict[str, object]


@lru_cache(maxsize=4)  # one COCO file may serve thousands of pictures
def _content(path: Path, modified: int, size: int) -> _Content:
    del modified, size  # a changed file is another one
    content = json.loads(path.read_bytes())
    if isinstance(content, dict) and "people" in content:
        return _Content(content["people"], {}, {})
    if isinstance(content, dict) and "keypoints" in content:
        return _Content([content], {}, {})
    annotations = content["annotations"] if isinstance(content, dict) else content
    images = content.get("images", []) if isinstance(content, dict) else []
    by_image: dict[object, list[dict]] = {}
    for annotation in annotations:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    return _Content([], by_image, {Path(str(image["file_name"])).name: image["id"] for image in images})


def _people(content: _Content, picture: str) -> list[Person]:
    found = content.people
    if content.by_image:
        found = content.by_image.get(_image_id(content, Path(picture)), [])
    return [_person(entry) for entry in found if not entry.get("iscrowd")]


def _image_id(content: _Content, picture: Path) -> object:
    """The id of a picture in a COCO file; a list of results names it by its file or by the number in its name."""
    if picture.name in content.image_ids:
        return content.image_ids[picture.name]
    for image_id in (picture.name, picture.stem, *([int(picture.stem)] if picture.stem.isdecimal() else [])):
        if image_id in content.by_image and not content.image_ids:
            return image_id
    if len(content.by_image) == 1 and len(content.image_ids) <= 1:
        return next(iter(content.by_image))
    raise InputError(f"it has no picture {picture.name}")


def _person(entry: dict) -> Person:
    if "keypoints" in entry:
        numbers, schema = entry["keypoints"], "coco17"
    else:
        numbers = entry["pose_keypoints_2d"] if "pose_keypoints_2d" in entry else entry["pose_keypoints"]
        if len(numbers) not in _OPENPOSE_SCHEMAS:
            raise InputError(f"{len(numbers)} numbers for a person; OpenPose writes {_either(_OPENPOSE_SCHEMAS)}")
        schema = _OPENPOSE_SCHEMAS[len(numbers)]
    table = np.asarray(numbers, np.float32).reshape(-1, 3)
    seen = table[:, 2] > 0
    joints = keypoints.to_canonical(table[:, :2], schema, visible=seen)
    if not seen.any():
        return Person(joints, (0.0, 0.0, 0.0, 0.0))
    least, most = table[seen, :2].min(axis=0), table[seen, :2].max(axis=0)
    if seen.sum() > 1 and (most <= 1).all():
        raise InputError("its keypoints lie within one pixel; write them in pixels of the picture, not in fractions")
    box = entry.get("bbox") or (*least, *(most - least))
    return Person(joints, tuple(float(value) for value in box))


def _either(numbers) -> str:
    return " or ".join(map(str, sorted(numbers)))
