"""BiGAN (--model=bigan): a generator and its inverse, without a reconstruction loss."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.bottleneck import picture_decoder, picture_encoder, without_shape
from vunet_tf.models.discriminator import discriminator
from vunet_tf.models.generative import GenerativeModel, symbolic_inputs, symbolic_z
from vunet_tf.objective import adversarial, losses

SMALLEST_DEVIATION = 1e-6


@keras.saving.register_keras_serializable("vunet_tf")
class BiGAN(GenerativeModel):
    """BiGAN (Donahue, Kraehenbuehl and Darrell 2017; ALI, Dumoulin et al. 2017): G(z), E(x), and z ~ N(0, 1).

        min over G, E; max over D:  E_x[log sigmoid(D(x, E(x)))] + E_z[log(1 - sigmoid(D(G(z), z)))]

    D, the discriminator of pairs, is no part of this model; the training step calls `discriminator` to make it. When
    even the best D cannot tell the two kinds of pairs apart, their distributions are equal, and E is the inverse of G.

    Inputs: {"appearance": picture x, "noise": z}. Returns {"made": G(z), "z": [E(x)], "drawn": z}.

    Wirings: "encode" {"appearance"} -> {"z"}, "generate" {"z"} -> picture, "sample" {"noise"} -> {"image", "z"}.
    """

    WIRINGS = ("encode", "generate", "sample")
    ADVERSARIAL = True

    def __init__(self, config: ModelConfig, name: str = "bigan"):
        # Layers
        self.config = config
        self.appearance_input = AppearanceInput(config)
        self.encoder = picture_encoder(config, PICTURE_CHANNELS, config.code_size, "encoder")
        self.decoder = picture_decoder(config, config.code_size, PICTURE_CHANNELS)

        # Functional model
        symbolic = symbolic_inputs(config)
        inputs = {key: symbolic[key] for key in ("appearance", "noise")}
        outputs = {"made": self.decoder(inputs["noise"][0]), "z": [self.encoder(inputs["appearance"])]}
        super().__init__(inputs, {**outputs, "drawn": keras.layers.Identity()(inputs["noise"][0])}, name=name)

    def refusals(self) -> dict[str, str]:
        return {
            **without_shape("bigan", "a BiGAN"),
            "likelihood": "--model=bigan: a BiGAN is trained by a discriminator and states no p(x | z)",
        }

    def _wire(self, use):
        symbolic = symbolic_inputs(self.config)
        if use == "encode":
            inputs = {"appearance": symbolic["appearance"]}
            return keras.Model(inputs, {"z": [self.encoder(inputs["appearance"])]}, name=use)
        if use == "generate":
            z = symbolic_z(self.config)
            return keras.Model({"z": z}, self.decoder(z[0]), name=use)
        noise = symbolic["noise"]
        z = keras.layers.Identity()(noise[0])
        return keras.Model({"noise": noise}, {"image": self.decoder(noise[0]), "z": [z]}, name=use)

    # What the training step asks

    def terms(
        self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any], reconstruction: losses.ReconstructionLoss
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """There are no terms here: all of them are in `adversarial_terms`."""
        return {}, {}

    def discriminator(self) -> keras.Model:
        """D(x, z), on pictures and codes."""
        return discriminator(self.config, PICTURE_CHANNELS, self.config.code_size)

    def pairs(
        self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """(x, E(x)) and (G(z), z)."""
        sides = (batch["image"], outputs["z"][0]), (outputs["made"], outputs["drawn"])
        true, made = ({"picture": ops.cast(x, "float32"), "vector": ops.cast(z, "float32")} for x, z in sides)
        return true, made

    def adversarial_terms(self, true: tf.Tensor, made: tf.Tensor) -> dict[str, tf.Tensor]:
        """The loss that G minimises, and the loss that E minimises."""
        return {"generator": adversarial.non_saturating(made), "encoder": adversarial.encoder_loss(true)}

    def curves(self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """The diversity of G's pictures: the mean standard deviation of a pixel over the batch, over that of true ones.

        It is 0 if G has collapsed to one picture.
        """
        deviations = [ops.mean(ops.std(ops.cast(x, "float32"), axis=0)) for x in (outputs["made"], batch["image"])]
        return {"diversity": deviations[0] / ops.maximum(deviations[1], SMALLEST_DEVIATION)}
