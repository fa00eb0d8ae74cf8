"""Calls a TFLite file many times."""

import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from export import runtime
from export.load.server import memory_mib
from vunet_tf.files.errors import InputError

INPUTS = 16  # number of different inputs
GROWTH = 0.05  # growth of memory from which on it is a fault


def call(path: Path | str, calls: int, seed: int = 0) -> dict:
    """Calls the signature "generate" of a file many times, and returns times in ms and memory in MiB.

    Raises:
        InputError: the file cannot be read, or it has no such signature.
    """
    random = np.random.default_rng(seed)
    try:
        file = runtime.load(path, threads=1)
        example = file.example("generate")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"--tflite={path} cannot be used: {error}") from error
    inputs = [
        {name: random.uniform(-1, 1, value.shape).astype(np.float32) for name, value in example.items()}
        for _ in range(INPUTS)
    ]
    first = [file.call("generate", given)["image"].tobytes() for given in inputs]
    times = np.full(calls, np.nan)  # all of its memory is taken now: a list would grow with each call
    memory, different = [memory_mib()], 0
    every = max(1, calls // 10)
    for i in tqdm(range(calls), unit=" calls", disable=None):
        start = time.perf_counter()
        made = file.call("generate", inputs[i % INPUTS])["image"]
        times[i] = 1000 * (time.perf_counter() - start)
        different += made.tobytes() != first[i % INPUTS]
        if (i + 1) % every == 0:
            memory.append(memory_mib())
    return {
        "calls": calls,
        "different": different,
        "median_ms": float(np.median(times)),
        "p99_ms": float(np.quantile(times, 0.99)),
        "memory_mib": [round(value, 1) for value in memory],
        "growth": memory[-1] / memory[1] - 1,  # during the first tenth the runtime fills its caches
    }


def table(found: dict) -> str:
    """The same as text."""
    memory = ", ".join(f"{value:.0f}" for value in found["memory_mib"])
    return (
        f"{found['calls']:,} calls, {found['different']} answers differ from the first of the same input\n"
        f"{found['median_ms']:.2f} ms (median), {found['p99_ms']:.2f} ms (99th percentile), one thread\n"
        f"memory at the start and after each tenth: {memory} MiB; {found['growth']:+.1%} since the first tenth"
    )


def faults(found: dict) -> list[str]:
    """The faults that were found, as sentences."""
    told = []
    if found["different"]:
        told.append(f"{found['different']} answers differ")
    if found["growth"] >= GROWTH:
        told.append(f"memory grew by {found['growth']:.1%}")
    return told
