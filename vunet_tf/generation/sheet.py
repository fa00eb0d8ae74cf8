"""A sheet: pictures in rows and columns that are made one after another, and ways to save and show them."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.files import atomic, pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.grids import Header, draw_table, enlarge, grid
from vunet_tf.generation import animation

GRID_CELL, FRAME_CELL = 96, 256  # about how many pixels high a picture is shown
INDEX_FILE = "index.csv"
_LONGEST_LABEL = 80  # bytes of a label in a file name; a whole name can have 255


class Cell(NamedTuple):
    """A picture that was made, and where it stands on its sheet.

    Attributes:
        row: its row, counted from 0.
        column: its column, counted from 0.
        row_header: what stands at the left of the row.
        column_header: what stands above the column.
        shape: the shape [S, S, C] for which it was made, or None.
        picture: [S, S, 3] uint8.
    """

    row: int
    column: int
    row_header: Header
    column_header: Header
    shape: np.ndarray | None
    picture: np.ndarray


class Sheet:
    """Pictures that are made while one iterates over them. This works only once.

    Args:
        cells: the pictures.
        total: their number, if every input can be read.
        size: side of a picture in pixels.
        by_column: whether the pictures come column by column, as the frames of an animation do.
    """

    def __init__(self, cells: Iterable[Cell], total: int, size: int, by_column: bool = False):
        self._cells, self._total, self._size, self.by_column = iter(cells), total, size, by_column

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Cell]:
        return self._cells

    def array(self) -> np.ndarray:
        """All pictures, [rows, columns, S, S, 3] uint8.

        Raises:
            InputError: if there is none.
        """
        return np.array(self._gathered()[0])

    def draw(self, least: int = GRID_CELL) -> np.ndarray:
        """A table of all pictures with labels, appearances and shapes around it, [H, W, 3] uint8.

        Args:
            least: about how many pixels high a picture is shown.

        Raises:
            InputError: if there is no picture, or the table would be larger than `pictures.MAX_PIXELS`.
        """
        self._require_room(least)
        return draw_table(*self._gathered(), least)

    def _repr_png_(self) -> bytes:
        """What `draw` gives, for a notebook: a sheet in the last line of a cell shows itself."""
        return pictures.encode(self.draw(), "png")

    def _require_room(self, least: int) -> None:
        side = self._size * max(1, round(least / self._size))
        if len(self) * side**2 > pictures.MAX_PIXELS:
            raise InputError(
                f"{len(self)} pictures of {side} x {side} pixels are more than one grid should hold "
                f"({pictures.MAX_PIXELS // side**2}); give --separate, or a smaller --cell"
            )

    def save_grid(self, path: Path | str, least: int = GRID_CELL) -> int:
        """Writes what `draw` gives as a PNG file.

        Returns:
            How many pictures it shows.

        Raises:
            InputError: as `draw`, and if it cannot be written.
        """
        self._require_room(least)
        made, rows, columns = self._gathered()
        drawn = pictures.encode(draw_table(made, rows, columns, least), "png")
        with atomic.writing(path):
            atomic.write_bytes(Path(path), drawn)
        return sum(picture is not None for row in made for picture in row)

    def save_pictures(self, folder: Path | str) -> int:
        """Writes each picture as a PNG file in its own size when it is made, and at the end `index.csv`.

        A name is made of the labels of row and column ("APPEARANCE__SHAPE.png"). If the columns are frames, it is made
        of the frame's number ("00012__APPEARANCE.png"). `index.csv` lists them all.

        Returns:
            The number of pictures.

        Raises:
            InputError: they cannot be written, or there is none.
        """
        folder = Path(folder)
        rows, names = [], set()
        for cell in self:
            labels = [header.label for header in (cell.row_header, cell.column_header) if header.label]
            name = _file_name([f"{cell.column:05d}", cell.row_header.label] if self.by_column else labels, names)
            rows.append([name, cell.row, cell.column, *labels])
            with atomic.writing(folder / name):
                atomic.write_bytes(folder / name, pictures.encode(cell.picture, "png"))
        if not rows:
            raise InputError("no picture was made")
        with atomic.writing(folder / INDEX_FILE):
            atomic.write_csv(folder / INDEX_FILE, [("file", "row", "column", "row_label", "column_label"), *rows])
        return len(rows)

    def frames(self, least: int = FRAME_CELL, with_shapes: bool = False) -> Iterator[np.ndarray]:
        """Frames [H, W, 3] uint8: the pictures of a column, side by side; with `with_shapes`, also their shapes.

        Raises:
            InputError: the pictures do not come column by column.
        """
        if not self.by_column:
            raise InputError("only animate and interpolate make the frames of an animation")
        for _, column in groupby(self, key=lambda cell: cell.column):
            shown, shape = [], None
            for cell in column:
                if with_shapes and cell.shape is not None and (shape is None or (cell.shape != shape).any()):
                    shape = cell.shape
                    shown.append(enlarge(shape, least))
                shown.append(enlarge(cell.picture, least))
            yield grid([shown], gap=0)

    def save_animation(
        self,
        path: Path | str,
        fps: float = 10,
        least: int = FRAME_CELL,
        with_shapes: bool = False,
        sound: Path | None = None,
    ) -> int:
        """Writes `frames` as a GIF or an MP4 file. The ending of `path` decides which.

        Args:
            fps: frames per second. GIF can only count in hundredths of a second.
            least, with_shapes: see `frames`.
            sound: a video whose sound an MP4 file gets.

        Returns:
            The number of frames.

        Raises:
            InputError: the file cannot be written or has another ending, or there is no frame.
        """
        path, count = Path(path), 0

        def counted():
            nonlocal count
            for frame in self.frames(least, with_shapes):
                count += 1
                yield frame

        with atomic.writing(path):
            atomic.write(path, lambda temporary: animation.write(temporary, counted(), fps, sound))
        return count

    def _gathered(self) -> tuple[list[list[np.ndarray | None]], list[Header], list[Header]]:
        """All pictures in rows, and the headers of rows and columns."""
        cells = list(self)
        if not cells:
            raise InputError("no picture was made")
        rows = {cell.row: cell.row_header for cell in cells}
        columns = {cell.column: cell.column_header for cell in cells}
        made: list[list[np.ndarray | None]] = [[None] * len(columns) for _ in rows]
        for cell in cells:
            made[cell.row][cell.column] = cell.picture
        return made, [rows[i] for i in range(len(rows))], [columns[j] for j in range(len(columns))]


def _file_name(labels: list[str], taken: set[str]) -> str:
    """A file name made of labels, which is unique in every file system. It is added to `taken`."""
    parts = (re.sub(r"[^\w.=-]+", "-", label).encode()[:_LONGEST_LABEL].decode(errors="ignore") for label in labels)
    stem = "__".join(parts).lstrip("-.") or "picture"  # "-rf" would be an option of rm, ".x" would be hidden
    name, number = f"{stem}.png", 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name.lower())
    return name
