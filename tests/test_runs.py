"""A run directory: the round trip is exact, and only models of this package are built from one."""

import dataclasses
import json
import resource
import signal

import keras
import numpy as np
import pytest

import vunet_tf
from vunet_tf import runs
from vunet_tf.config import ModelConfig
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.files.errors import InputError
from vunet_tf.models import VUNet

TINY = ModelConfig(image_size=8, appearance="picture", shape_channels=1, width=2, max_width=4, activation="leaky_relu")
FITTING = Fitting(8, "pad", 0.15, shape_channels=1, stickmen=False, edges=False)
BATCH = {
    "image": np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype("float32"),
    "shape": np.random.default_rng(1).uniform(-1, 1, (2, 8, 8, 1)).astype("float32"),
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = VUNet(TINY)
    model.initialise([BATCH])
    return model


@pytest.fixture
def run(model, tmp_path):
    runs.save(model, tmp_path / "run", FITTING)
    return tmp_path / "run"


def edit(run, **changes):
    description = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**description, **changes}))
    return description


def test_round_trip_is_exact(model, run):
    assert vunet_tf.load(run).fitting == FITTING
    loaded = vunet_tf.load(run).model
    assert loaded.config == model.config
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.reconstruct(BATCH), model.reconstruct(BATCH))
    np.testing.assert_array_equal(loaded.sample(BATCH["shape"], seed=3)[0], model.sample(BATCH["shape"], seed=3)[0])


def test_a_folded_model_round_trips_too(model, tmp_path):
    runs.save(model.fold(), tmp_path, FITTING)
    np.testing.assert_array_equal(vunet_tf.load(tmp_path).model.reconstruct(BATCH), model.fold().reconstruct(BATCH))


def test_unknown_classes_and_settings_are_refused(run):
    description = edit(run, **{"class": "os.system"})
    with pytest.raises(InputError, match=r"unknown class 'os\.system'"):
        vunet_tf.load(run)
    edit(run, **{"class": "VUNet"}, config={**description["config"], "module": "os", "initializer": "Lambda"})
    with pytest.raises(InputError, match="unknown model settings: initializer, module"):
        vunet_tf.load(run)
    edit(run, config=description["config"], format=99)
    with pytest.raises(InputError, match=r"format 99, this version reads 2: .* another version"):
        vunet_tf.load(run)


def test_damaged_and_foreign_files_are_named(run):
    description = edit(run)
    edit(run, config={**description["config"], "width": 3})
    with pytest.raises(InputError, match=r"model\.weights\.h5"):
        vunet_tf.load(run)
    (run / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json"):
        vunet_tf.load(run)
    (run / "config.json").write_text(json.dumps(description))
    content = (run / "model.weights.h5").read_bytes()
    (run / "model.weights.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"model\.weights\.h5"):
        vunet_tf.load(run)


def test_no_run_is_a_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"config\.json is missing"):
        vunet_tf.load(tmp_path)


def test_a_full_disk_leaves_the_last_one(model, run):
    """No file may grow beyond 20 kB: to the program the same as a disk that is full."""
    before = (run / "model.weights.h5").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
        with pytest.raises(OSError, match="File too large"):
            runs.save(model, run, FITTING)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert (run / "model.weights.h5").read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "model.weights.h5"]


def test_only_our_models_are_saved(tmp_path):
    with pytest.raises(InputError, match="not a Sequential"):
        runs.save(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), tmp_path, FITTING)


def test_a_run_of_another_model_is_left_alone(run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    wider = dataclasses.replace(TINY, width=3)
    remedy = "holds another model, trained with --width=2; name another --run_dir"
    with pytest.raises(InputError, match=remedy), runs.open_for_training(run, wider):
        pass
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_is_trained_by_one_process_at_a_time(run):
    with runs.open_for_training(run, TINY) as begin:
        begin(0, "--width=2\n")
        busy = r"run is being written by another process.*name another --run_dir"
        with pytest.raises(InputError, match=busy), runs.open_for_training(run, TINY):
            pass
        with runs.open_for_training(run, TINY, chief=False) as begin_elsewhere:
            assert begin_elsewhere(0, "--width=3\n") == []  # another machine's process writes nothing
    assert (run / "flags.txt").read_text() == "--width=2\n"
    with runs.open_for_training(run, TINY):
        pass


def test_a_dataset_that_is_gone_or_unknown_is_named_when_it_is_asked_for(run, tmp_path):
    with pytest.raises(InputError, match="does not say what it was trained on: give --dataset_dir"):
        vunet_tf.load(run).dataset()
    (run / "flags.txt").write_text("--dataset_dir=gone\n--mirror\n--noshift_all\n")
    loaded = vunet_tf.load(run)
    assert loaded.flags == {"dataset_dir": "gone", "mirror": "true", "shift_all": "false"}
    with pytest.raises(InputError, match="the run's dataset gone is not there: give --dataset_dir"):
        loaded.dataset()
    with pytest.raises(InputError, match="is not a dataset"):
        vunet_tf.load(run, tmp_path).dataset()


def test_a_new_run_that_never_begins_leaves_nothing(tmp_path, run):
    for folder in (tmp_path / "new", run):
        with pytest.raises(InputError, match="wrong"), runs.open_for_training(folder, TINY):
            raise InputError("wrong")
    assert not (tmp_path / "new").exists() and (run / "config.json").exists()


def begin(run, step, *flags, dataset=None):
    with runs.open_for_training(run, TINY) as begin_training:
        return begin_training(step, "".join(f"--{flag}\n" for flag in flags), dataset)


def test_the_history_has_the_starts_that_changed_something(run):
    """A new folder is not a change. Starts that left nothing in the weights are forgotten."""
    slower = "--learning_rate: 0.1 before, 0.05 from step 200 on"
    assert begin(run, 0, "learning_rate=0.1", "run_dir=a") == []
    assert begin(run, 100, "learning_rate=0.1", "run_dir=b") == []
    assert begin(run, 200, "learning_rate=0.05", "mirror") == [slower, "--mirror: none before, true from step 200 on"]
    assert begin(run, 300, "learning_rate=0.05", "mirror") == []
    first, second = runs.history(run)
    assert (first["step"], first["changed"], first["flags"]["learning_rate"]) == (0, [], "0.1")
    assert (second["step"], second["changed"][0], second["flags"]["mirror"]) == (200, slower, "true")
    assert second["versions"].keys() == {"python", *runs.PACKAGES} and second["date"] >= first["date"]
    assert (run / "flags.txt").read_text() == "--learning_rate=0.05\n--mirror\n"
    assert begin(run, 150, "learning_rate=0.1") == [] and runs.history(run) == [first]
    (run / "history.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"history\.jsonl is damaged"):
        runs.history(run)


def test_a_dataset_that_changes_between_two_starts_is_told_and_noted(run):
    assert begin(run, 0) == []  # by an earlier version
    assert begin(run, 100, dataset="one") == [] == begin(run, 200, dataset="one")
    told = ["contents of the dataset: one before, two from step 300 on"]
    assert begin(run, 300, dataset="two") == told == runs.history(run)[-1]["changed"]
    assert begin(run, 400, dataset="two") == []
