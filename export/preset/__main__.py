r"""Makes a preset of a run: a small folder that is used like a run, and can come with the package.

  python -m export.preset --run_dir=runs/figures4 --out=vunet_tf/pretrained/figures-64 --description="Drawn people"
  python -m vunet_tf.evaluate --run_dir=figures-64 --dataset_dir=datasets/figures60000 --out=figures-64.json

Large weights are stored in int8, the others in float16. The second command measures what that costs. Some examples of
the split valid come along, so that the preset can be used at once. Files that are in --out already are replaced, except
the model card README.md. It is written by hand: the data, the measures with their commands, the limits, the licence.
"""

from pathlib import Path

from absl import flags

from vunet_tf import pretrained
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run.")
_OUT = flags.DEFINE_string("out", None, "Folder of the preset. The folder's name becomes the preset's name.")
_DESCRIPTION = flags.DEFINE_string(
    "description", None, "What the model is, in one line, which `vunet_tf.presets()` shows."
)
_LICENCE = flags.DEFINE_string("licence", "Apache-2.0", "Licence of the weights and the examples.")
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir", None, "Folder of the run's dataset. By default the one named in its flags.txt."
)
_EXAMPLES = flags.DEFINE_integer("examples", 64, "Number of examples in the preset.", lower_bound=1)


def _export() -> None:
    if not _RUN_DIR.value or not _OUT.value or not _DESCRIPTION.value:
        raise InputError("give --run_dir, --out and --description; `python -m export.preset --help` explains")
    start_tensorflow()
    from export.preset import folder
    from vunet_tf import runs

    out = Path(_OUT.value)
    folder.write(
        runs.load(_RUN_DIR.value, _DATASET_DIR.value), out, _DESCRIPTION.value, _LICENCE.value, _EXAMPLES.value
    )
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.2f} MB")
    if not (out / pretrained.CARD).is_file():
        print(f"it has no model card yet: write {out / pretrained.CARD}")


if __name__ == "__main__":
    run(_export, if_stopped="every file under its final name is complete")
