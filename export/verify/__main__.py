r"""Compares every exported artefact with the Keras model and with the truth, and measures its speed and memory.

  python -m export.verify --run_dir=runs/quickstart exports/vunet exports/phone
  python -m export.verify --run_dir=runs/quickstart --examples=500 exports/phone/vunet_int8.tflite

The arguments are folders of versions (the newest is taken), versions, folders of TFLite files, or TFLite files. Each
makes transfers on a split of the run's dataset. Every transfer is onto an example that the dataset has, so the true
picture is known. It prints a table. With --out it also writes --out.json with all numbers and --out.png with a strip of
pictures. The row "keras" is the run itself, which the others are compared with.

  MB         size of the file, or of all files of the SavedModel's version, in 10^6 bytes
  max        largest difference to Keras of any pixel, in grey levels
  PSNR       to Keras, in dB: mean over the pictures, and the worst. "exact" where all bytes are equal
  SSIM       to the truth (TensorFlow's, on RGB). In brackets: how far it is from the SSIM of Keras
  error      mean absolute difference to the truth inside the mask, mean over the pictures, 0 to 255
  load       milliseconds until the first answer, on 2 threads
  ms         --signature for one picture: median and 90th percentile, on 1 and on 2 threads, of at least ten calls each
  memory     MiB that the artefact takes at its peak, beyond its library, on 2 threads
  XNNPACK    number of partitions of "generate", and number of ops outside them
"""

import json
from pathlib import Path

from absl import flags

from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run that was exported, or name of a preset.")
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir",
    None,
    "Folder of the dataset. By default that of the training; for a preset, the examples that it carries.",
)
_SPLIT = flags.DEFINE_string("split", "valid", "Split of the dataset on which to make transfers.")
_EXAMPLES = flags.DEFINE_integer("examples", 100, "Number of transfers, evenly spread over the split.", lower_bound=1)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Path of the JSON file and of the picture, without .json and .png. By default only the table is printed.",
)
_SECONDS = flags.DEFINE_float(
    "seconds", 2.0, "How many seconds each speed is measured. 0 leaves speeds out.", lower_bound=0.0
)
_SIGNATURE = flags.DEFINE_string(
    "signature",
    "generate",
    "Which function the speeds are of: of all artefacts encode or generate, of a SavedModel also transfer_bytes or "
    "another one (docs/export.md lists them). An artefact without it is compared, and has no speeds.",
)
_ROWS = flags.DEFINE_integer("rows", 6, "Number of transfers in the picture.", lower_bound=1)


def _verify(arguments) -> None:
    if not arguments:
        raise InputError("name what to verify: python -m export.verify --run_dir=RUN exports/vunet exports/phone")
    if not _RUN_DIR.value:
        raise InputError("give --run_dir; `python -m export.verify --help` explains")
    start_tensorflow()
    from export import trained
    from export.verify import measurements
    from vunet_tf.files import atomic, pictures

    trained_run = trained.load(_RUN_DIR.value, _DATASET_DIR.value)
    trained_run.model.require("animate")  # transfers onto shape maps are compared
    paths = measurements.artefacts(arguments)
    given, made, results = measurements.measured(
        trained_run, _SPLIT.value, _EXAMPLES.value, paths, _SECONDS.value, _SIGNATURE.value
    )
    count, dataset_dir = len(given.truth), str(trained_run.dataset())
    print(f"{count} transfers on {dataset_dir}, split {_SPLIT.value}")
    print(measurements.table(results))
    if not _OUT.value:
        return
    picture = pictures.encode(measurements.strip(given, made, _ROWS.value), "png")
    about = {"run": _RUN_DIR.value, "dataset": dataset_dir, "split": _SPLIT.value, "transfers": count}
    out = Path(_OUT.value)
    with atomic.writing(out):
        text = json.dumps({**about, "results": results}, indent=1) + "\n"
        atomic.write_text(out.with_name(out.name + ".json"), text)
        atomic.write_bytes(out.with_name(out.name + ".png"), picture)
    print(f"{out}.json, {out}.png")


if __name__ == "__main__":
    run(_verify, if_stopped="nothing was written", takes_arguments=True)
