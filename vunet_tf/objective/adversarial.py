"""The losses of two players: a discriminator D that tells true pairs from made ones, and a model that deceives it.

D gives a logit, which is high for true pairs: the probability is sigmoid(D). All means are over the batch, and over
positions too where D judges each position. log sigmoid(D) = -softplus(-D), and log(1 - sigmoid(D)) = -softplus(D).
"""

from collections.abc import Sequence

import tensorflow as tf
from keras import ops


def discriminator_loss(true: tf.Tensor, made: tf.Tensor) -> tf.Tensor:
    """-E[log sigmoid(D(true))] - E[log(1 - sigmoid(D(made)))], a scalar in nats (Goodfellow et al. 2014, Eq. 1).

    At 2 log 2 = 1.386 the discriminator only guesses.

    Args:
        true, made: logits of true and of made pairs.
    """
    return ops.mean(ops.softplus(-true)) + ops.mean(ops.softplus(made))


def non_saturating(made: tf.Tensor) -> tf.Tensor:
    """-E[log sigmoid(D(made))], a scalar in nats, which a generator minimises (Goodfellow et al. 2014, Sec. 3).

    While D recognises made pairs, its gradient is large; that of E[log(1 - sigmoid(D(made)))] vanishes there.
    """
    return ops.mean(ops.softplus(-made))


def encoder_loss(true: tf.Tensor) -> tf.Tensor:
    """-E[log(1 - sigmoid(D(x, E(x))))], a scalar in nats, which the encoder of a BiGAN minimises (Donahue et al. 2017).

    It is like `non_saturating`: the encoder wants D to take its true pairs for made ones.
    """
    return ops.mean(ops.softplus(true))


def r1(gradients: Sequence[tf.Tensor], positions: int = 1) -> tf.Tensor:
    """R1 = 1/2 E[||grad D(true)||^2], a scalar: the gradient of the logit by its inputs (Mescheder et al. 2018, Eq. 9).

    It keeps D from becoming steep around true pairs; there D should become flat. If each pair has the logits of several
    positions, D is their sum, and R1 is divided by their number. For positions that see different pixels this is the
    mean of the R1 of each position.

    Args:
        gradients: the gradients of the sum of all logits by each input, [B, ...].
        positions: the number of logits of each pair.
    """
    squares = [ops.sum(ops.square(ops.cast(g, "float32")), axis=tuple(range(1, ops.ndim(g)))) for g in gradients]
    return ops.mean(sum(squares)) / (2 * positions)
