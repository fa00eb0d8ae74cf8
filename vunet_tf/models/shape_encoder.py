"""E: the shape encoder, the contracting half of the U-Net (paper, Sec. 3; released program)."""

from collections.abc import Sequence

import keras

from vunet_tf.config import ModelConfig
from vunet_tf.models.configured import ConfiguredModel, block_settings
from vunet_tf.models.layers import ResidualBlock, convolution, down, rounded
from vunet_tf.models.part_maps import PartMaps
from vunet_tf.models.texture import Texels


def contracting_path(inputs: keras.KerasTensor, widths: Sequence[int], config: ModelConfig) -> list[keras.KerasTensor]:
    """1x1 convolution, then residual blocks at each of `widths`, with stride 2 between them.

    Args:
        inputs: a symbolic tensor [B, H, W, C].
        widths: channels per scale, from full resolution down.
        config: configuration of the model.

    Returns:
        The output of every block, in the order of the computation: at each scale `config.blocks_per_scale` tensors
        [B, h, w, width].
    """
    h = rounded(convolution(widths[0], 1, weight_norm=config.weight_norm, name="in")(inputs))
    skips = []
    for scale, width in enumerate(widths):
        if scale:
            h = rounded(down(width, weight_norm=config.weight_norm, name=f"down_{scale}")(h))
        for block in range(config.blocks_per_scale):
            h = ResidualBlock(width, name=f"block_{scale}_{block}", **block_settings(config))(h)
            skips.append(h)
    return skips


@keras.saving.register_keras_serializable("vunet_tf")
class ShapeEncoder(ConfiguredModel):
    """E: shape map [B, S, S, shape_channels] in [-1, 1] -> the skips of D (see `contracting_path`).

    With --latent=laid the part maps follow, made by the network `part_maps`, and the rows and columns of `Texels`.
    """

    def __init__(self, config: ModelConfig, name: str = "shape_encoder"):
        self.config = config
        self.part_maps = PartMaps(config) if config.latent == "laid" else None
        self.texels = Texels(bool(config.texture_codes), name="texels") if self.part_maps else None
        shape = keras.Input((config.image_size, config.image_size, config.shape_channels), name="shape")
        skips = contracting_path(shape, config.widths, config)
        if self.part_maps:
            skips += [self.part_maps(shape), *self.texels(shape)]
        super().__init__(shape, skips, name=name)
