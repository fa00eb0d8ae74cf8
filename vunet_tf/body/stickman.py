"""The stickman: a shape map drawn from joints with plain TensorFlow ops.

A line has all points that are nearer to a segment than half the line's thickness, with one pixel of anti-aliasing at
its rim. There is no scatter, no loop and no custom op, so the same function runs in `tf.data`, in a SavedModel and in
TFLite. Layout and thickness are those of the released program (see `skeleton`).
"""

from functools import reduce

import tensorflow as tf

from vunet_tf.body.skeleton import JOINT_INDEX, LEFT_BONES, RIGHT_BONES, TORSO

THICKNESS = 3 / 128  # of a line, as a fraction of the picture's width
NECK_LEVEL = 127 / 255  # brightness of the line from neck to nose; every other line has 1
_FAR = 1e6  # pixels: farther than any line that is drawn


def draw_stickman(joints: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Draws people as stickmen.

    Args:
        joints: [B, 15, 2] float32 fractions of the picture; NaN or outside [0, 1] where unseen. A line with an unseen
            end is left out.
        height, width: size of the map in pixels.

    Returns:
        [B, height, width, 3] float32 in [-1, 1]: the right side, the left side, the torso; -1 is empty.
    """
    canvas = _Canvas(joints, height, width)
    radius = THICKNESS * width / 2
    right = canvas.coverage(canvas.distance(RIGHT_BONES), radius)
    left = canvas.coverage(canvas.distance(LEFT_BONES), radius)
    neck_to_nose = NECK_LEVEL * canvas.coverage(canvas.distance([("neck", "cnose")]), radius)
    channels = [tf.maximum(right, neck_to_nose), tf.maximum(left, neck_to_nose), canvas.filled(TORSO)]
    return tf.stack(channels, axis=-1) * 2.0 - 1.0


class _Canvas:
    """Points of a batch of people, and distances to what connects them.

    A quantity for each pixel is a tensor [B, H, W], for each row [B, H, 1], for each person [B, 1, 1]. Lines are taken
    one by one: a tensor with an axis for them would be dozens of times as large as the picture.
    """

    def __init__(self, joints, height, width):
        self.x = tf.reshape(tf.range(width, dtype=tf.float32), [1, 1, width])
        self.y = tf.reshape(tf.range(height, dtype=tf.float32), [1, height, 1])
        visible = tf.reduce_all((joints >= 0.0) & (joints <= 1.0), axis=-1)
        pixels = tf.where(visible[..., None], joints, 0.0) * tf.constant([width, height], tf.float32) - 0.5
        self.points = {name: pixels[:, i, :, None, None] for name, i in JOINT_INDEX.items()}
        self.visible = {name: visible[:, i, None, None] for name, i in JOINT_INDEX.items()}
        self.points["neck"] = (self.points["rshoulder"] + self.points["lshoulder"]) / 2
        self.visible["neck"] = self.visible["rshoulder"] & self.visible["lshoulder"]

    def distance(self, bones):
        """Distance in pixels to the nearest of the bones whose ends are both visible."""
        squared = [self._squared_distance(a, b, self.visible[a] & self.visible[b]) for a, b in bones]
        return tf.sqrt(reduce(tf.minimum, squared))

    def _squared_distance(self, a, b, drawn):
        ax, ay = self.points[a][:, 0], self.points[a][:, 1]
        bx, by = self.points[b][:, 0], self.points[b][:, 1]
        length = tf.sqrt(tf.square(bx - ax) + tf.square(by - ay))
        # A segment of no length is a dot: it may have any direction, but not the zero vector.
        dot = length < 1e-6
        ux = tf.where(dot, 1.0, (bx - ax) / tf.maximum(length, 1e-6))
        uy = tf.where(dot, 0.0, (by - ay) / tf.maximum(length, 1e-6))
        mx, my = (ax + bx) / 2, (ay + by) / 2
        # Distance from the segment's middle, along it and across it. What is in brackets is the same for a whole row.
        lengthwise = ux * self.x + (uy * (self.y - my) - ux * mx)
        across = uy * self.x - (ux * (self.y - my) + uy * mx)
        beyond_end = tf.nn.relu(tf.abs(lengthwise) - tf.where(drawn, length / 2, -_FAR))
        return tf.square(beyond_end) + tf.square(across)

    @staticmethod
    def coverage(distance, radius):
        """How much of a pixel is nearer than the radius: the distance clipped to one pixel around it."""
        return tf.clip_by_value(radius + 0.5 - distance, 0.0, 1.0)

    def filled(self, corners):
        """Coverage of a filled polygon (even-odd rule, so a twisted torso is two triangles)."""
        sides = [*zip(corners, (*corners[1:], corners[0]), strict=True)]
        crossings = [self._crosses(a, b) for a, b in sides]
        inside = reduce(tf.math.logical_xor, crossings)
        to_edge = tf.sqrt(reduce(tf.minimum, [self._squared_distance(a, b, True) for a, b in sides]))
        drawn = reduce(tf.logical_and, [self.visible[name] for name in corners])
        return tf.where(drawn, self.coverage(tf.where(inside, -to_edge, to_edge), 0.0), 0.0)

    def _crosses(self, a, b):
        """Whether a ray from the pixel to the right crosses the line from a to b."""
        ax, ay = self.points[a][:, 0], self.points[a][:, 1]
        bx, by = self.points[b][:, 0], self.points[b][:, 1]
        straddles = (ay > self.y) != (by > self.y)
        rise = tf.where(straddles, by - ay, 1.0)
        crossing = tf.where(straddles, ax + (self.y - ay) / rise * (bx - ax), -_FAR)
        return self.x < crossing
