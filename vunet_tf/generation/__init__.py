"""Pictures from a trained model: reconstruct, transfer, sample, interpolate, animate."""

from vunet_tf.generation.generator import Generator

__all__ = ["Generator"]
