"""Pictures of an evaluation: the best, median and worst examples side by side with the truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vunet_tf.baselines.gallery import decoded
from vunet_tf.evaluation.measures import MODEL
from vunet_tf.evaluation.reconstruction import reconstructions
from vunet_tf.evaluation.scoring import Tally
from vunet_tf.evaluation.transfer import TransferTask
from vunet_tf.files.grids import enlarge, grid, label
from vunet_tf.files.pixels import to_uint8
from vunet_tf.models.generative import GenerativeModel

SHOWN = 3  # examples of each kind: best, median, worst
_CELL = 96  # about how many pixels high a picture is shown


def chosen(tally: Tally) -> dict[str, list[int]]:
    """{"best", "median", "worst": positions}, by the model's error inside the figure, or else over the picture."""
    key = "error_figure" if tally.has(MODEL, "error_figure") else "error"
    errors = tally.values(MODEL, key)
    order = np.argsort(np.where(np.isfinite(errors), errors, -1), kind="stable")
    order = order[np.isfinite(errors[order])]
    shown = min(SHOWN, len(order))
    middle = (len(order) - shown) // 2
    groups = {"best": order[:shown], "median": order[middle : middle + shown], "worst": order[len(order) - shown :]}
    return {name: [tally.positions[i] for i in group] for name, group in groups.items()}


def transfers(task: TransferTask, tally: Tally) -> np.ndarray:
    """A sheet [H, W, 3] uint8. Columns: reference, shape, truth, the model's picture, those of the baselines."""
    groups = chosen(tally)
    questions = {q.position: q for batch in task.questions(_all(groups)) for q in batch}
    answers = list(next(iter(questions.values())).made)
    rows: list[list] = [["", "reference", "shape", "truth", *answers]]
    for name, positions in groups.items():
        for position in positions:
            question = questions[position]
            made = [question.made.get(of) for of in answers]
            rows.append([name, decoded(question.reference), to_uint8(question.shape), question.truth, *made])
    return _sheet(rows)


def reconstructed(model: GenerativeModel, directory: Path | str, split: str, tally: Tally) -> np.ndarray:
    """A sheet [H, W, 3] uint8. Columns: shape, truth, reconstruction."""
    groups = chosen(tally)
    made = dict(zip(_all(groups), _rows(model, directory, split, _all(groups)), strict=True))
    rows = [["", "shape", "truth", "reconstruction"]]
    rows += [[name, *made[position]] for name, positions in groups.items() for position in positions]
    return _sheet(rows)


def _rows(model, directory, split, positions) -> Iterator[tuple]:
    for batch, pictures in reconstructions(model, directory, split, positions, len(positions)):
        yield from zip(to_uint8(batch["shape"]), to_uint8(batch["image"]), pictures, strict=True)


def _all(groups):
    return sorted({position for positions in groups.values() for position in positions})


def _sheet(rows):
    """A grid with a row of titles and a column of names."""
    (_, *titles), *rows = rows
    cells = [[name, *(None if picture is None else enlarge(picture, _CELL) for picture in row)] for name, *row in rows]
    width = cells[0][1].shape[1]
    head = [None, *(label(_short(title), width, 14) for title in titles)]
    return grid([head, *([label(name, 50, 14), *row] for name, *row in cells)])


def _short(title):
    return {
        "copy the reference picture": "copy",
        "mean training picture of the shape": "mean picture",
        "nearest training appearance": "nearest look",
    }.get(title, title)
