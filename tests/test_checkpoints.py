"""Checkpoints: exact, the last few, and never half a file."""

import resource
import signal

import numpy as np
import pytest

from vunet_tf.files.errors import InputError
from vunet_tf.training import checkpoints

STATE = {"model/0/kernel": np.random.default_rng(0).normal(size=(3, 5)).astype("float32"), "step": np.int64(7)}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert np.asarray(first[name]).dtype == second[name].dtype
        np.testing.assert_array_equal(first[name], second[name])


def test_round_trip_keeps_the_last(tmp_path):
    for step in (5, 90, 100, 123_456_789):
        checkpoints.save(tmp_path, step, {**STATE, "step": np.int64(step)}, keep=2)
    assert [path.name for path in checkpoints.paths(tmp_path)] == ["step_00000100.npz", "step_123456789.npz"]
    path, state = checkpoints.latest(tmp_path)
    assert path.name == "step_123456789.npz"
    assert_same({**STATE, "step": np.int64(123_456_789)}, state)


def test_a_new_run_has_none(tmp_path):
    assert checkpoints.latest(tmp_path) is None and checkpoints.paths(tmp_path / "absent") == []


@pytest.mark.parametrize("damage", ["cut", "empty", "byte"])
def test_a_damaged_one_is_passed_over_and_told(tmp_path, damage):
    checkpoints.save(tmp_path, 1, STATE, keep=3)
    good = checkpoints.paths(tmp_path)[0].read_bytes()
    for step in (2, 3):
        content = bytearray(good)
        if damage == "byte":  # in the middle of an array's numbers
            content[good.index(STATE["model/0/kernel"].tobytes()) + 11] ^= 1
        broken = {"cut": good[: len(good) // 2], "empty": b"", "byte": bytes(content)}[damage]
        (tmp_path / f"checkpoints/step_{step:08d}.npz").write_bytes(broken)
    told = []
    path, state = checkpoints.latest(tmp_path, told.append)
    assert path.name == "step_00000001.npz"
    assert_same(STATE, state)
    assert len(told) == 2 and all("is damaged" in text and "falling back" in text for text in told)
    path.unlink()
    with pytest.raises(InputError, match=r"every checkpoint in .* is damaged"):
        checkpoints.latest(tmp_path, told.append)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "checkpoints/step_00000001.npz"
    path.parent.mkdir()
    np.savez(path, evil=np.array([print], dtype=object))
    with pytest.raises(InputError, match="is damaged: Object arrays cannot be loaded"):
        checkpoints.read(path)


def test_a_full_disk_leaves_the_one_before(tmp_path):
    checkpoints.save(tmp_path, 1, STATE, keep=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        with pytest.raises(OSError):
            checkpoints.save(tmp_path, 2, {"large": np.ones(10_000)}, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001.npz"]
    assert_same(STATE, checkpoints.latest(tmp_path)[1])


def test_what_a_killed_run_left_is_removed(tmp_path):
    checkpoints.save(tmp_path, 1, STATE, keep=2)
    (tmp_path / "checkpoints/.123.step_00000002.npz").write_bytes(b"half")
    assert checkpoints.latest(tmp_path)[0].name == "step_00000001.npz"
    checkpoints.save(tmp_path, 2, STATE, keep=2)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
