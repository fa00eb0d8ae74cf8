"""The curves and pictures of a run: `metrics.csv`, TensorBoard's events, and grids of pictures as PNG."""

import contextlib
import csv
import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from vunet_tf.files import atomic

METRICS = "metrics.csv"
TENSORBOARD = "tensorboard"
PICTURES = "pictures"


def _metadata(plugin, data_class):
    """Tells TensorBoard what a tensor is. (`tf.summary.scalar` would need the package tensorboard.)"""
    data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin)
    return tf.compat.v1.SummaryMetadata(plugin_data=data, data_class=data_class)


_SCALAR, _IMAGE = _metadata("scalars", 1), _metadata("images", 3)  # DATA_CLASS_SCALAR, DATA_CLASS_BLOB_SEQUENCE


@contextlib.contextmanager
def _as_os_errors():
    """In the block, if TensorFlow cannot write, an OSError is raised. Its own error may look like a lack of memory."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(None, error.message) from error


class Journal:
    """The curves and pictures of one run.

        RUN/metrics.csv             one row for each split and logged step. A column that a split does not have is empty
        RUN/tensorboard/            the same numbers as "split/name", and the pictures
        RUN/pictures/NAME_STEP.png  the pictures

    Args:
        run_dir: the run.
        step: step from which the run goes on. Rows of later steps, which a killed run left, are removed.
    """

    def __init__(self, run_dir: Path | str, step: int = 0):
        self.run_dir = Path(run_dir)
        self._path = self.run_dir / METRICS
        self._columns, rows = self._read()
        if rows:
            self._write([row for row in rows if int(row["step"]) <= step])
        with _as_os_errors():
            self._events = tf.summary.create_file_writer(str(self.run_dir / TENSORBOARD))

    def _read(self):
        if not self._path.exists():
            return [], []
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            # A killed run may leave half a line at the end.
            rows = [row for row in reader if None not in row and None not in row.values() and row["step"].isdigit()]
            return list(reader.fieldnames or []), rows

    def _write(self, rows):
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic.write_text(self._path, text.getvalue())

    def scalars(self, split: str, step: int, values: dict[str, float]) -> None:
        """Adds a row of numbers."""
        row = {"step": step, "split": split, **{name: f"{value:.6g}" for name, value in values.items()}}
        if new := [name for name in row if name not in self._columns]:
            rows = self._read()[1]
            self._columns += new
            self._write(rows)
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
        tensors = {f"{split}/{name}": tf.constant(value, tf.float32) for name, value in values.items()}
        self._tell_tensorboard(step, tensors, _SCALAR)

    def picture(self, name: str, step: int, picture: np.ndarray) -> None:
        """Keeps a [H, W, 3] uint8 picture."""
        folder = self.run_dir / PICTURES
        folder.mkdir(exist_ok=True)
        atomic.write(folder / f"{name}_{step:08d}.png", Image.fromarray(picture).save)
        height, width, _ = picture.shape
        self._tell_tensorboard(step, {name: tf.stack([str(width), str(height), tf.io.encode_png(picture)])}, _IMAGE)

    def _tell_tensorboard(self, step, values, metadata):
        with _as_os_errors(), self._events.as_default(step):
            for name, value in values.items():
                tf.summary.write(name, value, metadata=metadata)
            self._events.flush()
