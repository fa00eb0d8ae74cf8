"""Pictures at the edges: uint8 to the model's [-1, 1] floats and back, and grids to look at. The one place for both.

The [0, 255] bytes of a file map to [-1, 1] linearly: 0 to -1, 127.5 to 0, 255 to 1.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def to_float(image):
    """Bytes to the model's range: an uint8 tensor or array of any shape to float32 in [-1, 1]."""
    if isinstance(image, np.ndarray):
        return image.astype(np.float32) / 127.5 - 1
    import tensorflow as tf  # workers of `prepare` use this module and have no need of TensorFlow

    return tf.cast(image, tf.float32) / 127.5 - 1


def to_uint8(image) -> np.ndarray:
    """The model's floats to bytes: array-like of any shape, clipped to [-1, 1], rounded to the nearest of 0..255."""
    return np.clip(np.rint((np.asarray(image, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def to_uint8_tensor(image):
    """`to_uint8` in TensorFlow ops, for graphs: a float tensor of any shape to uint8."""
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round((image + 1.0) * 127.5), 0.0, 255.0), tf.uint8)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """[..., H, W, C] with C 1 or 3 to [..., H, W, 3]; one channel is shown as grey."""
    if image.shape[-1] == 3:
        return image
    if image.shape[-1] == 1:
        return np.repeat(image, 3, axis=-1)
    raise ValueError(f"a picture has 1 or 3 channels, this has shape {image.shape}")


def enlarge(image: np.ndarray, least: int) -> np.ndarray:
    """Repeats the pixels of a [H, W, C] picture a whole number of times, so that it is about `least` pixels high."""
    factor = max(1, round(least / image.shape[0]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def label(text: str, width: int, height: int = 16) -> np.ndarray:
    """A [height, width, 3] uint8 picture of a small text, black on white; what is too long is cut off."""
    picture = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(size=0.7 * height)
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, fill="black", font=font, anchor="mm")
    return np.asarray(picture)


def grid(rows, gap: int = 2, background: int = 255) -> np.ndarray:
    """Lays pictures out in rows.

    Args:
      rows: list of lists of [H, W, 1 or 3] uint8 pictures; None leaves a cell empty. Sizes may differ: a row is as
        high as its highest picture, a column as wide as its widest, and pictures stand in the middle of their cells.
      gap: pixels between cells and around the grid.
      background: grey level between the pictures, 0..255.

    Returns:
      [H, W, 3] uint8 picture.

    Raises:
      ValueError: if there is no picture at all.
    """
    cells = [[None if image is None else to_rgb(np.asarray(image)) for image in row] for row in rows]
    pictures = [image for row in cells for image in row if image is not None]
    if not pictures:
        raise ValueError("a grid needs at least one picture")
    columns = max(len(row) for row in cells)
    heights = [max((image.shape[0] for image in row if image is not None), default=0) for row in cells]
    widths = [
        max((row[j].shape[1] for row in cells if j < len(row) and row[j] is not None), default=0)
        for j in range(columns)
    ]
    canvas = np.full(
        (sum(heights) + gap * (len(heights) + 1), sum(widths) + gap * (columns + 1), 3), background, np.uint8
    )
    top = gap
    for row, height in zip(cells, heights, strict=True):
        left = gap
        for image, width in zip(row, widths, strict=False):
            if image is not None:
                y, x = top + (height - image.shape[0]) // 2, left + (width - image.shape[1]) // 2
                canvas[y : y + image.shape[0], x : x + image.shape[1]] = image
            left += width + gap
        top += height + gap
    return canvas
