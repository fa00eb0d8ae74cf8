"""Any folder of pictures: the shape is its edges, or a map of the same name in another folder."""

from functools import partial
from pathlib import Path

import numpy as np

from vunet_tf.data import pictures
from vunet_tf.data.edges import edge_map
from vunet_tf.data.example import Example
from vunet_tf.data.sources.source import Options, Source, fit_in_words, split_by_hash
from vunet_tf.errors import InputError


def open_source(options: Options) -> Source:
    """All pictures below --input; with --shapes, the map (silhouette, doll, edges) of the same name there.

    Raises:
      InputError: if --input is missing or has no pictures, or --shapes is no folder.
    """
    options.require("input")
    if options.shapes and not options.shapes.is_dir():
        raise InputError(f"--shapes={options.shapes} is not a folder")
    options = options.with_defaults(image_size=256, fit="pad", encoding="jpeg")

    return Source(
        items=pictures.list_pictures(options.input),
        make=partial(_make, options=options),
        name_of=lambda path: path.relative_to(options.input).as_posix(),
        image_size=options.image_size,
        has_joints=False,
        shape_channels=3 if options.shapes else 1,
        how={
            "picture": fit_in_words(options.fit),
            "shape": f"the map of the same name in {options.shapes}"
            if options.shapes
            else "Canny edges of the picture",
            "split": f"by hash of the name, {options.valid_fraction:.0%} valid",
        },
    )


def _make(path: Path, options: Options) -> list[Example]:
    picture = pictures.read_picture(path)
    size, fit = options.image_size, options.fit
    box = pictures.fit_box(picture.shape[1], picture.shape[0], fit)
    square = pictures.cut(picture, box, size)
    name = path.relative_to(options.input).as_posix()
    if options.shapes:
        shape = pictures.read_picture(_map_of(options.shapes / name))
        shape = pictures.cut(shape, pictures.fit_box(shape.shape[1], shape.shape[0], fit), size)
    else:
        shape = edge_map(square) * _is_picture(box, picture, size)
    return [
        Example(
            split=split_by_hash(name, options.valid_fraction),
            name=name,
            appearance_id=name,
            shape_id=name,
            image=pictures.encode(square, options.encoding),
            shape=pictures.encode(shape, "png"),
        )
    ]


def _is_picture(box: pictures.Box, picture: np.ndarray, size: int) -> np.ndarray:
    """Where a square shows the picture and not the padding, whose streaks are no edges: [size, size, 1] of 0 and 1."""

    def inside(start, length, extent):
        centres = start + (np.arange(size) + 0.5) * length / size
        return (centres > 0) & (centres < extent)

    rows = inside(box.top, box.height, picture.shape[0])
    columns = inside(box.left, box.width, picture.shape[1])
    return (rows[:, None] & columns).astype(np.uint8)[..., None]


def _map_of(path: Path) -> Path:
    """The map of a picture: the same name, with any picture's ending."""
    endings = [path.suffix, *pictures.SUFFIXES, *map(str.upper, pictures.SUFFIXES)]
    for candidate in (path.with_suffix(ending) for ending in endings):
        if candidate.is_file():
            return candidate
    raise InputError("it has no map of the same name in --shapes")
