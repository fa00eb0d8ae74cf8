"""The only list of all models by name, and the only place that builds a model."""

import importlib
from typing import TYPE_CHECKING

from vunet_tf.config import ModelConfig

if TYPE_CHECKING:
    from vunet_tf.models.generative import GenerativeModel

# {value of --model: (module, class)}. A module is imported when its model is needed.
MODELS = {
    "vunet": ("vunet_tf.models.vunet", "VUNet"),
    "ae": ("vunet_tf.models.bottleneck", "Autoencoder"),
    "vae": ("vunet_tf.models.bottleneck", "VAE"),
    "vae_joint": ("vunet_tf.models.bottleneck", "JointVAE"),
    "cvae": ("vunet_tf.models.bottleneck", "CVAE"),
    "realnvp": ("vunet_tf.models.realnvp", "RealNVP"),
    "bigan": ("vunet_tf.models.bigan", "BiGAN"),
}


def class_of(name: str) -> "type[GenerativeModel]":
    """The class of a model, a `GenerativeModel`, by the value of --model."""
    module, class_name = MODELS[name]
    return getattr(importlib.import_module(module), class_name)


def class_names() -> dict[str, str]:
    """{name of a class: value of --model}: a run's config.json names the class."""
    return {class_name: name for name, (_, class_name) in MODELS.items()}


def build(config: ModelConfig) -> "GenerativeModel":
    """A new model of these settings."""
    return class_of(config.model)(config)  # type: ignore[call-arg, arg-type]  # only the base takes inputs
