"""Draws joints over a picture, so that people can check them."""

import cv2
import numpy as np

from vunet_tf.body.keypoints import fractions_to_pixels
from vunet_tf.body.skeleton import JOINT_INDEX, JOINTS, LEFT_BONES, RIGHT_BONES

_COLOURS = {
    "r": (255, 80, 80),
    "l": (80, 255, 80),
    "c": (90, 150, 255),
}  # for the person's right, left and centre, as in the stickman


def joints_over(picture: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] uint8 with joints [15, 2] (fractions, NaN where unseen) and the lines between them."""
    drawn, (height, width) = picture.copy(), picture.shape[:2]
    thickness = max(1, round(max(height, width) / 128))
    points = fractions_to_pixels(joints, width, height)

    def place(name):
        point = points[JOINT_INDEX[name]]
        return tuple(round(float(value)) for value in point) if np.isfinite(point).all() else None

    for bones, side in ((RIGHT_BONES, "r"), (LEFT_BONES, "l")):
        for first, second in bones:
            if place(first) and place(second):
                cv2.line(drawn, place(first), place(second), _COLOURS[side], thickness, cv2.LINE_AA)
    for name in JOINTS:
        if place(name):
            cv2.circle(drawn, place(name), 2 * thickness, _COLOURS[name[0]], cv2.FILLED, cv2.LINE_AA)
    return drawn
