"""Two ways to start a command: as a user does, and forked from a process that has imported TensorFlow already.

The import takes most of the time of a short command, and writes nothing. If the command is forked, a kill hits its own
work.
"""

import atexit
import importlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

_IMPORTED = (
    *("export.saved_model.versions", "export.tflite.files", "export.verify.measurements", "export.web.site"),
    *("vunet_tf.data.preparation", "vunet_tf.training.loop", "vunet_tf.training.transfer_matrix"),
    *("vunet_tf.evaluation.evaluation", "vunet_tf.evaluation.page", "vunet_tf.evaluation.plots"),
)
_LOOK = 0.01  # seconds between two looks at a process


def preload() -> None:
    """Imports what the commands import, but starts no threads: `fork` must not copy the lock of another thread."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as `start_tensorflow` does before it
    for name in _IMPORTED:
        importlib.import_module(name)
    from tensorflow.python.eager import context

    if len(os.listdir("/proc/self/task")) > 1 or (context._context and context._context._context_handle):
        raise RuntimeError("an import has started threads or TensorFlow's runtime: a copy of this process may hang")


class Forked:
    """A command in a copy of this process, in a session of its own; with the interface of `subprocess.Popen`.

    Args:
        arguments: the arguments of Python: "-m", the module, and its arguments.
        log: the file for its output.
    """

    def __init__(self, arguments: Sequence[str], log: Path):
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode, self.pid = None, os.fork()
        if self.pid == 0:
            _run(arguments, log)

    def poll(self) -> int | None:
        """The status with which it ended, or minus the signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        """Waits for its end and returns what `poll` does. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked command", timeout)
            time.sleep(_LOOK)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)


def started(arguments: Sequence[str], log: Path) -> subprocess.Popen:
    """A command as a user starts it, in a session of its own."""
    with log.open("w") as file:
        return subprocess.Popen([sys.executable, *arguments], stdout=file, stderr=file, start_new_session=True)


def _run(arguments, log):
    """In the copy: does what `python -m MODULE ...` does, and ends the process."""
    status = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.setsid()
        for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            signal.signal(number, handler)
        _, module, *sys.argv[1:] = arguments
        sys.argv[0] = module
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
            if end.code is not None and not isinstance(end.code, int):
                print(end.code, file=sys.stderr)
        except Exception:
            traceback.print_exc()
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
