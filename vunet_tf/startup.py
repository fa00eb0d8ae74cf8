"""Starting TensorFlow quietly: a command's own words should not drown in its start-up messages."""

import contextlib
import os
import sys
import tempfile


def start_tensorflow() -> None:
    """Imports TensorFlow; what it tells standard error meanwhile is shown only if it fails.

    Whoever sets TF_CPP_MIN_LOG_LEVEL wants to read it all, and does.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        import tensorflow  # noqa: F401

        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors and warnings only, from here on
    with _held_back():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _held_back():
    """Holds back what is written to file descriptor 2, also by C++, and shows it after an exception."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        shown = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(shown, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
