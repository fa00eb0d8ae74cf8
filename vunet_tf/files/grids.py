"""Pictures laid out to be looked at: grids, and tables with headers before the rows and above the columns."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vunet_tf.files.pixels import to_rgb

LONGEST = 16  # rows or columns; a longer table is cut into strips
_ASPECT = 1.5  # about the width of a table of strips, divided by its height


def enlarge(image: np.ndarray, least: int) -> np.ndarray:
    """Repeats the pixels of a [H, W, C] picture a whole number of times, so that it is about `least` pixels high."""
    factor = max(1, round(least / image.shape[0]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def label(text: str, width: int, height: int = 16) -> np.ndarray:
    """A [height, width, 3] uint8 picture of a small text, black on white. What does not fit is cut off."""
    picture = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(size=0.7 * height)
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, fill="black", font=font, anchor="mm")
    return np.asarray(picture)


def grid(rows: Sequence[Sequence[np.ndarray | None]], gap: int = 2, background: int = 255) -> np.ndarray:
    """Lays pictures out in rows.

    Args:
        rows: list of lists of [H, W, 1 or 3] uint8 pictures; None leaves a cell empty. Sizes may differ: a row is as
            high as its highest picture, a column as wide as its widest, and pictures stand in the middle of their
            cells.
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


class Header(NamedTuple):
    """The head of a row or a column: a small text, and [H, W, 1 or 3] uint8 pictures."""

    label: str = ""
    pictures: tuple[np.ndarray, ...] = ()


def draw_table(
    cells: Sequence[Sequence[np.ndarray | None] | np.ndarray],
    rows: Sequence[Header],
    columns: Sequence[Header],
    least: int = 96,
) -> np.ndarray:
    """Draws a table. Long ones are cut: into strips of rows, side by side, or of columns, one below the other.

    Args:
        cells: rows of [H, W, 1 or 3] uint8 pictures; None leaves a cell empty.
        rows, columns: their headers.
        least: about how many pixels high each picture is shown, by whole numbers (see `enlarge`).

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: if there is no picture at all.
    """
    before, above = _Margin(rows, least), _Margin(columns, least)
    shown = [[None if cell is None else enlarge(cell, least) for cell in row] for row in cells]

    def lines(i, j, number_of_rows, number_of_columns):
        """The grid of a part of the table, with its headers."""
        heads = [before.of(k) for k in range(i, min(i + number_of_rows, len(rows)))]
        tops = [above.of(k) for k in range(j, min(j + number_of_columns, len(columns)))]
        titles = [[*[None] * before.depth, *line] for line in zip(*tops, strict=True)]
        return titles + [
            [*head, *row[j : j + number_of_columns]]
            for head, row in zip(heads, shown[i : i + number_of_rows], strict=True)
        ]

    height, width = len(rows), len(columns)
    if height > LONGEST:
        strip = math.ceil(height / max(1, round(math.sqrt(_ASPECT * height / (before.depth + width)))))
        strips = [lines(i, 0, strip, width) for i in range(0, height, strip)]
        nothing = [None] * (before.depth + width)
        tallest = max(map(len, strips))
        padded = [part + [nothing] * (tallest - len(part)) for part in strips]
        return grid([list(chain(*line)) for line in zip(*padded, strict=True)])
    strip = width
    if width > LONGEST:
        strip = math.ceil(width / max(1, round(math.sqrt(width / _ASPECT / (above.depth + height)))))
    return grid(list(chain(*(lines(0, j, height, strip) for j in range(0, width, strip)))))


class _Margin:
    """The headers of all rows, or of all columns. Each takes `depth` cells, the label first if any header has one."""

    def __init__(self, headers: Sequence[Header], least: int):
        self._headers, self._least = headers, least
        self._labelled = any(header.label for header in headers)
        self._pictures = max((len(header.pictures) for header in headers), default=0)
        self.depth = self._labelled + self._pictures

    def of(self, index: int) -> list[np.ndarray | None]:
        header = self._headers[index]
        pictures = [enlarge(picture, self._least) for picture in header.pictures]
        return [*self._label(header.label), *pictures, *[None] * (self._pictures - len(pictures))]

    def _label(self, text: str) -> list[np.ndarray]:
        return [label(_shortened(text, self._least // 6), self._least)] if self._labelled else []


def _shortened(text: str, length: int) -> str:
    """A text without its middle, if it has more than `length` characters."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[len(text) - end :]}"
