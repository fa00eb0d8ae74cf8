"""What a client sends as a shape: joints from a JSON file, or a shape map from a picture."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vunet_tf.files.errors import InputError


def read_shape(path) -> tuple[str, np.ndarray]:
    """The name of the input and its value for one example.

    A JSON file holds 15 pairs [x, y], fractions of the picture in the order of `assets.extra/vunet.json`, null or [-1,
    -1] for an unseen joint: ("joints", float32 [15, 2]). A picture is a shape map: ("shape", uint8 [H, W, 1 or 3]).

    Raises:
        InputError: the file cannot be read, or holds neither.
    """
    path = Path(path)
    try:
        if path.suffix.lower() != ".json":
            with Image.open(path) as picture:
                picture = picture if picture.mode == "L" else picture.convert("RGB")
                pixels = np.asarray(picture)
            return "shape", pixels.reshape(*pixels.shape[:2], -1)
        joints = np.array([pair or (-1, -1) for pair in json.loads(path.read_text())], np.float32)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} holds no list of joints: {error}") from error
    if joints.shape != (15, 2):
        raise InputError(f"{path} must hold 15 pairs [x, y], it has the shape {list(joints.shape)}")
    return "joints", np.where(np.isfinite(joints), joints, np.float32(-1))  # JSON has no NaN


def read_bytes(path) -> bytes:
    """A file's bytes. Raises InputError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def write_bytes(path, content: bytes) -> None:
    """Writes a file. Raises InputError if it cannot."""
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name another --out") from error
