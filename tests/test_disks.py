"""A disk that is full, a folder that is read-only or removed meanwhile, and clocks that jump.

The disk is a real one of 2 MiB in memory. Not everybody may mount one: where it fails, those tests are skipped.
"""

import gc
import itertools
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf

from export.saved_model import versions, warmup
from export.saved_model.graph import Graph
from tests.conftest import write_figures
from tests.test_train import TINY, curves, maps  # noqa: F401 (a fixture)
from vunet_tf import runs
from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.files.grids import Header
from vunet_tf.generation.sheet import Cell, Sheet
from vunet_tf.training import checkpoints
from vunet_tf.training.loop import Loop, explained
from vunet_tf.training.step import TrainingStep


class Disk:
    """A small disk at `path`."""

    def __init__(self, path):
        self.path = path

    def fill(self, left):
        """Takes all but so many bytes."""
        free = os.statvfs(self.path)
        (self.path / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))

    def clear(self):
        """Gives that room back."""
        (self.path / "filler").unlink()

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


NOISE = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)  # nothing can compress it


def save_checkpoint(folder, step):
    with explained(folder, "datasets/d"):
        checkpoints.save(folder, step, {"a": NOISE}, keep=9)


def save_dataset(folder, number):
    write_figures(folder / str(number))


def save_pictures(folder, number):
    cells = (Cell(0, i, Header(), Header(f"column{i}"), None, picture) for i, picture in enumerate(NOISE))
    Sheet(cells, 5, 96).save_pictures(folder / str(number))


def save_text(folder, number):
    with atomic.writing(folder / "text"):
        atomic.write_text(folder / "text", str(number) * 100_000)


def save_version(folder, number):
    """Of a model of one weight of 100 kB, without tracing a real one."""
    weight = tf.Variable(tf.cast(NOISE[:1], tf.float32))
    call = tf.function(lambda image: {"image": image + weight[0, 0, 0, 0]})
    concrete = call.get_concrete_function(image=tf.TensorSpec([None], tf.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "__init__", lambda self, model, keypoints: None)
        patch.setattr(Graph, "functions", lambda self: {"transfer": concrete})
        patch.setattr(warmup, "write", lambda *arguments: None)
        patch.setattr(versions, "describe", lambda run: {})
        versions.write(_Run, folder / "vunet", number)


class _Run:
    """As much of a run as a version needs."""

    class model:
        class config:
            image_size = 8

    class fitting:
        stickmen = False


def contents(folder):
    """{name: content}; hidden files too."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "filler"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


WRITERS = (save_checkpoint, save_dataset, save_pictures, save_text, save_version)


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_or_read_only_disk_is_one_clear_error_and_what_was_there_stands(disk, write):
    write(disk.path, 1)
    before = contents(disk.path)
    disk.fill(left=40_960)
    with pytest.raises(InputError, match=r"cannot write .*(No space left on device|disk full)") as raised:
        write(disk.path, 2)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500
    del raised
    gc.collect()  # a file of TensorFlow's that could not be closed would keep the disk busy
    left = contents(disk.path)
    whole_pictures = [name for name in left.keys() - before.keys() if name.startswith("2/column")]
    assert {name: left[name] for name in left if name not in whole_pictures} == before, "and nothing beside it"
    assert write is save_pictures or not whole_pictures, "pictures are kept one by one"
    disk.clear()
    disk.remount("ro")
    with pytest.raises(InputError, match=r"cannot write .*Read-only file system"):
        write(disk.path, 2)
    disk.remount("rw")
    write(disk.path, 2)
    after = contents(disk.path)
    assert all(after[name] == content for name, content in before.items() if name != "text")
    assert set(after) > set(before) or after["text"] == b"2" * 100_000


def test_a_probe_finds_a_read_only_folder_before_the_work(disk):
    disk.remount("ro")
    with pytest.raises(InputError, match=r"cannot write .*out\.json: Read-only file system; name another --out"):
        atomic.check_writable(disk.path / "out.json")
    with (
        pytest.raises(InputError, match=r"cannot write to .*disk: Read-only file system; name another --run_dir"),
        runs.open_for_training(disk.path, ModelConfig()),
    ):
        pass


SMALL = ModelConfig(image_size=8, **{name: TINY[name] for name in TINY if name in ModelConfig.__dataclass_fields__})
OFTEN = {"log_every": 1, "checkpoint_every": 2, "steps_per_call": 1, "init_batches": 1, "valid_batches": 0}


@pytest.fixture(scope="module")
def training(maps):  # noqa: F811
    """A function that trains in a folder up to a step, and begins again from what is there; its graph is made once."""
    config = TrainingConfig(steps=12, batch_size=8, reconstruction="l1", **OFTEN)
    step = TrainingStep(SMALL, config)
    beginning = {name: value.copy() for name, value in step.state().items()}

    def train(run_dir, after_step=lambda number: None):
        step.restore(beginning)
        keep = Loop(step, maps, run_dir, save_model=lambda model: None, crops=None)
        keep._say = lambda text: after_step(keep.step)  # it says so after each logged step
        with explained(run_dir, maps):
            if checkpoints.paths(run_dir):
                keep.start()
            else:  # as `start`, but always with the same weights
                keep._train_batches = keep.batches("train", config.seed, augment=True)
            return keep.run()

    return train


@pytest.fixture(scope="module")
def whole(training, tmp_path_factory):
    """The last state and the curves of a run that nothing disturbed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    run_dir.mkdir()
    assert training(run_dir) == 0
    return checkpoints.latest(run_dir)[1], curves(run_dir)


def assert_as(whole, run_dir):
    state, rows = whole
    found = checkpoints.latest(run_dir)[1]
    assert state.keys() == found.keys() and curves(run_dir) == rows
    for name in state:
        np.testing.assert_array_equal(state[name], found[name], err_msg=name)


def test_a_training_on_a_full_disk_ends_with_one_error_and_goes_on_when_there_is_room(training, whole, disk):
    def fill_at_6(number):
        if number == 6:
            disk.fill(left=4096)

    told = r"^cannot write .*disk: No space left on device; the last good checkpoint is .*step_0000000[46]\.npz$"
    with pytest.raises(InputError, match=told):
        training(disk.path, fill_at_6)
    for path in checkpoints.paths(disk.path):
        checkpoints.read(path)
    disk.clear()
    assert training(disk.path) == 0
    assert_as(whole, disk.path)


def test_a_run_directory_that_is_removed_ends_the_training_and_is_not_made_anew(training, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()

    def remove_at_5(number):
        if number == 5:
            shutil.rmtree(run_dir)

    with pytest.raises(InputError, match=r"^cannot write .*run: .*; there is no checkpoint yet$"):
        training(run_dir, remove_at_5)
    assert not run_dir.exists()


def test_clocks_that_jump_change_nothing(training, whole, tmp_path, monkeypatch):
    """Each look at the clock is years before or after the last one, and so is each checkpoint's date."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    now, jumps = time.time(), itertools.cycle((-20, 40, -5, 0))  # years
    monkeypatch.setattr(time, "time", lambda: now + next(jumps) * 3e7)

    class Stopped(Exception):
        pass

    def stop_at_7(number):
        if number == 7:
            raise Stopped

    with pytest.raises(Stopped):
        training(run_dir, stop_at_7)
    for i, path in enumerate(checkpoints.paths(run_dir)):  # the last one is the oldest by its date
        os.utime(path, (now - i * 3e7, now - i * 3e7))
    begun = []
    assert training(run_dir, begun.append) == 0
    assert min(begun) == 6, "from the last checkpoint"
    assert_as(whole, run_dir)


def test_a_dataset_of_another_size_between_two_starts_is_named(tmp_path):
    fitting = {"size": 8, "fit": "pad", "margin": 0.15, "shape_channels": 3, "stickmen": False, "edges": False}
    description = {"format": runs.FORMAT, "class": "VUNet", "config": {"image_size": 16}, "fitting": fitting}
    (tmp_path / runs.CONFIG).write_text(json.dumps(description))
    with (
        pytest.raises(InputError, match=r"holds another model, trained with --image_size=16"),
        runs.open_for_training(tmp_path, SMALL),
    ):
        pass
