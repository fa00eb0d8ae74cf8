"""Bytes and floats."""

import numpy as np
import tensorflow as tf

from vunet_tf.files import pixels


def test_every_byte_survives_the_way_there_and_back():
    every = np.arange(256, dtype=np.uint8)
    assert pixels.to_float(every).min() == -1 and pixels.to_float(every).max() == 1
    np.testing.assert_array_equal(pixels.to_uint8(pixels.to_float(every)), every)
    np.testing.assert_array_equal(pixels.to_float(tf.constant(every)), pixels.to_float(every))


def test_floats_beyond_the_range_are_clipped():
    np.testing.assert_array_equal(pixels.to_uint8([-7.0, -1.0, 0.0, 1.0, 7.0]), [0, 0, 128, 255, 255])
