"""Measures speed and size on this machine.

  python -m vunet_tf.benchmark data [--dataset_dir=DIR]
  python -m vunet_tf.benchmark train
  python -m vunet_tf.benchmark profile
  python -m vunet_tf.benchmark model [--out=docs/model_tables.md]
  python -m vunet_tf.benchmark scaling [--images_per_second=FLOAT32,BFLOAT16] [--out=docs/scaling.png]
  python -m vunet_tf.benchmark processes [--processes=1,2,4]

data: images per second of the whole input pipeline (read, decode, draw stickmen, cut 8 body-part crops, batch), and of
  its parts alone. Without --dataset_dir it first draws people of 128 and 256 pixels. Pictures are JPEG, and crops have
  64 pixels.
train: images per second of the training step (random pictures, L1 loss) in float32 and bfloat16, its peak memory, and
  its GFLOP/s, also as a part of what this machine reaches in a large matrix product. Only the convolutions are counted,
  with 2 operations per multiply-accumulate. The backward pass counts twice as much as the forward pass.
profile: how the time of that step is divided among TensorFlow's operations, on one thread, so that times add up.
model: parameters and multiply-accumulates. With --out, it writes a page that also has the shapes of all functional
  models.
scaling: what training on 8, 64 and 1,000 machines costs. This is computed from the number of parameters, the measured
  speed of the step on one machine, and the size of an example (of --dataset_dir, or of drawn people as JPEG). With
  --out, it writes a plot.
processes: the same, but measured with a few processes of this machine, one thread each. The formula of `scaling` stands
  beside it.

The model is that of --flagfile=configs/NAME.flags, or of single flags. Without any, `model` takes the three published
models, and the others take the market configuration. If you give one flag of the model, all others have the defaults
that this help shows, not those of market.flags. To change one setting of market, give --flagfile=configs/market.flags
first.

Of the flags of `python -m vunet_tf.train`, only those of the model, --batch_size and --dataset_dir have an effect here.
The others are accepted, so that a flagfile can be given. --batch_size is the number of pictures in a step; in scaling
and processes it is that of each machine or process.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import math
import os
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import flags

from vunet_tf.command_line.flags import CONFIGS, define, given, read_flagfile, values
from vunet_tf.command_line.startup import helpers_end_if_stopped, in_own_process, run, start_tensorflow
from vunet_tf.config import ModelConfig, RunConfig, TrainingConfig
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

define(RunConfig)
define(ModelConfig)
define(TrainingConfig)
_PART_SIZE = flags.DEFINE_integer("part_size", 64, "data: side of a body-part crop in pixels.", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "model: Markdown file for the page. scaling: PNG file for the plot.")
_IMAGES_PER_SECOND = flags.DEFINE_list(
    "images_per_second",
    None,
    "scaling: images per second that `benchmark train` measured: two numbers, for float32 and bfloat16. Without them, "
    "both are measured first.",
)
_LATENCY = flags.DEFINE_float(
    "latency", 0.0, "scaling: microseconds that the network takes until a message begins to arrive.", lower_bound=0
)
_PROCESSES = flags.DEFINE_list(
    "processes", ["1", "2", "4"], "processes: numbers of processes to measure, one after another."
)
_SECONDS = flags.DEFINE_float(
    "seconds", 3.0, "How long each repetition takes, in seconds. Not for model and profile.", lower_bound=0.1
)
_REPEAT = flags.DEFINE_integer(
    "repeat", 5, "Number of repetitions. Their median and range are shown. Not for model and profile.", lower_bound=1
)

PUBLISHED = ("coco", "deepfashion", "market")  # the configurations of the released program
PRECISIONS = ("float32", "mixed_bfloat16")  # of the training step


class Rate(NamedTuple):
    """How fast a step is: pictures per second, and processor time per picture in milliseconds (all cores together).

    Other programs on the machine disturb the processor time less."""

    per_second: float
    cpu_ms: float


def measure(step: Callable[[], int], seconds: float, repeat: int, warm_up: int = 3) -> list[Rate]:
    """Rates of a step that returns how many images it made. Its first runs are left out: they trace, compile and fill
    queues."""
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
    """The model that the flags or a flagfile describe, or None if they describe none."""
    if {field.name for field in dataclasses.fields(ModelConfig)} & set(given()):
        return ModelConfig(**values(ModelConfig))
    return None


def _model_config() -> ModelConfig:
    return _asked() or read_flagfile(CONFIGS / "market.flags")


def _title() -> str:
    return "the model of the flags" if _asked() else "market configuration"


def _model() -> None:
    asked = _asked()
    start_tensorflow()
    from vunet_tf.models.sizes import model_page, sizes_table

    configs = {"as given": asked} if asked else {name: read_flagfile(CONFIGS / f"{name}.flags") for name in PUBLISHED}
    if not _OUT.value:
        print(sizes_table(configs))
        return
    with atomic.writing(_OUT.value):
        page = model_page(f"python -m vunet_tf.benchmark model --out={_OUT.value}", configs)
        atomic.write_text(Path(_OUT.value), page)


def matrix_product_peak(dtype: str, size: int = 2048, repeat: int = 5) -> float:
    """GFLOP/s of the fastest of `repeat` products of two square matrices."""
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
    """The training step in one precision. For each repetition: pictures per second, GFLOP/s, and those as a part of the
    GFLOP/s of a matrix product just before. Once: the peak memory of the process in MiB."""

    per_second: list[float]
    gflops: list[float]
    of_peak: list[float]
    memory: float


def _training_step(precision: str, config: ModelConfig, batch_size: int, strategy=None) -> Callable[[], int]:
    """A training step on random pictures with L1 loss, for a model that sees body parts.

    It returns the batch size, which is that of each worker of the strategy."""
    import tensorflow as tf

    from vunet_tf.training.step import TrainingStep

    settings = TrainingConfig(batch_size=batch_size, reconstruction="l1", mixed_precision=precision)
    training_step = TrainingStep(config, settings, strategy)
    size, seen = config.image_size, training_step.model.appearance_input
    shapes = {"image": (size, size, 3), "shape": (size, size, config.shape_channels), **seen.shapes}
    batch = {
        key: tf.random.stateless_uniform((batch_size, *sides), [0, i], -1, 1)
        for i, (key, sides) in enumerate(shapes.items())
    }
    training_step.initialise([batch])
    repeated = tf.data.Dataset.from_tensors(batch).repeat()
    batches = iter(training_step.strategy.distribute_datasets_from_function(lambda context: repeated))

    def step():
        training_step.train(batches, tf.constant(1)).numpy()
        return batch_size

    return step


def training_speed(
    precision: str, config: ModelConfig, batch_size: int, seconds: float, repeat: int, product_size: int = 2048
) -> TrainingSpeed:
    """Measures the training step of a model that sees body parts. Call it in a new process: it measures its memory."""
    start_tensorflow()
    from vunet_tf.models.sizes import sizes_of

    step = _training_step(precision, config, batch_size)
    measure(step, 0, 1)
    rates, peaks = [], []
    for _ in range(repeat):  # in turns, so that other programs slow both alike
        peaks.append(matrix_product_peak("float32" if precision == "float32" else "bfloat16", product_size))
        rates += measure(step, seconds, 1, warm_up=0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_second = [rate.per_second for rate in rates]
    gflop = 6 * sum(sizes_of(config)["macs"].values()) / 1e9
    gflops = [rate * gflop for rate in per_second]
    of_peak = [ours / peak for ours, peak in zip(gflops, peaks, strict=True)]
    return TrainingSpeed(per_second, gflops, of_peak, memory)


def operation_times(precision: str, config: ModelConfig, batch_size: int) -> dict[str, float]:
    """Milliseconds of a training step for each kind of TensorFlow operation, the longest first. It needs a new process.

    It runs on one thread. On several, operations wait for each other, and their times add up to more than the step's.
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


def _record_bytes(size: int) -> float:
    """Mean size on disk of an example of --dataset_dir. Without it, of a drawn person of `size` pixels as JPEG."""
    from vunet_tf.data.dataset import FRAMING_BYTES, read_info, serialise
    from vunet_tf.data.sources.figures import open_source
    from vunet_tf.data.sources.source import Options

    if flags.FLAGS.dataset_dir:
        info = read_info(flags.FLAGS.dataset_dir)
        return sum(shard.bytes for shard in info.splits["train"]) / info.examples("train")
    source = open_source(Options(image_size=size, encoding="jpeg"))
    made: list = [example for item in source.items[:100] for example in source.make(item)]
    return statistics.mean(len(serialise(example)) + FRAMING_BYTES for example in made)


def _scaling() -> None:
    start_tensorflow()
    from vunet_tf.models.sizes import sizes_of
    from vunet_tf.training import scaling

    config, batch_size, given_rates = _model_config(), flags.FLAGS.batch_size, _IMAGES_PER_SECOND.value
    if given_rates is None:
        arguments = (config, batch_size, _SECONDS.value, _REPEAT.value)
        rates = [
            statistics.median(in_own_process(training_speed, precision, *arguments).per_second)
            for precision in PRECISIONS
        ]
    else:
        try:
            rates = [float(rate) for rate in given_rates]
        except ValueError:
            rates = []
        if len(rates) != len(PRECISIONS) or not all(0 < rate < math.inf for rate in rates):
            raise InputError(
                f"--images_per_second={','.join(given_rates)}: must be two numbers above 0, in float32 and in bfloat16"
            )
    steps = [
        scaling.Step(name, batch_size, batch_size / rate) for name, rate in zip(scaling.GRADIENTS, rates, strict=True)
    ]
    parameters, latency = sizes_of(config)["trainable"], _LATENCY.value / 1e6
    print(scaling.tables(parameters, steps, _record_bytes(config.image_size), latency))
    if _OUT.value:
        with atomic.writing(_OUT.value):
            atomic.write_bytes(Path(_OUT.value), scaling.plot(parameters, steps, latency))


class WorkerSpeed(NamedTuple):
    """Speed of one of several workers: seconds of a training step, and seconds to add up as many numbers as there are
    gradients (0 for a worker that is alone)."""

    step: float
    exchange: float


def trained_parameters(config: ModelConfig) -> int:
    """The number of trained parameters of a model. Call it in a new process, since it starts TensorFlow."""
    start_tensorflow()
    from vunet_tf.models.sizes import sizes_of

    return sizes_of(config)["trainable"]


def worker_speed(
    cluster: dict | None, numbers: int, config: ModelConfig, batch_size: int, seconds: float, repeat: int
) -> WorkerSpeed:
    """Measures one worker on one thread. Call it in a new process, at the same time as the others.

    Args:
        cluster: TF_CONFIG of the worker, or None for a worker that trains alone.
        numbers: number of gradients.
        config, batch_size: model and batch size of its step.
        seconds, repeat: as for `measure`.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    start_tensorflow()
    import tensorflow as tf

    from vunet_tf.training import cluster as workers

    strategy = None
    if cluster is not None:
        os.environ["TF_CONFIG"] = json.dumps(cluster)
        strategy, _ = workers.strategy()
    step = _training_step("float32", config, batch_size, strategy)
    # Workers that wait for each other must make the same number of steps.
    count = max(1, round(seconds / _seconds_of(step, 3, warm_up=1)))
    if strategy is None:
        return WorkerSpeed(statistics.median(_seconds_of(step, count) for _ in range(repeat)), 0.0)
    count = int(_agreed(strategy, count))
    taken = statistics.median(_seconds_of(step, count) for _ in range(repeat))

    @tf.function
    def exchange():
        def replica():
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.zeros([numbers]))

        return tf.reduce_sum(strategy.run(replica))

    return WorkerSpeed(taken, statistics.median(_seconds_of(lambda: exchange().numpy(), 3) for _ in range(repeat)))


def _agreed(strategy, number: float) -> float:
    """The mean of the workers' numbers."""
    import tensorflow as tf

    @tf.function  # without it, TensorFlow warns that it is slow
    def mean():
        def replica():
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.constant(float(number)))

        return strategy.run(replica)

    return float(mean())


def _seconds_of(step: Callable[[], object], count: int, warm_up: int = 0) -> float:
    """Mean seconds of `count` runs."""
    for _ in range(warm_up):
        step()
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def speeds_of_workers(
    count: int, together: bool, numbers: int, config: ModelConfig, batch_size: int, seconds: float, repeat: int
) -> list[WorkerSpeed]:
    """Speeds of `count` processes that train at the same time: together, or each for itself."""
    clusters = [None] * count
    if together:
        with contextlib.ExitStack() as sockets:
            found = [sockets.enter_context(socket.socket()) for _ in range(count)]
            for each in found:
                each.bind(("localhost", 0))
            names = [f"localhost:{each.getsockname()[1]}" for each in found]
        clusters = [{"cluster": {"worker": names}, "task": {"type": "worker", "index": i}} for i in range(count)]
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        measured = [
            threads.submit(in_own_process, worker_speed, cluster, numbers, config, batch_size, seconds, repeat)
            for cluster in clusters
        ]
        with helpers_end_if_stopped():
            return [each.result() for each in measured]


def _processes() -> None:
    try:
        counts = [int(count) for count in _PROCESSES.value]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise InputError(f"--processes={','.join(_PROCESSES.value)}: must be numbers above 0")
    config, batch_size = _model_config(), flags.FLAGS.batch_size
    numbers = in_own_process(trained_parameters, config)
    print(
        f"{_title()}, {batch_size} pictures for each process, L1 loss, float32, one thread each, {os.cpu_count()} cores"
    )
    print("| processes | step apart | step together | adding up alone | speed left, measured | by the formula |")
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    for count in counts:
        arguments = (numbers, config, batch_size, _SECONDS.value, _REPEAT.value)
        apart = statistics.mean(each.step for each in speeds_of_workers(count, False, *arguments))
        speeds = speeds_of_workers(count, True, *arguments)
        together, exchange = (statistics.mean(values) for values in zip(*speeds, strict=True))
        print(
            f"| {count} | {1000 * apart:,.0f} ms | {1000 * together:,.0f} ms | {1000 * exchange:,.0f} ms | "
            f"{apart / together:.0%} | {apart / (apart + exchange):.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    run(
        {
            "data": _data,
            "train": _train,
            "profile": _profile,
            "model": _model,
            "scaling": _scaling,
            "processes": _processes,
        }
    )
