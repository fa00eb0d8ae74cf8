"""`python -m vunet_tf.train` as a user runs it: one device, several, two processes, killed, on a full disk."""

import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import vunet_tf
from vunet_tf.data.preparation import prepare
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.training import checkpoints

KILLS = int(os.environ.get("KILLS", "2"))  # 20 for a test by hand

TINY = {
    "appearance": "picture",
    "bottleneck_factor": 3,
    "width": 2,
    "max_width": 4,
    "activation": "leaky_relu",
    "latent_scales": 1,
    "reconstruction": "l1",
    "kl_schedule": "target_rate",
    "kl_weight": 1e-3,
    "target_rate": 50,
    "batch_size": 8,
    "steps": 10,
    "steps_per_call": 3,
    "log_every": 5,
    "checkpoint_every": 5,
    "pictures_every": 0,
    "valid_batches": 1,
    "ema": 0.9,
    "clip_norm": 100,
    "appearance_from": "other",
    "mirror": "true",
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    directory = tmp_path_factory.mktemp("datasets") / "figures"
    source = SOURCES["figures"](Options(looks=24, poses=24, examples=100, image_size=16))
    prepare(source, directory, "figures", {}, workers=1)
    return directory


def command(dataset, run_dir, **changes):
    settings = {"dataset_dir": dataset, "run_dir": run_dir, **TINY, **changes}
    return [sys.executable, "-m", "vunet_tf.train", *(f"--{name}={value}" for name, value in settings.items())]


def train(dataset, run_dir, **changes):
    return subprocess.run(command(dataset, run_dir, **changes), capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def run(figures, tmp_path_factory):
    """A finished run of 10 steps on one device."""
    run_dir = tmp_path_factory.mktemp("runs") / "one"
    made = train(figures, run_dir, pictures_every=10)
    assert made.returncode == 0, made.stderr
    return run_dir


def last(run_dir):
    """The weights and all else at the end of a run."""
    return checkpoints.latest(run_dir)[1]


def assert_close(first, second):
    assert first.keys() == second.keys()
    for name in first:
        scale = max(1.0, np.abs(first[name]).max(initial=0.0))
        np.testing.assert_allclose(first[name] / scale, second[name] / scale, atol=1e-4, err_msg=name)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_a_run_leaves_a_model_curves_pictures_and_what_it_was_made_with(run, figures):
    model = vunet_tf.load(run)
    assert model.config.image_size == 16 and model.config.shape_channels == 3 and model.config.width == 2
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["split"]) for row in rows] == [(s, p) for s in ("5", "10") for p in ("train", "valid")]
    for row in rows:
        assert float(row["loss"]) > 0 and float(row["kl_0"]) > 0
        assert (float(row["images_per_second"]) > 0) if row["split"] == "train" else row["images_per_second"] == ""
    assert "--kl_schedule=target_rate\n" in (run / "flags.txt").read_text()
    assert {"python", "tensorflow", "keras", "vunet-tf"} <= json.loads((run / "versions.json").read_text()).keys()
    assert [path.name for path in (run / "pictures").iterdir()] == ["transfer_00000010.png"]
    assert [path.name for path in checkpoints.paths(run)] == ["step_00000005.npz", "step_00000010.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_give_the_weights_of_one(run, figures, tmp_path, replicas):
    made = train(figures, tmp_path / "run", replicas=replicas)
    assert made.returncode == 0, made.stderr
    assert_close(last(run), last(tmp_path / "run"))


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(run, figures, tmp_path):
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.bind(("localhost", 0))
        workers = [f"localhost:{sock.getsockname()[1]}" for sock in (first, second)]
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command(figures, tmp_path / "run"), env=environment, **options))
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert_close(last(run), last(tmp_path / "run"))
    assert "step 10 train" in outputs[0][0] and "step" not in outputs[1][0], "only the first process tells"


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def killed_at(number, dataset, run_dir, step, delay=0.0, **changes):
    """Starts a run and sends a signal some seconds after a step's checkpoint; returns the process, ended."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command(dataset, run_dir, **changes), **options)
    reached = checkpoints.FOLDER + f"/step_{step:08d}.npz"
    wait_for(lambda: (run_dir / reached).exists() or process.poll() is not None)
    time.sleep(delay)
    process.send_signal(number)
    process.output = process.communicate(timeout=120)
    return process


@pytest.mark.slow
def test_killed_and_resumed_runs_end_as_one_never_stopped(figures, tmp_path):
    long = {"steps": 400, "checkpoint_every": 2, "log_every": 2, "keep_checkpoints": 400, "dropout": 0.2}
    whole = train(figures, tmp_path / "whole", **long)
    assert whole.returncode == 0, whole.stderr
    delays = random.Random(0)
    for step in np.linspace(4, 360, KILLS).astype(int) // 2 * 2:
        process = killed_at(signal.SIGKILL, figures, tmp_path / "run", step, delays.uniform(0, 0.1), **long)
        assert process.returncode == -signal.SIGKILL
        for path in checkpoints.paths(tmp_path / "run"):
            checkpoints.read(path)
    resumed = train(figures, tmp_path / "run", **long)
    assert resumed.returncode == 0 and "going on from step" in resumed.stdout, resumed.stderr
    assert_equal(last(tmp_path / "whole"), last(tmp_path / "run"))
    tables = []
    for name in ("whole", "run"):
        with (tmp_path / name / "metrics.csv").open(newline="") as file:
            tables.append([{**row, "images_per_second": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_sigterm_saves_and_ends_well(figures, tmp_path):
    process = killed_at(signal.SIGTERM, figures, tmp_path / "run", 5, steps=100_000)
    assert process.returncode == 0 and "the same command goes on from here" in process.output[0]
    step = int(process.output[0].rsplit("stopped after step ", 1)[1].split(";")[0])
    assert checkpoints.paths(tmp_path / "run")[-1].name == f"step_{step:08d}.npz"
    vunet_tf.load(tmp_path / "run")


@pytest.mark.slow
def test_a_second_round_begins_with_the_first(run, figures, tmp_path):
    made = train(figures, tmp_path / "run", init_from=run, steps=5)
    assert made.returncode == 0 and "weights and optimizer taken" in made.stdout, made.stderr
    assert last(tmp_path / "run")["trainer/step"] == 5
    assert last(tmp_path / "run")["optimizer/0000"] == 15, "Adam's count of updates goes on"


@pytest.mark.slow
def test_a_corrupt_checkpoint_is_told_and_the_one_before_taken(run, figures, tmp_path):
    made = train(figures, tmp_path / "run")
    assert made.returncode == 0
    path = checkpoints.paths(tmp_path / "run")[-1]
    path.write_bytes(path.read_bytes()[:-1000])
    again = train(figures, tmp_path / "run")
    assert again.returncode == 0, again.stderr
    assert "step_00000010.npz is damaged" in again.stdout and "going on from step 5" in again.stdout
    assert_equal(last(run), last(tmp_path / "run"))


def test_a_full_disk_is_one_clear_error_and_loses_nothing(figures, tmp_path):
    """No file may grow beyond 20 kB: to the program the same as a disk that is full."""
    code = (
        "import resource, signal, runpy, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "sys.argv = ['train', *sys.argv[1:]]; runpy.run_module('vunet_tf.train', run_name='__main__')"
    )
    arguments = [sys.executable, "-c", code, *command(figures, tmp_path / "run")[3:]]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert f"error: cannot write {tmp_path / 'run'}: File too large" in result.stderr
    assert "Traceback" not in result.stderr and not checkpoints.paths(tmp_path / "run")


def test_a_run_of_another_model_is_left_alone(run, figures):
    before = (run / "model.weights.h5").read_bytes()
    result = train(figures, run, width=3)
    assert result.returncode == 1 and "holds another model, trained with --width=2" in result.stderr
    assert (run / "model.weights.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rat": 1}, "Unknown command line flag 'learning_rat'"),
        ({"dataset_dir": "none"}, "none is not a dataset"),
        ({"image_size": 32}, "--image_size=32: the dataset"),
        ({"appearance": "part"}, "--appearance=part: must be one of parts, picture, both"),
        ({"gram_weights": "a"}, "--gram_weights=a: must be numbers"),
        ({"steps": 0}, "--steps=0: must be at least 1"),
        ({"init_from": "none"}, "--init_from=none is no run"),
    ],
)
def test_wrong_flags_are_one_clear_error(figures, tmp_path, changes, message):
    result = train(figures, tmp_path / "run", **changes)
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr
