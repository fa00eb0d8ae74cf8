"""The folder of a preset: small weights, the run's settings, and some examples."""

import hashlib
import json
import shlex
import shutil
from pathlib import Path

from vunet_tf import pretrained, runs
from vunet_tf.data.dataset import read_examples, read_info, write_dataset
from vunet_tf.files import atomic
from vunet_tf.models.layers import with_weights
from vunet_tf.models.part_prior import PartPrior
from vunet_tf.runs import Run

_FOLDERS = ("run_dir", "dataset_dir", "init_from")  # flags that have no meaning in another place
_SPLIT = "valid"


def write(trained: Run, out: Path, description: str, licence: str, count: int) -> None:
    """Writes the preset of a run.

    Args:
        trained: as `runs.load` gives it.
        out: folder of the preset. It is made if it is not there.
        description, licence: texts for preset.json.
        count: number of examples in the preset.

    Raises:
        InputError: the run's dataset is not there, or the folder cannot be written.
    """
    for layer in with_weights(trained.model):
        if isinstance(layer, PartPrior):
            layer.zero_masked()
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
    """Writes a dataset of some examples of the split valid. Those that differ in appearance and shape come first."""
    info = read_info(dataset)
    info.examples(_SPLIT)
    first, others, seen = [], [], set()
    for example in read_examples(dataset, _SPLIT):
        ids = {("appearance", example.appearance_id), ("shape", example.shape_id)}
        if ids & seen:
            others.append(example)
        else:
            first.append(example)
            seen |= ids
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
