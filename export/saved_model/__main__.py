r"""Exports a run as a SavedModel for TensorFlow Serving: a new version in a folder of versions.

  python -m export.saved_model --run_dir=runs/quickstart --out=exports/vunet

makes exports/vunet/1, then 2, 3, ...: averaged weights, weight normalisation folded, any batch size. A client sends
pictures and joints (or shape maps, where the run's data has no joints) and gets pictures; resizing, stickmen and crops
of body parts are in the graph. Signatures:

  transfer (serving_default)  the target's shape with the looks of the picture; uint8 pictures
  transfer_bytes              the same with PNG or JPEG files, for REST
  encode                      a picture's looks, z
  generate                    shape and z
  sample                      shape and a seed: looks from the prior
  sample_noise                the same by noise that is sent

A model without shapes (--model=vae and such) has no transfers, but reconstruct, which is then the default; its generate
and sample take no shape.

A version appears under its number when it is whole. How to serve it: docs/export.md, export/serving/.
"""

from absl import flags

from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to export.")
_OUT = flags.DEFINE_string("out", None, "Folder of the versions; its name is what the model is served as.")
_VERSION = flags.DEFINE_integer("version", None, "Number of the version; by default the next free one.", lower_bound=1)


def _export() -> None:
    if not _RUN_DIR.value or not _OUT.value:
        raise InputError("give --run_dir and --out; `python -m export.saved_model --help` explains")
    start_tensorflow()
    from export import trained
    from export.saved_model import versions

    run = trained.load(_RUN_DIR.value)
    path = versions.write(run, _OUT.value, _VERSION.value)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20
    print(f"{path}: {size:.1f} MiB; shapes are sent as {'joints' if run.fitting.stickmen else 'shape maps'}")


if __name__ == "__main__":
    run(_export, if_stopped="no version was left under its number")
