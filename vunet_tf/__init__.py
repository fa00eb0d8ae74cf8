"""Variational U-Net (Esser, Sutter, Ommer, CVPR 2018): it separates shape and appearance of pictures."""

import importlib
import sys

from vunet_tf.command_line import startup

__version__ = "0.1.0.dev0"

if sys.argv[0] == "-m":  # `python -m vunet_tf...`: a command is about to import what it needs
    startup.interrupt_quietly()

# The public names. Each is imported on first use, so importing the package alone does not start TensorFlow.
_PUBLIC = {
    "Generator": "vunet_tf.generation",
    "ModelConfig": "vunet_tf.config",
    "VUNet": "vunet_tf.models",
    "load": "vunet_tf.runs",
    "presets": "vunet_tf.pretrained",
}


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
