"""Kills writers before each of their steps: a process kills itself at the first step, another at the second, and so on.

  python -m tests.faults.steps FOLDER

A step is an event of files that Python reports to its audit hooks: a file is opened, renamed or removed, or a folder is
made or listed. TensorFlow is not imported, so a thousand processes take a second. After each kill the old content or
the new one must be there. The same writer, called again, must leave the new content and nothing else.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from vunet_tf.files import atomic
from vunet_tf.training import checkpoints

_STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "shutil.rmtree", "fcntl.flock")


def _file(folder, content):
    atomic.write_text(folder / "file", content)


def _folder(folder, content):
    """Like a version of a SavedModel: a folder with a new name, and two files."""
    if not (folder / content).exists():
        with atomic.new_folder(folder / content) as new:
            (new / "a").write_text(content)
            (new / "b").mkdir()
            (new / "b/c").write_text(content)


def _checkpoint(folder, content):
    checkpoints.save(folder, len(content), {"a": np.full(1000, len(content))}, keep=2)


def _found(folder):
    """{name: content} of all files that are not hidden."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if "/." not in f"/{name}"}


def _in_copy(work, at=None) -> int:
    """Runs work() in a copy of this process, which kills itself at step `at`. Returns minus the signal, or 0."""
    pid = os.fork()
    if pid == 0:
        count = itertools.count()

        def hook(event, arguments):
            if event in _STEPS and next(count) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            if at is not None:
                sys.addaudithook(hook)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at_each_step(writer, folder: Path) -> int:
    """Kills a writer before each of its steps, and returns their number.

    Raises:
        AssertionError: after a kill there was neither the old nor the new content, or the end is not the new content.
    """
    contents = []
    for content in ("old", "newer"):
        assert _in_copy(lambda content=content: writer(folder, content)) == 0
        contents.append(_found(folder))
    old, new = contents
    for step in itertools.count():
        shutil.rmtree(folder)
        folder.mkdir()
        assert _in_copy(lambda: writer(folder, "old")) == 0
        status = _in_copy(lambda: writer(folder, "newer"), step)
        assert status in (0, -signal.SIGKILL), status
        left = _found(folder)
        # Of checkpoints the old ones go after the new one is there; a folder is whole or not there.
        assert left in (old, new) or (writer is _checkpoint and left == {**old, **new}), (step, sorted(left))
        assert _in_copy(lambda: writer(folder, "newer")) == 0
        assert _found(folder) == new, step
        hidden = [str(path) for path in folder.rglob(".*")]
        assert not hidden, (step, hidden)
        if status == 0:
            return step


def main(folder: Path) -> None:
    """Prints the number of steps of each writer."""
    for writer in (_file, _folder, _checkpoint):
        own = folder / writer.__name__
        own.mkdir(parents=True)
        print(writer.__name__.strip("_"), killed_at_each_step(writer, own))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
