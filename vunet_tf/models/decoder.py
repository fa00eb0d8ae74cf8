"""D: the decoder, the expanding half of the U-Net. Its bottom scales also give p(z | shape) (released program)."""

from collections.abc import Sequence
from typing import Any

import keras

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.models.configured import ConfiguredModel, block_settings
from vunet_tf.models.flow_prior import FlowPrior
from vunet_tf.models.layers import ResidualBlock, SubPixelUp, convolution, rounded
from vunet_tf.models.prior import GroupPrior, StandardNormalPrior


def expanding_layers(
    config: ModelConfig,
) -> tuple[keras.layers.Layer, list[list[ResidualBlock]], list[SubPixelUp]]:
    """The layers of the expanding path: a 1x1 convolution; residual blocks per scale, from the bottom up, each with one
    skip; and the upsampling between scales.

    Returns:
        (project, [[block] per scale], [up, one less than scales]).
    """
    blocks, wn, widths = block_settings(config), config.weight_norm, config.widths[::-1]
    project = convolution(widths[0], 1, weight_norm=wn, name="project")
    residual = [
        [ResidualBlock(width, skip=True, name=f"block_{i}_{b}", **blocks) for b in range(config.blocks_per_scale)]
        for i, width in enumerate(widths)
    ]
    ups = [SubPixelUp(width, weight_norm=wn, name=f"up_{i}") for i, width in enumerate(widths[1:], 1)]
    return project, residual, ups


def skip_inputs(config: ModelConfig) -> list[keras.KerasTensor]:
    """Symbolic inputs for the skips of E, in its order."""
    return [
        keras.Input((config.image_size >> scale, config.image_size >> scale, width), name=f"skip_{scale}_{block}")
        for scale, width in enumerate(config.widths)
        for block in range(config.blocks_per_scale)
    ]


@keras.saving.register_keras_serializable("vunet_tf")
class Decoder(ConfiguredModel):
    """D: the skips of E and z -> picture, and the parameters of p(z | shape) given z (teacher forcing).

    After a 1x1 convolution there are residual blocks at each scale, each on one skip (last in, first out), with
    sub-pixel upsampling between scales. At a latent scale z enters after the first block: concat, then 1x1 convolution.
    The last convolution is linear, so pictures may exceed [-1, 1] a little; they are clipped only when shown.

    Inputs: {"skips": as `ShapeEncoder` gives them, "z": [[B, h, w, c] per latent]}.

    Returns:
        dict: {"image": [B, S, S, 3], "prior": [parameters per latent]}, float32. With --prior=flow there is
        log p(z | shape) [B] instead of the parameters.
    """

    def __init__(self, config: ModelConfig, name: str = "decoder"):
        # Layers
        blocks, wn = block_settings(config), config.weight_norm
        self.config = config
        self.project, self.blocks, self.ups = expanding_layers(config)
        self.join_z, self.priors = [], []
        for i, (height, width, channels) in enumerate(config.latent_shapes):
            self.join_z.append(convolution(channels, 1, weight_norm=wn, name=f"join_z_{i}"))
            if config.prior == "standard_normal":
                prior = StandardNormalPrior((height, width, channels), config.variance, name=f"prior_{i}")
            elif config.prior == "flow":
                flow: dict[str, Any] = {"activation": config.activation, "weight_norm": wn, "name": f"prior_{i}"}
                prior = FlowPrior((height, width, channels), channels, **flow)
            else:
                prior = GroupPrior(channels, 4 if height > 1 else 1, config.variance, name=f"prior_{i}", **blocks)
            self.priors.append(prior)
        self.to_picture = convolution(PICTURE_CHANNELS, 3, weight_norm=wn, dtype="float32", name="to_picture")

        # Functional model
        skips = skip_inputs(config)
        z = [keras.Input(shape, name=f"z_{i}") for i, shape in enumerate(config.latent_shapes)]
        image, prior, _ = self._connect(skips, lambda i, h: self.priors[i](h, z=z[i]))
        super().__init__({"skips": skips, "z": z}, {"image": image, "prior": prior}, name=name)

    def generate(self, skips: Sequence[keras.KerasTensor], z: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
        """The picture on symbolic tensors. The graph has no weights of the prior."""
        return self._connect(skips, lambda i, h: (None, z[i]))[0]

    def sample(
        self, skips: Sequence[keras.KerasTensor], noise: Sequence[keras.KerasTensor] | None = None
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """(picture, [z per latent]) on symbolic tensors. z is from the prior with this noise, or its mean."""
        image, _, z = self._connect(skips, lambda i, h: self.priors[i](h, noise=None if noise is None else noise[i]))
        return image, z

    def _connect(self, skips, latent):
        """D's graph; `latent(i, h)` gives (prior's parameters, z) of latent i from the features h."""
        skips = list(skips)
        h = rounded(self.project(skips[-1]))
        parameters, latents = [], []
        for i, (first, *rest) in enumerate(self.blocks):
            if i:
                h = self.ups[i - 1](h)
            h = first(h, skips.pop())
            if i < len(self.priors):
                prior, z = latent(i, h)
                parameters.append(prior)
                latents.append(z)
                h = rounded(self.join_z[i](keras.layers.Concatenate()([h, z])))
            for residual in rest:
                h = residual(h, skips.pop())
        return rounded(self.to_picture(h)), parameters, latents
