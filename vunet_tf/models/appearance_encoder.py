"""F: the appearance encoder, which gives the posterior q(z | x, shape) (paper, Sec. 3; released program)."""

from collections.abc import Sequence

import keras

from vunet_tf.config import ModelConfig
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.configured import ConfiguredModel, block_settings
from vunet_tf.models.distributions import DiagonalGaussian
from vunet_tf.models.layers import ResidualBlock, SubPixelUp, convolution, rounded
from vunet_tf.models.shape_encoder import contracting_path


@keras.saving.register_keras_serializable("vunet_tf")
class AppearanceEncoder(ConfiguredModel):
    """F: appearance [B, s, s, C] in [-1, 1] and noise, one [B, h, w, c] per latent -> posterior.

    F has a contracting path like that of E. Then, at each latent scale from the bottom up, come a residual block on the
    last skip, a 3x3 convolution to the posterior's parameters, z, and residual blocks on the next skips. The first of
    these gets z beside its skip. The layers that the released program has after the last latent get no gradient, so
    they are left out.

    Returns:
        dict: {"posterior": [parameters per latent], "z": [sample per latent]}, from the bottom up, float32.
    """

    def __init__(self, config: ModelConfig, name: str = "appearance_encoder"):
        # Layers
        blocks, wn = block_settings(config), config.weight_norm
        self.config = config
        self.latent = DiagonalGaussian(config.variance, name="latent")
        seen = AppearanceInput(config)
        appearance = keras.Input((seen.size, seen.size, seen.channels))
        skips = contracting_path(appearance, config.appearance_widths, config)
        self.contract = keras.Model(appearance, skips, name="contract")
        widths = config.appearance_widths[::-1]
        self.project = convolution(widths[0], 1, weight_norm=wn, name="project")
        self.ups, self.blocks, self.to_parameters = [], [], []
        for i, width in enumerate(widths[: config.latent_scales]):
            if i:
                self.ups.append(SubPixelUp(width, weight_norm=wn, name=f"up_{i}"))
            last = i == config.latent_scales - 1
            self.blocks.append(
                [
                    ResidualBlock(width, skip=True, name=f"expand_{i}_{block}", **blocks)
                    for block in range(1 if last else config.blocks_per_scale)
                ]
            )
            # float32: the KL term is a difference of these numbers.
            channels = width * self.latent.parameters_per_channel
            self.to_parameters.append(convolution(channels, 3, weight_norm=wn, dtype="float32", name=f"posterior_{i}"))

        # Functional model
        appearance = keras.Input(appearance.shape[1:], name="appearance")
        noise = [keras.Input(shape, name=f"noise_{i}") for i, shape in enumerate(config.latent_shapes)]
        super().__init__({"appearance": appearance, "noise": noise}, self.connect(appearance, noise), name=name)

    def connect(
        self, appearance: keras.KerasTensor, noise: Sequence[keras.KerasTensor] | None = None
    ) -> dict[str, list[keras.KerasTensor]]:
        """The graph of F on symbolic tensors. Without noise z is the mean at every scale, and no op is random."""
        skips = self.contract(appearance)
        h = rounded(self.project(skips[-1]))
        posterior, latents = [], []
        for i, (first, *rest) in enumerate(self.blocks):
            if i:
                h = self.ups[i - 1](h)
            h = first(h, skips.pop())
            posterior.append(self.to_parameters[i](h))
            latents.append(z := self.latent(posterior[-1], None if noise is None else noise[i]))
            for block, residual in enumerate(rest):
                skip = skips.pop()
                h = residual(h, skip if block else keras.layers.Concatenate()([skip, z]))
        return {"posterior": posterior, "z": latents}
