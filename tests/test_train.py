"""`python -m vunet_tf.train` as a user runs it: one device, several, two processes, stopped, killed, on a full disk.

Each process costs seconds, nearly all of them the imports and the graph of the step. So the model is as small as one
can be, and a process proves all that it can.
"""

import csv
import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import vunet_tf
from vunet_tf.body.skeleton import JOINTS
from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.data.dataset import read_examples, write_dataset
from vunet_tf.data.example import Example
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import encode, read_picture
from vunet_tf.people import draw, sample_look, sample_pose
from vunet_tf.runs import history
from vunet_tf.training import checkpoints
from vunet_tf.training.loop import BEST, Loop, explained
from vunet_tf.training.step import TrainingStep

TINY = {
    "appearance": "picture",
    "bottleneck_factor": 3,
    "width": 4,
    "max_width": 4,
    "activation": "leaky_relu",
    "latent_scales": 1,
    "prior": "standard_normal",
    "reconstruction": "l1",
    "kl_schedule": "constant",
    "kl_weight": 1e-3,
    "batch_size": 8,
    "steps": 100,
    "log_every": 1,  # so that a run can be stopped after any step
    "checkpoint_every": 5,
    "pictures_every": 0,
    "valid_batches": 1,
    "ema": 0.9,
    "appearance_from": "other",
    "mirror": "true",
    "dropout": 0.2,
    "deterministic": "true",
}


def dataset(directory, examples, joints=None):
    with write_dataset(directory) as writer:
        for example in examples:
            writer.add(example)
        size = read_picture(example.image).shape[0]
        writer.finish(source="test", made_with={}, image_size=size, joints=joints, shape_channels=3)
    return directory


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Random pictures of 8 pixels with shape maps: 4 appearances in 8 pictures each, and 8 valid pictures."""
    examples = []
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 2, 8, 8, 3), np.uint8)):
        image, shape = (encode(picture, "png") for picture in pixels)
        examples.append(Example("train" if i < 32 else "valid", str(i), str(i % 4), str(i), image, shape=shape))
    return dataset(tmp_path_factory.mktemp("datasets") / "maps", examples)


@pytest.fixture(scope="module")
def without_valid(maps):
    """The same without the valid pictures."""
    return dataset(maps.parent / "without_valid", read_examples(maps, "train"))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Drawn people of 8 pixels: 4 looks in 4 poses each, and 8 valid pictures."""
    examples = []
    for i in range(24):
        pose = sample_pose(0, i)
        image = draw(sample_look(0, i % 4), pose, 8).image
        split = "train" if i < 16 else "valid"
        examples.append(Example(split, str(i), str(i % 4), str(i), encode(image, "png"), joints=pose.joints))
    return dataset(tmp_path_factory.mktemp("datasets") / "people", examples, JOINTS)


def command(data, run_dir, **changes):
    settings = {"dataset_dir": data, "run_dir": run_dir, **TINY, **changes}
    return [sys.executable, "-m", "vunet_tf.train", *(f"--{name}={value}" for name, value in settings.items())]


def start(data, run_dir, environment=(), **changes):
    return subprocess.Popen(
        command(data, run_dir, **changes), env={**os.environ, **dict(environment)}, stdout=-1, stderr=-1, text=True
    )


def end(process):
    """(exit status, standard output, standard error)."""
    printed, complaints = process.communicate(timeout=300)
    return process.returncode, printed, complaints


def train(data, run_dir, **changes):
    return end(start(data, run_dir, **changes))


@pytest.fixture(scope="module")
def run(maps, tmp_path_factory):
    """A finished run on one device, never stopped."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    status, _, complaints = train(maps, run_dir, pictures_every=100)
    assert status == 0, complaints
    return run_dir


def last(run_dir):
    """The weights and all other state at the end of a run."""
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


def test_a_run_leaves_a_model_curves_pictures_and_what_it_was_made_with(run):
    model = vunet_tf.load(run).model
    assert model.config.image_size == 8 and model.config.shape_channels == 3 and model.config.width == TINY["width"]
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = {split: [int(row["step"]) for row in rows if row["split"] == split] for split in ("train", "valid")}
    assert steps == {"train": list(range(1, 101)), "valid": list(range(5, 101, 5))}
    for row in rows:
        assert float(row["loss"]) > 0 and float(row["kl_0"]) > 0
        assert (float(row["images_per_second"]) > 0) if row["split"] == "train" else row["images_per_second"] == ""
    assert "--kl_schedule=constant\n" in (run / "flags.txt").read_text()
    (start,) = history(run)
    assert start["step"] == 0 and {"python", "tensorflow", "keras", "vunet-tf"} <= start["versions"].keys()
    assert [path.name for path in (run / "pictures").iterdir()] == ["transfer_00000100.png"]
    assert [path.name for path in checkpoints.paths(run)] == [f"step_00000{step:03d}.npz" for step in (90, 95, 100)]


# Muon steps most kernels of this width. Dropout is off, for its masks are those of a replica. A discriminator plays.
TOGETHER = {"steps": 20, "log_every": 5, "optimizer": "muon", "width": 8, "max_width": 8, "dropout": 0}
TOGETHER |= {"deterministic": "false", "adversarial": 0.1}


@pytest.fixture(scope="module")
def alone(maps, tmp_path_factory):
    """A short run on one device with --steps_per_call=1. Steps of the other runs come in groups."""
    run_dir = tmp_path_factory.mktemp("runs") / "alone"
    status, _, complaints = train(maps, run_dir, **TOGETHER, steps_per_call=1)
    assert status == 0, complaints
    return run_dir


def test_replicas_give_the_weights_of_one(alone, maps, tmp_path):
    status, _, complaints = train(maps, tmp_path / "run", replicas=2, **TOGETHER)
    assert status == 0, complaints
    assert_close(last(alone), last(tmp_path / "run"))


def start_two(data, run_dir, slurm=False, **changes):
    """Two processes that train together, by TF_CONFIG or as tasks of a Slurm step on this machine."""
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.bind(("localhost", 0))
        ports = [sock.getsockname()[1] for sock in (first, second)]
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2"}
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    processes = []
    for index in range(2):
        if slurm:  # its ports follow each other
            flags = {"cluster": "slurm", "cluster_port": 20_000 + ports[0] % 20_000}
            environment = {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index), "SLURMD_NODENAME": "localhost"}
            environment |= step
        else:
            flags, config = {}, {"cluster": cluster, "task": {"type": "worker", "index": index}}
            environment = {"TF_CONFIG": json.dumps(config)}
        processes.append(start(data, run_dir, environment, **changes, **flags))
    return processes


def test_two_processes_one_of_them_lost_give_the_weights_of_one(alone, maps, tmp_path):
    """The other process ends soon, with one message. The same training then goes on, here as two tasks of Slurm."""
    ours = tmp_path / "run"
    # Every step is followed by much validation, so that there is time to kill it before the end.
    first, second = start_two(maps, ours, **{**TOGETHER, "checkpoint_every": 1, "valid_batches": 20})
    wait_for_step(first, ours, 2)
    kill(second)
    lost = time.monotonic()
    status, _, complaints = end(first)
    assert time.monotonic() - lost < 60
    (told,) = [line for line in complaints.splitlines() if line.startswith("error: ")]
    assert status == 1 and "another worker is gone (" in told and "Traceback" not in complaints
    assert "give the same command again on all machines; the last good checkpoint is" in told
    assert step_of(checkpoints.paths(ours)[-1]) < 20, "it was lost in mid-run"

    (status, printed, complaints), (other_status, other_printed, _) = map(
        end, start_two(maps, ours, slurm=True, **TOGETHER)
    )
    assert (status, other_status) == (0, 0), complaints
    assert "going on from step" in printed and "step 20 train" in printed
    assert "step" not in other_printed, "only the first process tells"
    assert_close(last(alone), last(ours))


@pytest.mark.slow
@pytest.mark.parametrize("silent", [0, 1])
def test_a_worker_that_falls_silent_is_noticed_within_a_minute(maps, tmp_path, silent):
    """Its process is stopped, so that its connections stay open, as when a cable is cut."""
    endless = {**TOGETHER, "steps": 100_000, "checkpoint_every": 1, "valid_batches": 2, "optimizer": "adam"}
    processes = start_two(maps, tmp_path / "run", **endless)
    try:
        wait_for_step(processes[0], tmp_path / "run", 2, seconds=900)
        processes[silent].send_signal(signal.SIGSTOP)
        lost = time.monotonic()
        status, _, complaints = end(processes[1 - silent])
        passed = time.monotonic() - lost
    finally:
        processes[silent].kill()
        processes[silent].communicate()
    print(f"worker {silent} silent: noticed after {passed:.0f} s")
    assert status == 1 and passed < 60, complaints
    (told,) = [line for line in complaints.splitlines() if line.startswith("error: ")]
    assert "another worker is gone (" in told and "the last good checkpoint is" in told
    assert "Traceback" not in complaints


def step_of(checkpoint):
    return int(checkpoint.stem.removeprefix("step_"))


def wait_for_step(process, run_dir, step, seconds=240):
    """Waits until there is a checkpoint of a step or of a later one."""
    deadline = time.monotonic() + seconds
    while not any(step_of(path) >= step for path in checkpoints.paths(run_dir)):
        assert process.poll() is None and time.monotonic() < deadline, end(process)
        time.sleep(0.005)


def kill(process):
    process.kill()
    assert end(process)[0] == -signal.SIGKILL


def stop(process, number, status):
    """Sends a signal. Returns (the step after which the run stopped, what it printed)."""
    process.send_signal(number)
    found, printed, complaints = end(process)
    assert found == status and "the same command goes on from here" in printed, complaints
    return int(printed.rsplit("stopped after step ", 1)[1].split(";")[0]), printed


def curves(run_dir):
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [{**row, "images_per_second": ""} for row in csv.DictReader(file)]


def test_a_run_stopped_killed_and_damaged_ends_as_one_never_stopped(run, maps, tmp_path):
    """SIGTERM saves at once. After a kill and with a damaged file, the run goes on from the checkpoint before."""
    ours = tmp_path / "run"
    process = start(maps, ours)
    wait_for_step(process, ours, 5)
    stopped, _ = stop(process, signal.SIGTERM, 143)
    assert step_of(checkpoints.paths(ours)[-1]) == stopped

    process = start(maps, ours, keep_checkpoints=4)
    wait_for_step(process, ours, stopped + 5)
    kill(process)
    *_, before, newest = checkpoints.paths(ours)
    newest.write_bytes(newest.read_bytes()[:-1000])

    status, printed, complaints = train(maps, ours, keep_checkpoints=4)
    assert status == 0, complaints
    assert f"{newest.name} is damaged" in printed and f"going on from step {step_of(before)}" in printed
    assert_equal(last(run), last(ours))
    assert curves(run) == curves(ours)
    change = f"--keep_checkpoints: 3 before, 4 from step {stopped} on"
    assert [each["changed"] for each in history(ours)] == [[], [change]]


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_as_one_never_stopped(maps, tmp_path, kills=20):
    long = {"steps": 20 + 20 * kills, "checkpoint_every": 2, "keep_checkpoints": 1000}
    whole, delays = start(maps, tmp_path / "whole", **long), random.Random(0)
    for step in np.linspace(4, 20 * kills, kills).astype(int) // 2 * 2:
        process = start(maps, tmp_path / "run", **long)
        wait_for_step(process, tmp_path / "run", step)
        time.sleep(delays.uniform(0, 0.1))
        kill(process)
        for path in checkpoints.paths(tmp_path / "run"):
            checkpoints.read(path)
    status, printed, complaints = train(maps, tmp_path / "run", **long)
    assert status == 0 and "going on from step" in printed, complaints
    assert end(whole)[0] == 0
    assert_equal(last(tmp_path / "whole"), last(tmp_path / "run"))
    assert curves(tmp_path / "whole") == curves(tmp_path / "run")


def test_a_second_round_begins_with_the_first(run, maps, tmp_path):
    """The dataset has no split "valid", and the rate is different: the run says what it leaves out. Ctrl-C stops it."""
    data = dataset(tmp_path / "without_valid", read_examples(maps, "train"))
    process = start(data, tmp_path / "run", init_from=run, steps=100_000, pictures_every=5)
    wait_for_step(process, tmp_path / "run", 5)
    step, printed = stop(process, signal.SIGINT, 130)
    assert "weights and optimizer taken" in printed
    assert "has no split 'valid': training without validation and without pictures" in printed
    assert vunet_tf.load(tmp_path / "run") and not (tmp_path / "run/pictures").exists()
    assert {row["split"] for row in curves(tmp_path / "run")} == {"train"}
    assert last(tmp_path / "run")["training/step"] == step
    assert last(tmp_path / "run")["optimizer/0000"] == 100 + step, "Adam's count of updates goes on"


def test_a_model_without_checkpoint_gives_its_weights(laid_run, figures_dataset, tmp_path):
    """A preset is such a model. It may have another size if the weights have the same shapes."""
    given = vunet_tf.load(laid_run).model

    def begin(**changes):
        step = TrainingStep(dataclasses.replace(given.config, **changes), TrainingConfig(batch_size=8, valid_batches=0))
        Loop(step, figures_dataset, tmp_path / "run", None, crops=None, chief=False).start(laid_run)
        return step.model

    larger = begin(image_size=64, bottleneck_factor=given.config.bottleneck_factor + 1)
    for ours, theirs in zip(larger.get_weights(), given.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match=rf"--init_from={laid_run} is another model, .* it has --width=4"):
        begin(width=8)


def test_a_full_disk_is_one_clear_error_and_loses_nothing(people, tmp_path):
    """No file may grow beyond 20 kB: to the program the same as a disk that is full. On crops of body parts."""
    crops = {"appearance": "parts", "bottleneck_factor": 2}
    code = (
        "import resource, signal, runpy, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "sys.argv = ['train', *sys.argv[1:]]; runpy.run_module('vunet_tf.train', run_name='__main__')"
    )
    arguments = [sys.executable, "-c", code, *command(people, tmp_path / "run", **crops)[3:]]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
    assert result.returncode == 1
    assert f"error: cannot write {tmp_path / 'run'}: File too large" in result.stderr
    assert "Traceback" not in result.stderr and not checkpoints.paths(tmp_path / "run")


WRONG = [
    ({"dataset_dir": "none"}, "none is not a dataset"),
    ({"image_size": 32}, "--image_size=32: the dataset"),
    ({"appearance": "part"}, "--appearance=part: must be one of parts, picture"),
    ({"appearance": "parts"}, "--appearance=parts needs joints"),
    ({"gram_weights": "a"}, "--gram_weights=a: must be numbers"),
    ({"gram_weights": "1,2"}, "--gram_weights=1,2: must be 6 numbers"),
    ({"feature_weights": "1,1,1,1,1,-1"}, "--feature_weights=1,1,1,1,1,-1: must be 6 numbers from 0 on"),
    ({"steps": 0}, "--steps=0: must be at least 1"),
    ({"seed": 2**31}, "--seed=2147483648: must be from 0 to 2,147,483,647"),
    ({"kl_schedule": "rampe"}, "--kl_schedule=rampe: must be one of ramp, constant"),
    ({"kl_weight": "nan"}, "--kl_weight must be a number, got nan"),
    ({"learning_rate": "inf"}, "--learning_rate must be a number, got inf"),
    ({"reconstruction": "lpips"}, "--reconstruction=lpips: must be one of l1_ssim, l1, vgg19"),
    ({"reconstruction": "vgg19"}, "--reconstruction=vgg19 needs pictures of at least 16 pixels"),
    ({"appearance_from": "both"}, "--appearance_from=both: must be one of self, other"),
    ({"hue": 0.6}, "--hue=0.6: must be from 0 to 0.5"),
    ({"shift": -1}, "--shift=-1: must be at least 0"),
    ({"shift": 8}, "--shift=8: must be less than the pictures' side, 8 pixels"),
    ({"init_from": "none"}, "--init_from=none is no run"),
    ({"run_dir": ""}, "give --run_dir;"),
]


def test_wrong_flags_name_the_flag_and_leave_nothing(maps, tmp_path):
    """All run in one process, for speed. `startup.run` turns each into one line of error and the status 1."""
    code = (
        "import json, sys\nfrom absl import app\nfrom absl.testing.flagsaver import flagsaver\n"
        "from vunet_tf import train\nfrom vunet_tf.command_line.startup import run\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "  with flagsaver():\n"
        "    sys.argv[1:] = arguments\n"
        "    try: run(train._train)\n"
        "    except SystemExit as end: print(end.code)\n"  # a text: Python shows it and ends with status 1
    )
    right = {"data": maps, "run_dir": tmp_path / "run"}
    arguments = [command(**{**right, **changes})[3:] for changes, _ in WRONG]
    told = subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    for line, (_, message) in zip(told.stdout.splitlines(), WRONG, strict=True):
        assert line.startswith("error: ") and message in line
    assert not (tmp_path / "run").exists()


def test_a_misspelt_flag_is_one_clear_line(tmp_path):
    status, _, complaints = train("none", tmp_path / "run", learning_rat=1)
    assert status == 1 and complaints.startswith("error: Unknown command line flag 'learning_rat'")


class FaultyStep(TrainingStep):
    """Its loss is not a number in step 3, and from step 7 on."""

    def loss_terms(self, batch, noise, training):
        terms = super().loss_terms(batch, noise, training)
        return {**terms, "loss": tf.where((self.step == 3) | (self.step >= 7), np.nan, terms["loss"])}


def test_a_loss_that_is_no_number_is_skipped_and_at_last_ends_the_run_which_then_goes_on(maps, tmp_path):
    model = ModelConfig(image_size=8, **{name: TINY[name] for name in TINY if name in ModelConfig.__dataclass_fields__})
    often = {"log_every": 1, "checkpoint_every": 2, "steps_per_call": 1, "init_batches": 1}
    config = TrainingConfig(steps=12, batch_size=8, reconstruction="l1", valid_batches=0, max_skipped=3, **often)

    def loop(kind):
        return Loop(kind(model, config), maps, tmp_path, save_model=lambda model: None, crops=None)

    faulty = loop(FaultyStep)
    faulty.start()
    told = "no finite number for 3 steps in a row, up to step 10; the last good checkpoint is .*step_00000008.npz; a sm"
    with pytest.raises(InputError, match=told):
        faulty.run()
    rows = curves(tmp_path)
    assert [float(row["skipped"]) for row in rows] == [0, 0, 0, 1, 1, 1, 1, 2, 3]
    assert [row["step"] for row in rows if row["loss"] == "nan"] == ["4", "8", "9"]

    good = loop(TrainingStep)
    good.start()
    assert good.step == 8 and good.run() == 0 and good.step == 12
    assert [float(row["skipped"]) for row in curves(tmp_path)] == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    for name, value in last(tmp_path).items():
        assert name == BEST or np.isfinite(value).all(), name


def test_memory_that_runs_out_is_not_called_a_full_disk(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step_00000005.npz").touch()
    with pytest.raises(InputError) as raised, explained(tmp_path, "datasets/maps"):
        tf.ones([2**45])
    told = str(raised.value)
    assert told.startswith("there is too little memory (OOM when allocating tensor")
    assert "give a smaller --batch_size" in told and "the last good checkpoint is" in told and "write" not in told


@pytest.mark.parametrize("damage", ["record", "picture", "size"])
def test_a_damaged_dataset_is_named_and_to_be_prepared_again(tmp_path, damage):
    """Training reads a record with a wrong checksum, or one that holds no picture or a larger picture."""
    small, large = (encode(np.zeros((size, size, 3), np.uint8), "png") for size in (8, 16))
    image = {"record": small, "picture": b"none", "size": large}[damage]
    images = [small, image, small]
    data = dataset(tmp_path / "maps", [Example("train", str(i), "a", "b", images[i], shape=small) for i in range(3)])
    if damage == "record":
        (shard,) = data.glob("train-*")
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    step = SimpleNamespace(config=TrainingConfig(batch_size=1), strategy=tf.distribute.get_strategy())
    loop = Loop(step, data, tmp_path / "run", save_model=None, crops=None)
    named = rf"{data} (is damaged|has a damaged picture) \(.+\): prepare it again; there is no checkpoint yet$"
    with pytest.raises(InputError, match=named), explained(tmp_path / "run", data):
        batches = iter(loop.batches("train", seed=0))
        tf.function(lambda: [next(batches)["image"] + 1 for _ in range(3)])()


def test_an_error_of_the_model_is_not_taken_for_one_of_the_data(tmp_path):
    batches = iter(tf.data.Dataset.from_tensors([5]))
    with pytest.raises(tf.errors.InvalidArgumentError), explained(tmp_path, "datasets/maps"):
        tf.function(lambda: tf.gather([1.0], next(batches)))()
