"""RealNVP over pictures (--model=realnvp): it gives log p(x) itself and not a bound, by an invertible map."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.models import bijectors
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.configured import block_settings
from vunet_tf.models.flows import MultiScaleFlow
from vunet_tf.models.generative import GenerativeModel, symbolic_z
from vunet_tf.models.layers import PACKAGE
from vunet_tf.objective import losses

WITHOUT_SHAPE = "--model=realnvp: its z is the whole picture, so there is no shape to keep or to ask for"


@keras.saving.register_keras_serializable(PACKAGE)
class Dequantisation(keras.layers.Layer):
    """Turns levels of colour into real numbers: v = (level + u) / levels, with u uniform in (0, 1).

    This follows Theis et al. 2016, Sec. 3.1. A density of the levels themselves could grow without bound. With v, the
    mean of log p(v) - D log(levels) over u is at most the log-probability of the levels. u is the normal distribution
    function of the noise, so noise 0 is the middle of the level.

    Args:
        levels: number of levels of a colour value.
        channels: channels of v: 3, or 1 for the mean of the three colours.

    Call: pictures [B, S, S, 3] in [-1, 1], noise [B, S * S * channels] or None for 0 -> v [B, S, S, channels].
    """

    def __init__(self, levels: int, channels: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.levels, self.channels = levels, channels
        self.built = True  # it has no weights to build

    def call(self, picture: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        if self.channels == 1:
            picture = ops.mean(picture, axis=-1, keepdims=True)
        level = ops.round((picture + 1) * (self.levels - 1) / 2)
        if noise is None:
            return (level + 0.5) / self.levels
        u = (1 + ops.erf(ops.reshape(noise, ops.shape(level)) / math.sqrt(2))) / 2
        return (level + u) / self.levels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels, "channels": self.channels}


@keras.saving.register_keras_serializable(PACKAGE)
class Quantisation(Dequantisation):
    """The way back: v [B, S, S, channels] -> pictures [B, S, S, 3], about in [-1, 1], not clipped and not rounded."""

    def call(self, v: tf.Tensor) -> tf.Tensor:  # type: ignore[override]
        picture = (2 * self.levels * v - 1) / (self.levels - 1) - 1
        return ops.repeat(picture, PICTURE_CHANNELS, axis=-1) if self.channels == 1 else picture


@keras.saving.register_keras_serializable(PACKAGE)
class RealNVP(GenerativeModel):
    """RealNVP (Dinh, Sohl-Dickstein, Bengio 2017): z = f(logit(v)). v is the dequantised picture, f a bijection.

        log P(x) >= E_u[log N(z; 0, 1) + log |det dz / dv|] - D log(levels),        D = S S 3 (or S S with --grey)

    z is one vector [B, D] that begins with the finest scale. It has as many numbers as the picture, and f^-1 gives the
    picture back exactly.

    Inputs: {"appearance": pictures [B, S, S, 3], "noise": [noise of the dequantisation, [B, D]]}.

    Returns:
        dict: {"log_prob": the value in the brackets for this u, minus D log(levels), in nats [B], "z": [z]}.
    """

    WIRINGS = ("encode", "generate", "sample")
    own_likelihood = True

    def __init__(self, config: ModelConfig, name: str = "realnvp"):
        # Layers
        self.config = config
        self.appearance_input = AppearanceInput(config)
        channels = 1 if config.grey else PICTURE_CHANNELS
        self.dequantise = Dequantisation(config.levels, channels, name="dequantise")
        self.quantise = Quantisation(config.levels, channels, name="quantise")
        # No dropout: f has to be the same in both directions.
        networks = {**block_settings(config), "dropout": 0.0, "blocks": config.blocks_per_scale}
        shape = (config.image_size, config.image_size, channels)
        sizes = (config.scales, config.couplings, config.width, config.max_width)
        self.flow = MultiScaleFlow(shape, *sizes, networks, unit_interval=True, name="flow")
        self.to_log_prob = LogProb(math.log(config.levels), name="log_prob")

        # Functional model
        inputs = {"appearance": self._symbolic_picture(), "noise": self._symbolic_noise()}
        z, log_det = self.flow(self.dequantise(inputs["appearance"], inputs["noise"][0]))
        super().__init__(inputs, {"log_prob": self.to_log_prob(z, log_det), "z": [z]}, name=name)

    def _symbolic_picture(self):
        size = self.config.image_size
        return keras.Input((size, size, PICTURE_CHANNELS), name="appearance")

    def _symbolic_noise(self):
        return [keras.Input(shape, name=f"noise_{i}") for i, shape in enumerate(self.config.latent_shapes)]

    def refusals(self) -> dict[str, str]:
        """It has no shape, and no small z."""
        return {
            **dict.fromkeys(("transfer", "animate", "parts", "vary"), WITHOUT_SHAPE),
            "manifold": "--model=realnvp: its z has as many numbers as the picture, and two of them change little",
        }

    def _wire(self, use):
        """| use | inputs | output |
        |---|---|---|
        | "encode" | {"appearance": pictures} | {"z"} |
        | "generate" | {"z"} | picture |
        | "sample" | {"noise"} | {"image", "z"}; z is the noise |
        """
        if use == "encode":
            inputs = {"appearance": self._symbolic_picture()}
            outputs = {"z": [self.flow(self.dequantise(inputs["appearance"]))[0]]}
        elif use == "generate":
            inputs = {"z": symbolic_z(self.config)}
            outputs = self._picture(inputs["z"])
        else:
            inputs = {"noise": self._symbolic_noise()}
            outputs = {"image": self._picture(inputs["noise"]), "z": [keras.layers.Identity()(inputs["noise"][0])]}
        return keras.Model(inputs, outputs, name=use)

    def _picture(self, z):
        return self.quantise(self.flow(z[0], inverse=True)[0])

    def terms(
        self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any], reconstruction: losses.ReconstructionLoss
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """The negative log-likelihood in nats per picture, and no KL."""
        return {"nll": -ops.mean(outputs["log_prob"])}, {}

    def bits_per_dimension(self, batch: Mapping[str, tf.Tensor], seed: int | tf.Tensor = 0) -> tf.Tensor:
        """-log2 P(x) / D of each picture of a batch, [B], with one u of the dequantisation, which `seed` decides."""
        found = self(self.training_inputs(batch, seed))["log_prob"]
        return -found / (math.prod(self.config.latent_shapes[0]) * math.log(2))


@keras.saving.register_keras_serializable(PACKAGE)
class LogProb(keras.layers.Layer):
    """log N(z; 0, 1) + log_det - D * offset, in nats: z [B, D], log_det [B] -> [B]."""

    def __init__(self, offset: float, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.offset = offset

    def call(self, z: tf.Tensor, log_det: tf.Tensor) -> tf.Tensor:
        return bijectors.standard_normal_log_prob(z) + log_det - z.shape[-1] * self.offset

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset}
