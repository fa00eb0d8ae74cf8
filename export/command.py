"""How every command of this package ends: an error of the user's is one line and exit status 1."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from vunet_tf.errors import InputError


def run(work: Callable[[], object], if_stopped: str) -> None:
    """Parses the flags and runs a command; `if_stopped` says what Ctrl-C leaves behind."""

    def main(argv):
        if len(argv) > 1:
            sys.exit(f"error: unexpected argument {argv[1]!r}; everything is given by flags, see --help")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file it writes
        try:
            work()
        except InputError as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit(f"stopped; {if_stopped}")

    app.run(main)
