r"""Makes a preset of a run: a small folder that is used like a run, and can come with the package.

  python -m export.preset --run_dir=runs/figures --out=vunet_tf/pretrained/figures-64 --description="Drawn people"
  python -m vunet_tf.evaluate --run_dir=figures-64 --dataset_dir=datasets/figures4000 --out=figures-64.json

Large weights are stored in int8, the others in float16; the second command says what that costs. Some examples of the
split valid come along, so that the preset can be used at once. What is in --out already is replaced, except its model
card README.md, which is written by hand: the data, the measures with their commands, the limits, the licence.
"""

import hashlib
import json
import shlex
import shutil
from pathlib import Path

from absl import flags

from vunet_tf import pretrained
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run.")
_OUT = flags.DEFINE_string("out", None, "Folder of the preset; its name is that of the preset.")
_DESCRIPTION = flags.DEFINE_string("description", None, "What it is, in a line that `vunet_tf.presets()` shows.")
_LICENCE = flags.DEFINE_string("licence", "Apache-2.0", "Licence of the weights and the examples.")
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "Dataset of the run; by default the one its flags.txt names.")
_EXAMPLES = flags.DEFINE_integer("examples", 64, "How many examples come along.", lower_bound=1)

_FOLDERS = ("run_dir", "dataset_dir", "init_from")  # flags that mean nothing elsewhere
_SPLIT = "valid"


def write(trained, out: Path, description: str, licence: str, count: int) -> None:
    """Writes the preset of a run.

    Args:
        trained: as `runs.load` gives it.
        out: the folder, made if need be.
        description, licence: for preset.json.
        count: examples that come along.

    Raises:
        InputError: the run's dataset is not there, or the folder cannot be written.
    """
    from vunet_tf import runs

    weights = [weight.numpy() for weight in trained.model.weights]
    packed = pretrained.pack(weights)
    info = {
        "description": description,
        "parameters": sum(weight.size for weight in weights),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "licence": licence,
    }
    kept = {name: value for name, value in trained.flags.items() if name not in _FOLDERS}
    with atomic.writing(out / pretrained.INFO):
        _excerpt(trained.dataset(), out / pretrained.EXAMPLES, count)
        shutil.copyfile(trained.directory / runs.CONFIG, out / runs.CONFIG)
        atomic.write_text(out / runs.FLAGS, "".join(f"--{name}={value}\n" for name, value in kept.items()))
        atomic.write_bytes(out / pretrained.WEIGHTS, packed)
        atomic.write_text(out / pretrained.INFO, json.dumps(info, indent=1) + "\n")


def _excerpt(dataset: Path, out: Path, count: int) -> None:
    """A dataset of some examples of another one's split valid: those that differ in both appearance and shape first."""
    from vunet_tf.data.dataset import read_examples, read_info, write_dataset

    info = read_info(dataset)
    info.examples(_SPLIT)
    first, others, seen = [], [], set()
    for example in read_examples(dataset, _SPLIT):
        ids = {("appearance", example.appearance_id), ("shape", example.shape_id)}
        (others if ids & seen else first).append(example)
        seen |= ids if not ids & seen else set()
    others = others[:: max(1, len(others) // max(1, count - len(first)))]
    given = " ".join(f"--{name}={shlex.quote(str(value))}" for name, value in info.made_with["flags"].items())
    made_with = {**info.made_with, "excerpt_of": f"python -m vunet_tf.prepare {given} --output=DIR"}
    with write_dataset(out, overwrite=True) as writer:
        for example in (first + others)[:count]:
            writer.add(example)
        writer.finish(
            source=info.source,
            made_with=made_with,
            image_size=info.image_size,
            joints=info.joints,
            shape_channels=info.shape_channels,
        )


def _export() -> None:
    if not _RUN_DIR.value or not _OUT.value or not _DESCRIPTION.value:
        raise InputError("give --run_dir, --out and --description; `python -m export.preset --help` explains")
    start_tensorflow()
    from vunet_tf import runs

    out = Path(_OUT.value)
    write(runs.load(_RUN_DIR.value, _DATASET_DIR.value), out, _DESCRIPTION.value, _LICENCE.value, _EXAMPLES.value)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.2f} MB")
    if not (out / pretrained.CARD).is_file():
        print(f"it has no model card yet: write {out / pretrained.CARD}")


if __name__ == "__main__":
    run(_export, if_stopped="what is under its final name is whole")
