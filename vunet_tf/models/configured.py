"""What the functional models of the package share: they can be rebuilt from their `ModelConfig`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from vunet_tf.config import ModelConfig


class ConfiguredModel(keras.Model):
    """A functional model that only its `ModelConfig` decides. It is kept in `self.config`."""

    def get_config(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self.config), "name": self.name}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> "ConfiguredModel":
        """The model of `get_config()`. Raises InputError for settings that a `ModelConfig` does not have."""
        config = dict(config)
        name = config.pop("name", None)
        return cls(ModelConfig.from_dict(config), **({"name": name} if name else {}))


def block_settings(config: ModelConfig) -> dict[str, Any]:
    """The settings of `config` that every residual block takes."""
    return {"activation": config.activation, "dropout": config.dropout, "weight_norm": config.weight_norm}
