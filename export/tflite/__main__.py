r"""Exports a run as TFLite files for phones, one for each precision.

  python -m export.tflite --run_dir=runs/quickstart --out=exports/phone
  python -m export.tflite --run_dir=runs/quickstart --out=exports/phone --precision=int8 --signatures=encode,generate

makes in --out, each file replaced whole if it is there:

  vunet_float32.tflite, vunet_float16.tflite, vunet_dynamic.tflite, vunet_int8.tflite
                   encode, generate and sample, sharing their weights; float32 in and out
  drawing.tflite   for data with joints: stickman and body parts, without weights
  vunet.json       sizes, ranges, joint order, licence and how to feed them; also inside of each file

int8 is calibrated with examples of the run's training split; the decoder's last scale computes in float32 in it
(weights in float16), unless --all_int8 is given. How to use the files: docs/export.md, export/mobile/.
"""

from absl import flags

from export.tflite import PRECISIONS
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_USES = ("encode", "generate", "sample")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to export.")
_OUT = flags.DEFINE_string("out", None, "Folder of the files, made if need be.")
_PRECISION = flags.DEFINE_list(
    "precision",
    ",".join(PRECISIONS),
    f"One or more of {', '.join(PRECISIONS)}; export/tflite/quantise.py says what they are.",
)
_SIGNATURES = flags.DEFINE_list(
    "signatures",
    ",".join(_USES),
    "Which to put in; by default those that the model has. An autoregressive prior makes up most of a file: leave out "
    "sample where it is not used.",
)
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "For int8: the dataset; by default what the run trained on.")
_EXAMPLES = flags.DEFINE_integer("examples", 64, "For int8: how many examples to calibrate with.", lower_bound=1)

_ALL_INT8 = flags.DEFINE_bool(
    "all_int8", False, "For int8: the decoder's last scale, too. Faster, with more noise in flat areas."
)


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
    precisions, uses = _chosen(_PRECISION, PRECISIONS), _chosen(_SIGNATURES, _USES)
    start_tensorflow()
    from export import trained
    from export.tflite import files, graph

    run = trained.load(_RUN_DIR.value, _DATASET_DIR.value)
    if flags.FLAGS["signatures"].present:
        for use in uses:
            run.model.require(use)
    else:
        uses = graph.available(run.model)
    for path in files.write(run, _OUT.value, precisions, uses, _EXAMPLES.value, _ALL_INT8.value):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run(_export, if_stopped="every file there is whole")
