"""Curves and pictures of a run, also after it was killed."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from vunet_tf.training.journal import Journal


def rows(run_dir):
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_have_a_row_each_and_columns_come_as_they_are_needed(tmp_path):
    journal = Journal(tmp_path)
    journal.scalars("train", 10, {"loss": 2.5, "rate": 1e-3})
    journal.scalars("valid", 10, {"loss": 3.0, "extra": 1.0})
    journal.scalars("train", 20, {"loss": float("nan"), "rate": 1e-3})
    assert rows(tmp_path) == [
        {"step": "10", "split": "train", "loss": "2.5", "rate": "0.001", "extra": ""},
        {"step": "10", "split": "valid", "loss": "3", "rate": "", "extra": "1"},
        {"step": "20", "split": "train", "loss": "nan", "rate": "0.001", "extra": ""},
    ]


def test_a_resumed_run_forgets_later_rows_and_half_a_line(tmp_path):
    journal = Journal(tmp_path)
    for step in (10, 20, 30):
        journal.scalars("train", step, {"loss": step, "rate": 1.0})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("40,tra")
    Journal(tmp_path, step=20).scalars("train", 30, {"loss": 0.5, "rate": 1.0})
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("10", "10"), ("20", "20"), ("30", "0.5")]


def test_a_full_disk_is_an_error_of_the_system_not_spent_memory(tmp_path, monkeypatch):
    """TensorFlow raises the same error for both."""
    monkeypatch.setattr(tf.summary, "write", lambda *_, **__: tf.io.write_file("/dev/full", "x" * 100_000))
    with pytest.raises(OSError, match="No space left on device"):
        Journal(tmp_path).scalars("train", 3, {"loss": 2.5})


def test_tensorboard_gets_numbers_and_pictures(tmp_path):
    """The records that TensorBoard's scalar and image plugins read."""
    picture = np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8)
    journal = Journal(tmp_path)
    journal.scalars("train", 3, {"loss": 2.5})
    journal.picture("transfer", 3, picture)
    np.testing.assert_array_equal(Image.open(tmp_path / "pictures/transfer_00000003.png"), picture)
    (events,) = (tmp_path / "tensorboard").iterdir()
    found = {}
    for record in tf.data.TFRecordDataset(str(events)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            found[value.metadata.plugin_data.plugin_name, value.tag, event.step] = tf.make_ndarray(value.tensor)
    assert found["scalars", "train/loss", 3] == 2.5
    width, height, png = found["images", "transfer", 3]
    assert (width, height) == (b"9", b"6")
    np.testing.assert_array_equal(tf.io.decode_png(png), picture)
