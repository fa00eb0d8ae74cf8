"""Any folder of pictures. The shape is edges, a map of the same name in another folder, or the joints of people."""

from functools import partial
from pathlib import Path

import numpy as np

from vunet_tf.body.estimation import Estimate
from vunet_tf.data.edges import edge_map
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.source import (
    DEFAULT_FITS,
    Options,
    Source,
    estimation_in_words,
    fit_in_words,
    people_in,
    person_example,
    pictures_below_input,
    square_around,
)
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError


def open_source(options: Options) -> Source:
    """All pictures below --input, or with --estimate all people in these pictures.

    With --shapes, the shapes are the maps (silhouettes, body maps, edges) of the same names.

    Raises:
        InputError: if --input is missing or has no pictures, or --shapes is no folder.
    """
    options.require("input")
    options.require_estimator()
    if options.estimate:
        return _open_people(options)
    if options.shapes and not options.shapes.is_dir():
        raise InputError(f"--shapes={options.shapes} is not a folder")
    options = options.with_defaults(image_size=256, fit=DEFAULT_FITS["folder"], encoding="jpeg")

    return Source(
        **pictures_below_input(options),
        make=partial(_make, options=options),
        has_joints=False,
        shape_channels=3 if options.shapes else 1,
        how={
            "picture": fit_in_words(options.fit),
            "shape": "the map of the same name in the folder --shapes"
            if options.shapes
            else "Canny edges of the picture",
            "split": f"by hash of the name, {options.valid_fraction:.0%} valid, at least one",
        },
    )


def _open_people(options: Options) -> Source:
    """The people whom the pose estimator finds in the pictures."""
    if options.shapes:
        raise InputError(f"--shapes={options.shapes}: with --estimate the shapes are the joints; leave one out")
    options = options.with_defaults(image_size=256, encoding="jpeg")
    return Source(
        **pictures_below_input(options),
        make=partial(_make_people, options=options),
        has_joints=True,
        how={
            **estimation_in_words(options),
            "picture": fit_in_words(options.fit)
            if options.fit
            else f"a square around each person, {options.margin:.0%} of the box's longer side added on each side",
            "joints": "estimated",
            "left out": f"people of whom the estimator is less sure than {options.min_score}, smaller than "
            f"{options.min_person} pixels, with fewer than {options.min_joints} joints or without shoulders and hips",
            "split": f"by hash of the file name, {options.valid_fraction:.0%} valid, at least one",
        },
    )


def _make_people(path: Path, options: Options) -> list[Example | Rejected]:
    file, picture = path.relative_to(options.input).as_posix(), pictures.read_picture(path)
    people = people_in(picture, options)
    if not people:
        raise InputError("the pose estimator finds no person in it")
    made: list[Example | Rejected] = []
    for number, found in enumerate(people, start=1):
        name = f"{file}#{number}"
        try:
            made.append(_person(picture, found, name, file, options))
        except InputError as error:
            made.append(Rejected(name, f"{error}; the estimator's score is {found.score:.2f}"))
    return made


def _person(picture: np.ndarray, found: Estimate, name: str, file: str, options: Options) -> Example:
    if found.score < options.min_score:
        raise InputError(f"perhaps no person (--min_score={options.min_score})")
    box = square_around(found.box, options.margin, options.min_person)
    if options.fit:
        box = pictures.fit_box(picture.shape[1], picture.shape[0], options.fit)
    return person_example(
        picture,
        found.person().joints,
        box,
        options,
        mask=found.mask,
        split="",
        split_key=file,
        name=name,
        appearance_id=name,
        shape_id=name,
        attributes={"box": list(box), "score": round(found.score, 4)},
    )


def _make(path: Path, options: Options) -> list[Example]:
    name = path.relative_to(options.input).as_posix()
    shape = pictures.read_picture(map_of(options.shapes / name)) if options.shapes else None
    square, shape = fitted(pictures.read_picture(path), shape, options.fit, options.image_size)
    return [
        Example(
            split="",
            split_key=name,
            name=name,
            appearance_id=name,
            shape_id=name,
            image=pictures.encode(square, options.encoding),
            shape=pictures.encode(shape, "png"),
        )
    ]


def fitted(picture: np.ndarray, shape: np.ndarray | None, fit: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its shape map as squares.

    Args:
        picture: [H, W, 3] uint8.
        shape: [h, w, 3] uint8, its map, of any size. If it is None, the map is the edges of the picture.
        fit: one of `pictures.FITS`.
        size: side of the squares in pixels.

    Returns:
        [size, size, 3] uint8, and the map: [size, size, 3], or [size, size, 1] for edges.
    """
    box = pictures.fit_box(picture.shape[1], picture.shape[0], fit)
    square = pictures.cut(picture, box, size)
    if shape is None:
        return square, edge_map(square) * _is_picture(box, picture, size)
    return square, pictures.cut(shape, pictures.fit_box(shape.shape[1], shape.shape[0], fit), size)


def _is_picture(box: pictures.Box, picture: np.ndarray, size: int) -> np.ndarray:
    """Where a square shows the picture and not the padding, whose streaks are not edges: [size, size, 1] of 0 or 1."""

    def inside(start, length, extent):
        centres = start + (np.arange(size) + 0.5) * length / size
        return (centres > 0) & (centres < extent)

    rows = inside(box.top, box.height, picture.shape[0])
    columns = inside(box.left, box.width, picture.shape[1])
    return (rows[:, None] & columns).astype(np.uint8)[..., None]


def map_of(path: Path) -> Path:
    """The map of a picture: a file with the same name and the ending of any picture format."""
    endings = [path.suffix, *pictures.SUFFIXES, *map(str.upper, pictures.SUFFIXES)]
    for candidate in (path.with_suffix(ending) for ending in endings):
        if candidate.is_file():
            return candidate
    raise InputError(f"it has no map of the same name in {path.parent.absolute().name}")
