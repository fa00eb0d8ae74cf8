"""Measures speed and size on this machine.

  python -m vunet_tf.benchmark data [--dataset_dir=DIR]
  python -m vunet_tf.benchmark train
  python -m vunet_tf.benchmark profile
  python -m vunet_tf.benchmark model [--out=docs/model_tables.md]

data: images per second of the whole input pipeline (read, decode, stickman, 8 body-part crops, batch), and of its parts
  alone. Without --dataset_dir it draws people of 128 and 256 pixels first; pictures are JPEG, crops 64 pixels.
train: images per second of the training step (random pictures, L1 loss) in float32 and bfloat16, its peak memory, and
  its GFLOP/s as a part of what this machine reaches in a large matrix product. Counted are the convolutions alone: 2
  operations per multiply-accumulate, and twice the forward pass's for the backward pass.
profile: where the time of that step goes, by TensorFlow's operations. On one thread, so that times add up.
model: parameters and multiply-accumulates; with --out, a page with the shapes of every functional model besides.

The model is that of --flagfile=configs/NAME.flags, or of single flags (those of `python -m vunet_tf.train`). Without
any, train and profile take the market configuration, and model the three published ones.
"""

import collections
import dataclasses
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import flags

from vunet_tf.command_line.flags import CONFIGS, define, given, read_flagfile, values
from vunet_tf.command_line.startup import in_own_process, run, start_tensorflow
from vunet_tf.config import ModelConfig, RunConfig, TrainingConfig
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

define(RunConfig)
define(ModelConfig)
define(TrainingConfig)
_PART_SIZE = flags.DEFINE_integer("part_size", 64, "data: side of a body-part crop in pixels.", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "model: Markdown file to write the page to.")
_SECONDS = flags.DEFINE_float("seconds", 3.0, "How long each of the repetitions takes.", lower_bound=0.1)
_REPEAT = flags.DEFINE_integer("repeat", 5, "Repetitions; the median is shown, and the range.", lower_bound=1)

PUBLISHED = ("coco", "deepfashion", "market")  # the configurations of the released program
PRECISIONS = ("float32", "mixed_bfloat16")  # of the training step


class Rate(NamedTuple):
    """How fast a step is: pictures per second, and processor time (all cores together) per picture in milliseconds,
    which other programs on the machine disturb less."""

    per_second: float
    cpu_ms: float


def measure(step: Callable[[], int], seconds: float, repeat: int, warm_up: int = 3) -> list[Rate]:
    """Rates of a step that returns how many images it made; its first runs (tracing, compiling, filling queues) are
    left out."""
    for _ in range(warm_up):
        step()
    rates = []
    for _ in range(repeat):
        images, passed, start, cpu_start = 0, 0.0, time.perf_counter(), time.process_time()
        while not images or (passed := time.perf_counter() - start) < seconds:
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

    from vunet_tf.body.body_parts import Crops, crop_body_parts
    from vunet_tf.body.stickman import draw_stickman
    from vunet_tf.data.batches import evaluation_batches, training_batches
    from vunet_tf.data.dataset import read_examples, read_info

    info = read_info(directory)
    if info.joints is None:
        raise InputError(f"--dataset_dir={directory} has no joints, and this measures stickmen and body parts")
    size, part_size, batch_size = info.image_size, _PART_SIZE.value, flags.FLAGS.batch_size

    def rate(name, step):
        print(_row(name, measure(step, _SECONDS.value, _REPEAT.value)), flush=True)

    encoded = [example.image for example, _ in zip(read_examples(directory, "train"), range(512), strict=False)]
    mean_size = statistics.mean(map(len, encoded)) / 1024
    print(f"{size} x {size} pixels, {mean_size:.1f} KiB each, crops of {part_size}, batches of {batch_size}")
    print(f"  {'':<20}{'images/s':>10}   {'(range)':<20}{'CPU ms':>8}")
    batches = iter(training_batches(directory, batch_size, crops=Crops(8, part_size)))
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
    start_tensorflow()
    if flags.FLAGS.dataset_dir:
        benchmark_data(Path(flags.FLAGS.dataset_dir))
        return
    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.figures import open_source
    from vunet_tf.data.sources.source import Options

    with tempfile.TemporaryDirectory() as folder:
        for size in (128, 256):
            directory = Path(folder) / str(size)
            prepare(open_source(Options(image_size=size, encoding="jpeg", examples=1000)), directory, "figures", {})
            benchmark_data(directory)


def _asked() -> ModelConfig | None:
    """The model that the flags or a flagfile describe; None where they describe none."""
    if {field.name for field in dataclasses.fields(ModelConfig)} & set(given()):
        return ModelConfig(**values(ModelConfig))
    return None


def _model_config() -> ModelConfig:
    return _asked() or read_flagfile(CONFIGS / "market.flags")


def _title() -> str:
    return "the model of the flags" if _asked() else "market configuration"


def _model() -> None:
    start_tensorflow()
    from vunet_tf.models.sizes import model_page, sizes_table

    asked = _asked()
    configs = {"as given": asked} if asked else {name: read_flagfile(CONFIGS / f"{name}.flags") for name in PUBLISHED}
    if not _OUT.value:
        print(sizes_table(configs))
        return
    with atomic.writing(_OUT.value):
        page = model_page(f"python -m vunet_tf.benchmark model --out={_OUT.value}", configs)
        atomic.write_text(Path(_OUT.value), page)


def matrix_product_peak(dtype: str, size: int = 2048, repeat: int = 5) -> float:
    """GFLOP/s of the fastest of some products of two square matrices."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((size, size)), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    product()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        product().numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


class TrainingSpeed(NamedTuple):
    """The training step in one precision, repeatedly: pictures per second, GFLOP/s, and those as a part of a matrix
    product's just before; and the process' peak memory in MiB."""

    per_second: list[float]
    gflops: list[float]
    of_peak: list[float]
    memory: float


def _training_step(precision: str, config: ModelConfig, batch_size: int) -> Callable[[], int]:
    """A training step on random pictures, L1 loss, of a model that sees body parts; it returns the batch size."""
    import tensorflow as tf

    from vunet_tf.training.step import TrainingStep

    settings = TrainingConfig(batch_size=batch_size, reconstruction="l1", mixed_precision=precision)
    training_step = TrainingStep(config, settings)
    size, seen = config.image_size, training_step.model.appearance_input
    shapes = {"image": (size, size, 3), "shape": (size, size, config.shape_channels), **seen.shapes}
    batch = {
        key: tf.random.stateless_uniform((batch_size, *sides), [0, i], -1, 1)
        for i, (key, sides) in enumerate(shapes.items())
    }
    training_step.initialise([batch])
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())

    def step():
        training_step.train(batches, tf.constant(1)).numpy()
        return batch_size

    return step


def training_speed(
    precision: str, config: ModelConfig, batch_size: int, seconds: float, repeat: int, product_size: int = 2048
) -> TrainingSpeed:
    """Measures the training step of a model that sees body parts; in a process of its own, for the memory's sake."""
    start_tensorflow()
    from vunet_tf.models.sizes import sizes_of

    step = _training_step(precision, config, batch_size)
    measure(step, 0, 1)
    rates, peaks = [], []
    for _ in range(repeat):  # by turns: what else the machine does slows both
        peaks.append(matrix_product_peak("float32" if precision == "float32" else "bfloat16", product_size))
        rates += measure(step, seconds, 1, warm_up=0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_second = [rate.per_second for rate in rates]
    gflop = 6 * sum(sizes_of(config)["macs"].values()) / 1e9
    gflops = [rate * gflop for rate in per_second]
    of_peak = [ours / peak for ours, peak in zip(gflops, peaks, strict=True)]
    return TrainingSpeed(per_second, gflops, of_peak, memory)


def operation_times(precision: str, config: ModelConfig, batch_size: int) -> dict[str, float]:
    """Milliseconds of a training step by kind of TensorFlow operation, the longest first; in a process of its own.

    It runs on one thread: on several, operations wait for each other, and their times add up to more than the step's.
    """
    start_tensorflow()
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    step = _training_step(precision, config, batch_size)
    measure(step, 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            step()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(trace.read_bytes())
    times = collections.Counter()
    for plane in space.planes:
        names = {key: data.name for key, data in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            *_, operation = names[event.metadata_id].rpartition(":")  # "place/in/the/graph:Operation"
            if hasattr(tf.raw_ops, operation.removeprefix("_MklNative").removeprefix("_Mkl").removesuffix("WithBias")):
                times[operation] += event.duration_ps / 1e9
    return dict(times.most_common())


def _profile() -> None:
    print(f"{_title()}, batches of {flags.FLAGS.batch_size}, L1 loss, one thread")
    for precision in PRECISIONS:
        times = in_own_process(operation_times, precision, _model_config(), flags.FLAGS.batch_size)
        whole = sum(times.values())
        print(f"  {precision:<40}{whole:>10,.0f} ms")
        for operation, milliseconds in times.items():
            if milliseconds > whole / 1000:
                print(f"    {operation:<38}{milliseconds:>10,.0f} ms{milliseconds / whole:>8.1%}", flush=True)


def _train() -> None:
    print(f"{_title()}, batches of {flags.FLAGS.batch_size}, L1 loss")
    print(f"  {'':<20}{'images/s':>10}   {'(range)':<20}{'GFLOP/s':>8}{'of peak':>9}{'MiB':>8}", flush=True)
    for precision in PRECISIONS:
        arguments = (precision, _model_config(), flags.FLAGS.batch_size, _SECONDS.value, _REPEAT.value)
        speed = in_own_process(training_speed, *arguments)
        spread = f"({min(speed.per_second):,.1f} to {max(speed.per_second):,.1f})"
        print(
            f"  {precision:<20}{statistics.median(speed.per_second):>10,.1f}   {spread:<20}"
            f"{statistics.median(speed.gflops):>8,.0f}{statistics.median(speed.of_peak):>9.0%}{speed.memory:>8,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    run({"data": _data, "train": _train, "profile": _profile, "model": _model})
