"""A texture in the frame of the shape: what lies where on the trunk, whichever way the trunk leans.

Part maps tell hair from shirt, but not the second stripe of the shirt from the third. The frame does: it comes from the
last channel of the shape map, which in a stickman is the torso, and in a body map the whole body.
"""

import keras
import tensorflow as tf

from vunet_tf.config import PICTURE_CHANNELS
from vunet_tf.models.layers import PACKAGE
from vunet_tf.models.part_maps import positions

ROWS, COLUMNS = 16, 12  # texels along the frame's axis, and across it
ALONG, ACROSS = 1.5, 1.1  # what they cover, in lengths of the frame
_GATHERED = PICTURE_CHANNELS + 1  # numbers of a texel that F sees: its colour, and whether it is seen
_HIDDEN = 0.2  # pixels' worth: a texel with less of the figure under it counts as hidden


@keras.saving.register_keras_serializable(PACKAGE)
class Texels(keras.layers.Layer):
    """The rows and columns of the texture that each position lies in: bilinear weights.

    The frame is read off the moments of the shape's last channel: its centre, its longest axis (pointing downwards),
    and its length, that of a rectangle with the same variance. Unlike learned places it is right from the first step.

    Call: shape [B, S, S, C] in [-1, 1] -> rows [B, S * S, ROWS], columns [B, S * S, COLUMNS] float32 in [0, 1]; what
    lies outside of the texture has 0 everywhere.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, shape):
        height, width = shape.shape[1:3]
        mass = tf.reshape(_amount(shape), (-1, height * width))
        y = (tf.repeat(tf.range(height, dtype=tf.float32), width) + 0.5) / height - 0.5
        x = (tf.tile(tf.range(width, dtype=tf.float32), [height]) + 0.5) / width - 0.5
        moments = tf.matmul(mass, tf.stack([tf.ones_like(x), x, y, x * x, x * y, y * y], -1))
        total = moments[:, :1] + 1e-3  # of an empty shape it is not 0
        centre_x, centre_y = moments[:, 1:2] / total, moments[:, 2:3] / total
        xx = moments[:, 3:4] / total - centre_x * centre_x
        xy = moments[:, 4:5] / total - centre_x * centre_y
        yy = moments[:, 5:6] / total - centre_y * centre_y
        # Sine and cosine of the angle between the axis of the largest variance and the vertical.
        spread = tf.sqrt((yy - xx) * (yy - xx) + 4.0 * xy * xy + 1e-9)
        cosine = tf.sqrt(tf.maximum(0.5 + 0.5 * (yy - xx) / spread, 1e-3))
        sine = xy / (spread * cosine)
        length = tf.sqrt(6.0 * tf.maximum(xx + yy + spread, 1e-4))
        right, down = x - centre_x, y - centre_y
        along = (right * sine + down * cosine) / length
        across = (right * cosine - down * sine) / length
        return _hats(along / ALONG, ROWS), _hats(across / ACROSS, COLUMNS)


@keras.saving.register_keras_serializable(PACKAGE)
class GatherTexture(keras.layers.Layer):
    """The picture's colours in the frame of its shape.

    Call: picture [B, S, S, 3], shape [B, S, S, C], rows and columns of `Texels` -> [B, COLUMNS * ROWS * 4] float32: of
    each texel its colour less the mean colour, and 1 where it is seen; all 0 where it is hidden.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, picture, shape, rows, columns):
        weight = _amount(shape)
        # Joined before they are reshaped: so XNNPACK takes all of it.
        weighted = positions(tf.concat([picture * weight, weight], -1))
        by_row = tf.reshape(rows[..., None] * weighted[:, :, None, :], (-1, rows.shape[1], ROWS * _GATHERED))
        gathered = tf.reshape(tf.matmul(columns, by_row, transpose_a=True), (-1, COLUMNS * ROWS, _GATHERED))
        sums, mass = gathered[..., :PICTURE_CHANNELS], gathered[..., PICTURE_CHANNELS:]
        mean = tf.reduce_sum(sums, 1, keepdims=True) / (tf.reduce_sum(mass, 1, keepdims=True) + _HIDDEN)
        seen = mass / (mass + _HIDDEN)
        colours = sums / (mass + _HIDDEN) - mean * seen
        return tf.reshape(tf.concat([colours, seen], -1), (-1, COLUMNS * ROWS * _GATHERED))


@keras.saving.register_keras_serializable(PACKAGE)
class LayTexture(keras.layers.Layer):
    """A texture laid in the frame of the wanted shape, as much as the parts there show of it (learned, at first all).

    Args:
        side: S of the picture.

    Call: texture [B, COLUMNS * ROWS * 3], rows and columns of `Texels`, part maps [B, m, m, K] -> [B, S, S, 3] float32.
    """

    def __init__(self, side, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.side = side

    def build(self, texture_shape, rows_shape, columns_shape, maps_shape):
        self.shown = self.add_weight(name="shown", shape=(maps_shape[-1], 1), initializer="ones")

    def call(self, texture, rows, columns, maps):
        wide = tf.matmul(columns, tf.reshape(texture, (-1, COLUMNS, ROWS * PICTURE_CHANNELS)))
        wide = tf.reshape(wide, (-1, rows.shape[1], ROWS, PICTURE_CHANNELS)) * rows[..., None]
        laid = tf.reshape(tf.reduce_sum(wide, 2), (-1, self.side, self.side, PICTURE_CHANNELS))
        shown = tf.reshape(tf.matmul(positions(maps), self.shown), (-1, *maps.shape[1:3], 1))
        return laid * tf.image.resize(shown, [self.side, self.side])

    def get_config(self):
        return {**super().get_config(), "side": self.side}


def _amount(shape):
    """How much of the last channel there is, [B, S, S, 1] in [0, 1]."""
    return (shape[..., -1:] + 1.0) / 2.0


def _hats(place, count):
    """Places [B, P] in [-1/2, 1/2] -> bilinear weights [B, P, count]."""
    return tf.nn.relu(1.0 - tf.abs((place + 0.5)[..., None] * (count - 1) - tf.range(count, dtype=tf.float32)))
