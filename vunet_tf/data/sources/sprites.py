"""Sprite sheets in the format `vunet-sprites-1`: every character in every pose. All characters share the shape maps.

`index.json` names the grid, the frames (action, direction, split), the appearances (sheet, attributes, split) and the
shape maps. So the data has the true picture of every transfer.
"""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.source import Options, Source, leaves_folder
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes
from vunet_tf.files.words import DOCUMENT_ERRORS, json_fault, shortened, shown

FORMAT = "vunet-sprites-1"
_FRAME_ATTRIBUTES = ("action", "direction", "t", "pose_seen_in_train")
GREY_MAPS = ("body", "mask", "edges")  # the other maps are in colour


def open_source(options: Options) -> Source:
    """All characters in all poses.

    Raises:
        InputError: --input is not such a folder, its index is damaged, or it has no map --shape_map.
    """
    options.require("input")
    path = options.input / "index.json"
    try:
        index = json.loads(read_bytes(path))
        found = index.get("format")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except DOCUMENT_ERRORS as error:
        raise InputError(f"{path} is not a sprite index: {json_fault(error)}") from error
    if found != FORMAT:
        raise InputError(f"{path} has format {shown(found)}, this version reads {FORMAT!r}")
    options = options.with_defaults(shape_map="body", encoding="png")
    map_name = options.shape_map
    try:
        cell, frames = int(index["cell"]), index["frames"]
        maps = {
            shape_set: _sheet(options.input, _named(paths, map_name, path), map_name)
            for shape_set, paths in index["shape_maps"].items()
        }
        background = np.array(index["background"], np.uint8)
        if cell < 1 or background.shape != (3,):
            raise InputError(f"{path} is damaged: cell is a number of pixels, background three numbers up to 255")
        appearances = [appearance for appearance in index["appearances"] if appearance["shape_set"] in maps]
        size = options.image_size or cell
        shapes = _encoded_shapes(maps, frames, cell, size)
        if not all(isinstance(frame["split"], str) for frame in frames):
            raise TypeError
    except DOCUMENT_ERRORS as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {json_fault(error)}") from error
    grid = _Grid(options.input, cell, frames, background, shapes)

    return Source(
        items=appearances,
        make=partial(_make, grid=grid, size=size, encoding=options.encoding),
        name_of=lambda appearance: str(appearance.get("sheet")),
        image_size=size,
        has_joints=False,
        shape_channels=1 if map_name in GREY_MAPS else 3,
        how={
            "picture": f"cells of {cell} pixels",
            "shape": f"the map {map_name!r}",
            "mask": f"where the picture is not the background {background.tolist()}",
            "split": "train: characters and poses for training; valid: neither seen; valid_shape: seen characters in "
            "unseen poses; valid_appearance: unseen characters in seen poses. Poses are unseen by the index's own "
            "split, by action: the attribute pose_seen_in_train tells the few that a training frame shares",
        },
    )


class _Grid(NamedTuple):
    """What all characters share: the layout of the sheets and the shape maps, as the bytes of PNG files."""

    folder: Path
    cell: int
    frames: list[dict]
    background: np.ndarray
    shapes: dict[str, bytes]


def _make(appearance: dict, grid: _Grid, size: int, encoding: str) -> list[Example | Rejected]:
    attributes = appearance.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(appearance.get(key), str) for key in ("sheet", "split")):
        raise InputError("its entry in the index has no sheet or split, or its attributes have no names")
    identity = str(appearance.get("id"))
    sheet = _sheet(grid.folder, appearance["sheet"], "picture")
    made: list[Example | Rejected] = []
    for frame in grid.frames:
        shape_id = _shape_id(appearance["shape_set"], frame)
        try:
            picture = _cell(sheet, frame, grid.cell)
        except InputError as error:
            made.append(Rejected(f"{appearance['sheet']} frame {frame['id']}", str(error)))
            continue
        mask = np.any(picture != grid.background, axis=-1).astype(np.uint8) * 255
        made.append(
            Example(
                split=_split(appearance["split"], frame["split"]),
                name=f"{identity}/{frame['id']}",
                appearance_id=identity,
                shape_id=shape_id,
                image=pictures.encode(_resized(picture, size), encoding),
                shape=grid.shapes[shape_id],
                mask=pictures.encode(_resized(mask, size), "png"),
                attributes={
                    **attributes,
                    **{key: frame[key] for key in _FRAME_ATTRIBUTES if key in frame},
                },
            )
        )
    return made


def _shape_id(shape_set: str, frame: dict) -> str:
    """The id of a frame's shape. Frames whose maps are the same in every pixel share it."""
    return f"{shape_set}/{frame.get('same_pose_as', frame['id'])}"


def _split(appearance: str, frame: str) -> str:
    """Characters are "train", "valid" or "heldout", poses "train" or "test"; see `how` in `open_source`."""
    if appearance == "train":
        return "train" if frame == "train" else "valid_shape"
    return f"{appearance}_appearance" if frame == "train" else appearance


def _named(paths: dict[str, str], map_name: str, index: Path) -> str:
    if map_name not in paths:
        raise InputError(f"{index} has no shape map {map_name!r} (--shape_map); it has {shortened(', '.join(paths))}")
    return paths[map_name]


def _sheet(folder: Path, name: str, map_name: str) -> np.ndarray:
    if leaves_folder(name):
        raise InputError(f"{shortened(name)} leaves the folder of --input")
    try:
        sheet = pictures.read_picture(folder / name)
    except InputError as error:
        raise InputError(f"{shortened(name)}: {error}") from error
    return pictures.to_grey(sheet) if map_name in GREY_MAPS else sheet


def _cell(sheet: np.ndarray, frame: dict, cell: int) -> np.ndarray:
    top, left = frame["row"] * cell, frame["col"] * cell
    picture = sheet[top : top + cell, left : left + cell]
    if picture.shape[:2] != (cell, cell):
        raise InputError(f"its cell (row {frame['row']}, column {frame['col']}) is not in the sheet")
    return picture


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    return pictures.cut(picture, pictures.fit_box(picture.shape[1], picture.shape[0], "stretch"), size)


def _encoded_shapes(maps, frames, cell, size) -> dict[str, bytes]:
    """The shape map of every pose as the bytes of a PNG file. It is made once for all characters."""
    return {
        _shape_id(shape_set, frame): pictures.encode(_resized(_cell(sheet, frame, cell), size), "png")
        for shape_set, sheet in maps.items()
        for frame in frames
    }
