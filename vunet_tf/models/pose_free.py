"""Takes out of the codes what one picture of a look shows and another does not: the pose (--pose_free)."""

from typing import Any

import keras
import tensorflow as tf

from vunet_tf.models.layers import PACKAGE, Shape
from vunet_tf.models.part_maps import positions

TIMES = 2  # how many times the codes are mixed
PLACES = 3  # numbers of each part that `places` gives
UNITS = 64  # units of the layer that reads the places


@keras.saving.register_keras_serializable(PACKAGE)
class PoseFree(keras.layers.Layer):
    """Changes codes into the best guess of the codes that another picture of the same look would give.

    The other picture has another pose, so the best guess holds nothing of the pose: what cannot be foretold of the
    other code shrinks towards its mean, and a hidden part gets what the parts beside it tell. The guess is linear in
    the codes. Two times, each number of a code is mixed with the same number of the other codes, and with the other
    numbers of its own code. A full matrix has eight times the weights, and from few looks it learns these looks by
    heart (docs/laid.md). What codes have in common only because of the pose is taken off by a small network, which sees
    where the parts lie (`places`). At first the layer changes nothing.

    In a training step, a call gives no gradient to the layer's own weights. They learn from `learning` alone
    (`unexplained`). With the error of the picture they would learn to let the pose through.

    Call: codes [B, N, c], part maps [B, m, m, K] -> codes [B, N, c] float32.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, codes_shape: Shape, maps_shape: Shape) -> None:
        _, codes, channels = codes_shape

        def weight(name, *shape, initializer="zeros"):
            return self.add_weight(name=name, shape=shape, initializer=initializer)

        self.between = [weight(f"between_{i}", codes, codes, channels) for i in range(TIMES)]
        self.within = [weight(f"within_{i}", codes, channels, channels) for i in range(TIMES)]
        self.from_places = weight("from_places", PLACES * maps_shape[-1], UNITS, initializer="glorot_uniform")
        self.places_bias = weight("places_bias", UNITS)
        self.to_offset = weight("to_offset", UNITS, codes * channels)
        self.offset = weight("offset", codes, channels)

    def call(self, codes: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        return self._mixed(codes, maps, tf.stop_gradient)

    def learning(self, codes: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        """As the call, but the gradient reaches the layer's weights, and nothing else."""
        return self._mixed(tf.stop_gradient(codes), maps, tf.identity)

    def _mixed(self, codes, maps, gradient):
        for between, within in zip(self.between, self.within, strict=True):
            of_others = tf.einsum("bkc,klc->blc", codes, gradient(between.value))
            of_own = tf.einsum("bkc,kcd->bkd", codes, gradient(within.value))
            codes = codes + of_others + of_own
        from_places, bias, to_offset, offset = (
            gradient(weight.value) for weight in (self.from_places, self.places_bias, self.to_offset, self.offset)
        )
        hidden = tf.nn.leaky_relu(tf.matmul(places(tf.stop_gradient(maps)), from_places) + bias)
        return codes + tf.reshape(tf.matmul(hidden, to_offset), (-1, *codes.shape[1:])) + offset


def places(maps: tf.Tensor) -> tf.Tensor:
    """Where the parts lie: [B, m, m, K] -> [B, 3 K], for each part its area, and its area times its mean place.

    The area is a share of the picture. Places go from -1/2 to 1/2, first downwards, then to the right. All numbers are
    multiplied by the number of parts, so that they are about 1.
    """
    height, width, parts = maps.shape[1:]
    y = (tf.repeat(tf.range(height, dtype=tf.float32), width) + 0.5) / height - 0.5
    x = (tf.tile(tf.range(width, dtype=tf.float32), [height]) + 0.5) / width - 0.5
    moments = tf.stack([tf.ones_like(x), y, x]) * (parts / (height * width))
    found = tf.matmul(moments, positions(maps))
    return tf.reshape(found, (-1, PLACES * parts))


def unexplained(guess: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
    """The squared error of a guess over the variance of the codes: 0 if they are equal, 1 if it guesses their mean.

    Args:
        guess, codes: [B, N, c]. The gradient reaches only the guess.

    Returns:
        A scalar over the batch.
    """
    codes = tf.stop_gradient(codes)
    variance = tf.reduce_sum(tf.square(codes - tf.reduce_mean(codes, 0))) + 1e-3
    return tf.reduce_sum(tf.square(guess - codes)) / variance
