r"""Measures a trained run.

python -m vunet_tf.evaluate --run_dir=runs/sprites --split=valid --out=metrics.json
"""

import dataclasses
import shlex
import sys
from pathlib import Path

from absl import app, flags

from vunet_tf.errors import InputError
from vunet_tf.startup import start_tensorflow

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to measure.")
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir", None, "The dataset to measure on; by default the one of the training."
)
_SPLIT = flags.DEFINE_list("split", "valid", "Splits to measure, with commas between.")
_OUT = flags.DEFINE_string("out", None, "JSON file to write.")
_REFERENCE = flags.DEFINE_string("reference", None, "Transfer: which picture of each appearance the model sees.")
_MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 2000, "Examples per split; 0 for all.", lower_bound=0)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Pictures made at a time.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of all random numbers.", lower_bound=0)


def _evaluate():
    start_tensorflow()
    from vunet_tf import runs
    from vunet_tf.evaluation import report, transfer
    from vunet_tf.evaluation.measures import Measure, Missing
    from vunet_tf.evaluation.scoring import Scorer

    model = runs.load(_RUN_DIR.value)
    training = runs.training_flags(_RUN_DIR.value)
    dataset = _DATASET_DIR.value or training.get("dataset_dir")
    found = []
    for split in _SPLIT.value:
        task = transfer.TransferTask(model, dataset, split, _REFERENCE.value, _MAX_EXAMPLES.value, _BATCH_SIZE.value)
        found += transfer.measure(task, Scorer(), _SEED.value)[0]
    results = report.Results(
        run=_RUN_DIR.value,
        dataset=dataset,
        source="",
        command=shlex.join(sys.argv),
        settings={"seed": _SEED.value},
        model=dataclasses.asdict(model.config),
        training=training,
        versions={},
        measures=tuple(each for each in found if isinstance(each, Measure)),
        missing=tuple(each for each in found if isinstance(each, Missing)),
    )
    print(report.as_text(results))
    report.write(results, Path(_OUT.value))


def main(argv: list[str]) -> None:
    """Measures; an error of the user's is one line and exit status 1."""
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument {argv[1]!r}; everything is given by flags")
    try:
        _evaluate()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")


if __name__ == "__main__":
    app.run(main)
