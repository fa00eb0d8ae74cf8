"""Files that are there whole or not at all, whatever happens to the program; and one writer at a time."""

import contextlib
import csv
import fcntl
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vunet_tf.files.errors import InputError


def write(path: Path, write_to: Callable[[Path], object]) -> None:
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


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a file, whole or not at all."""
    write(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8, whole or not at all."""
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: Path, rows: Iterable[Sequence]) -> None:
    """Writes a CSV file, whole or not at all; a file name that is no text is written with backslashes."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_bytes(path, text.getvalue().encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def writing(path: Path | str, flag: str = "--out") -> Iterator[None]:
    """Inside, `path` is written, its folder made if need be.

    Raises:
        InputError: it cannot be written; the message names the path, the reason and the flag that names another one.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; name another {flag}") from error


def check_writable(path: Path | str, flag: str = "--out") -> None:
    """Raises InputError, as `writing` does, unless a file can be made at `path`: better known before the work."""
    path = Path(path)
    with writing(path, flag):
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        probe = path.with_name(f".{os.getpid()}.probe")
        try:
            probe.touch()
        finally:
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, beside `path`, that is renamed to `path` when the block ends well.

    Until then its name begins with a dot. Raises FileExistsError if `path` is there by then.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for name in files:
                with open(os.path.join(folder, name), "rb") as written:
                    os.fsync(written.fileno())
            _sync_folder(Path(folder))
        if path.exists():  # an empty folder would be replaced
            raise FileExistsError(f"{path} exists")
        os.rename(temporary, path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, on file systems that know of it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, what: Path, flag: str) -> Iterator[None]:
    """Holds the lock file `path`, made with its folder, as long as the block lasts; a killed process holds it no more.

    Args:
        path: of the lock file, which is removed at the end.
        what: folder or file that the lock is for, and
        flag: the flag that names it, both for the message.

    Raises:
        InputError: another process holds it, or it cannot be made.
    """
    busy = InputError(f"{what} is being written by another process; wait for it or name another {flag}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror}; name another {flag}") from error
    if not _is_open(lock, path):  # removed by another, and perhaps made by a third
        raise busy
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_open(file, path: Path) -> bool:
    """Whether an open file is the one that has the name `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
