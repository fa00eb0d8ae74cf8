"""The work of a source, spread over processes. Free of TensorFlow, which each process would have to start."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

from vunet_tf.command_line.startup import end_with_parent
from vunet_tf.data.example import Example, Rejected
from vunet_tf.data.sources.source import Source
from vunet_tf.files.errors import InputError


def made_in_order(source: Source, order, workers: int) -> Iterator[list[Example | Rejected]]:
    """What comes of each item, in order; a few items are made ahead."""
    if workers == 1:
        _start_worker(source.make)
        for index in order:
            yield _or_rejected(source, index, _make(source.items[index]))
        return
    # Spawned processes start clean; forked ones could hang on a lock that one of TensorFlow's threads holds.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(source.make, True))
    pending, finished = deque(), False
    try:
        for index in order:
            pending.append((index, pool.submit(_make, source.items[index])))
            if len(pending) > 8 * workers:
                index, future = pending.popleft()
                yield _or_rejected(source, index, future.result())
        while pending:
            index, future = pending.popleft()
            yield _or_rejected(source, index, future.result())
        finished = True
    except BrokenProcessPool as error:
        message = f"a worker process died, perhaps for want of memory; try again with --workers=1 ({error})"
        raise InputError(message) from error
    finally:
        pool.shutdown(wait=finished, cancel_futures=True)


def _or_rejected(source: Source, index: int, made: list[Example | Rejected] | str) -> list[Example | Rejected]:
    return [Rejected(source.name_of(source.items[index]), made)] if isinstance(made, str) else made


_worker_make = None  # of this process


def _start_worker(make, of_pool: bool = False) -> None:
    global _worker_make
    _worker_make = make
    cv2.setNumThreads(1)  # the pictures are the parallel part
    if of_pool:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
        end_with_parent()


def _make(item) -> list[Example | Rejected] | str:
    """The examples of an item, or why there are none."""
    try:
        return _worker_make(item)
    except InputError as error:
        return str(error)
    except Exception as error:  # what nobody foresaw costs one item, not the run; it is listed with the others
        return f"unexpected {type(error).__name__}: {error}"
