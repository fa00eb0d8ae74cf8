"""Edge maps as shapes, for things without joints: shoes, handbags, any folder of pictures."""

import cv2
import numpy as np


def edge_map(picture: np.ndarray) -> np.ndarray:
    """Canny edges of a picture.

    The two thresholds follow the picture: Otsu's threshold and half of it, on a slightly blurred grey version, so that
    one setting serves dark and bright pictures.

    Args:
        picture: [H, W, 3] uint8, RGB.

    Returns:
        [H, W, 1] uint8: 255 on an edge, 0 elsewhere.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    high, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return cv2.Canny(grey, high / 2, high)[..., None]
