"""Reference pictures: the one picture of each appearance that the appearance encoder sees in a measured transfer."""

import json
from pathlib import Path
from typing import NamedTuple

from vunet_tf.data.dataset import read_info
from vunet_tf.data.example import Example
from vunet_tf.evaluation.examples import read_index
from vunet_tf.files.errors import InputError

# {split: the split with the same appearances in shapes of the training}.
SPLITS = {"valid": "valid_appearance", "valid_shape": "train", "heldout": "heldout_appearance"}
# Which picture, for a source with a natural choice: a standing character seen from the front.
SELECTORS = {"sprites": "action=idle,direction=down,t=0"}
FIRST = "first"


class References(NamedTuple):
    """The picture of each appearance that a model sees.

    Attributes:
        split: the split that has them.
        positions: {appearance_id: position in the split}.
        rule: how they were chosen, in words.
    """

    split: str
    positions: dict[str, int]
    rule: str


def choose(directory: Path | str, split: str, selector: str | None = None) -> References:
    """A reference for every appearance of `split` that has one.

    Args:
        directory: a dataset.
        split: the split whose examples are made from the references. The references come from the split with the same
            appearances in seen shapes (for valid: valid_appearance; for valid_shape: train), if the dataset has it.
            Otherwise they come from the split itself.
        selector: "first" takes the first picture of each appearance in the order of the files. "key=value,..." takes
            the first with these attributes (or with this name or shape_id). None is
            "action=idle,direction=down,t=0" for sprites, and "first" for other sources.

    Raises:
        InputError: no example fits the selector. The message names what there is.
    """
    info = read_info(directory)
    companion = SPLITS.get(split)
    where = companion if companion in info.splits else split
    selector = selector or SELECTORS.get(info.source, FIRST)
    wanted = _parsed(selector)
    index = read_index(directory, where)
    positions: dict[str, int] = {}
    for position, example in enumerate(index):
        if example.appearance_id not in positions and _fits(example, wanted):
            positions[example.appearance_id] = position
    if not positions:
        known = ", ".join(["name", "shape_id", *sorted(index[0].attributes)])
        raise InputError(f"--reference={selector}: no example of {where} has that; the first has the keys {known}")
    return References(where, positions, f"{selector} of each appearance in {where}")


def _parsed(selector: str) -> dict[str, str]:
    if selector == FIRST:
        return {}
    pairs = [pair.partition("=") for pair in selector.split(",")]
    if not all(key and equals for key, equals, _ in pairs):
        raise InputError(f"--reference={selector}: must be {FIRST}, or key=value with commas between")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _fits(example: Example, wanted: dict[str, str]) -> bool:
    known = {"name": example.name, "shape_id": example.shape_id, **example.attributes}
    return all(key in known and _as_text(known[key]) == value for key, value in wanted.items())


def _as_text(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
