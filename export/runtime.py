"""Runs what was exported: a SavedModel by TensorFlow, a TFLite file by LiteRT; and measures how fast it is.

TensorFlow is imported only for a SavedModel, so that what a TFLite file needs can be measured.
"""

import re
import resource
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np


class SavedModel:
    """A version of a SavedModel; `call(signature, inputs)` gives {output: array}."""

    def __init__(self, path, threads: int | None = None):
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._loaded = tf.saved_model.load(str(path))
        self._signatures = self._loaded.signatures
        self._tensor = tf.constant

    def call(self, signature: str, inputs: dict) -> dict[str, np.ndarray]:
        """The outputs of a signature for arrays of any batch size."""
        given = {name: self._tensor(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self._signatures[signature](**given).items()}

    def example(self, signature: str) -> dict[str, np.ndarray]:
        """Inputs of a signature for a batch of one: pictures of 64 pixels or as they must be, joints in the middle."""
        specs = self._signatures[signature].structured_input_signature[1]
        return {
            name: np.full([1, *(side or 64 for side in spec.shape[1:])], 0.5).astype(spec.dtype.as_numpy_dtype)
            for name, spec in specs.items()
        }


class TFLiteFile:
    """A TFLite file, its path or its content; `call(signature, inputs)` gives {output: array}."""

    def __init__(self, file, threads: int = 2):
        from ai_edge_litert.interpreter import Interpreter

        given = {"model_content": file} if isinstance(file, bytes) else {"model_path": str(file)}
        self._interpreter = Interpreter(**given, num_threads=threads)
        self.signatures = self._interpreter.get_signature_list()
        self._runners = {}

    def runner(self, signature: str):
        """LiteRT's own runner of a signature."""
        if signature not in self._runners:
            self._runners[signature] = self._interpreter.get_signature_runner(signature)
        return self._runners[signature]

    def call(self, signature: str, inputs: dict) -> dict[str, np.ndarray]:
        """The outputs of a signature for a batch of one."""
        return {name: value.copy() for name, value in self.runner(signature)(**inputs).items()}

    def example(self, signature: str) -> dict[str, np.ndarray]:
        """Inputs of a signature: 0.5 everywhere."""
        details = self.runner(signature).get_input_details()
        return {name: np.full(detail["shape"], 0.5, detail["dtype"]) for name, detail in details.items()}


def is_saved_model(path) -> bool:
    """Whether a folder is a version of a SavedModel."""
    return (Path(path) / "saved_model.pb").is_file()


def load(path, threads: int | None = None):
    """A `SavedModel` or a `TFLiteFile`. TensorFlow takes a number of threads only before it has done anything."""
    return SavedModel(path, threads) if is_saved_model(path) else TFLiteFile(path, threads or 2)


class Speed(NamedTuple):
    """How a signature runs: times in milliseconds, memory in MiB beyond what Python and the libraries take."""

    load_ms: float
    median_ms: float
    p90_ms: float
    memory_mib: float


def measure(path, signature: str, threads: int, seconds: float = 2.0) -> Speed:
    """Loads an artefact and calls a signature with a batch of one for some seconds, at least ten times.

    For a process of its own: threads are set once in TensorFlow, and memory is that of the process.
    """
    if is_saved_model(path):
        import tensorflow  # noqa: F401  (its size is not the model's)
    else:
        import ai_edge_litert.interpreter  # noqa: F401
    before = _peak_mib()
    start = time.perf_counter()
    model = load(path, threads)
    inputs = model.example(signature)
    model.call(signature, inputs)
    load_ms = 1000 * (time.perf_counter() - start)
    times, end = [], time.perf_counter() + seconds
    while len(times) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        model.call(signature, inputs)
        times.append(1000 * (time.perf_counter() - start))
    p90 = statistics.quantiles(times, n=10)[-1]
    return Speed(load_ms, statistics.median(times), p90, _peak_mib() - before)


def _peak_mib():
    """Peak memory of this process. Linux counts that of the process which started it into `ru_maxrss`."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return (int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
