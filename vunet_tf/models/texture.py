"""A texture in the frame of the shape: it says what lies where on the trunk, whichever way the trunk leans.

Part maps tell hair from shirt, but they do not tell the second stripe of the shirt from the third. The frame does. It
comes from the last channel of the shape map: in a stickman that is the torso, in a body map the whole body.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vunet_tf.config import PICTURE_CHANNELS
from vunet_tf.files.errors import InputError
from vunet_tf.models.layers import PACKAGE, Shape
from vunet_tf.models.part_maps import positions

ROWS, COLUMNS = 16, 12  # texels along the frame's axis, and across it
ALONG, ACROSS = 1.5, 1.1  # how much the texels cover, in lengths of the frame
_GATHERED = PICTURE_CHANNELS + 1  # numbers that F sees of a texel: its colour, and whether it is seen
_NOSE = 1.5  # sideways movement of the front of the trunk, over that of the middle of the line to the nose
_LARGEST_TURN = 0.5  # lengths of the frame: how much farther it may move than the nose says
_TURN_UNITS = 48  # units of each layer that reads the turn
TURN_COST = 4.0  # weight of the squared movement that the network adds, beside `disagreement`
_HIDDEN = 0.2  # pixels: a texel with less of the figure under it counts as hidden


@keras.saving.register_keras_serializable(PACKAGE)
class Texels(keras.layers.Layer):
    """Finds the rows and columns of the texture in which each position lies, as bilinear weights.

    The frame comes from the moments of the shape's last channel. They give its centre, its longest axis (which points
    downwards) and its length, which is that of a rectangle with the same variance. Unlike learned places, this frame is
    right from the first step.

    When a person turns, the front of the trunk moves to one side. A stickman shows this by the lines of the face. With
    `turning` the frame moves sideways with the line from neck to nose, the only line that is in both of the other
    channels, times a learned number. A small network adds to that. It sees where the lines of the face lie in the frame
    (`face`), and is odd: for a mirrored shape map it gives the opposite. Both learn from `disagreement` alone, since
    the error of the picture says too little about them. Where there are no such lines, as in a body map, nothing moves.

    Args:
        turning: whether the frame follows the face.

    Call: shape [B, S, S, C] in [-1, 1] -> rows [B, S * S, ROWS], columns [B, S * S, COLUMNS] float32 in [0, 1]. A
    position outside the texture has only zeros.
    """

    def __init__(self, turning: bool = False, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.turning = turning

    def build(self, shape: Shape) -> None:
        self.turns = self.turning and shape[-1] > 2
        if self.turns:
            self.nose = self.add_weight(name="nose", shape=(), initializer=keras.initializers.Constant(_NOSE))
            self.read_face = [keras.layers.Dense(_TURN_UNITS, "silu", dtype="float32", name=f"face_{i}") for i in "01"]
            zeros = {"use_bias": False, "kernel_initializer": "zeros", "dtype": "float32"}
            self.to_turn = keras.layers.Dense(1, **zeros, name="turn")
            units = len(_MIRRORED)
            for layer in (*self.read_face, self.to_turn):
                layer.build((None, units))
                units = _TURN_UNITS

    def call(self, shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._places(shape, tf.stop_gradient)[:2]

    def learning(self, shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """(rows, columns, added): as the call gives them, but the gradient reaches the weights.

        `added` [B, 1] is what the network adds to the movement, in lengths of the frame.
        """
        return self._places(shape, tf.identity)

    def _places(self, shape, gradient):
        along, across, length, width = frame(shape)
        added = None
        if self.turns:
            of_face = face(shape, along, across, length, width)
            seen = of_face * _SCALES
            added = _LARGEST_TURN * tf.tanh(self._turn(seen) - self._turn(tf.matmul(seen, _MIRRORED)))
            across -= gradient(self.nose * of_face[:, 2:3] + added)
        return _hats(along / ALONG, ROWS), _hats(across / ACROSS, COLUMNS), added

    def _turn(self, h):
        for layer in self.read_face:
            h = layer(h)
        return self.to_turn(h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "turning": self.turning}


@keras.saving.register_keras_serializable(PACKAGE)
class GatherTexture(keras.layers.Layer):
    """Gathers the picture's colours in the frame of its shape.

    Call: picture [B, S, S, 3], shape [B, S, S, C], rows and columns of `Texels` -> [B, COLUMNS * ROWS * 4] float32. A
    texel that is seen has its colour less the mean colour, and 1. A hidden texel has only zeros.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, picture: tf.Tensor, shape: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
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

    def __init__(self, codes: int, channels: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.codes, self.channels = codes, channels
        self.waves = waves(codes * channels // PICTURE_CHANNELS)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "codes": self.codes, "channels": self.channels}


@keras.saving.register_keras_serializable(PACKAGE)
class TextureToCodes(_Waves):
    """Gathered texture [B, COLUMNS * ROWS * 4] -> codes [B, T, c] float32."""

    def call(self, gathered: tf.Tensor) -> tf.Tensor:
        colours = tf.reshape(gathered, (-1, COLUMNS * ROWS, _GATHERED))[..., :PICTURE_CHANNELS]
        by_colour = tf.reshape(tf.transpose(colours, (0, 2, 1)), (-1, COLUMNS * ROWS))
        found = tf.reshape(tf.matmul(by_colour, self.waves.T), (-1, PICTURE_CHANNELS * len(self.waves)))
        left = self.codes * self.channels - found.shape[1]
        return tf.reshape(tf.pad(found, [[0, 0], [0, left]]), (-1, self.codes, self.channels))


@keras.saving.register_keras_serializable(PACKAGE)
class CodesToTexture(_Waves):
    """Codes [B, T, c] -> texels [B, COLUMNS * ROWS * 3] float32. Each wave has a learned factor, at first 1."""

    def build(self, codes_shape: Shape) -> None:
        self.strength = self.add_weight(name="strength", shape=(len(self.waves), 1), initializer="ones")

    def call(self, codes: tf.Tensor) -> tf.Tensor:
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

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.side = side

    def build(self, texture_shape: Shape, rows_shape: Shape, columns_shape: Shape, maps_shape: Shape) -> None:
        self.shown = self.add_weight(name="shown", shape=(maps_shape[-1], 1), initializer="ones")

    def call(self, texture: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        wide = tf.matmul(columns, tf.reshape(texture, (-1, COLUMNS, ROWS * PICTURE_CHANNELS)))
        wide = tf.reshape(wide, (-1, rows.shape[1], ROWS, PICTURE_CHANNELS)) * rows[..., None]
        laid = tf.reshape(tf.reduce_sum(wide, 2), (-1, self.side, self.side, PICTURE_CHANNELS))
        shown = tf.reshape(tf.matmul(positions(maps), self.shown), (-1, *maps.shape[1:3], 1))
        return laid * tf.image.resize(shown, [self.side, self.side])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}


def disagreement(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """How far two gathered textures of one look are from each other: 0 if they are equal, about 1 if nothing is alike.

    It is the squared difference of what both show, over the variance of both. Only a difference of the colours counts:
    to hide texels has no gradient.

    Args:
        a, b: [B, COLUMNS * ROWS * 4] as `GatherTexture` gives them; row i of both is of the same look.

    Returns:
        A scalar over the batch.
    """
    a, b = (tf.reshape(gathered, (-1, COLUMNS * ROWS, _GATHERED)) for gathered in (a, b))
    both = tf.stop_gradient(a[..., PICTURE_CHANNELS:] * b[..., PICTURE_CHANNELS:])
    total = tf.reduce_sum(both, 1, keepdims=True) + 1e-3

    def varying(gathered):
        colours = gathered[..., :PICTURE_CHANNELS]
        return colours - tf.reduce_sum(both * colours, 1, keepdims=True) / total

    a, b = varying(a), varying(b)
    variance = tf.reduce_sum(both * (a * a + b * b)) + 1e-3
    return tf.reduce_sum(both * tf.square(a - b)) / tf.stop_gradient(variance)


def frame(shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The frame of a shape [B, S, S, C]: (along, across, length, width).

    Places [B, S * S] of all positions along and across the axis, in lengths of the frame. Length [B, 1] in sides of the
    picture, width [B, 1] in lengths.
    """
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
    thickness = tf.sqrt(6.0 * tf.maximum(xx + yy - spread, 1e-6)) / length
    right, down = x - centre_x, y - centre_y
    return (right * sine + down * cosine) / length, (right * cosine - down * sine) / length, length, thickness


_ODD = (1.0, -1.0, 1.0, 1.0, -1.0, 1.0)  # signs in a mirror of what `face` reads of a line
_SCALES = np.array([4.0] + 3 * [32.0, 3.0, 3.0, 12.0, 12.0, 12.0], np.float32)  # they bring `face` to about 1


def _mirrored():
    """The matrix that makes the numbers of `face` those of the mirrored shape map: right and left change places."""
    signs = np.diag(_ODD)
    matrix = np.zeros((1 + 3 * len(_ODD),) * 2, np.float32)
    matrix[0, 0] = 1
    for i, mirrored in enumerate((0, 2, 1)):
        at, to = 1 + i * len(_ODD), 1 + mirrored * len(_ODD)
        matrix[at : at + len(_ODD), to : to + len(_ODD)] = signs
    return matrix


_MIRRORED = _mirrored()


def face(shape: tf.Tensor, along: tf.Tensor, across: tf.Tensor, length: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Numbers [B, 19] on the face of a stickman in its frame, see `frame`.

    The first is the width of the frame. Then come six for the line from neck to nose, and for the lines from the nose
    to the right and to the left eye: amount, mean across, mean along, variance across, covariance, variance along.
    """
    pixels = shape.shape[1] * shape.shape[2]
    right, left = (tf.reshape((shape[..., i : i + 1] + 1.0) / 2.0, (-1, pixels)) for i in (0, 1))
    above = tf.clip_by_value(-10.0 * along - 5.0, 0.0, 1.0)
    to_nose = tf.minimum(right, left)
    # XNNPACK has no stack, and its concat joins at most five tensors.
    lines = tf.concat([line[:, None] for line in (to_nose, right - to_nose, left - to_nose)], 1) * above[:, None]
    places = (across, along, across * across, across * along, along * along)
    amount = tf.reduce_mean(lines, -1, keepdims=True)
    moments = tf.matmul(lines, tf.concat([place[..., None] for place in places], -1)) / pixels
    mean = moments / (amount + 7e-5)
    x, y = mean[..., :1], mean[..., 1:2]
    spread = mean[..., 2:] - tf.concat([x * x, x * y, y * y], -1)
    numbers = tf.concat([amount / length[:, None], mean[..., :2], spread], -1)
    return tf.concat([width, tf.reshape(numbers, (-1, 3 * len(_ODD)))], -1)


def _amount(shape):
    """The last channel, scaled from [-1, 1] to [0, 1], [B, S, S, 1]."""
    return (shape[..., -1:] + 1.0) / 2.0


def _hats(place, count):
    """Places [B, P] in [-1/2, 1/2] -> bilinear weights [B, P, count]."""
    return tf.nn.relu(1.0 - tf.abs((place + 0.5)[..., None] * (count - 1) - tf.range(count, dtype=tf.float32)))
