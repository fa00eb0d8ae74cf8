"""Spreads the work of a source over processes, here or on a cluster. Without TensorFlow, which takes long to start.

Both work in the same way: a pool has the source's `make` in each of its processes, gets the items in small portions,
and gives back the results in the order of the items. So the result does not depend on which process made which item.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from vunet_tf.command_line.startup import end_with_parent, signals_for_parent
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.source import Source
from vunet_tf.files.errors import InputError

Made = list[Example | Rejected] | str  # the result of an item: its examples, or why there are none


class Scheduler(NamedTuple):
    """A Dask cluster that does the work of a source.

    Attributes:
        address: address of its scheduler, such as "tcp://HOST:8786".
        paths: files and folders that the source reads. All workers must have them under the same absolute paths.
    """

    address: str
    paths: tuple[Path, ...] = ()


class Pool(Protocol):
    """Processes that make items, on this machine or on a cluster."""

    portion: int  # items that are sent at a time

    def ahead(self) -> int:
        """How many portions to send before the first result is back."""

    def submit(self, items: Sequence) -> Future:
        """Begins to make some items."""

    def result(self, future: Future) -> list[Made]:
        """The results of these items. Raises InputError if the pool cannot go on."""

    def close(self, finished: bool) -> None:
        """Ends the pool. If the work is not finished, items that were not begun are left out."""


def made_in_order(
    source: Source, order: Sequence[int] | np.ndarray, workers: int, scheduler: Scheduler | None = None
) -> Generator[list[Example | Rejected], None, None]:
    """The result of each item, in order. A few items are made ahead.

    Args:
        source: an opened source.
        order: indices of its items.
        workers: processes of this machine.
        scheduler: a cluster that does the work instead.

    Raises:
        InputError: if a process of this machine died, or the cluster cannot be reached or cannot go on.
    """
    if scheduler is None and workers == 1:
        start_work("", source.make)
        for index in order:
            yield _or_rejected(source, index, _make("", source.items[index]))
        return
    if scheduler is None:
        pool = _LocalPool(source.make, workers)
    else:
        from vunet_tf.data.cluster import ClusterPool  # imported only here: it needs a package that few users have

        pool = ClusterPool(scheduler, source.make)
    pending, finished = deque(), False

    def first_pending():
        indices, future = pending.popleft()
        for index, made in zip(indices, pool.result(future), strict=True):
            yield _or_rejected(source, index, made)

    try:
        rest = iter(order)
        while indices := list(islice(rest, pool.portion)):
            pending.append((indices, pool.submit([source.items[index] for index in indices])))
            if len(pending) > pool.ahead():
                yield from first_pending()
        while pending:
            yield from first_pending()
        finished = True
    finally:
        pool.close(finished)


def _or_rejected(source: Source, index: int, made: Made) -> list[Example | Rejected]:
    return [Rejected(source.name_of(source.items[index]), made)] if isinstance(made, str) else made


class _LocalPool:
    """A process for each of `workers`."""

    portion = 1

    def __init__(self, make, workers: int):
        # Spawned processes start clean; forked ones could hang on a lock that one of TensorFlow's threads holds.
        context = multiprocessing.get_context("spawn")
        self._workers = workers
        self._executor = ProcessPoolExecutor(workers, context, initializer=_start_process, initargs=(make,))

    def ahead(self) -> int:
        return 8 * self._workers

    def submit(self, items: Sequence) -> Future:
        with signals_for_parent():  # this may start a process
            return self._executor.submit(make_all, "", items)

    def result(self, future: Future) -> list[Made]:
        try:
            return future.result()
        except BrokenProcessPool as error:
            message = f"a worker process died, perhaps for want of memory; try again with --workers=1 ({error})"
            raise InputError(message) from error

    def close(self, finished: bool) -> None:
        self._executor.shutdown(wait=finished, cancel_futures=True)


_makes: dict[str, Callable] = {}  # in this process: {name of the work: `make` of its source}


def start_work(name: str, make: Callable) -> None:
    """Called in a process that makes items: from now on it can make those of the work of this name."""
    _makes[name] = make
    cv2.setNumThreads(1)  # several pictures are made in parallel already


def end_work(name: str) -> None:
    """The counterpart of `start_work`."""
    _makes.pop(name, None)


def _start_process(make: Callable) -> None:
    start_work("", make)
    end_with_parent()


def make_all(name: str, items: Sequence) -> list[Made]:
    """The results of some items of the work of this name."""
    return [_make(name, item) for item in items]


def _make(name: str, item) -> Made:
    """The examples of an item, or why there are none."""
    make = _makes[name]
    try:
        return make(item)
    except InputError as error:
        return str(error)
    except Exception as error:  # an unexpected error costs one item, not the run; it is listed with the others
        return f"unexpected {type(error).__name__}: {error}"
