"""Variational U-Net (Esser, Sutter, Ommer, CVPR 2018): it separates shape and appearance of pictures."""

import importlib
import sys
from typing import TYPE_CHECKING

from vunet_tf.command_line import startup

if TYPE_CHECKING:  # for editors and type checkers; what follows opens them on first use
    from vunet_tf.config import ModelConfig
    from vunet_tf.generation import Generator
    from vunet_tf.models import VUNet
    from vunet_tf.pretrained import presets
    from vunet_tf.runs import load

__all__ = ["Generator", "ModelConfig", "VUNet", "load", "presets"]

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


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
