"""The clients' part in keeping one wrong request from costing other requests their answers.

A server with batching refuses a whole batch if one request in it is wrong. So a client checks its request before it
sends it, in the same way as the graph. If a request is right and is refused nevertheless, it was in a batch with a
wrong request of another client. Then the client asks again, and the request comes into a batch with others.
"""

import io
import random
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image

from vunet_tf.body.skeleton import JOINTS
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

MAX_SIDE = 8192  # pixels of a side of a picture that is sent
MAX_PIXELS = 2**24  # pixels of a picture that is sent as a file: 64 MiB when decoded
FAR = 8  # larger coordinates of a joint are no fractions: a person would be far outside of the picture
TRIES = 4  # how often a request that seems to be right is sent
_PAUSE = 0.02  # the longest pause before the second try in seconds; it doubles before each further try
_Answer = TypeVar("_Answer")


class Refused(InputError):
    """The server refused a request, or the batch that it was in."""


def check(picture: bytes, shape: tuple[str, np.ndarray], target: tuple[str, np.ndarray]) -> None:
    """Raises InputError, with the words of the graph, if the graph would refuse this transfer.

    The server checks what only the model knows, such as the number of channels of its shape maps.

    Args:
        picture: a PNG or JPEG file.
        shape, target: (name of the input, its value), see `shapes.read_shape`.
    """
    if not picture.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        raise InputError("image_bytes must be PNG or JPEG files")
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise InputError(
                    f"image_bytes must have 1 to {MAX_SIDE} pixels a side, {MAX_PIXELS} at most in all; height, width: "
                    f"{height}, {width}"
                )
            image.load()
    except InputError:
        raise
    except Exception as error:  # decoders raise anything on broken files
        raise InputError(f"image_bytes must be whole PNG or JPEG files, one is cut or damaged ({error})") from error
    for prefix, (name, value) in (("", shape), ("target_", target)):
        _check_shape(prefix + name, np.asarray(value))


def upright(picture: bytes) -> bytes:
    """A PNG or JPEG file that shows the same without an EXIF rotation, since the graph does not apply one.

    Joints are those of the upright picture. A file without a rotation is given back as it is. The other files are
    written again as they came, a JPEG with `pictures.JPEG_QUALITY`. Use it after `check`.
    """
    with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as image:
        kind, rotated = str(image.format).lower(), image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return pictures.encode(pictures.read_picture(picture), kind) if rotated else picture


def _check_shape(name, value):
    if name.endswith("joints"):
        if value.shape != (len(JOINTS), 2):
            raise InputError(f"{name} must have the shape [{len(JOINTS)}, 2], it has: {list(value.shape)}")
        if not ((value >= 0) & (value <= 1)).all(axis=-1).any():
            raise InputError(
                f"{name} must have a joint inside the picture: they are fractions of its width and height, not pixels"
            )
        if (value > FAR).any():
            raise InputError(f"{name} must be fractions of the picture, not pixels: no number is above {FAR}")
    elif value.ndim != 3 or not all(1 <= side <= MAX_SIDE for side in value.shape[:2]):
        raise InputError(f"{name} must be a picture of 1 to {MAX_SIDE} pixels a side, it has: {list(value.shape)}")


def until_answered(ask: Callable[[], _Answer], tries: int = TRIES) -> _Answer:
    """Calls ask(), and again if it raises `Refused`, up to `tries` times in all. Use it after `check`."""
    for left in reversed(range(tries)):
        try:
            return ask()
        except Refused:
            if not left:
                raise
            time.sleep(random.uniform(0, _PAUSE * 2 ** (tries - 1 - left)))  # so the next batch has other requests
    raise ValueError("tries must be 1 or more")
