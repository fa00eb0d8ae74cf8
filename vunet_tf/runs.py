"""A run directory: what builds a trained model again. Reading one runs no code from it and unpickles nothing.

RUN/config.json        {"format": 1, "class": "VUNet", "config": {...}}
RUN/model.weights.h5   weights, as Keras writes them
"""

import json
import os
from pathlib import Path

from vunet_tf.errors import InputError
from vunet_tf.models import VUNet

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
CLASSES = {"VUNet": VUNet}


def save(model, run_dir):
    """Writes `model` into `run_dir` (made if need be), each file at once or not at all."""
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    description = {"format": FORMAT, "class": type(model).__name__, "config": model.get_config()}
    if description["class"] not in CLASSES:
        raise InputError(f"a run holds one of {', '.join(CLASSES)}, not a {description['class']}")
    _replace(run_dir / WEIGHTS, model.save_weights)
    _replace(run_dir / CONFIG, lambda path: path.write_text(json.dumps(description, indent=2) + "\n"))


def _replace(path, write):
    """Calls `write` with a temporary path beside `path`, then renames: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(run_dir):
    """The trained model of a run directory, with the weights that `save` wrote, to the bit.

    Raises:
        InputError: `run_dir` is no run or has no model saved yet; or a file is damaged, of another format, names an
            unknown class or setting, or does not fit.
    """
    run_dir = Path(run_dir)
    for name in (CONFIG, WEIGHTS):
        if not (run_dir / name).is_file():
            raise InputError(f"{run_dir} holds no trained model: {name} is missing")
    try:
        description = json.loads((run_dir / CONFIG).read_text())
        if description.get("format") != FORMAT:
            raise InputError(f"format {description.get('format')!r}, this version reads {FORMAT}")
        if description.get("class") not in CLASSES:
            raise InputError(f"unknown class {description.get('class')!r}, known: {', '.join(CLASSES)}")
        model = CLASSES[description["class"]].from_config(description["config"])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{run_dir / CONFIG}: {error}") from error
    try:
        model.load_weights(run_dir / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{run_dir / WEIGHTS} does not fit {CONFIG}, or is damaged: {error}") from error
    return model
