"""The stickman: a shape map drawn from joints with plain TensorFlow ops.

Each line is the set of points nearer to a segment than half its thickness, with one pixel of anti-aliasing at the rim.
There is no scatter, no loop and no custom op, so the same function runs in `tf.data`, in a SavedModel and in TFLite.
Layout and thickness are the released program's (see `skeleton`).
"""

import tensorflow as tf

from vunet_tf.data.skeleton import JOINT_INDEX, LEFT_BONES, RIGHT_BONES, TORSO

THICKNESS = 3 / 128  # of a line, as a fraction of the picture's width
NECK_LEVEL = 127 / 255  # brightness of the line from neck to nose; every other line has 1
_FAR = 1e6  # squared pixels: the distance to a line that is not drawn


def draw_stickman(joints: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Draws people as stickmen.

    Args:
      joints: [B, 15, 2] float32 fractions of the picture; NaN or outside [0, 1] where unseen. A line with an unseen
        end is left out.
      height, width: size of the map in pixels.

    Returns:
      [B, height, width, 3] float32 in [-1, 1]: the right side, the left side, the torso; -1 is empty.
    """
    visible = tf.reduce_all((joints >= 0.0) & (joints <= 1.0), axis=-1)
    pixels = tf.where(visible[..., None], joints, 0.0) * tf.constant([width, height], tf.float32) - 0.5
    radius = THICKNESS * width / 2

    right = _coverage(_nearest(*_bones(pixels, visible, RIGHT_BONES), height, width), radius)
    left = _coverage(_nearest(*_bones(pixels, visible, LEFT_BONES), height, width), radius)
    neck_to_nose = NECK_LEVEL * _coverage(_nearest(*_neck_bone(pixels, visible), height, width), radius)
    channels = [
        tf.maximum(right, neck_to_nose),
        tf.maximum(left, neck_to_nose),
        _fill(*_joints(pixels, visible, TORSO), height, width),
    ]
    return tf.stack(channels, axis=-1) * 2.0 - 1.0


def _joints(pixels, visible, names):
    index = [JOINT_INDEX[name] for name in names]
    return tf.gather(pixels, index, axis=1), tf.gather(visible, index, axis=1)


def _bones(pixels, visible, bones):
    """Ends of the bones: starts [B, S, 2], ends [B, S, 2] in pixels, and which are drawn [B, S]."""
    starts, starts_seen = _joints(pixels, visible, [bone[0] for bone in bones])
    ends, ends_seen = _joints(pixels, visible, [bone[1] for bone in bones])
    return starts, ends, starts_seen & ends_seen


def _neck_bone(pixels, visible):
    points, seen = _joints(pixels, visible, ("rshoulder", "lshoulder", "cnose"))
    neck = (points[:, 0:1] + points[:, 1:2]) / 2
    return neck, points[:, 2:3], tf.reduce_all(seen, axis=1, keepdims=True)


def _grid(height, width):
    """Pixel centres as [1, 1, 1, W] x and [1, 1, H, 1] y: a distance is a broadcast of rows and columns."""
    x = tf.reshape(tf.range(width, dtype=tf.float32), [1, 1, 1, width])
    y = tf.reshape(tf.range(height, dtype=tf.float32), [1, 1, height, 1])
    return x, y


def _nearest(starts, ends, drawn, height, width):
    """Squared distance in pixels of each pixel to the nearest of the segments: [B, S, 2] ends to [B, H, W]."""
    x, y = _grid(height, width)
    along = ends - starts
    length = tf.norm(along, axis=-1, keepdims=True)
    # A segment of no length is a dot: any direction does, but not the zero vector.
    along = tf.where(length > 1e-6, along / tf.maximum(length, 1e-6), tf.constant([1.0, 0.0]))
    middle = (starts + ends) / 2
    mx, my = middle[..., 0, None, None], middle[..., 1, None, None]
    ux, uy = along[..., 0, None, None], along[..., 1, None, None]
    lengthwise = tf.abs(ux * (x - mx) + uy * (y - my))
    beyond_end = tf.nn.relu(lengthwise - length[..., None] / 2)
    across = ux * (y - my) - uy * (x - mx)
    squared = tf.square(beyond_end) + tf.square(across)
    squared += tf.where(drawn, 0.0, _FAR)[..., None, None]
    return tf.reduce_min(squared, axis=1)


def _coverage(squared_distance, radius):
    return tf.clip_by_value(radius + 0.5 - tf.sqrt(squared_distance), 0.0, 1.0)


def _fill(corners, seen, height, width):
    """Coverage [B, H, W] of filled polygons [B, K, 2] (even-odd rule, so a twisted torso is two triangles)."""
    x, y = _grid(height, width)
    following = tf.roll(corners, -1, axis=1)
    drawn = tf.reduce_all(seen, axis=1)
    x0, y0 = corners[..., 0, None, None], corners[..., 1, None, None]
    x1, y1 = following[..., 0, None, None], following[..., 1, None, None]
    straddles = (y0 > y) != (y1 > y)
    rise = tf.where(straddles, y1 - y0, 1.0)
    crosses = straddles & (x < x0 + (y - y0) / rise * (x1 - x0))
    inside = tf.reduce_prod(tf.where(crosses, -1.0, 1.0), axis=1)  # -1 after an odd number of crossings
    every_edge = tf.ones_like(seen)
    to_edge = tf.sqrt(_nearest(corners, following, every_edge, height, width))
    covered = tf.clip_by_value(0.5 - inside * to_edge, 0.0, 1.0)
    return tf.where(drawn[:, None, None], covered, 0.0)
