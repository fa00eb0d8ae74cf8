"""The commands that are killed, on small inputs, and what must be equal after each."""

import csv
import io
import json
import tempfile
from pathlib import Path

import numpy as np

from export.web import litert
from tests.conftest import write_figures
from vunet_tf.files import pictures
from vunet_tf.people import draw, sample_look, sample_pose
from vunet_tf.training import checkpoints

from .kills import Command
from .processes import Forked

_MODEL = {"bottleneck_factor": 3, "width": 4, "max_width": 8, "latent_scales": 1, "activation": "leaky_relu"}
_TRAINING = {"batch_size": 8, "steps": 40, "log_every": 2, "checkpoint_every": 4, "pictures_every": 8}
_TRAINING |= {"valid_batches": 1, "ema": 0.9, "reconstruction": "l1", "deterministic": "true"}
# Of each export: the TFLite file that `verify` measures, and the run.
_RUN, _PHONE = "run", "phone"


def material(folder: Path) -> None:
    """What the commands read, below `folder`: pictures, a dataset, a trained run, and an exported file."""
    (folder / "pictures").mkdir()
    for i in range(120):
        picture = draw(sample_look(1, i), sample_pose(1, i), 64).image
        (folder / f"pictures/{i:03d}.png").write_bytes(pictures.encode(picture, "png"))
    write_figures(folder / "dataset")
    for arguments in (_train(folder, folder / _RUN, steps=4, pictures_every=0), _phone(folder, folder / _PHONE)):
        _made_by(arguments, folder / "log")


def _made_by(arguments, log):
    if Forked(arguments, log).wait():
        raise RuntimeError(f"{' '.join(arguments)}:\n{log.read_text()}")


def _flags(**values) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _prepare(folder, out, *more):
    given = {"source": "folder", "input": folder / "pictures", "image_size": 32, "workers": 2, "output": out / "data"}
    return ["-m", "vunet_tf.prepare", *_flags(**given), *more]


def _train(folder, out, **changes):
    given = {"dataset_dir": folder / "dataset", "run_dir": out, **_MODEL, **_TRAINING, **changes}
    return ["-m", "vunet_tf.train", *_flags(**given)]


def _phone(folder, out):
    given = {"run_dir": folder / _RUN, "out": out, "precision": "float32,int8", "examples": 8}
    return ["-m", "export.tflite", *_flags(**given)]


def prepare(folder: Path) -> Command:
    """A dataset of pictures, by two processes."""
    return Command("prepare", lambda out: [*_prepare(folder, out), "--overwrite"])


def prepare_over(folder: Path) -> Command:
    """The same over an older dataset, which has to stay until the new one is whole."""
    old = folder / "old"

    def begin(out):
        if not old.is_dir():
            given = {"source": "digits", "workers": 1}
            _made_by(["-m", "vunet_tf.prepare", *_flags(**given, output=old)], folder / "log")
        _copy(old, out / "data")

    return Command("prepare_over", lambda out: [*_prepare(folder, out), "--overwrite"], begin=begin)


def _copy(source, target):
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def train(folder: Path) -> Command:
    """A training of 40 steps with 10 checkpoints."""
    arrays = checkpoints.read

    def normal(name, content, folder):
        if name.startswith("run/tensorboard/"):
            return None  # one file for each start
        if name == "run/metrics.csv":
            return [{**row, "images_per_second": ""} for row in csv.DictReader(io.StringIO(content.decode()))]
        if name == "run/history.jsonl":
            return [{**json.loads(line), "date": ""} for line in content.splitlines()]
        if name.endswith(".h5"):
            return _numbers_of(content)
        return content

    def unfinished(name, content):
        if name.endswith(".npz"):
            with tempfile.NamedTemporaryFile(suffix=".npz") as file:
                Path(file.name).write_bytes(content)
                arrays(file.name)
        if name.endswith(".h5"):
            _numbers_of(content)
        if name.endswith(".png"):
            pictures.decode(content)
        return name.startswith(("run/checkpoints/", "run/tensorboard/", "run/pictures/")) or name in (
            "run/metrics.csv", "run/model.weights.h5", "run/history.jsonl",
        )  # fmt: skip

    same = "every number of checkpoints, weights and curves, every byte of pictures; not dates and images/s"
    return Command("train", lambda out: _train(folder, out / "run"), same, normal=normal, unfinished=unfinished)


def _numbers_of(content):
    """{name: array as bytes} of an HDF5 file."""
    import h5py

    found = {}
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {}))
    return found


def generate(folder: Path) -> Command:
    """64 transfers, a file each."""
    given = {"run_dir": folder / _RUN, "appearances": "valid:0-7", "shapes": "valid:8-15", "batch_size": 4}
    return Command(
        "generate",
        lambda out: ["-m", "vunet_tf.generate", "transfer", *_flags(**given, out=out / "made"), "--separate"],
    )


def evaluate(folder: Path) -> Command:
    """All sections on 16 examples of each split; JSON, page and pictures."""
    given = {"run_dir": folder / _RUN, "max_examples": 16, "samples": 2}
    return Command("evaluate", lambda out: ["-m", "vunet_tf.evaluate", *_flags(**given, out=out / "run.json")])


def saved_model(folder: Path) -> Command:
    """A version of a SavedModel. After a kill at the very end the same command makes the next version."""

    def normal(name, content, folder):
        number, _, rest = name.partition("/")[2].partition("/")
        if rest == "variables/variables.index" and number == "1":
            import tensorflow as tf  # it only reads: nothing of its runtime starts

            reader = tf.train.load_checkpoint(str((folder / name).with_suffix("")))
            arrays = (reader.get_tensor(each) for each in reader.get_variable_to_shape_map())
            return sorted(np.asarray(array).tobytes() for array in arrays if not isinstance(array, bytes))
        left_out = ("saved_model.pb", "fingerprint.pb", "variables/variables.data-00000-of-00001")
        return None if number != "1" or rest in left_out else content

    same = "every number of the weights and every byte of warm-up and description; TensorFlow orders weights and names "
    same += "functions of the graph otherwise each time"
    return Command(
        "saved_model",
        lambda out: ["-m", "export.saved_model", *_flags(run_dir=folder / _RUN, out=out / "vunet")],
        same,
        normal=normal,
    )


def tflite(folder: Path) -> Command:
    """Files for phones in float32 and int8."""
    return Command("tflite", lambda out: _phone(folder, out / "phone"))


def web(folder: Path) -> Command:
    """The page, with the LiteRT.js that an earlier call has fetched."""
    litert.files()
    return Command("web", lambda out: ["-m", "export.web", *_flags(run_dir=folder / _RUN, out=out / "site", count=4)])


def preset(folder: Path) -> Command:
    """A preset with 16 examples."""
    given = {"run_dir": folder / _RUN, "description": "Drawn people", "examples": 16}
    return Command("preset", lambda out: ["-m", "export.preset", *_flags(**given, out=out / "tiny")])


def verify(folder: Path) -> Command:
    """Two TFLite files compared with the run, without timings, which are never the same."""
    given = {"run_dir": folder / _RUN, "examples": 8, "seconds": 0}
    return Command(
        "verify", lambda out: ["-m", "export.verify", *_flags(**given, out=out / "verify"), str(folder / _PHONE)]
    )


COMMANDS = {
    each.__name__: each
    for each in (prepare, prepare_over, train, generate, evaluate, saved_model, tflite, web, preset, verify)
}
