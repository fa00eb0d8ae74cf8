"""Does the work of a source on a Dask cluster (https://distributed.dask.org). It needs the extra `cluster`.

If a worker is lost, the scheduler gives its items to another one. What an item becomes depends only on the item, so a
lost worker does not change the result.
"""

import asyncio
import contextlib
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from importlib import metadata

from vunet_tf import __version__
from vunet_tf.data import workers
from vunet_tf.data.workers import Made, Scheduler
from vunet_tf.files.errors import InputError

try:
    from distributed import Client, KilledWorker, WorkerPlugin
    from distributed.client import ClosedClientError
    from distributed.core import connect, send_recv
except ModuleNotFoundError as error:
    raise InputError(f"--scheduler needs the package distributed ({error}): pip install 'vunet_tf[cluster]'") from error

CONNECT_SECONDS = 10  # the scheduler must answer in this time
WORKERS_SECONDS = 60  # it may be without any worker for this time, at the start and later
_PACKAGES = ("numpy", "opencv-python-headless", "pillow", "ai-edge-litert")  # they decide the bytes of a dataset
_one_at_a_time = threading.Lock()  # for workers with several threads: the pose estimator can serve only one


def versions() -> dict[str, str]:
    """{package: version} of everything but the source that decides the bytes of a dataset."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "vunet_tf": __version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


class _Work(WorkerPlugin):
    """Gives each worker `make` once, also one that comes later. It first checks that the worker can do the work."""

    def __init__(self, name: str, make: Callable, paths: Sequence[str], wanted: dict[str, str]):
        self.name, self.make, self.paths, self.wanted = name, make, paths, wanted

    def setup(self, worker):
        found = versions()
        if wrong := [
            f"{name} {found[name]}, not {version}" for name, version in self.wanted.items() if found[name] != version
        ]:
            raise InputError(f"the worker {worker.address} has {', '.join(wrong)}: install the same versions there")
        if missing := [path for path in self.paths if not os.access(path, os.R_OK)]:
            raise InputError(
                f"the worker {worker.address} cannot read {missing[0]}: all workers must have it under this name"
            )
        workers.start_work(self.name, self.make)

    def teardown(self, worker):
        workers.end_work(self.name)


def _make_all(name: str, items: Sequence) -> list[Made]:
    with _one_at_a_time:
        return workers.make_all(name, items)


def demand_scheduler(address: str) -> None:
    """Raises InputError unless a Dask scheduler answers there in time. (`Client` would wait for ever.)"""

    async def kind():
        comm = await connect(address, timeout=CONNECT_SECONDS)
        try:
            return (await send_recv(comm, op="identity"))["type"]
        finally:
            comm.abort()

    async def in_time():
        return await asyncio.wait_for(kind(), CONNECT_SECONDS)

    try:
        found = asyncio.run(in_time())
        reason = "" if found == "Scheduler" else f"it is a {found}"
    except Exception as error:  # an address can be wrong in many ways, with many exceptions
        reason = " ".join(str(error).split()) or type(error).__name__
    if reason:
        raise InputError(
            f"--scheduler={address}: no Dask scheduler answers there within {CONNECT_SECONDS} s ({reason}); "
            "start one with `dask scheduler`, and give its address as tcp://HOST:8786"
        )


class ClusterPool:
    """The workers of a Dask cluster; their number may change at any time.

    Raises:
        InputError: the scheduler does not answer or has no workers; or a worker has other versions than this process,
            or cannot read what the source reads.
    """

    portion = 8  # the scheduler's work for a portion takes as long as making a small picture

    def __init__(self, scheduler: Scheduler, make: Callable):
        self._address, self._name, self._asked = scheduler.address, f"vunet_tf-{uuid.uuid4().hex}", 0.0
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it shows tracebacks; we report one line
        demand_scheduler(self._address)
        self._client = Client(self._address, timeout=CONNECT_SECONDS, set_as_default=False)
        try:
            self._wait_for_workers(WORKERS_SECONDS)
            self._client.register_plugin(
                _Work(self._name, make, [str(path) for path in scheduler.paths], versions()), name=self._name
            )
            self._executor = self._client.get_executor(pure=False)
        except InputError:
            self._leave()
            raise
        except Exception as error:  # a worker without our packages can fail in any way
            self._leave()
            told = f"{type(error).__name__}: {error}"
            raise InputError(f"--scheduler={self._address}: its workers cannot do this work ({told})") from error

    def _threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except AttributeError as error:  # a client that could not connect again has no scheduler to ask
            raise ConnectionError("the scheduler is gone") from error

    def _wait_for_workers(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._threads():
            if time.monotonic() > end:
                raise InputError(
                    f"--scheduler={self._address} has had no worker for {seconds} s; "
                    f"start some with `dask worker {self._address}`"
                )
            time.sleep(0.2)

    def ahead(self) -> int:
        if time.monotonic() > self._asked + 1:  # workers come and go
            with self._told():
                self._asked, self._ahead = time.monotonic(), 4 * max(1, self._threads())
        return self._ahead

    def submit(self, items: Sequence) -> Future:
        with self._told():
            if self._client.status != "running":  # it tries to connect again, but the work in progress is lost
                raise ConnectionError("the scheduler is gone")
            return self._executor.submit(_make_all, self._name, items)

    def result(self, future: Future) -> list[Made]:
        with self._told():
            while True:
                try:
                    return future.result(5)
                except (FutureTimeoutError, TimeoutError):
                    self._wait_for_workers(WORKERS_SECONDS)

    @contextlib.contextmanager
    def _told(self):
        """In the block, errors of the cluster become an InputError."""
        try:
            yield
        except KilledWorker as error:
            raise InputError(
                f"--scheduler={self._address}: several workers died of the same pictures, perhaps for want of memory; "
                f"give each worker more ({error})"
            ) from error
        except (CancelledError, ClosedClientError, FutureTimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise InputError(f"--scheduler={self._address}: the connection was lost ({reason})") from error

    def close(self, finished: bool) -> None:
        with contextlib.suppress(Exception):  # all results are there, or another error ended the work and is reported
            self._executor.shutdown(wait=finished)
        self._leave()

    def _leave(self) -> None:
        """Leaves the cluster as it was, so that later workers do not need what this work needs."""
        with contextlib.suppress(Exception):
            if self._client.status == "running":
                self._client.unregister_worker_plugin(self._name)
        with contextlib.suppress(Exception):
            self._client.close(timeout=CONNECT_SECONDS)
