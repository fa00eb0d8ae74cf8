r"""Makes a dataset out of pictures, or a contact sheet of one.

  python -m vunet_tf.prepare --source=figures --output=datasets/figures
  python -m vunet_tf.prepare --source=coco --images=train2017 --annotations=person_keypoints_train2017.json \
      --valid_annotations=person_keypoints_val2017.json --image_size=256 --output=datasets/coco
  python -m vunet_tf.prepare --source=folder --input=shoes --output=datasets/shoes
  python -m vunet_tf.prepare --preview=datasets/figures --out=sheet.png

A dataset is a folder with TFRecords, `dataset.json` (what it holds and how it was made) and `rejects.csv` (what was
left out, and why). The folder gets its name only when it is complete. A flag that the source does not take is refused.
"""

from pathlib import Path

from absl import flags

from vunet_tf.command_line.flags import define, given, values
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.data.dataset import demand_free, read_info
from vunet_tf.data.sources.registry import OPTIONS, SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.data.workers import Scheduler
from vunet_tf.files import atomic, pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import counted

_FEW = 20  # examples of the split valid, of which a mean says little

_SOURCE = flags.DEFINE_enum(
    "source",
    None,
    list(SOURCES),
    "Where the pictures come from. coco: a JSON file of person keypoints and a folder of photographs (needs --images "
    "and --annotations). deepfashion, market: a folder and a keypoint file with lines name:keypoints_y:keypoints_x "
    "(needs --images, and --annotations or --estimate). index: the file index.p of the original release (needs "
    "--input). pairs: pictures of two halves, one the edge map and one the photograph (needs --input). folder: any "
    "pictures; their shape is their edges, or with --estimate the joints of the people in them (needs --input). "
    "sprites: sheets in the format vunet-sprites-1, see docs/data.md (needs --input). figures: people drawn by this "
    "program, which need no input. digits: the handwritten digits of scikit-learn, 8 x 8 pixels, which need no input.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the dataset that is made.")
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace the dataset at --output. The old one stays until the new one is complete."
)
define(Options)
_MAX_ITEMS = flags.DEFINE_integer(
    "max_items",
    None,
    "Take at most so many items of the source, drawn at random: for a first try with a large dataset. An item is what "
    "the progress bar counts: a character for sprites, else a picture. The same number draws the same items, and a "
    "larger one draws these and more. At least 1; by default all.",
    lower_bound=1,
)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Number of processes. By default one for each core. Refused with --scheduler.", lower_bound=1
)
_SCHEDULER = flags.DEFINE_string(
    "scheduler",
    None,
    "Address of a Dask scheduler, for example tcp://HOST:8786. Its workers make the pictures instead of this machine "
    "(docs/scaling.md). They must have the source's files under the same paths.",
)

_PREVIEW = flags.DEFINE_string(
    "preview", None, "Folder of a dataset. A contact sheet of it is drawn, and no dataset is made."
)
_OUT = flags.DEFINE_string("out", "preview.png", "With --preview: PNG file of the contact sheet.")
_SPLIT = flags.DEFINE_string("split", "train", "With --preview: split of the dataset to show.")
_ROWS = flags.DEFINE_integer("rows", 8, "With --preview: number of examples to show.", lower_bound=1, upper_bound=200)

_OF_PREVIEW = ("preview", "out", "split", "rows")
_OF_ALL_SOURCES = ("source", "output", "overwrite", "image_size", "encoding", "max_items", "workers", "scheduler")
_NOT_OF_THE_DATA = ("output", "overwrite", "workers", "scheduler")  # the dataset is the same without them


def _check_all_are_of_use(flags_given: dict) -> None:
    """Raises InputError if a flag was given that has no use for this source, or for --preview."""
    if _PREVIEW.value:
        asked, of_use = "--preview", _OF_PREVIEW
    else:
        asked, of_use = f"--source={_SOURCE.value}", (*_OF_ALL_SOURCES, *OPTIONS[_SOURCE.value])
    for name in flags_given:
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
    flags_given = given()
    _check_all_are_of_use(flags_given)
    of_the_data = {name: value for name, value in flags_given.items() if name not in _NOT_OF_THE_DATA}
    options, scheduler = Options(**values(Options)), None
    if _SCHEDULER.value is not None:
        if _WORKERS.value:
            raise InputError(
                "--workers is for this machine, and --scheduler gives the work to others; give only one of them"
            )
        from vunet_tf.data.cluster import demand_scheduler  # only now: it needs a package that few have

        demand_scheduler(_SCHEDULER.value)
        options = options.for_other_machines()
        scheduler = Scheduler(_SCHEDULER.value, options.read_while_working())
    demand_free(_OUTPUT.value, _OVERWRITE.value)  # before a source is opened, which may take minutes
    source = SOURCES[_SOURCE.value](options)

    start_tensorflow()  # only now: --help and wrong flags need not wait for it
    from vunet_tf.data.preparation import prepare

    info = prepare(
        source,
        _OUTPUT.value,
        _SOURCE.value,
        of_the_data,
        overwrite=_OVERWRITE.value,
        workers=_WORKERS.value,
        scheduler=scheduler,
        max_items=_MAX_ITEMS.value,
    )
    print(f"{_OUTPUT.value}: {info.image_size} x {info.image_size} pixels")
    for split in info.splits:
        counts = f"{counted(info.appearances[split], 'appearance')}, {counted(info.shapes[split], 'shape')}"
        print(f"  {split}: {counted(info.examples(split), 'example')}, {counts}")
    if "valid" not in info.splits:
        print("  no split 'valid': training then has no validation, and evaluate needs --split=train")
    elif info.examples("valid") < _FEW:
        print(f"  valid has fewer than {_FEW} examples: too few to choose a model by, or to measure one")
    if info.image_size & (info.image_size - 1):
        print("  train cannot use it: its --image_size must be a power of two, such as 32, 64, 128 or 256")
    if info.rejected:
        print(f"  left out: {info.rejected}, listed in {Path(_OUTPUT.value) / 'rejects.csv'}")


def _preview() -> None:
    _check_all_are_of_use(given())
    read_info(_PREVIEW.value).examples(_SPLIT.value)

    start_tensorflow()  # only now: wrong flags need not wait for it
    from vunet_tf.data.preview import contact_sheet

    sheet = contact_sheet(_PREVIEW.value, _SPLIT.value, _ROWS.value)
    out = Path(_OUT.value)
    with atomic.writing(out):
        atomic.write_bytes(out, pictures.encode(sheet, "png"))
    print(f"{out}: contact sheet of {_PREVIEW.value}, split {_SPLIT.value}")


def _run() -> None:
    if _PREVIEW.value:
        _preview()
    else:
        _prepare()


if __name__ == "__main__":
    run(_run, if_stopped="nothing is left under the final name")
