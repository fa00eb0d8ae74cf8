r"""Exports a run as a SavedModel for TensorFlow Serving: a new version in a folder of versions.

  python -m export.saved_model --run_dir=runs/quickstart --out=exports/vunet

This makes exports/vunet/1, then 2, 3, ... They hold the averaged weights, with weight normalisation folded, and take
any batch size. A client sends pictures and joints (shape maps, where the run's data has no joints) and gets pictures.
Resizing, stickmen and crops of body parts are in the graph. Signatures:

  transfer (serving_default)  from a picture and a target: the target's shape with the picture's appearance, uint8
  transfer_bytes              the same with PNG or JPEG files, for REST
  encode                      from a picture to its appearance, z
  encode_bytes                the same with PNG or JPEG files
  generate                    from a shape and z to a picture
  generate_bytes              the same with PNG files as the answer
  sample                      from a shape and a seed to a picture with an appearance from the prior
  sample_noise                the same with noise that the client sends

A model without shapes (for example --model=vae) has reconstruct instead of the transfers, and it is the default. Its
generate and sample take no shape.

A version gets its number only when it is complete. docs/export.md and export/serving/ show how to serve it.
"""

from absl import flags

from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run to export, or name of a preset.")
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Folder of the versions. The server's configuration names the model; export/serving/models.config has vunet.",
)
_VERSION = flags.DEFINE_integer(
    "version", None, "Number of the version. By default one more than the largest.", lower_bound=1
)


def _export() -> None:
    if not _RUN_DIR.value or not _OUT.value:
        raise InputError("give --run_dir and --out; `python -m export.saved_model --help` explains")
    start_tensorflow()
    from export import trained
    from export.saved_model import versions

    def tell(step):
        print(step, flush=True)

    versions.free_path(_OUT.value, _VERSION.value)  # before the work begins
    tell(f"reading {_RUN_DIR.value}")
    run = trained.load(_RUN_DIR.value)
    path = versions.write(run, _OUT.value, _VERSION.value, tell)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
    print(f"{path}: {size:.2f} MB; shapes are sent as {'joints' if run.fitting.stickmen else 'shape maps'}")


if __name__ == "__main__":
    run(_export, if_stopped="no version was left under its number")
