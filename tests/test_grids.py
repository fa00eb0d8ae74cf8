"""Tables of pictures: every picture is there once, in its place, with its headers."""

import numpy as np
import pytest

from vunet_tf.files.grids import LONGEST, Header, draw_table, grid

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


def test_a_grid_of_pictures_of_several_sizes():
    grey, colour = np.full((2, 3, 1), 9, np.uint8), np.full((4, 2, 3), 50, np.uint8)
    made = grid([[grey, colour], [None, grey]], gap=1)
    assert made.shape == (1 + 4 + 1 + 2 + 1, 1 + 3 + 1 + 3 + 1, 3)
    np.testing.assert_array_equal(made[2:4, 1:4], np.full((2, 3, 3), 9))
    np.testing.assert_array_equal(made[1:5, 5:7], np.full((4, 2, 3), 50))
    np.testing.assert_array_equal(made[6:8, 1:4], np.full((2, 3, 3), 255))
    assert (made == 9).all(-1).sum() == 12 and (made == 50).all(-1).sum() == 8


def test_pictures_of_other_channel_counts_and_no_pictures_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        grid([[np.zeros((2, 2, 4), np.uint8)]])
    with pytest.raises(ValueError, match="at least one picture"):
        grid([[None]])
