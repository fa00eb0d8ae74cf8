"""Keypoints of any schema as the 15 canonical joints, in NumPy. `prepare` and `generate` use it.

Coordinates are fractions of the picture: x of its width, y of its height, (0, 0) the upper left corner of the first
pixel and (1, 1) the lower right corner of the last, so that they do not change when the picture is resized. An unseen
joint is (-1, -1).
"""

import numpy as np

from vunet_tf.body.skeleton import JOINT_INDEX, JOINTS, MIRRORED, REQUIRED_JOINTS, SCHEMAS
from vunet_tf.files.errors import InputError

UNSEEN = np.float32(-1.0)


def to_canonical(
    points: np.ndarray, schema: str | tuple[str, ...], visible: np.ndarray | np.bool | None = None
) -> np.ndarray:
    """Reorders keypoints of a schema into the canonical 15 joints.

    Args:
        points: [K, 2] array-like, x and y in any unit; NaN or infinity where a joint is unseen.
        schema: a key of `skeleton.SCHEMAS`, or the K joint names themselves.
        visible: [K] array-like of booleans; by default every joint with finite coordinates.

    Returns:
        [15, 2] float32, in the unit of `points`; NaN where unseen or where the schema has no such joint.

    Raises:
        InputError: if the schema is unknown or the number of points is not the schema's.
    """
    if isinstance(schema, str):
        if schema not in SCHEMAS:
            raise InputError(f"unknown keypoint schema {schema!r}; known: {', '.join(SCHEMAS)}")
        names, title = SCHEMAS[schema], schema
    else:
        names, title = tuple(schema), "the given joint order"
    points = np.asarray(points, np.float32)
    if points.shape != (len(names), 2):
        raise InputError(f"{title} has {len(names)} joints of (x, y), but the keypoints have shape {points.shape}")
    seen = np.isfinite(points).all(axis=1)
    if visible is not None:
        seen &= np.asarray(visible, bool)
    canonical = np.full((len(JOINTS), 2), np.nan, np.float32)
    for i, name in enumerate(names):
        if name in JOINT_INDEX and seen[i]:
            canonical[JOINT_INDEX[name]] = points[i]
    return canonical


def pixels_to_fractions(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Turns pixel coordinates into fractions of the picture. Whole numbers are centres of pixels, as in COCO.

    Args:
        points: [..., 2] array-like in pixels.
        width, height: size of the picture in pixels.

    Returns:
        [..., 2] float32 fractions; a point outside the picture lies outside [0, 1].
    """
    return ((np.asarray(points, np.float32) + 0.5) / np.array([width, height], np.float32)).astype(np.float32)


def fractions_to_pixels(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """The inverse of `pixels_to_fractions`, for seen joints."""
    return np.asarray(points, np.float32) * np.array([width, height], np.float32) - 0.5


def mark_unseen(joints: np.ndarray) -> np.ndarray:
    """Sets joints that are NaN, infinite or outside the picture to (-1, -1). [..., 15, 2] fractions in and out."""
    return np.where(seen(joints)[..., None], joints, UNSEEN).astype(np.float32)


def seen(joints: np.ndarray) -> np.ndarray:
    """Which joints lie in the picture: from [..., 15, 2] fractions to [..., 15] booleans. NaN counts as unseen."""
    with np.errstate(invalid="ignore"):
        return ((joints >= 0) & (joints <= 1)).all(axis=-1)  # type: ignore[return-value]  # of [2] it is one number


def mirror(joints: np.ndarray) -> np.ndarray:
    """Joints of the flipped picture: x becomes 1 - x, and left and right change names. Unseen joints stay unseen."""
    flipped = np.asarray(joints, np.float32)[..., MIRRORED, :]
    x = np.where(seen(flipped), 1 - flipped[..., 0], flipped[..., 0])
    return np.stack([x, flipped[..., 1]], axis=-1).astype(np.float32)


def between(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """A pose on the straight line from one to another: [..., 15, 2] fractions in and out.

    Args:
        first, second: joints. A joint that is unseen in one of them is unseen in between.
        weight: 0 for the first, 1 for the second.
    """
    if weight in (0, 1):
        return second if weight else first
    both = seen(first) & seen(second)
    return np.where(both[..., None], (1 - weight) * first + weight * second, UNSEEN).astype(np.float32)


def missing_required(joints: np.ndarray) -> list[str]:
    """Names of the shoulders and hips that are unseen in [15, 2] joints. If there are any, the person is left out."""
    visible = seen(joints)
    return [name for name in REQUIRED_JOINTS if not visible[JOINT_INDEX[name]]]
