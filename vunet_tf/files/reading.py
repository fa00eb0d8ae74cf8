"""Reads files from outside, whole and only up to a limit."""

import os
import stat
from pathlib import Path

MOST_BYTES = 2**31  # in one file. The largest known one, COCO's annotations, has a ninth of this


def read_bytes(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """The content of a file. A pipe or a device is refused: reading it would wait, or never end.

    Args:
        path: path of the file.
        most: largest number of bytes that it may have.

    Raises:
        OSError: it cannot be read, is no regular file, or has more bytes. `strerror` says which.
    """
    try:
        status = os.stat(path)
    except ValueError as error:  # a NUL in the name, or a surrogate that stands for no byte
        raise OSError(None, "no file can have this name") from error
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # for a folder, `open` says what it is
        raise OSError(None, "it is no regular file")
    if status.st_size > most:
        raise OSError(None, f"it has {status.st_size:,} bytes, the limit is {most:,}")
    with open(path, "rb") as file:
        return file.read()
