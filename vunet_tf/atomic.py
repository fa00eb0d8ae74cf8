"""Files that are there whole or not at all, whatever happens to the program."""

import contextlib
import os
from pathlib import Path


def write(path: Path, write_to) -> None:
    """Calls `write_to(temporary path beside path)`, then renames: a reader sees the old file or the new one.

    The temporary path ends like `path`, and begins with a dot.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write_to(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, on file systems that know of it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
