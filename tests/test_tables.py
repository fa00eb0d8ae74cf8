"""Tables of pictures: everything is there once, in its place, with its headers."""

import numpy as np
import pytest

from vunet_tf.files.grids import LONGEST, Header, draw_table

SIDE = 8


def colour(i, j):
    return np.broadcast_to(np.uint8([i, j, 7]), (SIDE, SIDE, 3))


def place(drawn, i, j):
    """Where the only square of a colour begins in a picture (y, x)."""
    found = np.argwhere((drawn == [i, j, 7]).all(axis=-1))
    assert len(found) == SIDE**2, (i, j)
    return found[0]


def test_cells_stand_under_and_beside_their_headers():
    cells = [[colour(i, j) for j in range(3)] for i in range(2)]
    rows = [Header("", (colour(i, 100),)) for i in range(2)]
    columns = [Header("", (colour(100, j),)) for j in range(3)]
    drawn = draw_table(cells, rows, columns, least=SIDE)
    for i in range(2):
        for j in range(3):
            assert place(drawn, i, j)[0] == place(drawn, i, 100)[0] and place(drawn, i, j)[1] == place(drawn, 100, j)[1]


def test_labels_are_written_above_and_before():
    plain = draw_table([[colour(1, 1)]], [Header()], [Header()], least=SIDE)
    assert plain.shape == (SIDE + 4, SIDE + 4, 3)
    labelled = draw_table([[colour(1, 1)]], [Header("row")], [Header("column")], least=SIDE)
    y, x = place(labelled, 1, 1)
    assert (labelled[:y, x:] < 128).any() and (labelled[y:, :x] < 128).any()


@pytest.mark.parametrize("shape", [(3 * LONGEST + 1, 2), (2, 3 * LONGEST + 1)])
def test_a_long_table_is_cut_into_strips_with_their_headers(shape):
    height, width = shape
    cells = [[colour(i, j) for j in range(width)] for i in range(height)]
    rows, columns = ([Header(pictures=(colour(200 + k, 200),)) for k in (range(n))] for n in shape)
    drawn = draw_table(cells, rows, columns, least=SIDE)
    for i in range(height):
        for j in range(width):
            place(drawn, i, j)
    ratio = drawn.shape[1] / drawn.shape[0]
    assert 0.7 < ratio < 2.5, "neither a column nor a row of pictures"
