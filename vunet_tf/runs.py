"""A run directory: what builds a trained model again. Reading one runs no code from it and unpickles nothing.

RUN/config.json        {"format": 1, "class": "VUNet", "config": {...}, "keypoints": whether the data has joints}
RUN/model.weights.h5   weights, as Keras writes them
RUN/flags.txt          the flags of the training, as used: a flagfile
RUN/versions.json      the packages that it was trained with
RUN/checkpoints/ ...   see `vunet_tf.training`
"""

import contextlib
import dataclasses
import importlib.metadata
import io
import json
import platform
from pathlib import Path

from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.models import VUNet

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
FLAGS = "flags.txt"
VERSIONS = "versions.json"
CLASSES = {"VUNet": VUNet}
PACKAGES = ("vunet-tf", "tensorflow", "keras", "tensorflow-probability", "numpy")


class _WeightsInMemory(io.BytesIO):
    """Where Keras writes weights first: the HDF5 library crashes on a full disk, an ordinary file raises an error."""

    def __str__(self):
        return WEIGHTS  # Keras looks at the ending


def save(model, run_dir, keypoints=None):
    """Writes `model` into `run_dir` (made if need be), each file at once or not at all.

    Args:
        model: a `VUNet`.
        run_dir: a folder.
        keypoints: whether its shape maps are stickmen drawn from joints; None where that is not known.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    class_name = type(model).__name__
    if class_name not in CLASSES:
        raise InputError(f"a run holds one of {', '.join(CLASSES)}, not a {class_name}")
    weights = _WeightsInMemory()
    model.save_weights(weights)
    atomic.write(run_dir / WEIGHTS, lambda temporary: temporary.write_bytes(weights.getbuffer()))
    description = {"format": FORMAT, "class": class_name, "config": model.get_config()}
    if keypoints is not None:
        description["keypoints"] = bool(keypoints)
    _write_json(run_dir / CONFIG, description)


def _write_json(path, content):
    atomic.write(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


@contextlib.contextmanager
def open_for_training(run_dir, model_config, flags, chief=True):
    """A new run, or one that goes on, for as long as the block lasts, with its flags and package versions written down.

    Args:
        run_dir: made if need be.
        model_config: of the model to be trained.
        flags: text of a flagfile.
        chief: whether this process writes the run; another one only looks whether it can go on.

    Raises:
        InputError: `run_dir` holds another model, is being trained already, or cannot be written.
    """
    run_dir = Path(run_dir)
    if (run_dir / CONFIG).exists():
        theirs, ours = _read_config(run_dir)["config"], dataclasses.asdict(model_config)
        differing = [f"--{key}={theirs.get(key)}" for key in ours if theirs.get(key) != ours[key]]
        if differing:
            raise InputError(
                f"{run_dir} holds another model, trained with {' '.join(differing)}; name another --run_dir"
            )
    if not chief:
        yield
        return
    with atomic.locked(run_dir / ".lock", run_dir, "--run_dir"):
        versions = {package: importlib.metadata.version(package) for package in PACKAGES}
        try:
            atomic.write(run_dir / FLAGS, lambda path: path.write_text(flags))
            _write_json(run_dir / VERSIONS, {"python": platform.python_version(), **versions})
        except OSError as error:
            raise InputError(f"cannot write to {run_dir}: {error.strerror}") from error
        yield


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
    description = _read_config(run_dir)
    try:
        model = CLASSES[description["class"]].from_config(description["config"])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{run_dir / CONFIG}: {error}") from error
    try:
        model.load_weights(run_dir / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{run_dir / WEIGHTS} does not fit {CONFIG}, or is damaged: {error}") from error
    return model


def training_flags(run_dir) -> dict[str, str]:
    """The flags that a run was trained with, {name: value}; a boolean one is "true" or "false". {} if none are kept."""
    path = Path(run_dir) / FLAGS
    if not path.is_file():
        return {}
    given = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.removeprefix("--").partition("=")
        given[name if equals else name.removeprefix("no")] = value if equals else str(name[:2] != "no").lower()
    return given


def has_keypoints(run_dir, dataset_dir=None) -> bool:
    """Whether the run's shape maps are stickmen drawn from joints.

    A run that does not say so itself is as its dataset is.

    Args:
        run_dir: a run.
        dataset_dir: its dataset; by default the one that it was trained on.

    Raises:
        InputError: `run_dir` is no run, or neither it nor a dataset can tell.
    """
    description = _read_config(Path(run_dir))
    if description["config"].get("appearance", "parts") != "picture":  # crops are made by joints
        return True
    if isinstance(description.get("keypoints"), bool):
        return description["keypoints"]
    from vunet_tf.data.dataset import read_info

    return read_info(dataset_dir or trained_on(run_dir)).joints is not None


def trained_on(run_dir) -> Path:
    """The dataset that the run was trained on, by its flags. Raises InputError where they do not tell."""
    named = training_flags(run_dir).get("dataset_dir")
    if not named:
        raise InputError(f"{run_dir} does not say what it was trained on: give --dataset_dir")
    return Path(named)


def _read_config(run_dir):
    if not (run_dir / CONFIG).is_file():
        raise InputError(f"{run_dir} holds no trained model: {CONFIG} is missing")
    try:
        description = json.loads((run_dir / CONFIG).read_text())
        if description.get("format") != FORMAT:
            raise InputError(f"format {description.get('format')!r}, this version reads {FORMAT}")
        if description.get("class") not in CLASSES:
            raise InputError(f"unknown class {description.get('class')!r}, known: {', '.join(CLASSES)}")
        if not isinstance(description.get("config"), dict):
            raise InputError("it has no config")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{run_dir / CONFIG}: {error}") from error
    return description
