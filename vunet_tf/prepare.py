r"""Makes a dataset out of pictures, or a contact sheet of one.

  python -m vunet_tf.prepare --source=figures --output=datasets/figures
  python -m vunet_tf.prepare --source=coco --images=train2017 --annotations=person_keypoints_train2017.json \
      --valid_annotations=person_keypoints_val2017.json --image_size=256 --output=datasets/coco
  python -m vunet_tf.prepare --source=folder --input=shoes --output=datasets/shoes
  python -m vunet_tf.prepare --preview=datasets/figures --out=sheet.png

A dataset is a folder of TFRecords, `dataset.json` (what it is) and `rejects.csv` (what was left out, and why). It
appears under its name when it is whole.
"""

import sys
from pathlib import Path

from absl import flags

from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.data.sources import pairs
from vunet_tf.data.sources.registry import OPTIONS, SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.files import atomic, pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import counted

_SOURCE = flags.DEFINE_enum(
    "source",
    None,
    list(SOURCES),
    "Where the pictures come from. coco: a person-keypoints JSON and a folder of photographs. deepfashion, market: a "
    "folder and a keypoint file name:keypoints_y:keypoints_x. index: the original release's index.p. pairs: pictures "
    "of two halves, edge map and photograph. folder: any pictures, the shape is their edges. sprites: sheets in the "
    "format vunet-sprites-1. figures: procedural people, no input needed.",
)
_INPUT = flags.DEFINE_string("input", None, "Folder (or index.p) of the sources index, pairs, folder and sprites.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of the pictures of the sources coco, deepfashion and market.")
_ANNOTATIONS = flags.DEFINE_string("annotations", None, "Annotation file of the sources coco, deepfashion and market.")
_VALID_ANNOTATIONS = flags.DEFINE_string(
    "valid_annotations", None, "Annotation file of the valid split; without it the split is by hash."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the dataset to be made.")
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace a dataset that is at --output; it stays until the new one is whole."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side of the square pictures in pixels. By default 256; market 128, figures 64, sprites their cell.",
    lower_bound=8,
    upper_bound=4096,
)
_FIT = flags.DEFINE_enum(
    "fit",
    None,
    list(pictures.FITS),
    "How a picture becomes square: stretch it (default of deepfashion, market, index and pairs), pad its short side "
    "with its edge (default of folder), or crop its middle.",
)
_ENCODING = flags.DEFINE_enum(
    "encoding",
    None,
    ["jpeg", "png"],
    f"How pictures are stored: jpeg (quality {pictures.JPEG_QUALITY}; default of photographs) or png (exact; "
    "default of sprites and figures). Shape maps are always png.",
)
_VALID_FRACTION = flags.DEFINE_float(
    "valid_fraction",
    0.05,
    "Part of the pictures in the valid split, where names decide by their hash.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_MARGIN = flags.DEFINE_float(
    "margin",
    0.15,
    "coco: what is added to a person's box on each side, as a fraction of its longer side.",
    lower_bound=0.0,
    upper_bound=2.0,
)
_MIN_PERSON = flags.DEFINE_integer(
    "min_person", 64, "coco: people whose box has a smaller longer side (pixels) are left out.", lower_bound=1
)
_MIN_JOINTS = flags.DEFINE_integer(
    "min_joints", 8, "People with fewer of the 15 joints seen are left out.", lower_bound=4, upper_bound=15
)
_SHAPE_MAP = flags.DEFINE_string("shape_map", None, "sprites: which shape map: body (default), mask, edges or joints.")
_SHAPES = flags.DEFINE_string(
    "shapes", None, "folder: a folder of ready shape maps with the pictures' names; without it, edges are found."
)
_EDGES_SIDE = flags.DEFINE_enum("edges_side", "left", pairs.SIDES, "pairs: which half is the edge map.")
_SEED = flags.DEFINE_integer("seed", 0, "figures: a different seed gives different people.", lower_bound=0)
_LOOKS = flags.DEFINE_integer("looks", 1000, "figures: how many looks to train on.")
_POSES = flags.DEFINE_integer("poses", 1000, "figures: how many poses to train on.")
_EXAMPLES = flags.DEFINE_integer("examples", 8000, "figures: how many training pictures.")
_WORKERS = flags.DEFINE_integer("workers", None, "Processes; by default one for each core.", lower_bound=1)

_PREVIEW = flags.DEFINE_string("preview", None, "Folder of a dataset: draw a contact sheet of it instead.")
_OUT = flags.DEFINE_string("out", "preview.png", "PNG file of the contact sheet.")
_SPLIT = flags.DEFINE_string("split", "train", "Split of the contact sheet.")
_ROWS = flags.DEFINE_integer("rows", 8, "Examples on the contact sheet.", lower_bound=1, upper_bound=200)

_OF_PREVIEW = ("preview", "out", "split", "rows")
_OF_ALL_SOURCES = ("source", "output", "overwrite", "image_size", "encoding", "workers")


def _path(flag) -> Path | None:
    return Path(flag.value) if flag.value is not None else None


def _given() -> dict:
    """The flags that were given, by name."""
    own_flags = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    return {flag.name: flag.value for flag in own_flags if flag.present}


def _check_all_are_of_use(given: dict) -> None:
    """Raises InputError for a flag that belongs to something else than what is asked for."""
    if _PREVIEW.value:
        asked, of_use = "--preview", _OF_PREVIEW
    else:
        asked, of_use = f"--source={_SOURCE.value}", (*_OF_ALL_SOURCES, *OPTIONS[_SOURCE.value])
    for name in given:
        if name not in of_use:
            owners = [f"--source={source}" for source, options in OPTIONS.items() if name in options]
            if name in _OF_PREVIEW:
                owners = ["--preview"]
            elif name in _OF_ALL_SOURCES:
                owners = ["--source"]
            raise InputError(f"--{name} is not for {asked} but for {', '.join(owners)}; leave it out")


def _prepare() -> None:
    if not _SOURCE.value or not _OUTPUT.value:
        raise InputError("give --source and --output (or --preview); `python -m vunet_tf.prepare --help` explains")
    given = _given()
    _check_all_are_of_use(given)
    options = Options(
        input=_path(_INPUT),
        images=_path(_IMAGES),
        annotations=_path(_ANNOTATIONS),
        valid_annotations=_path(_VALID_ANNOTATIONS),
        image_size=_IMAGE_SIZE.value,
        fit=_FIT.value,
        encoding=_ENCODING.value,
        valid_fraction=_VALID_FRACTION.value,
        margin=_MARGIN.value,
        min_person=_MIN_PERSON.value,
        min_joints=_MIN_JOINTS.value,
        shape_map=_SHAPE_MAP.value,
        shapes=_path(_SHAPES),
        edges_side=_EDGES_SIDE.value,
        seed=_SEED.value,
        looks=_LOOKS.value,
        poses=_POSES.value,
        examples=_EXAMPLES.value,
    )
    of_the_data = {name: value for name, value in given.items() if name not in ("output", "overwrite", "workers")}
    source = SOURCES[_SOURCE.value](options)

    start_tensorflow()  # only now: --help and wrong flags need not wait for it
    from vunet_tf.data.preparation import prepare

    info = prepare(source, _OUTPUT.value, _SOURCE.value, of_the_data, _OVERWRITE.value, _WORKERS.value)
    print(f"{_OUTPUT.value}: {info.image_size} x {info.image_size} pixels")
    for split in info.splits:
        counts = f"{counted(info.appearances[split], 'appearance')}, {counted(info.shapes[split], 'shape')}"
        print(f"  {split}: {counted(info.examples(split), 'example')}, {counts}")
    if "valid" not in info.splits:
        print("  no split 'valid': training goes without validation, and evaluate needs --split=train")
    if info.rejected:
        print(f"  left out: {info.rejected}, listed in {Path(_OUTPUT.value) / 'rejects.csv'}")


def _preview() -> None:
    _check_all_are_of_use(_given())
    start_tensorflow()
    from vunet_tf.data.preview import contact_sheet

    sheet = contact_sheet(_PREVIEW.value, _SPLIT.value, _ROWS.value)
    out = Path(_OUT.value)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(out, lambda path: path.write_bytes(pictures.encode(sheet, "png")))
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; name another --out") from error
    print(f"{out}: contact sheet of {_PREVIEW.value}, split {_SPLIT.value}")


def _run() -> None:
    if _PREVIEW.value:
        _preview()
    else:
        _prepare()


if __name__ == "__main__":
    run(_run, if_stopped="nothing is left under the final name")
