"""The split by hash: which examples are for training and which for validation."""

import hashlib
from collections.abc import Iterable, Iterator

from vunet_tf.data.example import Example

SIDES = {"train", "valid"}


def split_by_hash(examples: Iterable[Example], valid_fraction: float) -> Iterator[Example]:
    """Gives examples without a split theirs, "train" or "valid", by the hash of their `split_key` alone.

    Adding pictures therefore never moves one from one side to the other, with one exception. Where the hash leaves one
    side empty, the examples of the key nearest to the border go there: two keys are enough for both splits. A single
    one is for training. `valid_fraction=0` means no split "valid", on purpose.

    Args:
        examples: in any order; those that have a split keep it.
        valid_fraction: how much of all keys is for validation, 0 to 1.

    Returns:
        The examples in their order, but those nearest to the border wait until the other side has one.
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
    """64 bits."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8], "big")
