"""Part maps: they say where the parts of a figure lie in a shape. Codes of parts are gathered and laid with them.

After Lorenz, Bereska, Milbich, Ommer, "Unsupervised Part-Based Disentangling of Object Shape and Appearance" (CVPR
2019). Here the parts come only from the shape map.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.models.configured import ConfiguredModel, block_settings
from vunet_tf.models.layers import PACKAGE, Activation, ResidualBlock, Shape, SubPixelUp, convolution, down, rounded

DEPTH = 3  # how many times the networks on the grid of the part maps halve its resolution


def hourglass(inputs: keras.KerasTensor, width: int, channels: int, config: ModelConfig) -> keras.KerasTensor:
    """A small U-Net on the grid of the part maps.

    Args:
        inputs: a symbolic tensor [B, S, S, C].
        width: number of channels at the grid's resolution; below it there are twice as many.
        channels: number of channels of the result.
        config: configuration of the model.

    Returns:
        [B, m, m, channels] float32, m = S / 2**map_factor.
    """
    blocks, wn = block_settings(config), config.weight_norm
    h = inputs
    for i in range(config.map_factor):
        h = rounded(down(width, weight_norm=wn, name=f"stem_{i}")(h))
    if not config.map_factor:
        h = rounded(convolution(width, 3, weight_norm=wn, name="stem")(h))
    widths = [width] + [2 * width] * DEPTH
    skips = [h]
    for i, wide in enumerate(widths[1:], 1):
        h = rounded(down(wide, weight_norm=wn, name=f"down_{i}")(Activation(config.activation)(h)))
        h = ResidualBlock(wide, name=f"contract_{i}", **blocks)(h)
        skips.append(h)
    skips.pop()
    for i, wide in reversed(list(enumerate(widths[:-1]))):
        h = SubPixelUp(wide, weight_norm=wn, name=f"up_{i}")(h)
        h = ResidualBlock(wide, skip=True, name=f"expand_{i}", **blocks)(h, skips.pop())
    out = convolution(channels, 1, weight_norm=wn, dtype="float32", name="out")
    return rounded(out(Activation(config.activation)(h)))


@keras.saving.register_keras_serializable(PACKAGE)
class PartMaps(ConfiguredModel):
    """Shape map [B, S, S, shape_channels] in [-1, 1] -> part maps [B, m, m, parts], a softmax at each position.

    The same network reads the shape that F sees and the shape that D draws, so a part means the same in both.
    """

    def __init__(self, config: ModelConfig, name: str = "part_maps"):
        shape = keras.Input((config.image_size, config.image_size, config.shape_channels), name="shape")
        maps = keras.layers.Softmax(dtype="float32")(hourglass(shape, config.width, config.parts, config))
        super().__init__(shape, maps, name=name)
        self.config = config


@keras.saving.register_keras_serializable(PACKAGE)
class Gather(keras.layers.Layer):
    """The mean of the features under each part map: sum_p M_k(p) f(p) / (sum_p M_k(p) + 1).

    A part that the shape does not show has little mass, so its features are near 0.

    Call: features [B, m, m, C], maps [B, m, m, K] -> [B, K, 1, C] float32.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, features: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        flat_maps, flat = positions(maps), positions(features)
        mass = ops.sum(flat_maps, axis=1)[..., None]
        return (tf.matmul(flat_maps, flat, transpose_a=True) / (mass + 1.0))[:, :, None, :]


@keras.saving.register_keras_serializable(PACKAGE)
class Lay(keras.layers.Layer):
    """Puts codes where their parts lie: L(p) = sum_k M_k(p) z_k.

    Call: z [B, K, c], maps [B, m, m, K] -> [B, m, m, c] float32.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, z: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        laid = tf.matmul(positions(maps), z)
        return ops.reshape(laid, (-1, *maps.shape[1:3], z.shape[-1]))


@keras.saving.register_keras_serializable(PACKAGE)
class FirstPicture(Lay):
    """Lays and enlarges the colours of the codes, which are their first three numbers.

    This is one layer, so that the exporter can recognise all of it by its name.

    Args:
        factor: how many times larger the picture is than the part maps.

    Call: z [B, K, c], maps [B, m, m, K] -> [B, factor * m, factor * m, 3] float32.
    """

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, z: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        laid = super().call(z[..., :PICTURE_CHANNELS], maps)
        return tf.image.resize(laid, [self.factor * side for side in laid.shape[1:3]])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def positions(x: tf.Tensor) -> tf.Tensor:
    """[B, m, m, C] -> [B, m * m, C]."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))


@keras.saving.register_keras_serializable(PACKAGE)
class PartEmbedding(keras.layers.Layer):
    """Adds a learned vector to the features of each part, a different one for each: [B, K, 1, C] -> the same."""

    def build(self, input_shape: Shape) -> None:
        self.embedding = self.add_weight(name="embedding", shape=input_shape[1:], initializer="random_normal")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + self.embedding
