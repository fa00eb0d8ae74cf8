"""Adam, in one pass over the memory."""

import keras
import tensorflow as tf


class SummedAdam(keras.optimizers.Adam):
    """Adam for gradients that are summed over the replicas already: the step clips and checks the sum.

    Keras writes Adam as a dozen passes over memory; here it is TensorFlow's kernel for it, one pass, to rounding the
    same. So for the moving average, whose momentum grows with the updates made so far, min(ema_momentum,
    (1 + updates) / (10 + updates)): else the averages of a short run would be its first weights.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        updates = tf.cast(self.iterations, tf.float32)
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
        if self.use_ema:
            growing = tf.minimum(self.ema_momentum, (1 + updates) / (10 + updates))
            momentum = tf.where(updates > 0, growing, 0.0)  # the average begins as the weights after the first update
            average = self._model_variables_moving_average[index].value
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.handle,
                alpha=1 - momentum,
                delta=average - variable,
            )

    def _update_model_variables_moving_average(self, trainable_variables):
        """Done in `update_step`."""
