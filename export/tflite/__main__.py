r"""Exports a run as TFLite files for phones, one for each precision.

  python -m export.tflite --run_dir=runs/quickstart --out=exports/phone
  python -m export.tflite --run_dir=runs/quickstart --out=exports/phone --precision=int8 --signatures=encode,generate

This makes the following files in --out. Files of the same names are replaced.

  vunet_float32.tflite, vunet_float16.tflite, vunet_dynamic.tflite, vunet_int8.tflite
                   signatures encode, generate and sample, which share their weights; float32 in and out
  drawing.tflite   for data with joints: draws the stickman and cuts the body parts; it has no weights
  vunet.json       sizes, ranges, joint order, regions, licence, how to feed the files; each file also holds a copy

int8 is calibrated with examples of the run's training split. A preset has none, so it needs --dataset_dir for int8. The
layers that would lose most by int8 are computed in float32 (weights in float16), unless --all_int8 is given.
docs/export.md and export/mobile/ show how to use the files.
"""

from absl import flags

from export.tflite import PRECISIONS
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_USES = ("encode", "generate", "sample")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run to export, or name of a preset.")
_OUT = flags.DEFINE_string("out", None, "Folder for the files. It is made if it is not there.")
_PRECISION = flags.DEFINE_list(
    "precision",
    ",".join(PRECISIONS),
    f"Number formats of the files, with commas between, out of {', '.join(PRECISIONS)}; see docs/export.md.",
)
_SIGNATURES = flags.DEFINE_list(
    "signatures",
    ",".join(_USES),
    "Signatures that the files get, with commas between. By default all that the model has. An autoregressive prior "
    "can be most of a file: leave out sample if you do not use it.",
)
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir",
    None,
    "For int8: folder of the dataset for the calibration, with a split train. By default that of the training. A "
    "preset has only examples of the split valid, so give a dataset of the same kind.",
)
_EXAMPLES = flags.DEFINE_integer("examples", 64, "For int8: number of examples for the calibration.", lower_bound=1)

_ALL_INT8 = flags.DEFINE_bool(
    "all_int8",
    False,
    "For int8: compute in int8 also the layers that lose most by it: the end of the decoder at full resolution, and "
    "with --latent=laid the part maps. It is faster, and flat areas have more noise.",
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
