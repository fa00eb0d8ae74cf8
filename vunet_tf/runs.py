"""A run directory: what builds a trained model again. Reading one runs no code from it and unpickles nothing.

RUN/config.json        {"format": 2, "class": "VUNet", "config": {...}, "fitting": {...}}, see `Run`
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
from typing import NamedTuple

from vunet_tf.data.dataset import read_info
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.models import VUNet

FORMAT = 2
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


class Run(NamedTuple):
    """A trained run: everything that using it takes.

    directory: the run directory.
    model: the `VUNet`, with the weights that `save` wrote, to the bit.
    fitting: how the pictures and shapes of its dataset were made, so that others can be made alike.
    flags: what it was trained with, {name: value}; a boolean one is "true" or "false". {} if none are kept.
    dataset_dir: the dataset that it was trained on, or the one named since; it may be gone. None if nobody says.
    """

    directory: Path
    model: VUNet
    fitting: Fitting
    flags: dict[str, str]
    dataset_dir: Path | None

    def dataset(self) -> Path:
        """The dataset's folder, which is there and fits the model.

        Raises:
            InputError: it is not known, not there, damaged, or of another size; the message says how to name one.
        """
        if self.dataset_dir is None:
            raise InputError(f"{self.directory} does not say what it was trained on: give --dataset_dir")
        if not self.dataset_dir.is_dir():
            raise InputError(f"the run's dataset {self.dataset_dir} is not there: give --dataset_dir")
        info, config = read_info(self.dataset_dir), self.model.config
        for name in ("image_size", "shape_channels"):
            if getattr(info, name) != getattr(config, name):
                raise InputError(
                    f"--dataset_dir={self.dataset_dir} has --{name}={getattr(info, name)}, the model "
                    f"{getattr(config, name)}: give the dataset that it was trained on"
                )
        if self.fitting.stickmen and info.joints is None:
            raise InputError(
                f"--dataset_dir={self.dataset_dir} has no joints, and the run's shapes are drawn from joints: give the "
                "dataset that it was trained on"
            )
        return self.dataset_dir


def save(model, run_dir, fitting: Fitting):
    """Writes `model` into `run_dir` (made if need be), each file at once or not at all.

    Args:
        model: a `VUNet`.
        run_dir: a folder.
        fitting: of the dataset that it is trained on, see `Run`.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    class_name = type(model).__name__
    if class_name not in CLASSES:
        raise InputError(f"a run holds one of {', '.join(CLASSES)}, not a {class_name}")
    weights = _WeightsInMemory()
    model.save_weights(weights)
    atomic.write_bytes(run_dir / WEIGHTS, weights.getbuffer())
    config = {"class": class_name, "config": model.get_config(), "fitting": fitting._asdict()}
    _write_json(run_dir / CONFIG, {"format": FORMAT, **config})


def _write_json(path, content):
    atomic.write_text(path, json.dumps(content, indent=2) + "\n")


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


def load(run_dir, dataset_dir=None) -> Run:
    """A trained run.

    Args:
        run_dir: a run directory.
        dataset_dir: a dataset to use instead of the one that it was trained on.

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
        fitting = Fitting(**description["fitting"])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{run_dir / CONFIG}: {error}") from error
    try:
        model.load_weights(run_dir / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{run_dir / WEIGHTS} does not fit {CONFIG}, or is damaged: {error}") from error
    flags = _training_flags(run_dir)
    dataset_dir = dataset_dir or flags.get("dataset_dir")
    return Run(run_dir, model, fitting, flags, Path(dataset_dir) if dataset_dir else None)


def _training_flags(run_dir):
    path = run_dir / FLAGS
    if not path.is_file():
        return {}
    given = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.removeprefix("--").partition("=")
        given[name if equals else name.removeprefix("no")] = value if equals else str(name[:2] != "no").lower()
    return given


def _read_config(run_dir):
    if not (run_dir / CONFIG).is_file():
        raise InputError(f"{run_dir} holds no trained model: {CONFIG} is missing")
    try:
        description = json.loads((run_dir / CONFIG).read_text())
        if description.get("format") != FORMAT:
            raise InputError(
                f"format {description.get('format')!r}, this version reads {FORMAT}: it was trained by another version "
                "of this program, with which it can be used; or train it again"
            )
        if description.get("class") not in CLASSES:
            raise InputError(f"unknown class {description.get('class')!r}, known: {', '.join(CLASSES)}")
        for key in ("config", "fitting"):
            if not isinstance(description.get(key), dict):
                raise InputError(f"it has no {key}")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{run_dir / CONFIG}: {error}") from error
    return description
