"""Writes files completely or not at all, even if the program is killed; and locks, so that only one process writes."""

import contextlib
import csv
import fcntl
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vunet_tf.files.errors import InputError

_UNFINISHED = ".unfinished-"  # the beginning of the name of a file or folder that is being written


def write(path: Path, write_to: Callable[[Path], object]) -> None:
    """Calls `write_to(temporary path beside path)`, then renames. A reader sees either the old file or the new one.

    The name of the temporary path begins with a dot and ends like `path`. Leftovers of killed processes are removed.
    """
    with _unfinished(path, lambda temporary: temporary.touch()) as temporary:
        write_to(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a file, whole or not at all."""
    write(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8, whole or not at all."""
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: Path, rows: Iterable[Sequence]) -> None:
    """Writes a CSV file, whole or not at all. File names that are not valid text are written with backslashes."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_bytes(path, text.getvalue().encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def writing(path: Path | str, flag: str = "--out") -> Iterator[None]:
    """For a block that writes `path`. Its folder is made if it is not there.

    Raises:
        InputError: it cannot be written. The message says the path, the reason, and the flag to name another path.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; name another {flag}") from error


def check_writable(path: Path | str, flag: str = "--out") -> None:
    """Raises InputError, as `writing` does, if no file can be made at `path`. Call it before long work."""
    path = Path(path)
    with writing(path, flag):
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        with _unfinished(path.with_name("probe"), lambda temporary: temporary.touch()):
            pass


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, to be filled in the block. It is renamed to `path` when the block ends without error.

    Until then its name begins with a dot. Raises FileExistsError if `path` is there by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(path, lambda temporary: temporary.mkdir()) as temporary:
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


@contextlib.contextmanager
def _unfinished(path: Path, make) -> Iterator[Path]:
    """A new path beside `path`. `make` makes it as a file or a folder, and it is removed when the block ends.

    In the block this process holds a lock on it, so that other processes see that it is no leftover.
    """
    _remove_leftovers(path.parent)
    while True:
        temporary = path.with_name(f"{_UNFINISHED}{secrets.token_hex(4)}.{path.name}")
        make(temporary)
        try:
            descriptor = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:  # another process took it for a leftover
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if temporary.exists():
                break
        except BlockingIOError:  # another process is about to remove it
            pass
        except OSError:  # a file system without locks, where nothing is taken for a leftover
            break
        os.close(descriptor)
    try:
        yield temporary
    finally:
        os.close(descriptor)
        _remove(temporary)


_without_leftovers: set[Path] = set()  # folders that this process has looked through


def _remove_leftovers(folder: Path) -> None:
    """Removes the leftovers of killed processes from a folder, when this process first writes into it."""
    if folder in _without_leftovers:
        return
    _without_leftovers.add(folder)
    for leftover in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # it is gone, or another process holds it, or there are no locks
            descriptor = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(leftover)
            finally:
                os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes a rename survive a power cut, on file systems that support this."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, what: Path, flag: str) -> Iterator[None]:
    """Holds the lock file `path` during the block; its folder is made. The lock of a killed process is released.

    Args:
        path: path of the lock file, which is removed at the end.
        what: for the message: the folder or file that the lock protects.
        flag: for the message: the flag that names this folder or file.

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
    if not _is_open(lock, path):  # another process removed it, and perhaps a third one made it again
        raise busy
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_open(file, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
