"""The dataset on disk: it is complete or not there at all, and it is refused if it is damaged."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.data.dataset import Shard, digest, evenly_spread, read_examples, read_info, write_dataset
from vunet_tf.data.example import Example, Rejected
from vunet_tf.files.errors import InputError

INFO = {"source": "test", "made_with": {}, "image_size": 8, "joints": None, "shape_channels": 1}


def example(k, split="train", **changes):
    fields = {"split": split, "name": f"n{k}", "appearance_id": f"a{k % 3}", "shape_id": f"s{k}", "image": b"\xff" * k}
    return Example(**(fields | changes))


def write(directory, examples, overwrite=False):
    with write_dataset(directory, overwrite) as writer:
        for made in examples:
            writer.add(made)
        return writer.finish(**INFO)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_examples_survive_the_way_there_and_back(tmp_path):
    joints = np.random.default_rng(0).random((15, 2)).astype(np.float32)
    made = [
        example(1, joints=joints, mask=b"m", attributes={"hair": "rot", "t": 3}),
        example(2, shape=b"s"),
        example(3, split="valid", name="ünïcode/ü.png"),
    ]
    info = write(tmp_path / "d", made)
    assert info == read_info(tmp_path / "d")
    assert {split: info.examples(split) for split in info.splits} == {"train": 2, "valid": 1}
    assert info.appearances == {"train": 2, "valid": 1} and not info.has_mask, "two have none"
    assert write(tmp_path / "masks", made[:1]).has_mask
    (first, second), (third,) = (list(read_examples(tmp_path / "d", split)) for split in ("train", "valid"))
    np.testing.assert_array_equal(first.joints, joints)
    assert first._replace(joints=None) == made[0]._replace(joints=None)
    assert (second, third) == (made[1], made[2])


def test_reading_starts_no_thread_that_tunes(tmp_path, monkeypatch):
    """At the end TensorFlow waits for that thread, which may sleep for as long as the command has run."""
    write(tmp_path / "d", [example(1)])
    tuned, read = [], tf.data.Dataset.as_numpy_iterator

    def watched(records):
        tuned.append(records.options().autotune.enabled)
        return read(records)

    monkeypatch.setattr(tf.data.Dataset, "as_numpy_iterator", watched)
    assert len(list(read_examples(tmp_path / "d", "train"))) == 1 and tuned == [False]


def test_large_splits_have_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("vunet_tf.data.dataset.SHARD_BYTES", 2000)
    info = write(tmp_path / "d", [example(k) for k in range(100)])
    shards = info.splits["train"]
    assert len(shards) > 5 and sum(shard.examples for shard in shards) == 100
    assert [shard.file for shard in shards] == sorted(shard.file for shard in shards)
    assert [e.name for e in read_examples(tmp_path / "d", "train")] == [f"n{k}" for k in range(100)]


def test_rejects_and_duplicate_names_are_listed(tmp_path):
    with write_dataset(tmp_path / "d") as writer:
        writer.reject(Rejected("x, y.png", 'said "no"'))
        writer.add(example(1))
        writer.add(example(1))
        writer.add(example(1, split="valid"))
        info = writer.finish(**INFO)
    assert info.rejected == 2 and info.examples("train") == 1 and info.examples("valid") == 1
    rows = (tmp_path / "d/rejects.csv").read_text().splitlines()
    assert rows[:2] == ["file,reason", '"x, y.png","said ""no"""'] and rows[2].startswith("n1,duplicate name")


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), write_dataset(tmp_path / "d") as writer:
        writer.add(example(1))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_empty_dataset_is_an_error_that_says_why(tmp_path):
    message = r"no picture is left.*\n  2 x too dark\n  1 x broken"
    with pytest.raises(InputError, match=message), write_dataset(tmp_path / "d") as writer:
        for reason in ("too dark", "broken", "too dark"):
            writer.reject(Rejected("f", reason))
        writer.finish(**INFO)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_dataset_is_kept_unless_it_is_to_be_replaced(tmp_path):
    write(tmp_path / "d", [example(1)])
    before = contents(tmp_path / "d")
    with pytest.raises(InputError, match="exists; name another --output or give --overwrite"):
        write(tmp_path / "d", [example(2)])
    with pytest.raises(InputError, match="no picture is left"):
        write(tmp_path / "d", [], overwrite=True)
    assert contents(tmp_path / "d") == before
    write(tmp_path / "d", [example(2)], overwrite=True)
    assert [e.name for e in read_examples(tmp_path / "d", "train")] == ["n2"]
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_the_old_dataset_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, error):
    write(tmp_path / "d", [example(1)])
    before = contents(tmp_path / "d")

    def fail(*_):
        raise error

    monkeypatch.setattr("vunet_tf.data.dataset.os.replace", fail)
    with pytest.raises((KeyboardInterrupt, InputError)):
        write(tmp_path / "d", [example(2)], overwrite=True)
    assert contents(tmp_path / "d") == before and [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_dataset_behind_a_symbolic_link_is_replaced_where_it_lies(tmp_path):
    write(tmp_path / "real", [example(1)])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for k in (2, 3):
        write(tmp_path / "link", [example(k)], overwrite=True)
        assert [e.name for e in read_examples(tmp_path / "real", "train")] == [f"n{k}"]
    assert (tmp_path / "link").is_symlink()


def test_names_that_are_no_text_are_kept(tmp_path):
    """A file name on Linux is bytes; Python reads those that are not UTF-8 as surrogates."""
    with write_dataset(tmp_path / "d") as writer:
        writer.add(example(1, name="\udcff.jpg"))
        writer.reject(Rejected("\udcfe.jpg", "broken"))
        writer.finish(**INFO)
    (kept,) = read_examples(tmp_path / "d", "train")
    assert kept.name == "\\udcff.jpg" and "\\udcfe.jpg,broken" in (tmp_path / "d/rejects.csv").read_text()


def test_a_folder_of_other_things_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/dear.jpg").write_bytes(b"1")
    with pytest.raises(InputError, match="is not a dataset of ours"):
        write(tmp_path / "photos", [example(1)], overwrite=True)
    assert (tmp_path / "photos/dear.jpg").exists()


def test_two_runs_do_not_write_the_same_dataset(tmp_path):
    with write_dataset(tmp_path / "d") as writer:
        writer.add(example(1))
        with pytest.raises(InputError, match="is being written by another process"):
            write(tmp_path / "d", [example(2)])
        writer.finish(**INFO)
    assert [e.name for e in read_examples(tmp_path / "d", "train")] == ["n1"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    """A half-written dataset is removed; an old one that was about to be replaced comes back."""
    (tmp_path / ".d.partial").mkdir()
    (tmp_path / ".d.partial/train-00000.tfrecord").write_bytes(b"half")
    write(tmp_path / "d", [example(1)])
    assert sorted(contents(tmp_path / "d")) == ["dataset.json", "rejects.csv", "train-00000.tfrecord"]
    (tmp_path / "d").rename(tmp_path / ".d.replaced")
    with pytest.raises(InputError, match="exists"):
        write(tmp_path / "d", [example(2)])
    assert [e.name for e in read_examples(tmp_path / "d", "train")] == ["n1"]


def test_a_digest_knows_the_dataset_again(tmp_path):
    most = [example(k) for k in range(8)]
    others = {"a": [example(8)], "same": [example(8)], "fewer": [], "one other": [example(8, shape_id="s0")]}
    for name, last in others.items():
        write(tmp_path / name, [*most, *last])
    assert os.path.getsize(tmp_path / "a/train-00000.tfrecord") == os.path.getsize(
        tmp_path / "one other/train-00000.tfrecord"
    )
    found = [digest(tmp_path / name) for name in others]
    assert found[0] == found[1] and len(set(found)) == 3 and len(found[0]) == 12


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot write to .*file.*name another --output"):
        write(tmp_path / "file/d", [example(1)])
    with pytest.raises(InputError, match=r"cannot write to /proc: .*name another --output"):
        write("/proc/d", [example(1)])


def test_damaged_datasets_are_refused(tmp_path):
    directory = tmp_path / "d"
    with pytest.raises(InputError, match=r"is not a dataset: .*make one with `python -m vunet_tf\.prepare"):
        read_info(directory)
    write(directory, [example(k) for k in range(9)])
    with pytest.raises(InputError, match="no split 'test'; it has train"):
        next(read_examples(directory, "test"))
    path, shard = directory / "dataset.json", directory / "train-00000.tfrecord"
    info, records = json.loads(path.read_text()), shard.read_bytes()
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "has format None"),
        (json.dumps(info | {"format": "vunet-dataset-9"}), "has format 'vunet-dataset-9'"),
        (json.dumps(info | {"splits": {"train": [{"file": "x"}]}}), "is damaged"),
        (json.dumps({k: v for k, v in info.items() if k != "image_size"}), "is damaged"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_info(directory)
    path.write_text(json.dumps(info))
    assert read_info(directory).splits["train"] == (Shard("train-00000.tfrecord", 9, len(records)),)
    shard.write_bytes(records[:-3])
    with pytest.raises(InputError, match=f"has {len(records) - 3} bytes instead of {len(records)}"):
        read_info(directory)
    shard.unlink()
    with pytest.raises(InputError, match="is missing"):
        read_info(directory)


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [(5, 9, [0, 1, 2, 3, 4]), (10, 4, [0, 3, 6, 9]), (8, 4, [0, 2, 5, 7]), (7, 1, [0]), (7, 0, []), (0, 3, [])],
)
def test_positions_are_spread_evenly_and_rounded_to_the_nearest(count, limit, expected):
    assert evenly_spread(count, limit).tolist() == expected
