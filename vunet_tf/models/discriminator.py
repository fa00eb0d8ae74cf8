"""D: the discriminator of --model=bigan and of --adversarial. Only training needs it; it is no part of a model.

D sees pairs and says of each whether it is true or made. Each pair is a picture and a second thing. With --adversarial
the second thing is a map, which D sees as more channels of the picture (Isola et al. 2017). In a BiGAN it is a vector
(Donahue et al. 2017; Dumoulin et al. 2017).
"""

import keras
import tensorflow as tf

from vunet_tf.config import ModelConfig
from vunet_tf.models.layers import Activation, ResidualBlock, Shape, down

PATCH_SCALES = 2  # scales of a discriminator that judges patches
HEAD = 128  # numbers in the last hidden layer of a discriminator with a vector


@keras.saving.register_keras_serializable("vunet_tf")
class AddVector(keras.layers.Layer):
    """h + W v: a vector [B, n], transformed by a dense layer, at every position of h [B, H, W, C] or [B, C]."""

    def build(self, h_shape: Shape, v_shape: Shape) -> None:
        self.dense = keras.layers.Dense(h_shape[-1], dtype=self.dtype_policy, name="dense")
        self.dense.build(v_shape)

    def call(self, h: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        added = self.dense(v)
        return h + (added[:, None, None, :] if len(h.shape) == 4 else added)


def discriminator(config: ModelConfig, channels: int, numbers: int = 0, scales: int | None = None) -> keras.Model:
    """A functional model {"picture": [B, S, S, channels], "vector": [B, numbers], if any} -> logits, float32.

    It has a residual block at each scale, and a strided convolution between scales. Before each of them the vector is
    added, through a dense layer of its own. The convolutions have no weight normalization.

    Args:
        config: gives the widths and the activation.
        channels: of the picture and the maps beside it.
        numbers: the length of the vector; 0 for no vector.
        scales: the number of scales; None for all scales of the model. Then dense layers read the bottom, and the
            logits are [B, 1]. Otherwise each position of the last map gets a logit, [B, h, w, 1] (PatchGAN, Isola et
            al. 2017).
    """
    picture = keras.Input((config.image_size, config.image_size, channels), name="picture")
    inputs, vector = {"picture": picture}, None
    if numbers:
        vector = inputs["vector"] = keras.Input((numbers,), name="vector")

    def informed(h, name):
        return h if vector is None else AddVector(name=f"vector_{name}")(h, vector)

    h = keras.layers.Conv2D(config.widths[0], 3, padding="same", name="in")(picture)
    for scale, width in enumerate(config.widths[:scales]):
        if scale:
            h = down(width, weight_norm=False, name=f"down_{scale}")(informed(h, f"down_{scale}"))
        block = ResidualBlock(width, activation=config.activation, weight_norm=False, name=f"block_{scale}")
        h = block(informed(h, f"block_{scale}"))
    h = Activation(config.activation, name="activation")(informed(h, "head"))
    if scales is None:
        h = keras.layers.Dense(HEAD, name="head")(keras.layers.Flatten()(h))
        h = Activation(config.activation, name="head_activation")(informed(h, "logit"))
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32", name="logit")(h), name="discriminator")
