"""Bytes and floats, and grids."""

import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.files import pixels


def test_every_byte_survives_the_way_there_and_back():
    every = np.arange(256, dtype=np.uint8)
    assert pixels.to_float(every).min() == -1 and pixels.to_float(every).max() == 1
    np.testing.assert_array_equal(pixels.to_uint8(pixels.to_float(every)), every)
    np.testing.assert_array_equal(pixels.to_float(tf.constant(every)), pixels.to_float(every))


def test_floats_beyond_the_range_are_clipped():
    np.testing.assert_array_equal(pixels.to_uint8([-7.0, -1.0, 0.0, 1.0, 7.0]), [0, 0, 128, 255, 255])


def test_a_grid_of_pictures_of_several_sizes():
    grey, colour = np.full((2, 3, 1), 9, np.uint8), np.full((4, 2, 3), 50, np.uint8)
    grid = pixels.grid([[grey, colour], [None, grey]], gap=1)
    assert grid.shape == (1 + 4 + 1 + 2 + 1, 1 + 3 + 1 + 3 + 1, 3)
    np.testing.assert_array_equal(grid[2:4, 1:4], np.full((2, 3, 3), 9))
    np.testing.assert_array_equal(grid[1:5, 5:7], np.full((4, 2, 3), 50))
    np.testing.assert_array_equal(grid[6:8, 1:4], np.full((2, 3, 3), 255))
    assert (grid == 9).all(-1).sum() == 12 and (grid == 50).all(-1).sum() == 8


def test_pictures_of_other_channel_counts_and_no_pictures_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        pixels.grid([[np.zeros((2, 2, 4), np.uint8)]])
    with pytest.raises(ValueError, match="at least one picture"):
        pixels.grid([[None]])
