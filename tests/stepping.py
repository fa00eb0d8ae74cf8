"""Steps of a `TrainingStep` on batches that a test made."""

import numpy as np
import tensorflow as tf

from vunet_tf.training.step import array


def rows(training_step, steps, batches, first=0):
    """The terms of a few steps as dicts. The batches come in turn, again and again; `first` of them are left out."""
    stacked = {key: np.stack([batch[key] for batch in batches]) for key in batches[0]}
    endless = iter(tf.data.Dataset.from_tensor_slices(stacked).repeat().skip(first))
    made = training_step.train(endless, tf.constant(steps)).numpy()
    return [dict(zip(training_step.names, row, strict=True)) for row in made]


def weights(network):
    """The trained weights, as arrays."""
    return [array(variable) for variable in network.trainable_variables]
