"""The one place that converts pictures: uint8 outside, floats in [-1, 1] inside the model.

The [0, 255] bytes of a file map to [-1, 1] linearly: 0 to -1, 127.5 to 0, 255 to 1.
"""

from typing import Any

import numpy as np


def to_float(image: Any) -> Any:
    """Turns bytes into the model's floats: an uint8 tensor or array of any shape into float32 in [-1, 1]."""
    if isinstance(image, np.ndarray):
        return image.astype(np.float32) / 127.5 - 1
    import tensorflow as tf  # workers of `prepare` use this module and do not need TensorFlow

    return tf.cast(image, tf.float32) / 127.5 - 1


def to_uint8(image: Any) -> np.ndarray:
    """Turns the model's floats into bytes: array-like of any shape, clipped to [-1, 1], rounded to whole 0..255."""
    return np.clip(np.rint((np.asarray(image, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def to_uint8_tensor(image: Any) -> Any:
    """`to_uint8` in TensorFlow ops, for graphs: it turns a float tensor of any shape into uint8."""
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round((image + 1.0) * 127.5), 0.0, 255.0), tf.uint8)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Turns [..., H, W, 1 or 3] into [..., H, W, 3]. One channel is shown as grey."""
    if image.shape[-1] == 3:
        return image
    if image.shape[-1] == 1:
        return np.repeat(image, 3, axis=-1)
    raise ValueError(f"a picture has 1 or 3 channels, this has shape {image.shape}")
