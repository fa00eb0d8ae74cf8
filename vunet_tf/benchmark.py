"""Measures speed and size on this machine.

  python -m vunet_tf.benchmark data [--dataset_dir=DIR]
  python -m vunet_tf.benchmark model [--out=docs/model.md]

data: images per second of the whole input pipeline (read, decode, stickman, 8 body-part crops, batch), and of its parts
  alone. Without --dataset_dir it draws people of 128 and 256 pixels first; pictures are JPEG, crops 64 pixels.
model: parameters and multiply-accumulates of the three published configurations; with --out, a page with the shapes of
  every functional model besides.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

from vunet_tf.errors import InputError
from vunet_tf.startup import start_tensorflow

_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir", None, "data: a dataset with joints to measure on, instead of drawn people."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "data: examples in a batch.", lower_bound=1)
_PART_SIZE = flags.DEFINE_integer("part_size", 64, "data: side of a body-part crop in pixels.", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "model: Markdown file to write the page to.")
_SECONDS = flags.DEFINE_float("seconds", 3.0, "How long each of the repetitions takes.", lower_bound=0.1)
_REPEAT = flags.DEFINE_integer("repeat", 5, "Repetitions; the median is shown, and the range.", lower_bound=1)


class Rate(NamedTuple):
    """How fast a step is: pictures per second, and processor time (all cores together) per picture in milliseconds,
    which other programs on the machine disturb less."""

    per_second: float
    cpu_ms: float


def measure(step: Callable[[], int], seconds: float, repeat: int) -> list[Rate]:
    """Rates of a step that returns how many images it made; its first runs (tracing, compiling, filling queues) are
    left out."""
    for _ in range(3):
        step()
    rates = []
    for _ in range(repeat):
        images, start, cpu_start = 0, time.perf_counter(), time.process_time()
        while (passed := time.perf_counter() - start) < seconds:
            images += step()
        rates.append(Rate(images / passed, 1000 * (time.process_time() - cpu_start) / images))
    return rates


def _row(name: str, rates: list[Rate]) -> str:
    per_second = [rate.per_second for rate in rates]
    spread = f"({min(per_second):,.0f} to {max(per_second):,.0f})"
    cpu = statistics.median(rate.cpu_ms for rate in rates)
    return f"  {name:<20}{statistics.median(per_second):>10,.0f}   {spread:<20}{cpu:>8.2f}"


def benchmark_data(directory: Path) -> None:
    """Prints images/s of the pipeline over a dataset with joints, and of its parts."""
    import tensorflow as tf

    from vunet_tf.data.body_parts import crop_body_parts
    from vunet_tf.data.dataset import read_examples, read_info
    from vunet_tf.data.pipeline import evaluation_batches, training_batches
    from vunet_tf.data.stickman import draw_stickman

    info = read_info(directory)
    if info.joints is None:
        raise InputError(f"--dataset_dir={directory} has no joints, and this measures stickmen and body parts")
    size, part_size, batch_size = info.image_size, _PART_SIZE.value, _BATCH_SIZE.value

    def rate(name, step):
        print(_row(name, measure(step, _SECONDS.value, _REPEAT.value)), flush=True)

    encoded = [example.image for example, _ in zip(read_examples(directory, "train"), range(512), strict=False)]
    mean_size = statistics.mean(map(len, encoded)) / 1024
    print(f"{size} x {size} pixels, {mean_size:.1f} KiB each, crops of {part_size}, batches of {batch_size}")
    print(f"  {'':<20}{'images/s':>10}   {'(range)':<20}{'CPU ms':>8}")
    batches = iter(training_batches(directory, batch_size, part_size=part_size))
    rate("whole pipeline", lambda: next(batches)["image"].shape[0])

    def decode(image):
        return tf.io.decode_image(image, 3, expand_animations=False)

    pictures = tf.data.Dataset.from_tensor_slices(encoded).repeat().map(decode, tf.data.AUTOTUNE)
    decoded = iter(pictures.ragged_batch(batch_size))
    rate("decoding alone", lambda: next(decoded).shape[0])

    batch = next(iter(evaluation_batches(directory, batch_size, split="train")))
    stickman = tf.function(lambda joints: draw_stickman(joints, size, size), jit_compile=True)
    rate("stickmen alone", lambda: stickman(batch["joints"]).shape[0])
    crops = tf.function(lambda image, joints: crop_body_parts(image, joints, part_size, part_size))
    rate("8 crops alone", lambda: crops(batch["image"], batch["joints"]).shape[0])


def _data() -> None:
    if _DATASET_DIR.value:
        benchmark_data(Path(_DATASET_DIR.value))
        return
    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.figures import open_source
    from vunet_tf.data.sources.source import Options

    with tempfile.TemporaryDirectory() as folder:
        for size in (128, 256):
            directory = Path(folder) / str(size)
            prepare(open_source(Options(image_size=size, encoding="jpeg", examples=1000)), directory, "figures", {})
            benchmark_data(directory)


def _model() -> None:
    from vunet_tf.config import PRESETS
    from vunet_tf.models.summary import figures_table, model_page

    if not _OUT.value:
        print(figures_table(PRESETS))
        return
    try:
        Path(_OUT.value).write_text(model_page(f"python -m vunet_tf.benchmark model --out={_OUT.value}"))
    except OSError as error:
        raise InputError(f"cannot write {_OUT.value}: {error.strerror}; name another --out") from error


_COMMANDS = {"data": _data, "model": _model}


def main(argv: list[str]) -> None:
    """Runs the benchmark that the first argument names."""
    if len(argv) != 2 or argv[1] not in _COMMANDS:
        sys.exit(f"error: name one benchmark: {', '.join(_COMMANDS)}; `python -m vunet_tf.benchmark --help` explains")
    start_tensorflow()
    try:
        _COMMANDS[argv[1]]()
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main)
