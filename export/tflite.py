r"""Exports a run as TFLite files for phones, one for each precision.

  python -m export.tflite --run_dir=runs/quickstart --out=exports/phone
  python -m export.tflite --run_dir=runs/quickstart --out=exports/phone --precision=int8 --signatures=encode,generate

makes in --out, each file replaced whole if it is there:

  vunet_float32.tflite, vunet_float16.tflite, vunet_dynamic.tflite, vunet_int8.tflite
                   encode, generate and sample, sharing their weights; float32 in and out
  drawing.tflite   for data with joints: stickman and body parts, without weights
  vunet.json       sizes, ranges, joint order, licence and how to feed them; also inside of each file

int8 is calibrated with examples of the run's training split. How to use the files: docs/export.md, export/mobile/.
"""

import json
from pathlib import Path

from absl import flags

from export import command
from vunet_tf.errors import InputError
from vunet_tf.startup import start_tensorflow

_ALL = ("float32", "float16", "dynamic", "int8")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to export.")
_OUT = flags.DEFINE_string("out", None, "Folder of the files, made if need be.")
_PRECISION = flags.DEFINE_list(
    "precision", ",".join(_ALL), f"One or more of {', '.join(_ALL)}; export/quantise.py says what they are."
)
_SIGNATURES = flags.DEFINE_list(
    "signatures",
    "encode,generate,sample",
    "Which to put in. An autoregressive prior makes up most of a file: leave out sample where it is not used.",
)
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "For int8: the dataset; by default what the run trained on.")
_EXAMPLES = flags.DEFINE_integer("examples", 64, "For int8: how many examples to calibrate with.", lower_bound=1)

DRAWING = "drawing.tflite"


def file_name(precision: str) -> str:
    """The name of the file of a precision."""
    return f"vunet_{precision}.tflite"


def export_tflite(trained, out, precisions=_ALL, uses=("encode", "generate", "sample"), dataset_dir=None, count=64):
    """Writes the files.

    Args:
        trained: an `export.trained.Trained`.
        out: folder, made if need be.
        precisions: which files.
        uses: which signatures.
        dataset_dir: for int8: by default what the run was trained on.
        count: for int8: examples to calibrate with.

    Returns:
        Paths of what was written.

    Raises:
        InputError: there is no dataset for int8, or a file cannot be written.
    """
    from tqdm import tqdm

    from export import calibration, model_file, phone, quantise
    from vunet_tf import atomic, runs

    out = Path(out)
    config = trained.model.config
    written = []

    def write(name, content):
        try:
            out.mkdir(parents=True, exist_ok=True)
            atomic.write(out / name, lambda path: path.write_bytes(content))
        except OSError as error:
            raise InputError(f"cannot write {out / name}: {error.strerror}; name another --out") from error
        written.append(out / name)

    ranges = None
    with tqdm(total=len(precisions) + 1, unit=" files", disable=None) as bar:
        bar.set_postfix_str("converting")
        content = phone.model_graph(trained.model, uses)
        if "int8" in precisions:
            bar.set_postfix_str("calibrating")
            examples = calibration.examples(trained, dataset_dir or runs.trained_on(trained.run_dir), count, uses)
            ranges = quantise.ranges_of(content, examples)
        about = {**trained.describe(), "feeding": phone.feeding(config, trained.keypoints, uses)}
        if trained.keypoints:
            write(DRAWING, model_file.with_description(phone.drawing_graph(config), about))
        bar.update()
        for precision in precisions:
            bar.set_postfix_str(precision)
            made = quantise.quantised(content, precision, ranges)
            write(file_name(precision), model_file.with_description(made, {**about, "precision": precision}))
            bar.update()
        write(model_file.METADATA, (json.dumps(about, indent=1) + "\n").encode())
    return written


def _chosen(flag, known):
    for name in flag.value:
        if name not in known:
            raise InputError(f"--{flag.name}={','.join(flag.value)}: {name!r} is none of {', '.join(known)}")
    if not flag.value:
        raise InputError(f"--{flag.name} names none of {', '.join(known)}")
    return tuple(dict.fromkeys(flag.value))


def _export() -> None:
    if not _RUN_DIR.value or not _OUT.value:
        raise InputError("give --run_dir and --out; `python -m export.tflite --help` explains")
    precisions, uses = _chosen(_PRECISION, _ALL), _chosen(_SIGNATURES, ("encode", "generate", "sample"))
    start_tensorflow()
    from export import trained

    run = trained.load(_RUN_DIR.value, _DATASET_DIR.value)
    for path in export_tflite(run, _OUT.value, precisions, uses, _DATASET_DIR.value, _EXAMPLES.value):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    command.run(_export, if_stopped="every file there is whole")
