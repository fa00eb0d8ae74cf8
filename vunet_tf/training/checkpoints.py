"""Checkpoints: each is one complete NPZ file with a run's whole state, and a checksum for every array.

RUN/checkpoints/step_00001000.npz
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vunet_tf.files import arrays, atomic
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import shortened

FOLDER = "checkpoints"
_NAME = re.compile(r"step_(\d{8,})\.npz")


def paths(run_dir: Path | str) -> list[Path]:
    """The checkpoints of a run, from the first to the last."""
    found = [path for path in (Path(run_dir) / FOLDER).glob("step_*.npz") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(_NAME.fullmatch(path.name)[1]))


def save(run_dir: Path | str, step: int, state: dict[str, np.ndarray], keep: int) -> Path:
    """Writes the state at a step, then removes all checkpoints except the last `keep`."""
    folder = Path(run_dir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.npz"):  # of a killed run
        leftover.unlink(missing_ok=True)
    path = folder / f"step_{step:08d}.npz"

    def write_to(temporary):
        with temporary.open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]  # to mypy each key could be savez's own argument

    atomic.write(path, write_to)
    for old in paths(run_dir)[:-keep]:
        old.unlink()
    return path


def read(path: Path | str) -> dict[str, np.ndarray]:
    """The state that `save` wrote. Nothing is unpickled.

    Raises:
      InputError: the file is damaged: it is cut short, or a byte has changed.
    """
    try:
        arrays.check_archive(path, packed=False)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # NumPy and zipfile raise anything on damaged files
        raise InputError(f"{path} is damaged: {shortened(str(error))}") from error


def latest(run_dir: Path | str, tell: Callable[[str], object] = print) -> tuple[Path, dict[str, np.ndarray]] | None:
    """The path and the state of the last checkpoint that can be read; None if the run has no checkpoint yet.

    Damaged ones are skipped, and `tell` reports them.

    Raises:
      InputError: if there are checkpoints and all are damaged.
    """
    found = paths(run_dir)
    for path in reversed(found):
        try:
            return path, read(path)
        except InputError as error:
            tell(f"{error}; falling back to the checkpoint before it")
    if found:
        raise InputError(f"every checkpoint in {Path(run_dir) / FOLDER} is damaged; name another --run_dir")
    return None
