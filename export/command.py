"""How every command of this package ends: an error of the user's is one line and exit status 1."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from vunet_tf.errors import InputError


def run(work: Callable[[], object], if_stopped: str) -> None:
    """Parses the flags and runs a command that takes nothing else; `if_stopped` says what Ctrl-C leaves behind."""

    def without_arguments(arguments):
        if arguments:
            raise InputError(f"unexpected argument {arguments[0]!r}; everything is given by flags, see --help")
        work()

    run_with_arguments(without_arguments, if_stopped)


def run_with_arguments(work: Callable[[list[str]], object], if_stopped: str) -> None:
    """The same for a command that takes arguments besides its flags."""

    def main(argv):
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file it writes
        try:
            work(argv[1:])
        except InputError as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit(f"stopped; {if_stopped}")

    app.run(main)
