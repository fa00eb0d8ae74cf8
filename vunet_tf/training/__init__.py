"""Training: the step under a `tf.distribute` strategy, checkpoints, and the loop that joins them."""
