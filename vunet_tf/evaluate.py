r"""Measures a trained run: how good its pictures are, and whether shape and appearance are apart.

  python -m vunet_tf.evaluate --run_dir=runs/sprites --split=valid --out=results/sprites.json
  python -m vunet_tf.evaluate --run_dir=runs/sprites --sections=transfer --max_examples=0 --out=results/transfer.json
  python -m vunet_tf.evaluate --compare=results/sprites.json,results/figures.json --out=docs/results.md

Prints a table and writes it as JSON, and beside it an HTML page with pictures (sprites.html) and its plots and pictures
as PNG (sprites_curve.png, ...). What cannot be measured on a dataset is listed with the reason. docs/evaluation.md says
what each figure means. The same seed gives the same figures.
"""

import dataclasses
import importlib.metadata
import os
import shlex
import sys
from pathlib import Path

from absl import flags

from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to measure.")
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "The dataset to measure on; by default the training's.")
_SPLIT = flags.DEFINE_list(
    "split",
    None,
    "Splits, with commas between; by default valid, valid_appearance and valid_shape where there are.",
)
_OUT = flags.DEFINE_string("out", None, "JSON file to write (with --compare: Markdown file); the others lie beside it.")
_SECTIONS = flags.DEFINE_list(
    "sections",
    "reconstruction,transfer,disentanglement,likelihood,distribution",
    "What to measure, with commas between.",
)
_REFERENCE = flags.DEFINE_string(
    "reference",
    None,
    'Transfer: which picture of each appearance the model sees: "first" of each, or key=value,... for the first with '
    "these attributes (or name, shape_id). By default action=idle,direction=down,t=0 for sprites, else first. It comes "
    "from the split with the same appearances in seen shapes (valid: valid_appearance, valid_shape: train), or from "
    "the split itself.",
)
_MAX_EXAMPLES = flags.DEFINE_integer(
    "max_examples", 2000, "Examples per split, evenly spread; 0 for all.", lower_bound=0
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Pictures made at a time.", lower_bound=1)
_SAMPLES = flags.DEFINE_integer("samples", 16, "Likelihood: samples of z in the tighter bound.", lower_bound=1)
_VGG_WEIGHTS = flags.DEFINE_string(
    "vgg_weights", None, 'For the VGG19 distance: "imagenet" (downloaded once), or a file of VGG19 weights.'
)
_INCEPTION_WEIGHTS = flags.DEFINE_string(
    "inception_weights", None, "For inception score and FID: a file of Keras InceptionV3 weights."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of all random numbers.", lower_bound=0)
_COMPARE = flags.DEFINE_list("compare", None, "JSON files of evaluations to join into a Markdown table, instead.")

PACKAGES = ("vunet-tf", "tensorflow", "keras", "numpy", "scikit-learn")


def _writable(out: str | None, suffix: str) -> Path:
    """The path of --out, in a folder that can be written: better known before an hour of work than after it."""
    if not out or Path(out).suffix != suffix:
        raise InputError(f"--out={out or ''}: name a file that ends in {suffix}")
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        atomic.write(path.with_name(f".{os.getpid()}.probe"), lambda temporary: temporary.write_bytes(b""))
        path.with_name(f".{os.getpid()}.probe").unlink()
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another --out") from error
    return path


def _evaluate() -> None:
    if not _RUN_DIR.value or not _OUT.value:
        raise InputError("give --run_dir and --out (or --compare and --out); `--help` explains")
    out = _writable(_OUT.value, ".json")
    for flag in (_VGG_WEIGHTS, _INCEPTION_WEIGHTS):
        if flag.value not in (None, "imagenet") and not Path(flag.value).is_file():
            raise InputError(f"--{flag.name}={flag.value}: there is no such file")

    start_tensorflow()  # only now: --help and wrong flags need not wait for it
    from vunet_tf import runs
    from vunet_tf.data.dataset import read_info
    from vunet_tf.evaluation import plots, report
    from vunet_tf.evaluation.evaluation import Evaluation, Options
    from vunet_tf.evaluation.page import Picture, as_html

    model, training = runs.load(_RUN_DIR.value), runs.training_flags(_RUN_DIR.value)
    dataset = _DATASET_DIR.value or str(runs.trained_on(_RUN_DIR.value))
    options = Options(
        splits=tuple(_SPLIT.value or ()),
        sections=tuple(_SECTIONS.value),
        reference=_REFERENCE.value,
        max_examples=_MAX_EXAMPLES.value,
        batch_size=_BATCH_SIZE.value,
        samples=_SAMPLES.value,
        vgg_weights=_VGG_WEIGHTS.value,
        inception_weights=_INCEPTION_WEIGHTS.value,
        seed=_SEED.value,
    )
    evaluation = Evaluation(model, dataset, options)
    evaluation.run()
    results = report.Results(
        run=_RUN_DIR.value,
        dataset=dataset,
        source=read_info(dataset).source,
        command=shlex.join(["python", "-m", "vunet_tf.evaluate", *sys.argv[1:]]),
        settings=evaluation.settings,
        model=dataclasses.asdict(model.config),
        training=training,
        changes=tuple(change for start in runs.history(_RUN_DIR.value) for change in start["changed"]),
        versions={package: importlib.metadata.version(package) for package in PACKAGES},
        measures=tuple(each for each in evaluation.found if isinstance(each, report.Measure)),
        missing=tuple(each for each in evaluation.found if isinstance(each, report.Missing)),
    )
    pictures = list(evaluation.pictures)
    if curve := plots.curve(_RUN_DIR.value):
        pictures.append(Picture("curve", "Curve of the run", "From its metrics.csv.", curve))
    print(report.as_text(results))
    report.write(results, out)
    for picture in pictures:
        _write(out.with_name(f"{out.stem}_{picture.name}.png"), picture.png)
    _write(out.with_suffix(".html"), as_html(results, pictures).encode())
    print(f"\n{out}, {out.with_suffix('.html').name} and {len(pictures)} pictures beside it")


def _write(path: Path, content: bytes) -> None:
    atomic.write(path, lambda temporary: temporary.write_bytes(content))


def _compare() -> None:
    start_tensorflow()
    from vunet_tf.evaluation import comparison, report

    out = _writable(_OUT.value, ".md")
    results = [report.read(path) for path in _COMPARE.value]
    command = shlex.join(["python", "-m", "vunet_tf.evaluate", *sys.argv[1:]])
    _write(out, comparison.as_markdown(results, command).encode())
    print(f"{out}: {len(results)} evaluations side by side")


def _run() -> None:
    try:
        if _COMPARE.value:
            _compare()
        else:
            _evaluate()
    except OSError as error:
        raise InputError(
            f"cannot write {error.filename or _OUT.value}: {error.strerror}; name another --out"
        ) from error


if __name__ == "__main__":
    run(_run, if_stopped="nothing was written")
