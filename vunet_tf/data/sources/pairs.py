"""Pictures of two halves side by side: an edge map and a photograph, in either order."""

from functools import partial
from pathlib import Path

from vunet_tf.data.example import Example
from vunet_tf.data.sources.source import DEFAULT_FITS, Options, Source, fit_in_words, pictures_below_input
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError


def open_source(options: Options) -> Source:
    """Halves of pictures. A folder `train`, `val`, `valid` or `test` in a picture's path decides its split.

    Raises:
        InputError: if --input is missing or has no pictures.
    """
    options.require("input")
    options = options.with_defaults(image_size=256, fit=DEFAULT_FITS["pairs"], encoding="jpeg")

    return Source(
        **pictures_below_input(options),
        make=partial(_make, options=options),
        has_joints=False,
        shape_channels=1,
        how={
            "picture": f"the half that is not on the {options.edges_side}; {fit_in_words(options.fit)}",
            "shape": f"the half on the {options.edges_side}, taken as it is",
            "split": f"by a folder train, val, valid or test, else by hash of the name, "
            f"{options.valid_fraction:.0%} valid, at least one",
        },
    )


def _make(path: Path, options: Options) -> list[Example]:
    both = pictures.read_picture(path)
    half = both.shape[1] // 2
    if both.shape[1] % 2 or not half:
        raise InputError(f"{both.shape[1]} pixels wide: not two halves of one width")
    left, right = both[:, :half], both[:, half:]
    edges, photograph = (left, right) if options.edges_side == "left" else (right, left)
    box = pictures.fit_box(half, both.shape[0], options.fit)
    name, size = path.relative_to(options.input).as_posix(), options.image_size
    return [
        Example(
            split=_split(path.relative_to(options.input)),
            split_key=name,
            name=name,
            appearance_id=name,
            shape_id=name,
            image=pictures.encode(pictures.cut(photograph, box, size), options.encoding),
            shape=pictures.encode(pictures.to_grey(pictures.cut(edges, box, size)), "png"),
        )
    ]


def _split(path: Path) -> str:
    """The split that a folder of the path names, or ""."""
    for folder in path.parts[:-1]:
        if folder in ("train", "test"):
            return folder
        if folder in ("val", "valid"):
            return "valid"
    return ""
