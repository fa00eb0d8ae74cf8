"""Runs exported models: a SavedModel with TensorFlow, a TFLite file with LiteRT. It also measures how fast they are.

TensorFlow is imported only for a SavedModel, so that the memory of a TFLite file can be measured.
"""

import atexit
import contextlib
import functools
import math
import os
import re
import resource
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np


class SavedModel:
    """A version of a SavedModel. `call(signature, inputs)` gives {output: array}, for each of `signatures`."""

    def __init__(self, path: Path | str, threads: int | None = None):
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._loaded = tf.saved_model.load(str(path))
        self._signatures = self._loaded.signatures
        self.signatures = tuple(sorted(self._signatures))
        self._tensor = tf.constant

    def call(self, signature: str, inputs: dict) -> dict[str, np.ndarray]:
        """The outputs of a signature for arrays of any batch size."""
        given = {name: self._tensor(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self._signatures[signature](**given).items()}

    def example(self, signature: str) -> dict[str, np.ndarray]:
        """Inputs of a signature for a batch of one, grey pictures and joints in the middle.

        Pictures have 64 pixels a side if the size is free, and 512 as PNG files.
        """
        from vunet_tf.files import pictures

        specs = self._signatures[signature].structured_input_signature[1]
        made = {}
        for name, spec in specs.items():
            shape = [1, *(side or 64 for side in spec.shape[1:])]
            if spec.dtype.as_numpy_dtype is object:
                made[name] = np.array([pictures.encode(np.full((512, 512, 3), 128, np.uint8), "png")], object)
            else:
                made[name] = np.full(shape, 0.5).astype(spec.dtype.as_numpy_dtype)
        return made


class TFLiteFile:
    """A TFLite file, given by its path or its content. `call(signature, inputs)` gives {output: array}.

    `signatures` are their names. The file runs in LiteRT's CompiledModel, as it does in apps and browsers. This crashes
    on a damaged file that it opens itself, so the file is read here. It also takes inputs of any size, so `call`
    compares their shapes.

    Raises:
        OSError: the file cannot be read.
        RuntimeError: it is damaged, or is not a TFLite file.
    """

    def __init__(self, file: Path | str | bytes, threads: int = 2):
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options

        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        options, environment = Options(cpu_options=CpuOptions(num_threads=threads)), _environment()
        with _silent():
            self._model = CompiledModel.from_buffer(content, environment=environment, options=options)
        self.signatures = tuple(sorted(self._model.get_signature_list()))
        self._signatures = {}

    def _signature(self, name):
        """Inputs and outputs of a signature, each {name: (shape, buffer)}."""
        if name not in self.signatures:
            raise ValueError(f"it has no signature {name}")
        if name not in self._signatures:
            inputs = (self._model.get_input_tensor_details, self._model.create_input_buffer_by_name)
            outputs = (self._model.get_output_tensor_details, self._model.create_output_buffer_by_name)
            with _silent():
                self._signatures[name] = [
                    {key: (tuple(detail["shape"]), buffer(name, key)) for key, detail in details(name).items()}
                    for details, buffer in (inputs, outputs)
                ]
        return self._signatures[name]

    def call(self, signature: str, inputs: dict) -> dict[str, np.ndarray]:
        """The outputs of a signature for a batch of one. All arrays are float32.

        Raises:
            ValueError: the file has no such signature, or it takes other inputs.
        """
        given, made = self._signature(signature)
        wanted = {key: shape for key, (shape, _) in sorted(given.items())}
        found = {key: np.shape(value) for key, value in sorted(inputs.items())}
        if found != wanted:
            raise ValueError(f"{signature} takes {wanted}, not {found}")
        for key, (_, buffer) in given.items():
            buffer.write(np.asarray(inputs[key], np.float32))
        buffers = [{key: buffer for key, (_, buffer) in side.items()} for side in (given, made)]
        self._model.run_by_name(signature, *buffers)
        return {key: buffer.read(math.prod(shape), np.float32).reshape(shape) for key, (shape, buffer) in made.items()}

    def example(self, signature: str) -> dict[str, np.ndarray]:
        """Inputs of a signature: 0.5 everywhere."""
        return {key: np.full(shape, 0.5, np.float32) for key, (shape, _) in self._signature(signature)[0].items()}


@contextlib.contextmanager
def _silent():
    """Hides what C++ writes to standard error. LiteRT reports every step there and cannot be told not to."""
    shown = os.dup(2)
    _mute()
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)


def _mute():
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)


@functools.cache
@_silent()
def _environment():
    """What LiteRT keeps until the process ends. Its report at the end is hidden, too."""
    from ai_edge_litert.compiled_model import Environment, TensorBuffer

    atexit.register(_mute)
    number = np.zeros(1, np.float32)
    TensorBuffer.create_from_host_memory(number).write(number)  # LiteRT makes a second environment for this
    return Environment.create()


def is_saved_model(path: Path | str) -> bool:
    """Whether a folder is a version of a SavedModel."""
    return (Path(path) / "saved_model.pb").is_file()


def load(path: Path | str, threads: int | None = None) -> SavedModel | TFLiteFile:
    """A `SavedModel` or a `TFLiteFile`. TensorFlow accepts a number of threads only before its first operation."""
    return TFLiteFile(path, threads or 2) if Path(path).suffix == ".tflite" else SavedModel(path, threads)


class Speed(NamedTuple):
    """Speed of a signature: times in milliseconds, and memory in MiB beyond that of Python and the libraries."""

    load_ms: float
    median_ms: float
    p90_ms: float
    memory_mib: float


def measure(path: Path | str, signature: str, threads: int, seconds: float = 2.0) -> Speed:
    """Loads an artefact and calls a signature with a batch of one for some seconds, at least ten times.

    Call it in a new process: TensorFlow's threads can be set only once, and memory is that of the process.

    Raises:
        LookupError: the artefact has no such signature.
    """
    if is_saved_model(path):
        import tensorflow  # noqa: F401  (its memory is not the model's)
    else:
        _environment()
    before = _peak_mib()
    start = time.perf_counter()
    model = load(path, threads)
    if signature not in model.signatures:
        raise LookupError(f"{path} has the signatures {', '.join(model.signatures)}")
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
    """Peak memory of this process in MiB. On Linux, `ru_maxrss` may be that of the process which started it."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return (int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
