"""`prepare` on a Dask cluster makes the same as one process, also if a worker is lost; errors are clear."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

import distributed
import numpy as np
import pytest

from vunet_tf.data import preparation
from vunet_tf.data.cluster import ClusterPool
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.data.workers import Scheduler, made_in_order
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import encode

IN_PROCESS = {"processes": False, "protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": None}


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes with one thread each, and a scheduler in this process."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as found:
        yield found


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_lost_worker_changes_nothing(cluster, tmp_path, monkeypatch):
    """One of two workers is killed while both work."""
    monkeypatch.setattr("vunet_tf.data.sources.figures.GRID", 4)
    source = SOURCES["figures"](Options(looks=100, poses=100, examples=250, image_size=32))
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        processes = client.run(os.getpid)  # {address of a worker: its process}
    assert len(set(processes.values()) - {os.getpid()}) == 2
    made, killed = [], []

    def killing(*arguments):
        for results in made_in_order(*arguments):
            made.append(results)
            if len(made) == 40:
                victim = next(pid for name, pid in processes.items() if cluster.scheduler.workers[name].processing)
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)
            yield results

    monkeypatch.setattr(preparation, "made_in_order", killing)
    scheduler = Scheduler(cluster.scheduler_address)
    info = preparation.prepare(source, tmp_path / "cluster", "figures", {}, scheduler=scheduler)
    monkeypatch.setattr(preparation, "made_in_order", made_in_order)
    assert len(killed) == 1 and len(made) == len(source.items) == 250 + 3 * 16 and info.rejected == 0
    preparation.prepare(source, tmp_path / "local", "figures", {}, workers=1)
    assert contents(tmp_path / "cluster") == contents(tmp_path / "local")


def test_the_command_gives_the_same_with_names_from_here(cluster, monkeypatch, tmp_path):
    """Paths are relative to this folder, and the workers run in another one. The same pictures are left out."""
    (tmp_path / "noise").mkdir()
    for i, picture in enumerate(np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)):
        (tmp_path / "noise" / f"{i}.png").write_bytes(encode(picture, "png"))
    (tmp_path / "noise/broken.png").write_bytes(encode(picture, "png")[:100])
    monkeypatch.syspath_prepend(os.getcwd())
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    monkeypatch.chdir(tmp_path)
    wishes = {"input": "noise", "image_size": 16}
    flags = [f"--{name}={value}" for name, value in wishes.items()]
    command = [sys.executable, "-m", "vunet_tf.prepare", "--source=folder", *flags, "--output=cluster"]
    address = f"--scheduler={cluster.scheduler_address}"
    made = subprocess.run([*command, address], env=environment, capture_output=True, text=True)
    assert made.returncode == 0 and "left out: 1" in made.stdout and "Traceback" not in made.stderr, made.stderr
    options = Options(input=Path("noise"), image_size=16)
    preparation.prepare(SOURCES["folder"](options), "local", "folder", {"source": "folder", **wishes}, workers=1)
    assert contents(tmp_path / "local") == contents(tmp_path / "cluster")


def test_a_worker_that_cannot_give_the_same_is_named(cluster, monkeypatch, tmp_path):
    source = SOURCES["figures"](Options(looks=24, poses=24, examples=9, image_size=16))
    with pytest.raises(InputError, match=r"the worker tcp://127\.0\.0\.1:\d+ cannot read .*nowhere: all workers must"):
        next(made_in_order(source, range(9), 1, Scheduler(cluster.scheduler_address, (tmp_path / "nowhere",))))
    ours = {"python": "3.9", "vunet_tf": "0.0"}
    monkeypatch.setattr("vunet_tf.data.cluster.versions", lambda: ours)
    with pytest.raises(InputError, match=r"has python .*, not 3\.9, vunet_tf .*, not 0\.0: install the same versions"):
        next(made_in_order(source, range(9), 1, Scheduler(cluster.scheduler_address)))
    assert not [name for name in cluster.scheduler.worker_plugins if name.startswith("vunet_tf")], (
        "nothing is left there"
    )


def begin(address):
    source = SOURCES["figures"](Options(looks=24, poses=24, examples=9, image_size=16))
    start = time.monotonic()
    with pytest.raises(InputError) as raised:
        next(made_in_order(source, range(9), 1, Scheduler(address)))
    assert time.monotonic() - start < 15
    return str(raised.value)


def test_a_scheduler_that_does_not_answer_is_one_error_soon(monkeypatch):
    """Nobody listens at the address; a listener is silent; the address is invalid; a scheduler has no workers."""
    monkeypatch.setattr("vunet_tf.data.cluster.CONNECT_SECONDS", 1)
    monkeypatch.setattr("vunet_tf.data.cluster.WORKERS_SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        told = f"--scheduler={address}: no Dask scheduler answers there within 1 s"
        assert begin(address).startswith(told)
        silent.listen()
        assert begin(address).startswith(told)
    for wrong in ("", "nonsense", "ftp://a:1", "tcp://127.0.0.1:port", "tcp://127.0.0.1:99999"):
        assert begin(wrong).startswith(f"--scheduler={wrong}: no Dask scheduler answers there within 1 s (")
    with distributed.LocalCluster(n_workers=0, **IN_PROCESS) as empty:
        address = empty.scheduler_address
        assert begin(address).startswith(f"--scheduler={address} has had no worker for 1 s; start some with `dask w")


def test_a_scheduler_that_is_lost_is_one_error(monkeypatch):
    monkeypatch.setattr("vunet_tf.data.cluster.CONNECT_SECONDS", 1)
    monkeypatch.setattr("vunet_tf.data.sources.figures.GRID", 8)
    source = SOURCES["figures"](Options(looks=100, poses=100, examples=2000, image_size=16))
    with distributed.LocalCluster(n_workers=1, **IN_PROCESS) as lost:
        made = made_in_order(source, range(len(source.items)), 1, Scheduler(lost.scheduler_address))
        next(made)
        threading.Thread(target=lost.close).start()
        with pytest.raises(InputError, match=f"--scheduler={lost.scheduler_address}: the connection was lost"):
            list(made)


def test_a_client_that_gave_up_is_the_same_error(cluster):
    """Dask closes its client when it cannot connect again. The results that it has not fetched never come."""
    source = SOURCES["figures"](Options(looks=24, poses=24, examples=9, image_size=16))

    class Lost(Future):
        def result(self, timeout=None):
            raise FutureTimeoutError

    pool = ClusterPool(Scheduler(cluster.scheduler_address), source.make)
    pool._client.close()
    with pytest.raises(InputError, match="the connection was lost"):
        pool.result(Lost())
    with pytest.raises(InputError, match="the connection was lost"):
        pool.submit([source.items[0]])
    pool.close(finished=False)


def test_without_dask_the_extra_is_named(tmp_path):
    code = (
        "import sys, runpy; sys.modules['distributed'] = None;"
        "sys.argv = ['prepare', *sys.argv[1:]]; runpy.run_module('vunet_tf.prepare', run_name='__main__')"
    )
    arguments = ["--source=figures", f"--output={tmp_path / 'd'}", "--scheduler=tcp://127.0.0.1:1"]
    told = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert told.returncode == 1 and told.stderr.startswith("error: --scheduler needs the package distributed")
    assert told.stderr.count("\n") == 1 and "pip install 'vunet_tf[cluster]'" in told.stderr
    assert not list(tmp_path.iterdir())
