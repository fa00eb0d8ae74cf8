"""A run directory, from which a trained model is built again. Reading it runs no code from it and unpickles nothing.

    RUN/config.json        {"format": 2, "class": "VUNet", "config": {...}, "fitting": {...}}, see `Run`
    RUN/model.weights.h5   weights, as Keras writes them
    RUN/flags.txt          the flags of the training, as used: a flagfile
    RUN/history.jsonl      a line for each start that changed flags or packages, see `history`
    RUN/checkpoints/ ...   see `vunet_tf.training`

A preset (`vunet_tf.pretrained`) is read in the same way. Its weights are stored in a smaller form, and its dataset is
the few examples that come with it.
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import io
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py

from vunet_tf import pretrained
from vunet_tf.config import ModelConfig
from vunet_tf.data.dataset import read_info
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes
from vunet_tf.files.words import DOCUMENT_ERRORS, json_fault, shortened, shown
from vunet_tf.models import registry
from vunet_tf.models.generative import GenerativeModel

FORMAT = 2
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
FLAGS = "flags.txt"
HISTORY = "history.jsonl"
_CONTENTS = "contents of the dataset"
PACKAGES = ("vunet-tf", "tensorflow", "keras", "tensorflow-probability", "numpy")


class _WeightsInMemory(io.BytesIO):
    """Keras writes weights into this and not to disk, since the HDF5 library crashes on a full disk."""

    def __str__(self):
        return WEIGHTS  # Keras checks the ending of the name


class Run(NamedTuple):
    """A trained run: everything that is needed to use it.

    Attributes:
        directory: the run directory.
        model: a `GenerativeModel` (`vunet_tf.models.registry`), with the weights that `save` wrote, to the bit.
        fitting: how the pictures and shapes of its dataset were made, so that others can be made in the same way.
        flags: the flags of its training, {name: value}. A boolean value is "true" or "false". {} if none are kept.
        dataset_dir: the dataset that it was trained on, or the one that the user named. It may no longer exist. None if
            it is not known.
    """

    directory: Path
    model: GenerativeModel
    fitting: Fitting
    flags: dict[str, str]
    dataset_dir: Path | None

    def dataset(self) -> Path:
        """The dataset's folder. It is checked that it is there and fits the model.

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


def save(model: GenerativeModel, run_dir: Path | str, fitting: Fitting) -> None:
    """Writes `model` into `run_dir`, which is made if it is not there. Each file is written completely or not at all.

    Args:
        model: one of `vunet_tf.models.registry`.
        run_dir: a folder.
        fitting: the fitting of its dataset, see `Run`.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    class_name = type(model).__name__
    known = registry.class_names()
    if class_name not in known:
        raise InputError(f"a run holds one of {', '.join(known)}, not a {class_name}")
    weights = _WeightsInMemory()
    model.save_weights(weights)
    atomic.write_bytes(run_dir / WEIGHTS, weights.getbuffer())
    config = {"class": class_name, "config": model.get_config(), "fitting": fitting._asdict()}
    atomic.write_text(run_dir / CONFIG, json.dumps({"format": FORMAT, **config}, indent=2) + "\n")


@contextlib.contextmanager
def open_for_training(
    run_dir: Path | str, model_config: ModelConfig, chief: bool = True
) -> Iterator[Callable[..., list[str]]]:
    """Opens a new run, or one that goes on, during the block. A new run that never begins leaves no folder.

    Args:
        run_dir: folder of the run. It is made if it is not there.
        model_config: configuration of the model that is trained.
        chief: whether this process writes the run. Other processes only check whether it can go on.

    Yields:
        A function `begin(step, flags, dataset)`. Call it when everything is ready, with the steps done, the text of a
        flagfile and the dataset's `digest`. It writes flags and history, and returns a list of sentences that say what
        changed since the last start.

    Raises:
        InputError: `run_dir` holds another model, is being trained already, or cannot be written.
    """
    run_dir = Path(run_dir)
    if (run_dir / CONFIG).exists():
        differing = _differing(_read_config(run_dir)["config"], model_config)
        if differing:
            raise InputError(f"{run_dir} holds another model, trained with {differing}; name another --run_dir")
    if not chief:
        yield lambda step, flags, dataset=None: []
        return
    is_new = not run_dir.exists()
    try:
        with atomic.locked(run_dir / ".lock", run_dir, "--run_dir"):
            yield lambda step, flags, dataset=None: _begin(run_dir, step, flags, dataset)
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty if training has begun
                run_dir.rmdir()


def different_settings(run: Run, model_config: ModelConfig) -> str:
    """The settings of a run's model that differ from these, as flags with the run's values: "--width=8 --parts=16"."""
    return _differing(dataclasses.asdict(run.model.config), model_config)


def _differing(theirs, model_config):
    ours = dataclasses.asdict(model_config)
    before = {**dataclasses.asdict(ModelConfig()), **theirs}  # an earlier version did not know every setting
    return " ".join(f"--{key}={before[key]}" for key in ours if before[key] != ours[key])


def _begin(run_dir, step, flags, dataset):
    """Writes flags and history of a start at this step, and returns the sentences that say what changed."""
    before = [entry for entry in history(run_dir) if entry["step"] < step]  # later starts left nothing in the weights
    try:
        atomic.write_text(run_dir / FLAGS, flags)
        entry = {
            "step": step,
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "changed": [],
            "flags": _training_flags(run_dir),
            "versions": {
                "python": platform.python_version(),
                **{package: importlib.metadata.version(package) for package in PACKAGES},
            },
            **({"dataset": dataset} if dataset else {}),
        }
        if before:
            old, new = map(_settings, (before[-1], entry))
            if "dataset" in before[-1] and dataset:  # an earlier version did not note it
                old[_CONTENTS], new[_CONTENTS] = before[-1]["dataset"], dataset
            entry["changed"] = [
                f"{name}: {old.get(name, 'none')} before, {new.get(name, 'none')} from step {step} on"
                for name in {**old, **new}
                if old.get(name) != new.get(name)
            ]
        if entry["changed"] or not before:
            before.append(entry)
        elif dataset and "dataset" not in before[-1]:
            before[-1]["dataset"] = dataset
        atomic.write_text(run_dir / HISTORY, "".join(f"{json.dumps(each)}\n" for each in before))
    except OSError as error:
        raise InputError(f"cannot write to {run_dir}: {error.strerror}") from error
    return entry["changed"]


def _settings(entry):
    """What can change between two starts of a run: its packages, and its flags except --run_dir and --init_from."""
    flags = {f"--{name}": value for name, value in entry["flags"].items() if name not in ("run_dir", "init_from")}
    return flags | entry["versions"]


def history(run_dir: Path | str) -> list[dict]:
    """The starts of a run's training that changed something, and the first start. [] if none are kept.

    Returns:
        list: for each start {"step": steps done before, "date": ISO 8601, "changed": sentences like "--learning_rate:
        0.001 before, 0.0005 from step 2000 on", "flags": all flags by name, "versions": of Python and packages,
        "dataset": its `digest`}.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(run_dir) / HISTORY
    try:
        starts = [json.loads(line) for line in read_bytes(path).splitlines()] if path.is_file() else []
        kinds = {(type(start["step"]), type(start["flags"]), type(start["versions"])) for start in starts}
        if kinds - {(int, dict, dict)}:
            raise TypeError
        return starts
    except DOCUMENT_ERRORS as error:
        raise InputError(f"{path} is damaged: {json_fault(error)}") from error


def load(run_dir: Path | str, dataset_dir: Path | str | None = None) -> Run:
    """A trained run.

    Args:
        run_dir: a run directory, or the name of a preset, see `vunet_tf.presets`.
        dataset_dir: a dataset to use instead of the one of the training, or instead of the examples of a preset.

    Raises:
        InputError: `run_dir` is no run or has no saved model yet; or a file is damaged, has another format, names an
            unknown class or setting, or does not fit.
    """
    run_dir = pretrained.folder_of(run_dir)
    is_preset = (run_dir / pretrained.INFO).is_file()
    weights = run_dir / (pretrained.WEIGHTS if is_preset else WEIGHTS)
    for name in (CONFIG, weights.name):
        if not (run_dir / name).is_file():
            raise InputError(f"{run_dir} holds no trained model: {name} is missing")
    description = _read_config(run_dir)
    given = pretrained.read_weights(run_dir) if is_preset else None
    count = weights.stat().st_size // 4 if given is None else sum(weight.size for weight in given)
    try:
        _require_weights(description, count)
        name = registry.class_names()[description["class"]]
        model = registry.class_of(name).from_config(description["config"])
        if model.config.model != name:
            raise InputError(f"the class {description['class']} is not --model={model.config.model}")
        fitting = Fitting(**description["fitting"]).checked()
    except DOCUMENT_ERRORS as error:
        raise InputError(f"{run_dir / CONFIG}: {shortened(str(error))}") from error
    if is_preset:
        try:
            model.set_weights(given)
        except ValueError as error:
            raise InputError(f"{weights} does not fit {CONFIG}: {shortened(str(error))}") from error
    else:
        read_weights(model, weights)
    flags = _training_flags(run_dir)
    dataset_dir = dataset_dir or (run_dir / pretrained.EXAMPLES if is_preset else flags.get("dataset_dir"))
    return Run(run_dir, model, fitting, flags, Path(dataset_dir) if dataset_dir else None)


def read_weights(model: GenerativeModel, path: Path | str) -> None:
    """Sets the weights of `model` to those of a file that `save` wrote.

    Raises:
        InputError: they do not fit, or the file is damaged.
    """
    path, sizes = Path(path), []

    def add_size(name, item):
        if isinstance(item, h5py.Dataset):
            sizes.append(item.nbytes)

    try:
        with h5py.File(path) as file:
            file.visititems(add_size)
        if sum(sizes) > path.stat().st_size:  # memory would be allocated for everything that it promises
            raise InputError("it promises more numbers than it has")
        model.load_weights(path)
    except Exception as error:  # Keras and the HDF5 library raise anything on damaged files
        told = shortened(" ".join(str(error).split()))
        raise InputError(f"{path} does not fit {CONFIG}, or is damaged: {told}") from error


def _require_weights(description, count):
    """Raises InputError, or another of `DOCUMENT_ERRORS`, if the described model has more than `count` weights.

    A model is built before its weights are set, so a wrong size in a damaged `config.json` could take all memory.
    """
    config = ModelConfig.from_dict({name: value for name, value in description["config"].items() if name != "name"})
    if config.model != "vunet":  # the count below is for its layers
        return
    fewest = config.shape_channels + config.blocks_per_scale * sum(9 * width**2 for width in config.widths)  # of E
    if config.appearance == "parts" or config.latent == "laid":
        fewest += config.parts
    if config.latent == "laid":
        fewest += config.code_channels
    if fewest > count:
        raise InputError(f"its model has more than {fewest:,} weights, but the file of weights has {count:,} at most")


def _training_flags(run_dir):
    path = run_dir / FLAGS
    if not path.is_file():
        return {}
    given = {}
    try:
        lines = read_bytes(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', 'it is not text')}") from error
    for line in lines:
        name, equals, value = line.removeprefix("--").partition("=")
        given[name if equals else name.removeprefix("no")] = value if equals else str(name[:2] != "no").lower()
    return given


def _read_config(run_dir):
    if not (run_dir / CONFIG).is_file():
        raise InputError(f"{run_dir} holds no trained model: {CONFIG} is missing")
    try:
        description = json.loads(read_bytes(run_dir / CONFIG))
        if description.get("format") != FORMAT:
            raise InputError(
                f"format {shown(description.get('format'))}, this version reads {FORMAT}: it was trained by another "
                "version of this program, with which it can be used; or train it again"
            )
        known = registry.class_names()
        if description.get("class") not in known:
            raise InputError(f"unknown class {shown(description.get('class'))}, known: {', '.join(known)}")
        for key in ("config", "fitting"):
            if not isinstance(description.get(key), dict):
                raise InputError(f"it has no {key}")
    except InputError as error:
        raise InputError(f"{run_dir / CONFIG}: {error}") from error
    except (OSError, *DOCUMENT_ERRORS) as error:
        raise InputError(
            f"{run_dir / CONFIG} is damaged: {getattr(error, 'strerror', None) or json_fault(error)}"
        ) from error
    return description
