"""Any folder of pictures: the shape is its edges, or a map of the same name in another folder."""

from functools import partial
from pathlib import Path

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
    size = options.image_size or 256
    fit = options.fit or "pad"
    encoding = options.encoding or "jpeg"

    return Source(
        items=pictures.list_pictures(options.input),
        make=partial(_make, options=options, size=size, fit=fit, encoding=encoding),
        name_of=lambda path: path.relative_to(options.input).as_posix(),
        image_size=size,
        has_joints=False,
        shape_channels=3 if options.shapes else 1,
        how={
            "picture": fit_in_words(fit),
            "shape": f"the map of the same name in {options.shapes}"
            if options.shapes
            else "Canny edges of the picture",
            "split": f"by hash of the name, {options.valid_fraction:.0%} valid",
        },
    )


def _make(path: Path, options: Options, size: int, fit: str, encoding: str) -> list[Example]:
    picture = pictures.read_picture(path)
    square = pictures.cut(picture, pictures.fit_box(picture.shape[1], picture.shape[0], fit), size)
    name = path.relative_to(options.input).as_posix()
    if options.shapes:
        shape = pictures.read_picture(_map_of(options.shapes / name))
        shape = pictures.cut(shape, pictures.fit_box(shape.shape[1], shape.shape[0], fit), size)
    else:
        shape = edge_map(square)
    return [
        Example(
            split=split_by_hash(name, options.valid_fraction),
            name=name,
            appearance_id=name,
            shape_id=name,
            image=pictures.encode(square, encoding),
            shape=pictures.encode(shape, "png"),
        )
    ]


def _map_of(path: Path) -> Path:
    """The map of a picture: the same name, with any picture's ending."""
    found = [path] if path.is_file() else sorted(path.parent.glob(f"{path.stem}.*"))
    found = [candidate for candidate in found if candidate.suffix.lower() in pictures.SUFFIXES]
    if not found:
        raise InputError("it has no map of the same name in --shapes")
    return found[0]
