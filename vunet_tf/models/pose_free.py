"""Takes out of the codes what one picture of a look shows and another does not: the pose (--pose_free)."""

from typing import Any

import keras
import tensorflow as tf

from vunet_tf.models.layers import PACKAGE, Shape

TIMES = 2  # how many times the codes are mixed


@keras.saving.register_keras_serializable(PACKAGE)
class PoseFree(keras.layers.Layer):
    """Changes codes into the best guess of the codes that another picture of the same look would give.

    The other picture has another pose, so the best guess holds nothing of the pose: what cannot be foretold of the
    other code shrinks towards its mean, and a hidden part gets what the parts beside it tell. The guess is linear. Two
    times, each number of a code is mixed with the same number of the other codes, and with the other numbers of its own
    code. A full matrix has eight times the weights, and from few looks it learns these looks by heart (docs/laid.md).
    At first the layer changes nothing.

    In a training step, a call gives no gradient to the layer's own weights. They learn from `learning` alone
    (`unexplained`). With the error of the picture they would learn to let the pose through.

    Call: codes [B, N, c] -> codes [B, N, c] float32.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, codes_shape: Shape) -> None:
        _, codes, channels = codes_shape

        def weight(name, *shape):
            return self.add_weight(name=name, shape=shape, initializer="zeros")

        self.between = [weight(f"between_{i}", codes, codes, channels) for i in range(TIMES)]
        self.within = [weight(f"within_{i}", codes, channels, channels) for i in range(TIMES)]
        self.offset = weight("offset", codes, channels)

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        return self._mixed(codes, tf.stop_gradient)

    def learning(self, codes: tf.Tensor) -> tf.Tensor:
        """As the call, but the gradient reaches the layer's weights, and nothing else."""
        return self._mixed(tf.stop_gradient(codes), tf.identity)

    def _mixed(self, codes, gradient):
        for between, within in zip(self.between, self.within, strict=True):
            of_others = tf.einsum("bkc,klc->blc", codes, gradient(between.value))
            of_own = tf.einsum("bkc,kcd->bkd", codes, gradient(within.value))
            codes = codes + of_others + of_own
        return codes + gradient(self.offset.value)


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
