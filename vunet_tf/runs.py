"""A run directory: what builds a trained model again. Reading one runs no code from it and unpickles nothing.

RUN/config.json        {"format": 1, "class": "VUNet", "config": {...}, "keypoints": whether the data has joints}
RUN/model.weights.h5   weights, as Keras writes them
RUN/flags.txt          the flags of the training, as used: a flagfile
RUN/history.jsonl      a line for each start that changed flags or packages, see `history`
RUN/checkpoints/ ...   see `vunet_tf.training`
"""

import contextlib
import dataclasses
import datetime
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
HISTORY = "history.jsonl"
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
    text = json.dumps(description, indent=2) + "\n"
    atomic.write(run_dir / CONFIG, lambda temporary: temporary.write_text(text))


@contextlib.contextmanager
def open_for_training(run_dir, model_config, chief=True):
    """A new run, or one that goes on, for as long as the block lasts. A new one that never begins leaves no folder.

    Args:
        run_dir: made if need be.
        model_config: of the model to be trained.
        chief: whether this process writes the run; another one only looks whether it can go on.

    Yields:
        begin(step, flags): to be called when all is ready, with the steps done and the text of a flagfile. It writes
        flags and history, and returns what changed since the last start, a list of sentences.

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
        yield lambda step, flags: []
        return
    is_new = not run_dir.exists()
    try:
        with atomic.locked(run_dir / ".lock", run_dir, "--run_dir"):
            yield lambda step, flags: _begin(run_dir, step, flags)
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty: training has begun
                run_dir.rmdir()


def _begin(run_dir, step, flags):
    """Writes flags and history of a start at this step, and returns the sentences that say what changed."""
    before = [entry for entry in history(run_dir) if entry["step"] < step]  # later ones left nothing in the weights
    try:
        atomic.write(run_dir / FLAGS, lambda path: path.write_text(flags))
        entry = {
            "step": step,
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "changed": [],
            "flags": training_flags(run_dir),
            "versions": {
                "python": platform.python_version(),
                **{package: importlib.metadata.version(package) for package in PACKAGES},
            },
        }
        if before:
            old, new = map(_settings, (before[-1], entry))
            entry["changed"] = [
                f"{name}: {old.get(name, 'none')} before, {new.get(name, 'none')} from step {step} on"
                for name in {**old, **new}
                if old.get(name) != new.get(name)
            ]
        if entry["changed"] or not before:
            before.append(entry)
        lines = "".join(f"{json.dumps(each)}\n" for each in before)
        atomic.write(run_dir / HISTORY, lambda path: path.write_text(lines))
    except OSError as error:
        raise InputError(f"cannot write to {run_dir}: {error.strerror}") from error
    return entry["changed"]


def _settings(entry):
    """What can change between two starts of a run: its flags but for where it lies and began, and its packages."""
    flags = {f"--{name}": value for name, value in entry["flags"].items() if name not in ("run_dir", "init_from")}
    return flags | entry["versions"]


def history(run_dir) -> list[dict]:
    """The starts of a run's training that changed something, the first of them included; [] if none are kept.

    Returns:
        {"step": steps done before, "date": ISO 8601, "changed": sentences like "--learning_rate: 0.001 before, 0.0005
        from step 2000 on", "flags": all flags by name, "versions": of Python and packages} for each.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(run_dir) / HISTORY
    try:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error


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
