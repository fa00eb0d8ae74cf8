"""Tables of pictures, with headers before the rows and above the columns: matrices, sheets of samples."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from vunet_tf.images import enlarge, grid, label

LONGEST = 16  # rows or columns: a longer table is cut into strips
_ASPECT = 1.5  # about how much wider than high a table of strips is


class Header(NamedTuple):
    """What stands before a row or above a column: a small text, and [H, W, 1 or 3] uint8 pictures."""

    label: str = ""
    pictures: tuple[np.ndarray, ...] = ()


def draw_table(
    cells: Sequence[Sequence[np.ndarray | None]], rows: Sequence[Header], columns: Sequence[Header], least: int = 96
) -> np.ndarray:
    """Draws a table. A long one is cut into strips: of rows, side by side, or else of columns, one below the other.

    Args:
      cells: rows of [H, W, 1 or 3] uint8 pictures; None leaves a cell empty.
      rows, columns: their headers.
      least: about how many pixels high each picture is shown, by whole numbers (see `images.enlarge`).

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
    """The headers of all rows, or of all columns: each is `depth` cells, first the label if any has one."""

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
