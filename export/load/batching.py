"""TensorFlow Serving's batching, as its documents and tests describe it, for a server that takes its place.

Requests wait in a queue for each signature. A batch is closed when the next request does not fit. It is run when it is
full or closed, or when its first request has waited for the timeout. It is filled up to the next allowed size with
copies of a row. If the graph refuses one request, or if pictures have different sizes, the whole batch fails.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

INVALID_ARGUMENT, FAILED_PRECONDITION, UNAVAILABLE = 3, 9, 14  # codes of gRPC
Answer = tuple[list, dict]  # ([code, message], {output: array}); code 0 is fine


class Rules(NamedTuple):
    """The rules that `batching.config` states."""

    max_batch_size: int
    batch_timeout_micros: int
    max_enqueued_batches: int
    num_batch_threads: int
    allowed_batch_sizes: tuple[int, ...] = ()


def read_rules(path: Path | str) -> Rules:
    """The rules in a file of tensorflow.serving.BatchingParameters, in protobuf's text format."""
    text = re.sub(r"#.*", "", Path(path).read_text())
    numbers = {name: int(value) for name, value in re.findall(r"(\w+)\s*\{\s*value:\s*(\d+)\s*\}", text)}
    return Rules(**numbers, allowed_batch_sizes=tuple(map(int, re.findall(r"allowed_batch_sizes:\s*(\d+)", text))))


class _Task:
    """A request that waits: its inputs, its number of examples, and later its answer."""

    def __init__(self, inputs: dict[str, np.ndarray]):
        self.inputs, self.count = inputs, len(next(iter(inputs.values())))
        self.answer, self.done = None, threading.Event()


class _Batch:
    def __init__(self, key):
        self.key, self.tasks, self.count, self.closed, self.since = key, [], 0, False, time.monotonic()


class Batcher:
    """Puts requests of several threads together into batches.

    Args:
        rules: see `Rules`.
        run: (inputs, names of outputs) -> `Answer`, for any number of examples. Several threads call it.
    """

    def __init__(self, rules: Rules, run: Callable[[dict, list[str]], Answer]):
        self.rules, self._run = rules, run
        self.sizes: dict[int, int] = {}  # {examples in a batch before it was filled up: number of such batches}
        self._waiting, self._changed, self._ended = deque(), threading.Condition(), False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(rules.num_batch_threads)]
        for thread in self._threads:
            thread.start()

    def ask(self, inputs: dict[str, np.ndarray], outputs: list[str]) -> Answer:
        """Waits for the answer to a request, and returns it."""
        counts = {len(value) if np.ndim(value) else 0 for value in inputs.values()}
        if len(counts) != 1 or not 0 < max(counts) <= self.rules.max_batch_size:
            told = f"inputs must have one batch size, from 1 to {self.rules.max_batch_size}; they have {sorted(counts)}"
            return [INVALID_ARGUMENT, told], {}
        task = _Task(inputs)
        with self._changed:
            if not self._put(task, (tuple(inputs), tuple(outputs))):
                return [UNAVAILABLE, "the batch scheduling queue is full"], {}
            self._changed.notify_all()
        task.done.wait()
        return task.answer

    def close(self) -> None:
        """Ends the threads."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _put(self, task, key) -> bool:
        """Adds a task to the open batch of its queue, or to a new one. Returns False if the queue is full."""
        own = [batch for batch in self._waiting if batch.key == key]
        batch = own[-1] if own and not own[-1].closed else None
        if batch and batch.count + task.count > self.rules.max_batch_size:
            batch.closed, batch = True, None
        if batch is None:
            if len(own) >= self.rules.max_enqueued_batches:
                return False
            batch = _Batch(key)
            self._waiting.append(batch)
        batch.tasks.append(task)
        batch.count += task.count
        batch.closed |= batch.count == self.rules.max_batch_size
        return True

    def _work(self):
        while batch := self._next():
            self.sizes[batch.count] = self.sizes.get(batch.count, 0) + 1
            error, parts = self._answered(batch)
            for task, part in zip(batch.tasks, parts, strict=True):
                task.answer = error, part
                task.done.set()

    def _next(self):
        """The next batch to run; None at the end."""
        timeout = self.rules.batch_timeout_micros / 1e6
        with self._changed:
            while not self._ended:
                now = time.monotonic()
                for batch in self._waiting:
                    if batch.closed or now - batch.since >= timeout:
                        self._waiting.remove(batch)
                        return batch
                oldest = min((batch.since for batch in self._waiting), default=None)
                self._changed.wait(None if oldest is None else max(0.0, oldest + timeout - now))
            return None

    def _answered(self, batch):
        """(error, [outputs of each task])."""
        nothing = [{} for _ in batch.tasks]
        rows = next((size for size in sorted(self.rules.allowed_batch_sizes) if size >= batch.count), batch.count)
        merged = {}
        for name in batch.key[0]:
            values = [task.inputs[name] for task in batch.tasks]
            if len({value.shape[1:] for value in values}) > 1:
                return [FAILED_PRECONDITION, f"inputs {name} of one batch have different shapes"], nothing
            merged[name] = np.concatenate([*values, *[values[-1][:1]] * (rows - batch.count)])
        error, arrays = self._run(merged, list(batch.key[1]))
        if error[0]:
            return error, nothing
        ends = np.cumsum([task.count for task in batch.tasks])
        starts = ends - [task.count for task in batch.tasks]
        return error, [{name: array[a:b] for name, array in arrays.items()} for a, b in zip(starts, ends, strict=True)]
