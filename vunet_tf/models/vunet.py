"""The Variational U-Net: F, E and D joined, and the functional models of its uses over the same weights."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from vunet_tf.config import ModelConfig
from vunet_tf.models.appearance_encoder import AppearanceEncoder
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.decoder import Decoder
from vunet_tf.models.distributions import DiagonalGaussian
from vunet_tf.models.generative import GenerativeModel, symbolic_inputs, symbolic_z
from vunet_tf.models.laid_decoder import LaidDecoder
from vunet_tf.models.laid_encoder import LaidAppearanceEncoder
from vunet_tf.models.shape_encoder import ShapeEncoder
from vunet_tf.objective import losses

WIRINGS = ("encode", "generate", "transfer", "sample")
OF_PARTS = ("parts", "vary")  # wirings of a model with --latent=laid


@keras.saving.register_keras_serializable("vunet_tf")
class VUNet(GenerativeModel):
    """VU-Net of a `ModelConfig` (paper, Sec. 3). As a functional model it is the training pass.

    Latents z are lists of [B, h, w, c], one per latent scale from the bottom up (`config.latent_shapes`). With
    --latent=laid they are a list of one [B, K, c]. Batches and pictures are as in `GenerativeModel`.

    Inputs: {"appearance", "shape", "noise"}, as `training_inputs(batch, seed)` makes them. Without latents
    (--latent_scales=0, the ablation "U-Net") there is only "shape".

    Returns:
        dict: {"image": x-hat, "posterior": [parameters of q(z | x, shape)], "prior": [parameters of p(z | shape), for
        which the groups of the posterior's sample are fed back; with --prior=flow log p(z | shape) [B] of that sample],
        "z": [the posterior's sample]}. `latent`, a `DiagonalGaussian`, turns parameters into distributions.

    Examples:
        >>> model = VUNet(ModelConfig(image_size=64, appearance="picture"))
        >>> model.initialise([batch])
        >>> dressed = model.transfer(appearance=batch, shape=other["shape"])
    """

    WIRINGS = WIRINGS + OF_PARTS

    def __init__(self, config: ModelConfig, name: str = "vunet"):
        # Layers
        self.config = config
        self.appearance_input = AppearanceInput(config)
        self.latent = DiagonalGaussian(config.variance, name="latent")
        self.shape_encoder = ShapeEncoder(config)
        self.appearance_encoder = None
        if config.latent == "laid":
            self.decoder = LaidDecoder(config)
            if config.latent_shapes:
                shared = self.shape_encoder.part_maps, self.shape_encoder.texels
                self.appearance_encoder = LaidAppearanceEncoder(config, *shared)
        else:
            self.decoder = Decoder(config)
            if config.latent_shapes:
                self.appearance_encoder = AppearanceEncoder(config)

        # Functional model
        inputs = self._symbolic_inputs()
        q: dict[str, list] = {"posterior": [], "z": []}
        if self.appearance_encoder:
            q = self.appearance_encoder({key: inputs[key] for key in ("appearance", "noise")})
        p = self.decoder({"skips": self.shape_encoder(inputs["shape"]), "z": q["z"]})
        super().__init__(inputs, {**p, **q}, name=name)

    def _symbolic_inputs(self):
        inputs = symbolic_inputs(self.config)
        return inputs if self.config.latent_scales else {"shape": inputs["shape"]}  # the rest would not be connected

    def refusals(self) -> dict[str, str]:
        """Without a latent there is nothing to encode or sample. Only laid codes belong to parts."""
        why = "--model=vunet: its z is many numbers and says nothing without a shape; `generate interpolate` leads on"
        found = {"manifold": why}
        if not self.config.latent_scales:
            why = "--latent_scales=0: this model has no appearance latent; set it to 1, 2 or 3"
            return found | dict.fromkeys(("encode", "sample", "attribute", "parts", "vary", "export"), why)
        if self.config.latent != "laid":
            why = f"--latent={self.config.latent}: only a model trained with --latent=laid has parts"
            return found | dict.fromkeys(OF_PARTS, why)
        if self.config.prior == "flow":
            found["vary"] = (
                "--prior=flow: it draws the codes of all parts together, and cannot draw some of them given the "
                "others. A model trained with --prior=autoregressive can"
            )
        return found

    def take_weights(self, other: GenerativeModel) -> None:
        """As in the base. A `PoseFree` that only this model has stays as it is; at first it changes nothing."""
        values, encoder = other.get_weights(), self.appearance_encoder
        if self.config.pose_free and encoder and not other.config.pose_free:
            added = set(map(id, encoder.pose_free.weights))
            for i, weight in enumerate(self.weights):
                if id(weight) in added:
                    values.insert(i, weight.numpy())
        self.set_weights(values)

    def kl(self, posterior: tf.Tensor, prior: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """As in the base. With --prior=flow, "prior" is log p(z | shape), and one sample estimates the KL."""
        if self.config.prior == "flow":
            return losses.kl_estimate(self.latent.log_prob(posterior, z), prior)
        return super().kl(posterior, prior, z)

    def regularisers(
        self, inputs: Mapping[str, Any], batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """What two pictures of a look are to agree on: with --texture_codes their textures, with --pose_free z."""
        encoder, terms = self.appearance_encoder, {}
        if self.config.latent != "laid" or not encoder:
            return terms
        if self.shape_encoder.texels.turns:
            terms["texture"] = encoder.disagreement(inputs["appearance"], batch["image"], batch["shape"])
        if encoder.pose_free:
            others = encoder({"appearance": self.seen_by_f(batch), "noise": inputs["noise"]})["codes"]
            terms["pose_free"] = encoder.unexplained(outputs["codes"], others)
        return terms

    def log_prior(self, prior: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return prior if self.config.prior == "flow" else super().log_prior(prior, z)

    def wiring(self, use: str) -> keras.Model:
        """The functional model of one use, over the weights of this model (built once, on first request).

        | use | inputs | output |
        |---|---|---|
        | "encode" | {"appearance"} | {"z"}, the posterior's mean at every scale |
        | "generate" | {"shape", "z"} | picture |
        | "transfer" | {"appearance", "shape"} | picture, from the posterior's mean |
        | "sample" | {"shape", "noise"} | {"image", "z"}, z from the prior with this noise |

        With --latent=laid also:

        | use | inputs | output |
        |---|---|---|
        | "parts" | {"shape"} | part maps [B, m, m, K] |
        | "vary" | {"shape", "noise", "z", "keep" [B, K, 1]} | as "sample", but parts with keep 1 have the code of z |

        Only "sample" and "vary" contain the prior. None contains a random op. Raises InputError for another use.
        """
        if use in OF_PARTS:
            self.require(use)
        return super().wiring(use)

    def _wire(self, use):
        symbolic = self._symbolic_inputs()
        if use == "encode":
            self.require("encode")
            inputs = {"appearance": symbolic["appearance"]}
            outputs = {"z": self.appearance_encoder.connect(inputs["appearance"])["z"]}
        elif use == "generate":
            z = symbolic_z(self.config)
            inputs = {"shape": symbolic["shape"], "z": z}
            outputs = self.decoder.generate(self.shape_encoder(inputs["shape"]), z)
        elif use == "transfer":
            inputs = {key: symbolic[key] for key in ("appearance", "shape") if key in symbolic}
            z = self.wiring("encode")({"appearance": inputs["appearance"]})["z"] if self.config.latent_scales else []
            outputs = self.wiring("generate")({"shape": inputs["shape"], "z": z})
        elif use == "parts":
            inputs = {"shape": symbolic["shape"]}
            outputs = self.shape_encoder.part_maps(inputs["shape"])
        elif use == "vary":
            z = symbolic_z(self.config)
            keep = keras.Input((self.config.latent_shapes[0][0], 1), name="keep")
            inputs = {"shape": symbolic["shape"], "noise": symbolic["noise"], "z": z, "keep": keep}
            image, drawn = self.decoder.vary(self.shape_encoder(inputs["shape"]), inputs["noise"], z, keep)
            outputs = {"image": image, "z": drawn}
        else:
            inputs = {"shape": symbolic["shape"], "noise": symbolic.get("noise", [])}
            image, z = self.decoder.sample(self.shape_encoder(inputs["shape"]), inputs["noise"])
            outputs = {"image": image, "z": z}
        return keras.Model(inputs, outputs, name=use)
