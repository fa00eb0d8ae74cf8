"""How every command starts and ends: flags, exit status, processes, and TensorFlow without its start-up messages."""

import contextlib
import difflib
import errno
import io
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes

if TYPE_CHECKING:
    from absl import flags

_FLAGFILE = re.compile(r"--?flagfile(?:[= ](.*))?$", re.DOTALL)
_MOST_FLAGFILE_BYTES, _MOST_NESTED = 2**20, 20
_LONGEST_FLAG = 100  # letters
_AGAIN_SECONDS = 5.0  # a second SIGTERM within this time is the same wish: `timeout` and Slurm send several
_OF_EXPORT = ("ai_edge_quantizer", "grpc", "tensorflow_serving")  # packages of setup.py's extra `export`


def run(
    work: Callable[..., object] | dict[str, Callable[[], object]], if_stopped: str = "", takes_arguments: bool = False
) -> None:
    """Parses the flags, runs a command and ends the process: the last line of every command's module.

    The exit status is 0. After an error that the user can mend (InputError) it is 1, and the error is one line. After
    Ctrl-C it is 130 and after SIGTERM 143, also if a command saves its work first. Both signals raise
    KeyboardInterrupt, so that what was begun is removed, and are reported in one line.

    Args:
        work: the command, or several commands by name. Then the first argument names the one to run.
        if_stopped: for the message after these signals: what is left behind.
        takes_arguments: whether `work` is called with the list of arguments that are not flags.
    """
    from absl import app, flags, logging  # only a command needs them

    def main(argv):
        arguments = argv[1:]
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # otherwise TensorFlow reports every file it writes
        try:
            if isinstance(work, dict):
                if not arguments or arguments[0] not in work:
                    nearest = difflib.get_close_matches(arguments[0], work, 1) if arguments else []
                    asked = f"{arguments[0]!r} is nothing to do; " if arguments else ""
                    meant = f" (did you mean {nearest[0]}?)" if nearest else ""
                    raise InputError(f"{asked}name what to do, one of {', '.join(work)}{meant}; --help explains")
                command: Callable[..., object] = work[arguments.pop(0)]
            else:
                command = work
            if arguments and not takes_arguments:
                raise InputError(f"unexpected argument {arguments[0]!r}; everything else is given by flags")
            command(arguments) if takes_arguments else command()
        except InputError as error:
            sys.exit(printable(f"error: {error}"))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # it can come from any flag
                raise
            sys.exit(printable(f"error: {error.strerror}: {error.filename}"))
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in _OF_EXPORT:
                raise
            sys.exit(f"error: the package {package} is missing: pip install 'vunet-tf[export]'")
        except KeyboardInterrupt as stop:
            print("; ".join(filter(None, ["stopped", if_stopped])), file=sys.stderr)
            sys.exit(128 + (signal.SIGTERM if isinstance(stop, _Terminated) else signal.SIGINT))

    for stream in (sys.stdout, sys.stderr):  # a file name need not be valid text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminator())
    app.run(main, flags_parser=_parsed)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def _terminator():
    """A handler of SIGTERM that raises `_Terminated`."""
    last = -_AGAIN_SECONDS

    def stop(number, frame):
        nonlocal last
        if (now := time.monotonic()) >= last + _AGAIN_SECONDS:  # otherwise it would interrupt the tidying up
            last = now
            raise _Terminated

    return stop


def printable(text: str) -> str:
    """A text that is safe to print: names of files can hold codes that move the cursor or change the colours."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text
    )


def _parsed(argv: list[str]) -> list[str]:
    """The arguments that are not flags. --help ends the process with status 0; absl alone would give 1."""
    from absl import flags

    try:
        return parse_flags(flags.FLAGS, argv)
    except flags.Error as error:
        sys.exit(printable(f"error: {error}; --help explains"))
    except SystemExit:  # the help was shown
        sys.exit(0)


def parse_flags(into: "flags.FlagValues", argv: list[str]) -> list[str]:
    """Parses arguments and the flagfiles that they name. Returns the arguments that are not flags.

    Args:
        into: the `absl.flags.FlagValues`.
        argv: the command's name, then its arguments.

    Raises:
        absl.flags.Error: an unknown flag, a wrong value, or a flagfile that is not a text file.
    """
    from absl import flags

    for argument, following in zip(argv[1:], [*argv[2:], ""], strict=False):
        if argument == "--":
            break
        if match := _FLAGFILE.match(argument):
            _check_flagfile(match[1] or following, ())
    arguments = into.read_flags_from_files(argv[1:], force_gnu=False)
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("-") and len(name) > _LONGEST_FLAG:  # absl would search for similar names for minutes
            raise flags.Error(f"Unknown command line flag {name[:_LONGEST_FLAG]!r}...")
    return into([argv[0], *arguments])


def _check_flagfile(name: str, within: tuple[str, ...]) -> None:
    """Raises absl.flags.Error unless a flagfile, and every flagfile that it names, is a text file."""
    from absl import flags

    if not name.strip() or name in within:  # as absl
        return
    try:
        lines = read_bytes(os.path.expanduser(name.strip()), _MOST_FLAGFILE_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or "it is not text"
        if within:
            told += f" ({within[-1]} names it); paths in flagfiles count from the folder where you give the command"
        raise flags.Error(f"the flagfile {name[:1000]} cannot be read: {told}") from error
    if len(within) >= _MOST_NESTED:
        raise flags.Error(f"flagfiles are nested more than {_MOST_NESTED} deep")
    for line in lines:
        if match := _FLAGFILE.match(line.strip()):
            _check_flagfile(match[1] or "", (*within, name))


def interrupt_quietly() -> None:
    """Until `run` is called, Ctrl-C ends the process (status 130) without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # if Ctrl-C is ignored, it stays ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def in_own_process(function: Callable, *arguments: object) -> Any:
    """Runs function(*arguments) in a new process, which has its own memory, threads and loaded libraries."""
    import multiprocessing  # imported here, since few commands need these two
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=end_with_parent) as process:
        with signals_for_parent():
            future = process.submit(function, *arguments)
        with helpers_end_if_stopped():
            return future.result()


@contextlib.contextmanager
def signals_for_parent() -> Iterator[None]:
    """Processes that are started in the block never see Ctrl-C and SIGTERM, which often reach the whole group.

    This process sees them after the block, and decides what becomes of its helpers.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # the started processes inherit it
    came: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # it gets signals that come to other threads, too
        handlers = {number: found for number in numbers if callable(found := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number in came[:1]:
            signal.raise_signal(number)


@contextlib.contextmanager
def helpers_end_if_stopped() -> Iterator[None]:
    """Kills all helper processes if Ctrl-C or SIGTERM ends the block, which would otherwise wait for their results."""
    import multiprocessing

    try:
        yield
    except KeyboardInterrupt:
        for helper in multiprocessing.active_children():
            helper.kill()
        raise


def end_with_parent() -> None:
    """Makes this process end when the process that started it ends, even if that one is killed."""
    import multiprocessing

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def start_tensorflow() -> None:
    """Imports TensorFlow. Its messages on standard error are shown only if the import fails.

    If the user sets TF_CPP_MIN_LOG_LEVEL, all messages are shown.

    oneDNN's convolutions are switched on. TensorFlow leaves them off on CPUs without AVX-512, where a training step
    took 1.6 times as long without them. The remapper of the graph optimiser is switched off: it fails on residual
    blocks, reports this as an error, and leaves them unchanged.

    Keras imports scikit-learn and matplotlib if they are installed, for wrappers that nothing here uses. This takes a
    quarter of TensorFlow's start-up, so they are hidden during the import.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    told = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors and warnings only, from here on
    with contextlib.nullcontext() if told else held_back():
        with _hidden("sklearn", "matplotlib"):
            import tensorflow as tf

        tf.config.list_physical_devices()
    tf.config.optimizer.set_experimental_options({"remapping": False})


@contextlib.contextmanager
def _hidden(*packages):
    """In the block, importing these packages fails as if they were not installed. Imported ones stay."""
    hidden = [name for name in packages if sys.modules.setdefault(name, None) is None]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Holds back what Python and C++ write to file descriptor 2. It is shown only after an exception."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        shown = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(shown, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
