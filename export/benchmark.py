r"""Measures the speed of the generator G(shape, z) as TFLite, beside the speed that this machine can reach.

  python -m export.benchmark
  python -m export.benchmark --models=market,mobile --rounds=50

For each model and precision it prints the time of one picture (batch 1) on one and on two threads. The models are
initialised and not trained, which does not change the speed. They are measured in turns with a large float32 matrix
product in the same process, so that other programs slow all alike. The median and the smallest of all rounds are shown.
For float32, the table also shows which part of the matrix product's speed the convolutions reach (2 operations per
multiply-accumulate; smallest against smallest, all cores).

  market   128 pixels, the paper's size
  coco     256 pixels, the paper's size
  mobile   128 pixels, the widths and the activation of configs/mobile.flags

int8 computes in float32 (weights in float16) what `python -m export.tflite` keeps in float: for these models, all
that the decoder computes at full resolution. "int8 all" computes that in int8, too. int8 is faster than float32 only
where the processor multiplies bytes (AVX-VNNI, AVX512-VNNI, Arm's dot product).
"""

import dataclasses
import functools
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from vunet_tf.command_line.flags import CONFIGS, read_flagfile
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.config import ModelConfig
from vunet_tf.files.errors import InputError

MODELS = {
    "market": lambda: read_flagfile(CONFIGS / "market.flags"),
    "coco": lambda: read_flagfile(CONFIGS / "coco.flags"),
    "mobile": lambda: ModelConfig(image_size=128, width=16, max_width=64, activation="leaky_relu"),
}
MATRIX = 2048  # side of the matrices of the product
BYTE_PRODUCTS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp")  # as /proc/cpuinfo names them

_MODELS = flags.DEFINE_list(
    "models",
    "market,mobile",
    f"Models to measure, of {', '.join(MODELS)}, with commas between. market and coco need a clone of the repository, "
    "for its folder configs/.",
)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "How many times each model is measured.", lower_bound=1)


def generator(config: ModelConfig) -> dict[str, bytes]:
    """{precision or "int8 all": TFLite file with only the signature "generate"} for an initialised model."""
    from export.tflite import PRECISIONS, graph, quantise
    from vunet_tf.models import registry

    model = registry.build(_without_prior(config))
    random = np.random.default_rng(0)

    def numbers(*shape):
        return random.uniform(-1, 1, shape).astype(np.float32)

    shape = numbers(1, config.image_size, config.image_size, config.shape_channels)
    seen = {key: numbers(1, *sides) for key, sides in model.appearance_input.shapes.items()}
    model.initialise([{**seen, "shape": shape}])
    z = {f"z_{i}": numbers(1, *latent) for i, latent in enumerate(config.latent_shapes)}
    content = graph.model_graph(model.fold(), ("generate",))
    ranges = quantise.ranges_of(content, {"generate": [{"shape": shape, **z}]})
    files = {precision: quantise.quantised(content, precision, ranges) for precision in PRECISIONS}
    files["int8 all"] = files["int8"]
    files["int8"] = quantise.quantised(content, "int8", ranges, float_layers=graph.kept_in_float(content, config))
    return files


def _without_prior(config):
    """The configuration with a small prior. G does not depend on it, and an autoregressive one has most weights."""
    return dataclasses.replace(config, prior="standard_normal")


def byte_products() -> list[str]:
    """The instructions for products of bytes that this processor has, if the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            told = set(file.read().split())
    except OSError:
        return []
    return [name for name in BYTE_PRODUCTS if name in told]


def _timed(step) -> float:
    start = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - start)


def _benchmark() -> None:
    for name in _MODELS.value:
        if name not in MODELS:
            raise InputError(f"--models={','.join(_MODELS.value)}: {name!r} is none of {', '.join(MODELS)}")
    start_tensorflow()
    from export.runtime import TFLiteFile
    from vunet_tf.models.sizes import sizes_of

    matrix = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    steps: dict[Any, Callable] = {"matrix product": lambda: matrix @ matrix}
    sizes = {}
    for name in tqdm(_MODELS.value, desc="building", unit=" models", disable=None):
        for precision, content in generator(MODELS[name]()).items():
            sizes[name, precision] = len(content) / 1e6
            for threads in (1, 2):
                file = TFLiteFile(content, threads)
                steps[name, precision, threads] = functools.partial(file.call, "generate", file.example("generate"))
    for step in steps.values():
        step()
    times: dict[Any, list[float]] = defaultdict(list)
    for _ in tqdm(range(_ROUNDS.value), desc="measuring", unit=" rounds", disable=None):
        for key, step in steps.items():
            times[key].append(_timed(step))

    peak = 2 * MATRIX**3 / min(times["matrix product"]) / 1e6
    print(f"{os.cpu_count()} cores, products of bytes: {', '.join(byte_products()) or 'none'}")
    print(f"float32 matrix product of {MATRIX}: {peak:,.0f} GFLOP/s")
    print(f"{'':<10}{'':<10}{'MB':>7}{'ms, 1 thread':>20}{'ms, 2 threads':>20}  (median, smallest)")
    for name, precision in sizes:
        line = f"{name:<10}{precision:<10}{sizes[name, precision]:>7.2f}"
        for threads in (1, 2):
            found = times[name, precision, threads]
            line += f"{statistics.median(found):>12.1f}{min(found):>8.1f}"
        fastest = min(times[name, precision, 2])
        if precision == "float32":
            gflop = 2 * sizes_of(_without_prior(MODELS[name]()))["macs"]["G"] / 1e9
            line += f"  {gflop / fastest * 1000:,.0f} GFLOP/s, {gflop / fastest * 1000 / peak:.0%} of the product's"
        else:
            line += f"  {min(times[name, 'float32', 2]) / fastest:.1f} times as fast as float32"
        print(line)


if __name__ == "__main__":
    run(_benchmark, if_stopped="nothing was written")
