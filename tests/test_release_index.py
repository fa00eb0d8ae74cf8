"""The original release's pickled index: plain data is read, anything else is refused and never run."""

import collections
import datetime
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from vunet_tf.body.skeleton import JOINTS
from vunet_tf.data.sources.release_index import _table, load_index
from vunet_tf.files.errors import InputError


def index_of(count=3, joints=None, **changes):
    joints = np.random.default_rng(0).random((count, 15, 2)) if joints is None else joints
    return {
        "joint_order": list(JOINTS),
        "imgs": [f"{i}.png" for i in range(count)],
        "train": [i > 0 for i in range(count)],
        "joints": list(joints),
        **changes,
    }


def written(tmp_path, value, protocol=4):
    path = tmp_path / "index.p"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.int16])
def test_a_plain_index_is_read(tmp_path, protocol, dtype):
    joints = (np.random.default_rng(0).random((3, 15, 2)) * 9).astype(dtype)
    index = index_of(joints=joints, extra=collections.OrderedDict(a=np.float32(1)))
    read = load_index(written(tmp_path, index, protocol))
    assert read["imgs"] == ["0.png", "1.png", "2.png"] and read["train"] == [False, True, True]
    assert read["joint_order"] == JOINTS
    np.testing.assert_array_equal([_table(rows) for rows in read["joints"]], joints.astype(np.float32))


def test_arrays_of_every_layout_are_read(tmp_path):
    joints = np.asfortranarray(np.random.default_rng(0).random((15, 2)))
    names = np.array(["0.png"], object)
    index = index_of(1, [joints], imgs=names, train=np.array([True]), joint_order=np.array(JOINTS))
    read = load_index(written(tmp_path, index))
    np.testing.assert_array_equal(read["joints"][0], joints)
    assert read["imgs"] == ["0.png"] and read["joint_order"] == JOINTS


def test_an_index_of_python_2_is_read(tmp_path):
    """Bytes for text and arrays, as Python 2 wrote them."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I15\nI2\ntcnumpy\ndtype\n"
    array += (
        b"(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS"
        + repr(np.ones((15, 2), "<f4").tobytes())[1:].encode()
        + b"\ntb"
    )
    content = b"(dS'imgs'\n(lS'a.png'\nasS'train'\n(lI01\nasS'joints'\n(l" + array + b"as."
    read = load_index(written(tmp_path, content))
    assert read["imgs"] == ["a.png"] and read["train"] == [True] and read["joint_order"] is None
    np.testing.assert_array_equal(read["joints"][0], np.ones((15, 2)))


class Runs:
    """An object that makes a file when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, r"posix\.system"),
        (eval, r"builtins\.eval"),
        (exec, r"builtins\.exec"),
        (subprocess.check_call, r"subprocess\.check_call"),
        (np.load, r"numpy\.load"),
        (getattr, r"builtins\.getattr"),
        (np.fromfile, r"fromfile"),
    ],
)
def test_a_hostile_pickle_is_refused_by_name_and_does_not_run(tmp_path, function, name):
    trace = tmp_path / "ran"
    argument = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    path = written(tmp_path, index_of(imgs=Runs(function, argument)))
    with pytest.raises(InputError, match=f"refused: it asks for .*{name}"):
        load_index(path)
    assert not trace.exists()


def test_the_test_above_can_fail(tmp_path):
    """The same pickle runs its program if it is loaded in the usual way."""
    trace = tmp_path / "ran"
    content = pickle.dumps(Runs(os.system, f"touch {trace}"))
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({content!r})"], check=True)
    assert trace.exists()


def test_other_things_than_data_are_refused(tmp_path):
    for value in (datetime.datetime(2018, 4, 4), Runs(bytes.fromhex, "00"), collections.Counter("a")):
        with pytest.raises(InputError, match="refused: it asks for"):
            load_index(written(tmp_path, index_of(extra=value)))
    codec = b"(dS'imgs'\nc_codecs\nencode\n(S'x'\nS'zip'\ntRs."
    with pytest.raises(InputError, match="codec 'zip'"):
        load_index(written(tmp_path, codec))
    with pytest.raises(InputError, match="an object outside the file"):
        load_index(written(tmp_path, b"(dS'imgs'\nPid\ns."))


def test_forged_arrays_are_refused(tmp_path):
    """Shapes that do not fit their bytes, and dtypes that are not plain values."""
    good = pickle.dumps(index_of(1, [np.ones((15, 2), np.float32)]), 2)
    assert load_index(written(tmp_path, good))
    for wrong in (good.replace(b"K\x0fK\x02", b"K\x7fK\x02"), good.replace(b"f4", b"V4"), good.replace(b"f4", b"M8")):
        assert wrong != good
        with pytest.raises(InputError):
            _table(load_index(written(tmp_path, wrong))["joints"][0])


def test_a_nested_bomb_takes_no_time(tmp_path):
    """Lists of the same list. Unfolded, they would fill any memory."""
    bomb = [0.5]
    for _ in range(40):
        bomb = [bomb] * 10
    read = load_index(written(tmp_path, index_of(1, [bomb])))
    with pytest.raises(InputError, match="no table of x and y"):
        _table(read["joints"][0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole pickle"),
        (pickle.dumps(index_of())[:-20], "not a whole pickle"),
        (b"hello", "not a whole pickle"),
        (pickle.dumps([1, 2]), "holds a list, not the release's dictionary"),
        (pickle.dumps({"imgs": []}), "lacks joints, train; it has imgs"),
        (pickle.dumps(index_of(imgs="x")), "imgs is a str, not a list"),
        (pickle.dumps(index_of(train=[True])), "lists differ in length: 3 imgs, 1 train, 3 joints"),
    ],
)
def test_broken_indexes_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        load_index(written(tmp_path, content))


def test_a_missing_index_is_named(tmp_path):
    with pytest.raises(InputError, match=r"index\.p cannot be read: No such file"):
        load_index(tmp_path / "index.p")


@pytest.mark.parametrize("joints", [None, 3, "ab", [1, 2], [[1, 2, 3]], [["a", "b"]], [[0.1, 0.2]] * 201])
def test_joints_that_are_no_table_are_refused(joints):
    with pytest.raises(InputError, match="no table of x and y"):
        _table(joints)
