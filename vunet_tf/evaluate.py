r"""Measures a trained run: how good its pictures are, and whether shape and appearance are separated.

  python -m vunet_tf.evaluate --run_dir=runs/sprites --split=valid --out=results/sprites.json
  python -m vunet_tf.evaluate --run_dir=runs/sprites --sections=transfer --max_examples=0 --out=results/transfer.json
  python -m vunet_tf.evaluate --compare=results/sprites.json,results/figures.json --out=docs/results.md

It prints a table and writes it as JSON. Beside that file it writes an HTML page with pictures (sprites.html), its plots
and pictures as PNG files (sprites_curve.png, ...), and the model's scores of every single example as a table
(sprites_examples.csv). --compare needs that table for the differences between runs. What cannot be measured on a
dataset is listed with the reason. docs/evaluation.md says what each number means. The same seed gives the same numbers.
The section pose needs the pose estimator (once before: python -m vunet_tf.estimate get).
"""

import dataclasses
import importlib.metadata
import shlex
import sys
from pathlib import Path

from absl import flags

from vunet_tf.command_line.flags import define, values
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.config import EvaluationConfig
from vunet_tf.data.dataset import read_info
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.pretrained import folder_of

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run to measure, or name of a preset.")
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir",
    None,
    "Folder of the dataset to measure on. By default that of the training. A preset brings only 64 examples of the "
    "split valid: for all measures, name a whole dataset of the same kind.",
)
_OUT = flags.DEFINE_string(
    "out", None, "JSON file to write (with --compare: Markdown file). The other files are written beside it."
)
define(EvaluationConfig)
_COMPARE = flags.DEFINE_list(
    "compare",
    None,
    "JSON files of evaluations, with commas between: join them into a Markdown table, and measure nothing. Runs that "
    "were measured on the same examples are also compared example by example with the first one named.",
)

PACKAGES = ("vunet-tf", "tensorflow", "keras", "numpy", "scikit-learn")


def _writable(out: str | None, suffix: str) -> Path:
    """The path of --out. Its folder is tried before the work, which may take an hour."""
    if not out or Path(out).suffix != suffix:
        raise InputError(f"--out={out or ''}: name a file that ends in {suffix}")
    atomic.check_writable(out)
    return Path(out)


def _evaluate() -> None:
    if not _RUN_DIR.value or not _OUT.value:
        raise InputError("give --run_dir and --out (or --compare and --out); `--help` explains")
    out = _writable(_OUT.value, ".json")
    config = EvaluationConfig(**values(EvaluationConfig))
    for name in ("vgg_weights", "inception_weights"):
        value = getattr(config, name)
        if value not in (None, "imagenet") and not Path(value).is_file():
            raise InputError(f"--{name}={value}: there is no such file")

    folder_of(_RUN_DIR.value)
    if _DATASET_DIR.value:
        read_info(_DATASET_DIR.value)

    start_tensorflow()  # only now: --help and wrong flags need not wait for it
    from vunet_tf import runs
    from vunet_tf.evaluation import per_example, plots, report
    from vunet_tf.evaluation.evaluation import Evaluation
    from vunet_tf.evaluation.page import Picture, as_html

    run = runs.load(_RUN_DIR.value, _DATASET_DIR.value)
    dataset = str(run.dataset())
    evaluation = Evaluation(run, config)
    evaluation.run()
    results = report.Results(
        run=_RUN_DIR.value,
        dataset=dataset,
        source=read_info(dataset).source,
        command=shlex.join(["python", "-m", "vunet_tf.evaluate", *sys.argv[1:]]),
        settings=evaluation.settings,
        model=dataclasses.asdict(run.model.config),
        training=run.flags,
        changes=tuple(change for start in runs.history(run.directory) for change in start["changed"]),
        versions={package: importlib.metadata.version(package) for package in PACKAGES},
        measures=tuple(each for each in evaluation.found if isinstance(each, report.Measure)),
        missing=tuple(each for each in evaluation.found if isinstance(each, report.Missing)),
    )
    pictures = list(evaluation.pictures)
    if curve := plots.curve(_RUN_DIR.value):
        pictures.append(Picture("curve", "Curve of the run", "From its metrics.csv.", curve))
    print(report.as_text(results))
    scores = per_example.path_beside(out)
    with atomic.writing(out):
        scores.unlink(missing_ok=True)  # an earlier one of this name, which --compare would take for this run's
        report.write(results, out)
        if evaluation.examples:
            atomic.write_csv(scores, per_example.table(evaluation.examples))
        for picture in pictures:
            atomic.write_bytes(out.with_name(f"{out.stem}_{picture.name}.png"), picture.png)
        atomic.write_text(out.with_suffix(".html"), as_html(results, pictures))
    print(f"\n{out}, {out.with_suffix('.html').name} and {len(pictures)} pictures beside it")


def _compare() -> None:
    out = _writable(_OUT.value, ".md")
    start_tensorflow()
    from vunet_tf.evaluation import comparison, per_example, report

    results = [report.read(path) for path in _COMPARE.value]
    examples = [per_example.read(per_example.path_beside(path)) for path in _COMPARE.value]
    command = shlex.join(["python", "-m", "vunet_tf.evaluate", *sys.argv[1:]])
    with atomic.writing(out):
        atomic.write_text(out, comparison.as_markdown(results, examples, command))
    print(f"{out}: {len(results)} evaluations side by side")


def _run() -> None:
    if _COMPARE.value:
        _compare()
    else:
        _evaluate()


if __name__ == "__main__":
    run(_run, if_stopped="nothing was written")
