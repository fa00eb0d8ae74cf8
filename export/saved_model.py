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

A version appears under its number when it is whole. How to serve it: docs/export.md, export/serving/.
"""

import json
from pathlib import Path

from absl import flags

from export import command
from vunet_tf.errors import InputError
from vunet_tf.startup import start_tensorflow

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to export.")
_OUT = flags.DEFINE_string("out", None, "Folder of the versions; its name is what the model is served as.")
_VERSION = flags.DEFINE_integer("version", None, "Number of the version; by default the next free one.", lower_bound=1)
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir", None, "Asked whether shapes are joints, where the run does not say; by default what it trained on."
)

DESCRIPTION = "assets.extra/vunet.json"


def versions(out: Path) -> list[int]:
    """The numbers of the versions in a folder, from the first to the last."""
    return sorted(int(path.name) for path in out.iterdir() if path.name.isdecimal()) if out.is_dir() else []


def export_saved_model(trained, out, version: int | None = None) -> Path:
    """Writes a version.

    Args:
        trained: an `export.trained.Trained`.
        out: folder of the versions, made if need be.
        version: its number; by default one more than the last.

    Returns:
        The version's folder.

    Raises:
        InputError: the version exists, or cannot be written.
    """
    import tensorflow as tf

    from export import warmup
    from export.graph import Graph
    from vunet_tf import atomic

    out = Path(out)
    if version is None:
        version = max(versions(out), default=0) + 1
    path = out / str(version)
    if path.exists():
        raise InputError(f"{path} exists and may be in use; name another --version, or none for the next free one")
    functions = Graph(trained.model, trained.keypoints).functions()
    module = tf.Module()
    # Only what the graph reads: neither the states of dropout nor what serves training alone.
    module.weights = list({id(v): v for function in functions.values() for v in function.variables}.values())
    module.signatures_kept = list(functions.values())
    signatures = {"serving_default": functions["transfer"], **functions}
    try:
        with atomic.new_folder(path) as folder:
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, str(folder), signatures, options)
            specs = {name: dict(function.structured_input_signature[1]) for name, function in signatures.items()}
            warmup.write(folder, specs, trained.model.config.image_size, out.resolve().name)
            (folder / DESCRIPTION).write_text(json.dumps(trained.describe(), indent=1) + "\n")
    except FileExistsError as error:
        raise InputError(f"{path} was made by another export meanwhile; run this again") from error
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise InputError(f"cannot write {path}: {reason}; name another --out") from error
    return path


def _export() -> None:
    if not _RUN_DIR.value or not _OUT.value:
        raise InputError("give --run_dir and --out; `python -m export.saved_model --help` explains")
    start_tensorflow()
    from export import trained

    run = trained.load(_RUN_DIR.value, _DATASET_DIR.value)
    path = export_saved_model(run, _OUT.value, _VERSION.value)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20
    print(f"{path}: {size:.1f} MiB; shapes are sent as {'joints' if run.keypoints else 'shape maps'}")


if __name__ == "__main__":
    command.run(_export, if_stopped="no version was left under its number")
