"""A texture in the frame of the shape: it says what lies where on the trunk, whichever way the trunk leans.

Part maps tell hair from shirt, but they do not tell the second stripe of the shirt from the third. The frame does. It
comes from the last channel of the shape map: in a stickman that is the torso, in a body map the whole body.
"""

import keras
import numpy as np
import tensorflow as tf

from vunet_tf.config import PICTURE_CHANNELS
from vunet_tf.files.errors import InputError
from vunet_tf.models.layers import PACKAGE
from vunet_tf.models.part_maps import positions

ROWS, COLUMNS = 16, 12  # texels along the frame's axis, and across it
ALONG, ACROSS = 1.5, 1.1  # how much the texels cover, in lengths of the frame
_GATHERED = PICTURE_CHANNELS + 1  # numbers that F sees of a texel: its colour, and whether it is seen
_NOSE = 1.5  # sideways movement of the front of the trunk, over that of the middle of the line to the nose
_HIDDEN = 0.2  # pixels: a texel with less of the figure under it counts as hidden


@keras.saving.register_keras_serializable(PACKAGE)
class Texels(keras.layers.Layer):
    """Finds the rows and columns of the texture in which each position lies, as bilinear weights.

    The frame comes from the moments of the shape's last channel. They give its centre, its longest axis (which points
    downwards) and its length, which is that of a rectangle with the same variance. Unlike learned places, this frame is
    right from the first step.

    When a person turns, the front of the trunk moves to one side. A stickman shows this by the line from neck to nose,
    the only line that is in both of its other channels. So with `turning` the frame moves sideways by the position of
    that line, times a learned number. Where there is no such line, as in a body map, nothing moves.

    Args:
        turning: whether the frame follows the nose.

    Call: shape [B, S, S, C] in [-1, 1] -> rows [B, S * S, ROWS], columns [B, S * S, COLUMNS] float32 in [0, 1]. A
    position outside the texture has only zeros.
    """

    def __init__(self, turning=False, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.turning = turning

    def build(self, shape):
        self.nose = None
        if self.turning and shape[-1] > 2:
            self.nose = self.add_weight(name="nose", shape=(), initializer=keras.initializers.Constant(_NOSE))

    def call(self, shape):
        height, width = shape.shape[1:3]
        mass = tf.reshape(_amount(shape), (-1, height * width))
        y = (tf.repeat(tf.range(height, dtype=tf.float32), width) + 0.5) / height - 0.5
        x = (tf.tile(tf.range(width, dtype=tf.float32), [height]) + 0.5) / width - 0.5
        moments = tf.matmul(mass, tf.stack([tf.ones_like(x), x, y, x * x, x * y, y * y], -1))
        total = moments[:, :1] + 1e-3  # so it is not 0 for an empty shape
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
        if self.nose is not None:
            above = tf.clip_by_value(-10.0 * along - 5.0, 0.0, 1.0)
            line = tf.reshape(tf.minimum(shape[..., :1], shape[..., 1:2]) + 1.0, (-1, height * width)) * above
            nose = tf.reduce_sum(line * across, 1, keepdims=True) / (tf.reduce_sum(line, 1, keepdims=True) + 0.6)
            across -= self.nose * nose
        return _hats(along / ALONG, ROWS), _hats(across / ACROSS, COLUMNS)

    def get_config(self):
        return {**super().get_config(), "turning": self.turning}


@keras.saving.register_keras_serializable(PACKAGE)
class GatherTexture(keras.layers.Layer):
    """Gathers the picture's colours in the frame of its shape.

    Call: picture [B, S, S, 3], shape [B, S, S, C], rows and columns of `Texels` -> [B, COLUMNS * ROWS * 4] float32. A
    texel that is seen has its colour less the mean colour, and 1. A hidden texel has only zeros.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, picture, shape, rows, columns):
        weight = _amount(shape)
        # They are joined before they are reshaped, because XNNPACK then takes all of it.
        weighted = positions(tf.concat([picture * weight, weight], -1))
        by_row = tf.reshape(rows[..., None] * weighted[:, :, None, :], (-1, rows.shape[1], ROWS * _GATHERED))
        gathered = tf.reshape(tf.matmul(columns, by_row, transpose_a=True), (-1, COLUMNS * ROWS, _GATHERED))
        sums, mass = gathered[..., :PICTURE_CHANNELS], gathered[..., PICTURE_CHANNELS:]
        mean = tf.reduce_sum(sums, 1, keepdims=True) / (tf.reduce_sum(mass, 1, keepdims=True) + _HIDDEN)
        seen = mass / (mass + _HIDDEN)
        colours = sums / (mass + _HIDDEN) - mean * seen
        return tf.reshape(tf.concat([colours, seen], -1), (-1, COLUMNS * ROWS * _GATHERED))


def waves(count: int) -> np.ndarray:
    """Makes the `count` longest cosine waves over the texels, as orthonormal rows [count, COLUMNS * ROWS] float32.

    They are those of the discrete cosine transform (type II). The first is constant.

    Raises:
        InputError: `count` is larger than the number of texels.
    """
    if count > COLUMNS * ROWS:
        raise InputError(f"--texture_codes: they hold {count} waves of three colours; there are only {COLUMNS * ROWS}")

    def cosines(size):
        basis = np.cos(np.pi / size * np.arange(size)[:, None] * (np.arange(size) + 0.5))
        return basis / np.linalg.norm(basis, axis=1, keepdims=True)

    across, along = np.divmod(np.arange(COLUMNS * ROWS), ROWS)
    longest_first = np.argsort(np.hypot(across / ACROSS, along / ALONG), kind="stable")
    return np.kron(cosines(COLUMNS), cosines(ROWS))[longest_first[:count]].astype(np.float32)


class _Waves(keras.layers.Layer):
    """The base of the layers between texels and codes: the codes are the amounts of the longest waves in each colour.

    Args:
        codes, channels: T and c, see `ModelConfig.texture_codes`. There are T c // 3 waves; the rest of the codes is 0.
    """

    def __init__(self, codes, channels, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.codes, self.channels = codes, channels
        self.waves = waves(codes * channels // PICTURE_CHANNELS)

    def get_config(self):
        return {**super().get_config(), "codes": self.codes, "channels": self.channels}


@keras.saving.register_keras_serializable(PACKAGE)
class TextureToCodes(_Waves):
    """Gathered texture [B, COLUMNS * ROWS * 4] -> codes [B, T, c] float32."""

    def call(self, gathered):
        colours = tf.reshape(gathered, (-1, COLUMNS * ROWS, _GATHERED))[..., :PICTURE_CHANNELS]
        by_colour = tf.reshape(tf.transpose(colours, (0, 2, 1)), (-1, COLUMNS * ROWS))
        found = tf.reshape(tf.matmul(by_colour, self.waves.T), (-1, PICTURE_CHANNELS * len(self.waves)))
        left = self.codes * self.channels - found.shape[1]
        return tf.reshape(tf.pad(found, [[0, 0], [0, left]]), (-1, self.codes, self.channels))


@keras.saving.register_keras_serializable(PACKAGE)
class CodesToTexture(_Waves):
    """Codes [B, T, c] -> texels [B, COLUMNS * ROWS * 3] float32. Each wave has a learned factor, at first 1."""

    def build(self, codes_shape):
        self.strength = self.add_weight(name="strength", shape=(len(self.waves), 1), initializer="ones")

    def call(self, codes):
        flat = tf.reshape(codes, (-1, self.codes * self.channels))[:, : PICTURE_CHANNELS * len(self.waves)]
        by_colour = tf.matmul(tf.reshape(flat, (-1, len(self.waves))), self.strength * self.waves)
        texels = tf.transpose(tf.reshape(by_colour, (-1, PICTURE_CHANNELS, COLUMNS * ROWS)), (0, 2, 1))
        return tf.reshape(texels, (-1, COLUMNS * ROWS * PICTURE_CHANNELS))


@keras.saving.register_keras_serializable(PACKAGE)
class LayTexture(keras.layers.Layer):
    """Lays a texture in the frame of the wanted shape. Each part has a learned factor of the texture, at first 1.

    Args:
        side: S, the side of the picture.

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
    """The last channel, scaled from [-1, 1] to [0, 1], [B, S, S, 1]."""
    return (shape[..., -1:] + 1.0) / 2.0


def _hats(place, count):
    """Places [B, P] in [-1/2, 1/2] -> bilinear weights [B, P, count]."""
    return tf.nn.relu(1.0 - tf.abs((place + 0.5)[..., None] * (count - 1) - tf.range(count, dtype=tf.float32)))
