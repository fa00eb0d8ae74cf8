"""The model's score of every single example as a CSV file, and the difference of two runs on the same examples."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vunet_tf.data.example import Example
from vunet_tf.evaluation.measures import MODEL
from vunet_tf.evaluation.metrics import mean_interval
from vunet_tf.evaluation.scoring import QUANTITIES, Tally
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes

EXAMPLE = ("section", "split", "position", "appearance_id", "shape_id")
SEED = 0  # of the intervals of differences


class ExampleScores(NamedTuple):
    """The scores of one section and split.

    Attributes:
        examples: (position, appearance_id, shape_id) of each.
        values: {key of QUANTITIES: a score for each example, [N]}. A score that an example does not have is NaN.
    """

    examples: tuple[tuple[str, ...], ...]
    values: dict[str, np.ndarray]


def path_beside(results: Path | str) -> Path:
    """The CSV file that belongs to the JSON file of an evaluation."""
    path = Path(results)
    return path.with_name(f"{path.stem}_examples.csv")


def rows(tally: Tally, index: Sequence[Example]) -> list[dict[str, str]]:
    """One row for each example of a tally: where it stands in the split's index, and the scores of the model."""
    found = {key: tally.values(MODEL, key) for key in QUANTITIES if tally.has(MODEL, key)}
    made = []
    for row, position in enumerate(tally.positions):
        example = index[position]
        of = (tally.section, tally.split, str(position), example.appearance_id, example.shape_id)
        scores = {key: f"{values[row]:.6g}" for key, values in found.items() if np.isfinite(values[row])}
        made.append(dict(zip(EXAMPLE, of, strict=True)) | scores)
    return made


def table(made: list[dict[str, str]]) -> list[list[str]]:
    """Rows as the lines of a CSV file. Its columns are those of `EXAMPLE` and the keys that some example has."""
    columns = [*EXAMPLE, *(key for key in QUANTITIES if any(key in row for row in made))]
    return [columns, *([row.get(column, "") for column in columns] for row in made)]


def read(path: Path) -> dict[tuple[str, str], ExampleScores]:
    """{(section, split): scores} of a file; nothing if there is no file, as of evaluations of earlier versions.

    Raises:
        InputError: the file cannot be read, or is not such a file.
    """
    try:
        found = list(csv.DictReader(io.StringIO(read_bytes(path).decode(), newline=""), strict=True))
        groups: dict[tuple[str, str], list] = {}
        for row in found:
            groups.setdefault((row["section"], row["split"]), []).append(row)
        return {key: _scores(group) for key, group in groups.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise InputError(f"{path} is no table of scores of `evaluate`: {error!r:.200}; measure again") from error


def _scores(group):
    examples = tuple(tuple(row[name] for name in EXAMPLE[2:]) for row in group)
    keys = [key for key in QUANTITIES if key in group[0]]
    return ExampleScores(examples, {key: np.array([float(row[key] or "nan") for row in group]) for key in keys})


def difference(first: ExampleScores, second: ExampleScores, key: str) -> tuple[float, float, float] | None:
    """The mean of second - first over the same examples with its 95 % interval, appearances resampled.

    None if one of them has no such score, or if they were measured on other examples. Examples whose score is not
    finite in one of them are left out.
    """
    if first.examples != second.examples or key not in first.values or key not in second.values:
        return None
    differences = second.values[key] - first.values[key]
    kept = np.isfinite(differences)
    if not kept.any():
        return None
    appearances = np.array([appearance for _, appearance, _ in first.examples])
    return mean_interval(differences[kept], appearances[kept], SEED)
