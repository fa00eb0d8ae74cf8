"""The split by hash: which examples are for training and which for validation."""

import hashlib
from collections.abc import Iterable, Iterator

from vunet_tf.data.example import Example

SIDES = {"train", "valid"}


def split_by_hash(examples: Iterable[Example], valid_fraction: float) -> Iterator[Example]:
    """Gives "train" or "valid" to examples without a split. Only the hash of their `split_key` decides.

    So adding pictures never moves one from one split to the other, with one exception. If the hash leaves one split
    empty, the examples of the key nearest to the border go there: two keys are enough for both splits. A single key is
    for training. `valid_fraction=0` makes no split "valid", on purpose.

    Args:
        examples: the examples in any order. Those that have a split keep it.
        valid_fraction: the part of all keys that is for validation, 0 to 1.

    Returns:
        The examples in their order, except that those nearest to the border wait until the other split has one.
    """
    border = int(valid_fraction * 2**64)
    found, given = set(), set()
    waiting, nearest = [], None
    for example in examples:
        distance = None
        if not example.split:
            distance = _hash(example.split_key) - border
            example = example._replace(split="valid" if distance < 0 else "train")
        found.add(example.split)
        ready = [example]
        if found >= SIDES:
            ready, waiting = [*waiting, example], []
        elif distance is None or not valid_fraction:
            pass
        elif nearest is None or abs(distance) < nearest:
            ready, waiting, nearest = waiting, [example], abs(distance)
        elif abs(distance) == nearest:
            ready = []
            waiting.append(example)
        given |= {each.split for each in ready}
        yield from ready
    for example in waiting:
        (other,) = SIDES - {example.split}
        yield example._replace(split=other if example.split in given else "train")


def _hash(key: str) -> int:
    """A hash of 64 bits."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8], "big")
