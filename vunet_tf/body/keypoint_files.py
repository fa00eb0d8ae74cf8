"""Files with a person's joints: COCO's and OpenPose's JSON beside pictures, and our own format of joints alone.

These files are in pixels of the picture: a COCO person-keypoints file (https://cocodataset.org/#format-data), a list of
COCO results, a single annotation, and what OpenPose writes for a picture with --write_json.

Our own format is in fractions of the picture (see `vunet_tf.body.keypoints`), so that no picture is needed to read it:

  {"format": "vunet-joints-1", "unit": "fractions", "order": [the 15 joints' names],
   "joints": [[x, y] or null for an unseen one, ...]}

A bare list of 15 pairs is read as fractions in the order of `skeleton.JOINTS`, if none is beyond [-1, 1].
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.body import keypoints
from vunet_tf.body.skeleton import COCO_17, JOINTS, SCHEMAS
from vunet_tf.files import atomic, pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes
from vunet_tf.files.words import DOCUMENT_ERRORS, json_fault, shown

FORMAT = "vunet-joints-1"
_OPENPOSE_SCHEMAS = {3 * len(SCHEMAS[name]): name for name in ("body25", "openpose18")}
_KNOWN = f"neither COCO's nor OpenPose's JSON nor {FORMAT}"


class Person(NamedTuple):
    """One person of a file.

    Attributes:
        joints: [15, 2] float32 fractions of the picture; NaN where unseen.
        box: left, top, width and height in pixels: the file's own box, else the one around the seen joints.
    """

    joints: np.ndarray
    box: tuple[float, ...]


def read_person(path: Path, picture: str, size: tuple[int, int]) -> Person:
    """The person of a picture. Of several, it is the one with the largest box.

    Args:
        path: the JSON file.
        picture: file name of the picture, by which a file of many pictures finds its own.
        size: width and height of the picture in pixels.

    Raises:
        InputError: if the file cannot be read, is of no known format, or has no person for this picture.
    """
    content = _content(path)
    with _named(path):
        if content.fractions is not None:
            return Person(content.fractions, _box_around(keypoints.fractions_to_pixels(content.fractions, *size)))
        people = [_person(entry, size) for entry in content.of(picture) if not entry.get("iscrowd")]
    if not people:
        raise InputError(f"{path} has no person for {picture}")
    return max(people, key=lambda person: person.box[2] * person.box[3])


def read_joints(path: Path | str, picture: Path | str | None = None) -> np.ndarray:
    """The joints of a file of any known format, [15, 2] float32 fractions; (-1, -1) where unseen.

    Args:
        path: the JSON file.
        picture: the picture that the file belongs to, by default the one of the same name beside it. COCO's and
            OpenPose's files are in pixels and need it, except a COCO file of one picture that states its size.

    Raises:
        InputError: as `read_person`, and if the size of the picture is not known.
    """
    path = Path(path)
    content = _content(path)
    if content.fractions is not None:
        return keypoints.mark_unseen(content.fractions)
    beside = (path.with_suffix(suffix) for suffix in pictures.SUFFIXES)
    picture = Path(picture) if picture else next(filter(Path.is_file, beside), None)
    if picture:
        try:
            height, width = pictures.read_picture(picture).shape[:2]
        except InputError as error:
            raise InputError(f"{picture}: {error}") from error
    elif content.size:
        width, height = content.size
    else:
        raise InputError(
            f"{path} has joints in pixels, and the size of its picture is not known: put the picture of the same name "
            f"beside it, or write fractions (format {FORMAT})"
        )
    return keypoints.mark_unseen(read_person(path, (picture or path).name, (width, height)).joints)


def write_joints(path: Path | str, joints: np.ndarray) -> None:
    """Writes [15, 2] fractions of a picture in our format. Joints that are NaN or outside the picture are unseen.

    Raises:
        OSError: if it cannot be written.
    """
    pairs = [
        [round(float(x), 6), round(float(y), 6)] if seen else None
        for (x, y), seen in zip(joints, keypoints.seen(joints), strict=True)
    ]
    content = {"format": FORMAT, "unit": "fractions", "order": JOINTS, "joints": pairs}
    atomic.write_text(Path(path), json.dumps(content) + "\n")


def write_people(path: Path | str, people: Iterable[tuple[str, tuple[int, int], Sequence]]) -> None:
    """Writes people as COCO's person keypoints, which `prepare --source=coco` and `generate` read.

    Args:
        people: for each picture, its file name, its width and height in pixels, and its `estimation.Estimate`s.

    Raises:
        OSError: if it cannot be written.
    """
    images, annotations = [], []
    for number, (name, (width, height), estimates) in enumerate(people, start=1):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for estimate in estimates:
            points = keypoints.fractions_to_pixels(estimate.person().joints, width, height)
            seen = {
                joint: point.round(2).tolist()
                for joint, point in zip(JOINTS, points, strict=True)
                if np.isfinite(point).all()
            }
            triples = [(*seen[joint], 2) if joint in seen else (0, 0, 0) for joint in COCO_17]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [round(value, 2) for value in estimate.box],
                    "score": round(estimate.score, 4),
                    "num_keypoints": sum(triple[2] > 0 for triple in triples),
                    "keypoints": [number for triple in triples for number in triple],
                }
            )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    atomic.write_text(Path(path), json.dumps(content) + "\n")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns an error in the block into an InputError that names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except DOCUMENT_ERRORS as error:
        raise InputError(f"{path} is {_KNOWN}: {json_fault(error)}") from error


class _Content(NamedTuple):
    """A parsed file.

    people: the people, if the file is for one picture.
    by_image, image_ids: if it is COCO's file: annotations of each picture, and ids of pictures by file name.
    size: if it is COCO's file of one picture and states its size: width and height.
    fractions: if the file is in fractions: [15, 2] joints; NaN where unseen.
    """

    people: list[dict] = []  # noqa: RUF012 (never changed)
    by_image: dict[object, list[dict]] = {}  # noqa: RUF012
    image_ids: dict[str, object] = {}  # noqa: RUF012
    size: tuple[int, int] | None = None
    fractions: np.ndarray | None = None

    def of(self, picture: str) -> list[dict]:
        """The annotations of a picture."""
        return self.by_image.get(self._image_id(Path(picture)), []) if self.by_image else self.people

    def _image_id(self, picture: Path) -> object:
        """The id of a picture in a COCO file. A list of results has the file name as id, or the number in that name."""
        if picture.name in self.image_ids:
            return self.image_ids[picture.name]
        for image_id in (picture.name, picture.stem, *([int(picture.stem)] if picture.stem.isdecimal() else [])):
            if image_id in self.by_image and not self.image_ids:
                return image_id
        if len(self.by_image) == 1 and len(self.image_ids) <= 1:
            return next(iter(self.by_image))
        raise InputError(f"it has no picture {picture.name}")


def _content(path: Path) -> _Content:
    with _named(path):
        status = path.stat()
        return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)  # one COCO file may serve thousands of pictures
def _parsed(path: Path, modified: int, size: int) -> _Content:
    del modified, size  # they are part of the cache's key: a changed file is read again
    content = json.loads(read_bytes(path))
    if isinstance(content, list) and not any(isinstance(entry, dict) for entry in content):
        return _Content(fractions=_fractions(content, JOINTS))
    if not isinstance(content, dict):
        return _Content(by_image=_by_image(content))
    if "format" in content:
        if (content["format"], content["unit"]) != (FORMAT, "fractions"):
            unit, found = shown(content["unit"]), shown(content["format"])
            raise InputError(f"it has joints in {unit}, format {found}; known is {FORMAT!r}")
        return _Content(fractions=_fractions(content["joints"], tuple(content["order"])))
    if "people" in content:
        return _Content(content["people"])
    if "keypoints" in content:
        return _Content([content])
    images = content.get("images", [])
    return _Content(
        by_image=_by_image(content["annotations"]),
        image_ids={Path(str(image["file_name"])).name: image["id"] for image in images},
        size=(images[0]["width"], images[0]["height"]) if len(images) == 1 and "width" in images[0] else None,
    )


def _by_image(annotations: list[dict]) -> dict[object, list[dict]]:
    by_image: dict[object, list[dict]] = {}
    for annotation in annotations:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    return by_image


def _fractions(pairs: list, order: tuple[str, ...]) -> np.ndarray:
    """The canonical joints, NaN where unseen, from a list of pairs that are None or negative where unseen."""
    points = np.array([pair or (np.nan, np.nan) for pair in pairs], np.float32)
    if points.shape != (len(order), 2):
        raise InputError(f"it must hold {len(order)} pairs [x, y], it has the shape {list(points.shape)}")
    if (np.abs(points) > 1).any():
        raise InputError(
            "its joints are not fractions of the picture, some are beyond [-1, 1]; pixels are read from COCO's and "
            "OpenPose's files only"
        )
    return keypoints.to_canonical(points, order, visible=(points >= 0).all(axis=1))


def _person(entry: dict, size: tuple[int, int]) -> Person:
    if "keypoints" in entry:
        numbers, schema = entry["keypoints"], "coco17"
    else:
        numbers = entry["pose_keypoints_2d"] if "pose_keypoints_2d" in entry else entry["pose_keypoints"]
        if len(numbers) not in _OPENPOSE_SCHEMAS:
            raise InputError(f"{len(numbers)} numbers for a person; OpenPose writes {_either(_OPENPOSE_SCHEMAS)}")
        schema = _OPENPOSE_SCHEMAS[len(numbers)]
    table = np.asarray(numbers, np.float32).reshape(-1, 3)
    seen = table[:, 2] > 0
    if seen.sum() > 1 and (table[seen, :2] <= 1).all():
        raise InputError(
            f"its keypoints lie within one pixel; write them in pixels of the picture, or as fractions in {FORMAT}"
        )
    joints = keypoints.to_canonical(table[:, :2], schema, visible=seen)
    box = entry.get("bbox") or _box_around(np.where(seen[:, None], table[:, :2], np.nan))
    if len(box) != 4:
        raise InputError("its bbox is not x, y, width, height")
    return Person(keypoints.pixels_to_fractions(joints, *size), tuple(float(value) for value in box))


def _box_around(points: np.ndarray) -> tuple[float, ...]:
    """Left, top, width and height of the box around [K, 2] points. Without any seen point, all are 0."""
    seen = points[np.isfinite(points).all(axis=1)]
    if not len(seen):
        return (0.0, 0.0, 0.0, 0.0)
    least, most = seen.min(axis=0), seen.max(axis=0)
    return tuple(map(float, (*least, *(most - least))))


def _either(numbers) -> str:
    return " or ".join(map(str, sorted(numbers)))
