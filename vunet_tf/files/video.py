"""Videos, frame by frame (PyAV)."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from vunet_tf.files.errors import InputError

SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")


def is_video(path: Path | str) -> bool:
    """Whether a name ends like a video's."""
    return Path(path).suffix.lower() in SUFFIXES


def frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video, [H, W, 3] uint8, upright as a player shows them.

    Raises:
        InputError: it cannot be read, or has no picture; where it is damaged halfway, after the frames before.
    """
    with _opened(path) as container:
        try:
            for frame in container.decode(video=0):
                yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        except av.FFmpegError as error:
            raise InputError(f"{path}: {error.strerror}") from error


def length(path: Path) -> int:
    """About how many frames a video has; 0 where it does not say. Raises InputError as `frames`."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        return stream.frames or int((container.duration or 0) / av.time_base * (stream.average_rate or 0))


def rate(path: Path) -> float:
    """Frames a second. Raises InputError as `frames`."""
    with _opened(path) as container:
        return float(container.streams.video[0].average_rate or 25)


def _opened(path: Path):
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{path} cannot be read as a video: {error.strerror}") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{path} has no picture, only sound")
    return container
