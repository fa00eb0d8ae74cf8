"""Trained models that come with the package. Each is a folder that is used like a run, by its name.

    PRESET/preset.json     {"description", "parameters", "sha256" of the weights, "licence"}
    PRESET/README.md       the model card: data, measures, limits, licence
    PRESET/config.json     as in a run
    PRESET/flags.txt       the flags of the training, without folders
    PRESET/weights.npz     the weights in a small form, see `pack`
    PRESET/examples/       a dataset: some examples of the split valid, to begin with

`python -m export.preset` makes a preset from a run.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vunet_tf.files import arrays
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes
from vunet_tf.files.words import DOCUMENT_ERRORS, shortened

INFO, CARD, WEIGHTS, EXAMPLES = "preset.json", "README.md", "weights.npz", "examples"
_HERE = Path(__file__).parent
_MOST_INFO_BYTES = 2**20
_LARGE = 20_000  # numbers: weights with at least so many are stored in int8, smaller ones in float16


def presets() -> dict[str, dict]:
    """{name: content of its preset.json} for every preset that comes with the package."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(_HERE.glob(f"*/{INFO}"))}


def licence(folder: Path) -> str | None:
    """The licence of a preset's weights. None if the folder is that of a run, whose data may have any licence.

    Raises:
        InputError: preset.json is damaged.
    """
    return str(_info(folder, "licence")) if (folder / INFO).is_file() else None


def _info(folder, key):
    """One value of preset.json."""
    try:
        return json.loads(read_bytes(folder / INFO, _MOST_INFO_BYTES))[key]
    except (OSError, *DOCUMENT_ERRORS) as error:
        raise _damaged(folder, error) from error


def _damaged(folder, error):
    return InputError(f"the preset {folder} is damaged: {shortened(repr(error))}; install the package again")


def folder_of(run_dir: Path | str, flag: str = "--run_dir") -> Path:
    """The folder that a flag names: a folder of that path, or else the preset of that name.

    Raises:
        InputError: there is neither.
    """
    path = Path(run_dir)
    if path.is_dir():
        return path
    if str(run_dir) in presets():
        return _HERE / str(run_dir)
    raise InputError(
        f"{flag}={run_dir} is no run: there is no such folder, and the presets are {', '.join(presets()) or 'none'}"
    )


def pack(weights: Sequence[np.ndarray]) -> bytes:
    """Weights as a small NPZ file.

    Large weights are stored in int8: weight = integer * scale. Each slice of the last axis (an output channel) has its
    own scale in float32. The others are stored in float16.
    """
    packed: dict[str, Any] = {}
    for i, weight in enumerate(weights):
        if weight.size < _LARGE:
            packed[f"{i}"] = weight.astype(np.float16)
            continue
        scale = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / 127
        packed[f"{i}_scale"] = scale = np.where(scale > 0, scale, 1).astype(np.float32)
        packed[f"{i}"] = np.rint(weight / scale).astype(np.int8)
    content = io.BytesIO()
    np.savez_compressed(content, **packed)
    return content.getvalue()


def unpack(content: bytes) -> list[np.ndarray]:
    """The weights of a file that `pack` made, float32, in the order in which they were packed.

    It may raise any exception if it is not such a file.
    """
    arrays.check_archive(io.BytesIO(content), packed=True)
    with np.load(io.BytesIO(content)) as file:
        count = sum(not name.endswith("_scale") for name in file)
        return [file[f"{i}"] * file.get(f"{i}_scale", np.float32(1)) for i in range(count)]


def read_weights(folder: Path) -> list[np.ndarray]:
    """The weights of a preset, see `unpack`.

    Raises:
        InputError: the file is missing or does not have the hash in preset.json.
    """
    path = folder / WEIGHTS
    try:
        content = read_bytes(path)
    except OSError as error:
        raise _damaged(folder, error) from error
    wanted = _info(folder, "sha256")
    if hashlib.sha256(content).hexdigest() != wanted:
        raise InputError(f"{path} is damaged: its hash is not that of {INFO}; install the package again")
    try:
        return unpack(content)
    except Exception as error:  # NumPy and zipfile raise anything on damaged files
        raise InputError(f"{path} holds no weights: {shortened(str(error))}; install the package again") from error
