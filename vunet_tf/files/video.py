"""Videos, frame by frame (PyAV)."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import MAX_PIXELS

# Formats in which a video is one file. FFmpeg would also read lists of other files and addresses, under any file name.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,gif"
SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")


def is_video(path: Path | str) -> bool:
    """Whether a name ends like a video's."""
    return Path(path).suffix.lower() in SUFFIXES


def frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video, [H, W, 3] uint8, upright as a player shows them.

    Raises:
        InputError: it cannot be read, has no picture, or has pictures larger than `MAX_PIXELS`. If it is damaged
            halfway, the frames before that are given first.
    """
    with _opened(path) as container:
        container.streams.video[0].codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        try:
            for frame in container.decode(video=0):
                yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        except (av.FFmpegError, ValueError, MemoryError) as error:
            raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def length(path: Path) -> int:
    """About how many frames a video has, or 0 if it does not say. Raises InputError as `frames` does."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        return stream.frames or int((container.duration or 0) / av.time_base * (stream.average_rate or 0))


def rate(path: Path) -> float:
    """Frames per second. Raises InputError as `frames` does."""
    with _opened(path) as container:
        return float(container.streams.video[0].average_rate or 25)


def _opened(path: Path):
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(None, "it is no regular file")
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as a video: {told}") from error
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise InputError(f"{path} has no picture that can be decoded")
    return container
