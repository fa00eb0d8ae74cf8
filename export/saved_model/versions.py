"""A folder of versions for TensorFlow Serving: 1, 2, 3, ... Each is a complete SavedModel."""

import json
from collections.abc import Callable
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


def free_path(out: Path | str, version: int | None = None) -> Path:
    """The folder of the next version, or of `version`, which is not there yet. Makes nothing.

    Call it before long work.

    Raises:
        InputError: the version exists, or nothing can be written to `out`.
    """
    out = Path(out)
    whole = out.absolute()
    try:
        there = next(path for path in (whole, *whole.parents) if path.exists())
        if out.exists() and not out.is_dir():
            raise InputError(f"--out={out} is a file; name a folder")
        if not there.is_dir():
            raise InputError(f"cannot write {out}: {there} is a file; name another --out")
        path = out / str(version or max(versions(out), default=0) + 1)
        taken = path.exists()
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; name another --out") from error
    if taken:
        raise InputError(f"{path} exists and may be in use; name another --version, or none for the next free one")
    atomic.check_writable(there / path.absolute().relative_to(there).parts[0])
    return path


def write(
    run: Run, out: Path | str, version: int | None = None, tell: Callable[[str], object] = lambda step: None
) -> Path:
    """Writes a version.

    Args:
        run: as `trained.load` gives it.
        out: folder of the versions. It is made if it is not there.
        version: number of the version. By default one more than the last.
        tell: is called before each step, with a sentence about it.

    Returns:
        The version's folder.

    Raises:
        InputError: the version exists, or cannot be written.
    """
    out, path = Path(out), free_path(out, version)
    tell("making the graph of each signature")
    functions = Graph(run.model, run.fitting.stickmen).functions()
    module = tf.Module()
    # Only the variables that the graph reads, without the states of dropout and those that only training needs.
    module.weights = list({id(v): v for function in functions.values() for v in function.variables}.values())
    module.signatures_kept = list(functions.values())
    default = "transfer" if "transfer" in functions else "reconstruct"
    signatures = {"serving_default": functions[default], **functions}
    try:
        with atomic.new_folder(path) as folder:
            tell(f"writing {', '.join(functions)}")
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, str(folder), signatures, options)
            specs = {name: dict(function.structured_input_signature[1]) for name, function in signatures.items()}
            tell("writing the warm-up requests")
            warmup.write(folder, specs, run.model.config.image_size, out.resolve().name)
            (folder / DESCRIPTION).parent.mkdir(exist_ok=True)
            (folder / DESCRIPTION).write_text(json.dumps(describe(run), indent=1) + "\n")
    except FileExistsError as error:
        raise InputError(f"{path} was made by another export meanwhile; run this again") from error
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise InputError(f"cannot write {path}: {reason}; name another --out") from error
    return path
