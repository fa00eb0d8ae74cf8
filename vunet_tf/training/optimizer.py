"""The optimizers: Adam, which reads the memory once, and Muon for kernels."""

import functools
import math
from collections.abc import Sequence

import keras
import tensorflow as tf

# Limits of the kernels that Muon steps, as matrices [k * k * inputs, outputs]. A smaller matrix than the first has
# hardly any directions. For larger ones than the others, a step would cost more than the network itself.
_SMALLEST_SIDE, _LARGEST_SMALLER_SIDE, _LARGEST_SIDE = 8, 128, 1200
_MOMENTUM = 0.95
_RATE = 10.0  # times the learning rate: the largest singular value of a step (0.02 where Adam's steps are 0.002)
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of Jordan et al.: singular values come near 1 in 5 steps
_NEWTON_SCHULZ_STEPS = 5


class SummedAdam(keras.optimizers.Adam):
    """Adam for gradients that are already summed over the replicas, since the training step checks the sum.

    Keras' Adam passes over the memory a dozen times. TensorFlow's own kernel needs one pass, and its results differ
    only by rounding. The moving average of the weights also needs one pass. Its momentum grows with the number of
    updates, min(ema_momentum, (1 + updates) / (10 + updates)). With the full momentum from the start, the averages of
    a short run would mostly be its first weights.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        updates = tf.cast(self.iterations, tf.float32)
        self._step(index, gradient, variable, learning_rate, updates)
        if self.use_ema:
            growing = tf.minimum(self.ema_momentum, (1 + updates) / (10 + updates))
            momentum = tf.where(updates > 0, growing, 0.0)  # the average begins as the weights after the first update
            average = self._model_variables_moving_average[index].value
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.handle,
                alpha=1 - momentum,
                delta=average - variable,
            )

    def _step(self, index, gradient, variable, learning_rate, updates):
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1 ** (updates + 1),
            beta2_power=self.beta_2 ** (updates + 1),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def _update_model_variables_moving_average(self, trainable_variables):
        """Done in `update_step`."""


class SummedMuon(SummedAdam):
    """Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"); else `SummedAdam`.

    The kernel of a 3x3 convolution is taken as a matrix. Its step is the momentum of its gradients, with all singular
    values made about equal. So directions in which the gradient is small are learned as fast as the others. Adam steps
    everything else: biases, kernels that are too small or too large, and 1x1 convolutions and dense layers, which
    learned less with Muon (docs/laid.md). Keras' own Muon is only for dense layers.
    """

    def _step(self, index, gradient, variable, learning_rate, updates):
        sides = as_matrix(variable.shape)
        if sides is None:
            super()._step(index, gradient, variable, learning_rate, updates)
            return
        momentum = self._momentums[index].value
        new = _MOMENTUM * momentum + gradient
        momentum.assign(new)
        ahead = tf.reshape(gradient + _MOMENTUM * new, sides)
        rate = _RATE * tf.cast(learning_rate, tf.float32) * math.sqrt(max(1.0, sides[1] / sides[0]))
        variable.assign_sub(tf.reshape(rate * orthogonalised(ahead), variable.shape))


def as_matrix(shape: Sequence[int]) -> tuple[int, int] | None:
    """The sides of a kernel [k, k, inputs, outputs] as a matrix; None if Muon leaves it to Adam."""
    if len(shape) != 4 or shape[0] == 1:
        return None
    sides = math.prod(shape[:-1]), int(shape[-1])
    fits = _SMALLEST_SIDE <= min(sides) <= _LARGEST_SMALLER_SIDE and max(sides) <= _LARGEST_SIDE
    return sides if fits else None


def orthogonalised(matrix: tf.Tensor) -> tf.Tensor:
    """A matrix [n, m] with the same singular vectors, whose singular values lie near 1 (about 0.7 to 1.2).

    Each step of Newton and Schulz is a polynomial of x x^T times x. All of these are polynomials of the first x x^T. So
    they are multiplied as square matrices of the smaller side, and x itself is used only twice.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix / (tf.norm(matrix) + 1e-7)
    square = tf.matmul(x, x, transpose_a=not wide, transpose_b=wide)
    one = tf.eye(min(matrix.shape))
    a, b, c = _NEWTON_SCHULZ
    factor = one
    for _ in range(_NEWTON_SCHULZ_STEPS):
        step = a * one + tf.matmul(b * one + c * square, square)
        factor = tf.matmul(step, factor)
        square = tf.matmul(step, tf.matmul(step, square))
    return tf.matmul(factor, x) if wide else tf.matmul(x, factor)


DISCRIMINATORS = functools.partial(SummedAdam, beta_1=0.5, beta_2=0.99)
OPTIMIZERS = {
    "adam": functools.partial(SummedAdam, beta_1=0.5, beta_2=0.9),  # released program
    "muon": functools.partial(SummedMuon, beta_1=0.9, beta_2=0.99),
}
