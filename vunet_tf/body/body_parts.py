"""Body-part crops: each part of a person is cut out, turned upright and resized to one size (in-plane normalisation).

So what the appearance encoder sees depends little on the pose. Boxes, fallbacks and edge handling follow the released
program, with two faults mended: the boxes are right in pictures that are not square, and a quadrilateral that is too
thin or twisted (a torso in profile) counts as missing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from vunet_tf.body.skeleton import BODY_PARTS, JOINT_INDEX, BodyPart

# In [-1, 1], so mid-grey: the released program's choice (the paper says black, which would be -1).
MISSING_PART = 0.0
_MIN_AREA = 4.0  # square pixels: a smaller part shows nothing
_MIN_CORNER = 1e-3  # a corner's cross product, over the squared longest side: below it the corner is flat or inverted


# Large regions of a person, and the parts that make up each. Where two overlap, the first in this list is on top.
REGIONS = {
    "head": ("head",),
    "torso": ("torso",),
    "arms": ("upper arm", "forearm"),
    "legs": ("thigh", "shin"),
}


BACKGROUND = "background"  # where there is no region


class Crops(NamedTuple):
    """Which crops to make of a person: how many `parts` (8 or 10), and the `size` of their sides in pixels."""

    parts: int
    size: int


def crop_body_parts(images: tf.Tensor, joints: tf.Tensor, height: int, width: int, num_parts: int = 8) -> tf.Tensor:
    """Cuts out the body parts of a batch of people.

    Args:
        images: [B, H, W, 3] float32 in [-1, 1]: pictures, or the stickmen of the same people.
        joints: [B, 15, 2] float32 fractions of the picture; NaN or outside [0, 1] where unseen.
        height, width: size of a crop in pixels.
        num_parts: 8 (released program) or 10 (with the shins).

    Returns:
        [B, height, width, 3 * num_parts] float32 in [-1, 1], the parts in the order of `skeleton.BODY_PARTS`;
        `MISSING_PART` where a part is unseen or degenerate. Beyond the picture, the picture's edge is repeated.

    Raises:
        ValueError: if `num_parts` is neither 8 nor 10.
    """
    if num_parts not in BODY_PARTS:
        raise ValueError(f"there are tables of {' and '.join(map(str, BODY_PARTS))} body parts, not of {num_parts}")
    picture = tf.shape(images)[1:3]
    corners, found = part_corners(joints, picture[0], picture[1], BODY_PARTS[num_parts])
    whole = tf.constant([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    transforms = crop_transforms(tf.where(found[..., None, None], corners, whole), height, width)
    crops = []
    for part in range(num_parts):
        crop = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms[:, part],
            output_shape=[height, width],
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )
        crops.append(tf.where(found[:, part, None, None, None], crop, MISSING_PART))
    return tf.ensure_shape(tf.concat(crops, axis=-1), [None, height, width, 3 * num_parts])


def body_regions(joints: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """Where the `REGIONS` of a person lie, {name: [side, side] bool}. They do not overlap. Unseen ones are empty.

    Args:
        joints: [15, 2] fractions of the picture, NaN or outside [0, 1] where unseen.
        side: side of the maps in positions.
    """
    # In a picture of so many pixels, even a small person's parts are large enough to count.
    scale = 256
    table = BODY_PARTS[10]
    corners, found = part_corners(tf.constant(joints[None], tf.float32), scale, scale, table)
    corners, found = corners[0].numpy() * side / scale, found[0].numpy()
    free, regions = np.ones((side, side), bool), {}
    for name, members in REGIONS.items():
        drawn = np.zeros((side, side), np.uint8)
        for i, part in enumerate(table):
            if found[i] and part.name.endswith(members):
                cv2.fillConvexPoly(drawn, np.rint(corners[i] - 0.5).astype(np.int32), 1)
        regions[name] = (drawn > 0) & free
        free &= ~regions[name]
    return regions


def region_masses(maps: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """How much of each part map [m, m, K] of a person lies in each of `REGIONS`, and outside of all: [5, K]."""
    inside = body_regions(joints, maps.shape[0])
    outside = ~np.any(list(inside.values()), axis=0)
    return np.stack([maps[where].sum(0) for where in (*inside.values(), outside)])


def regions_of(maps: np.ndarray, joints: Sequence[np.ndarray]) -> list[str]:
    """The region in which each part has most of its mass: K names of `REGIONS`, or `BACKGROUND`.

    Args:
        maps: [N, m, m, K] of N people.
        joints: joints of the same people, [15, 2] each.
    """
    masses = np.sum([region_masses(one, person) for one, person in zip(maps, joints, strict=True)], axis=0)
    return [[*REGIONS, BACKGROUND][i] for i in masses.argmax(0)]


def part_corners(
    joints: tf.Tensor, height: int, width: int, parts: tuple[BodyPart, ...]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the parts lie in the picture.

    Args:
        joints: [B, 15, 2] float32 fractions of the picture; NaN or outside [0, 1] where unseen.
        height, width: size of the picture in pixels.
        parts: P rows of a table of `skeleton`.

    Returns:
        corners: [B, P, 4, 2] float32 in pixels, (0, 0) the upper left corner of the first pixel; the crop's upper left,
            upper right, lower right and lower left corner. Where a part is not found, they have any values.
        found: [B, P] booleans; False where a joint is unseen (and there is no fallback) or the corners degenerate.
    """
    seen = tf.reduce_all((joints >= 0.0) & (joints <= 1.0), axis=-1)
    size = tf.cast(tf.stack([width, height]), tf.float32)
    pixels = tf.where(seen[..., None], joints, 0.0) * size
    boxes = {"torso": _torso, "head": _head, "limb": _limbs}
    corners, found, order = [], [], []
    for kind, box in boxes.items():
        members = [i for i, part in enumerate(parts) if part.kind == kind]
        kind_corners, kind_found = box(pixels, seen, [parts[i] for i in members], size)
        corners.append(kind_corners)
        found.append(kind_found)
        order += members
    in_table_order = np.argsort(order)
    corners = tf.gather(tf.concat(corners, axis=1), in_table_order, axis=1)
    found = tf.gather(tf.concat(found, axis=1), in_table_order, axis=1)
    return corners, found & _is_proper(corners)


def _gather(pixels, seen, names):
    index = [JOINT_INDEX[name] for name in names]
    return tf.gather(pixels, index, axis=1), tf.gather(seen, index, axis=1)


def _torso(pixels, seen, parts, size):
    del size
    joints = [_gather(pixels, seen, part.joints) for part in parts]
    corners = tf.stack([points for points, _ in joints], axis=1)
    return corners, tf.stack([tf.reduce_all(visible, axis=1) for _, visible in joints], axis=1)


def _head(pixels, seen, parts, size):
    del size
    (part,) = parts
    points, visible = _gather(pixels, seen, part.joints)
    right, left, nose = tf.unstack(points, axis=1)
    neck = (right + left) / 2
    # Without a nose: the square above the shoulders.
    above = neck - tf.norm(left - right, axis=-1, keepdims=True) * tf.constant([0.0, 1.0])
    top = tf.where(visible[:, 2:3], neck + 2 * (nose - neck), above)
    corners = _box(top[:, None], neck[:, None], tf.constant([[part.aspect]]))
    return corners, tf.reduce_all(visible[:, :2], axis=1, keepdims=True)


def _limbs(pixels, seen, parts, size):
    first, first_seen = _gather(pixels, seen, [part.joints[0] for part in parts])
    second, second_seen = _gather(pixels, seen, [part.joints[1] for part in parts])
    to_bottom = tf.constant([part.to_bottom for part in parts])
    # A thigh without a knee: straight down to the picture's lower edge.
    below = tf.stack([first[..., 0], tf.fill(tf.shape(first)[:2], size[1])], axis=-1)
    second = tf.where(second_seen[..., None], second, below)
    corners = _box(first, second, tf.constant([[part.aspect] for part in parts]))
    return corners, first_seen & (second_seen | to_bottom)


def _box(top, bottom, aspect):
    """Corners [B, N, 4, 2] of the boxes around the lines from `top` to `bottom` [B, N, 2], `aspect` [N, 1] wide."""
    along = bottom - top
    rightwards = tf.stack([along[..., 1], -along[..., 0]], axis=-1) * aspect / 2
    return tf.stack([top - rightwards, top + rightwards, bottom + rightwards, bottom - rightwards], axis=2)


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _is_proper(corners):
    """Which quadrilaterals [..., 4, 2] are convex, not flat and not tiny; mirrored ones (a back view) are proper."""
    sides = tf.roll(corners, -1, axis=-2) - corners
    turns = _cross(sides, tf.roll(sides, -1, axis=-2))
    area = tf.abs(_cross(corners[..., 2, :] - corners[..., 0, :], corners[..., 3, :] - corners[..., 1, :])) / 2
    longest = tf.reduce_max(tf.reduce_sum(tf.square(sides), axis=-1), axis=-1)
    sharpest = tf.reduce_min(turns * tf.sign(turns[..., :1]), axis=-1)  # negative if two corners turn differently
    return (sharpest >= _MIN_CORNER * longest) & (area >= _MIN_AREA)


def crop_transforms(corners: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The 8 numbers of TensorFlow's projective transform, from a crop's pixels to the picture's: [B, P, 4, 2] to
    [B, P, 8]. The map of the unit square to a quadrilateral is Heckbert's (1989, Sec. 2.2.3), in closed form.
    """
    p0, p1, p2, p3 = tf.unstack(corners, axis=-2)
    edge1, edge2, excess = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    det = _cross(edge1, edge2)
    g = _cross(excess, edge2) / det
    h = _cross(edge1, excess) / det
    column_u = p1 - p0 + g[..., None] * p1
    column_v = p3 - p0 + h[..., None] * p3
    # The unit square's u and v are (pixel + 1/2) / size, a picture's pixel index is its coordinate - 1/2.
    column_u, g = column_u / width, g / width
    column_v, h = column_v / height, h / height
    offset = p0 + (column_u + column_v) / 2
    w = 1 + (g + h) / 2
    rows = [
        tf.stack([column_u[..., i] - g / 2, column_v[..., i] - h / 2, offset[..., i] - w / 2], axis=-1) for i in (0, 1)
    ]
    numbers = tf.concat([*rows, tf.stack([g, h], axis=-1)], axis=-1)
    return numbers / w[..., None]
