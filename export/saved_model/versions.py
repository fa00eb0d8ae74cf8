"""A folder of versions for TensorFlow Serving: 1, 2, 3, ... Each is a complete SavedModel."""

import json
from pathlib import Path

import tensorflow as tf

from export.saved_model import warmup
from export.saved_model.graph import Graph
from export.trained import describe
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.runs import Run

DESCRIPTION = "assets.extra/vunet.json"


def versions(out: Path) -> list[int]:
    """The numbers of the versions in a folder, from the first to the last."""
    return sorted(int(path.name) for path in out.iterdir() if path.name.isdecimal()) if out.is_dir() else []


def write(run: Run, out: Path | str, version: int | None = None) -> Path:
    """Writes a version.

    Args:
        run: as `trained.load` gives it.
        out: folder of the versions. It is made if it is not there.
        version: number of the version. By default one more than the last.

    Returns:
        The version's folder.

    Raises:
        InputError: the version exists, or cannot be written.
    """
    out = Path(out)
    if version is None:
        version = max(versions(out), default=0) + 1
    path = out / str(version)
    if path.exists():
        raise InputError(f"{path} exists and may be in use; name another --version, or none for the next free one")
    functions = Graph(run.model, run.fitting.stickmen).functions()
    module = tf.Module()
    # Only the variables that the graph reads, without the states of dropout and those that only training needs.
    module.weights = list({id(v): v for function in functions.values() for v in function.variables}.values())
    module.signatures_kept = list(functions.values())
    default = "transfer" if "transfer" in functions else "reconstruct"
    signatures = {"serving_default": functions[default], **functions}
    try:
        with atomic.new_folder(path) as folder:
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, str(folder), signatures, options)
            specs = {name: dict(function.structured_input_signature[1]) for name, function in signatures.items()}
            warmup.write(folder, specs, run.model.config.image_size, out.resolve().name)
            (folder / DESCRIPTION).parent.mkdir(exist_ok=True)
            (folder / DESCRIPTION).write_text(json.dumps(describe(run), indent=1) + "\n")
    except FileExistsError as error:
        raise InputError(f"{path} was made by another export meanwhile; run this again") from error
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise InputError(f"cannot write {path}: {reason}; name another --out") from error
    return path
