"""Batches for training and evaluation: `tf.data` pipelines from the TFRecords to the model.

The order of the examples depends only on the seed and on the position. So a run that starts at step n sees what an
uninterrupted run would have seen, on any number of replicas and workers.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.body.body_parts import Crops, crop_body_parts
from vunet_tf.body.skeleton import BODY_PARTS, JOINTS, MIRRORED
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.data.dataset import DatasetInfo, read_info, shard_paths
from vunet_tf.data.example import Example
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_float
from vunet_tf.files.words import shortened

MEMORY_LIMIT = 2 * 2**30  # bytes of records; a smaller split is held in memory and shuffled as a whole
SHUFFLE_BLOCK = 4096  # records of a larger split that are shuffled at a time; its shards are shuffled, too
METADATA = ("name", "appearance_id", "shape_id", "attributes")
# The random numbers of an example come from the seed, its position and one of these.
_PARTNER, _MIRROR_APPEARANCE, _SHIFT, _HUE = range(1, 5)


def training_batches(
    directory: Path | str,
    batch_size: int,
    *,
    split: str = "train",
    seed: int = 0,
    first_batch: int = 0,
    mirror: bool = False,
    appearance_from: str = "self",
    mirror_appearance: bool = False,
    shift: int = 0,
    hue: float = 0.0,
    crops: Crops | None = None,
    workers: int = 1,
    worker: int = 0,
    memory_limit: int = MEMORY_LIMIT,
) -> tf.data.Dataset:
    """Endless shuffled batches of one static shape.

    Each epoch has every example once, in a new order. A batch may span the border of two epochs.

    Args:
        directory: a dataset made by `python -m vunet_tf.prepare`.
        batch_size: examples in a batch, for all workers together.
        split: name of the split.
        seed: decides the order, the partners and all random changes.
        first_batch: number of batches to skip, for a run that is resumed.
        mirror: flip half of the examples from left to right, and their partners with them; joints change their sides.
        appearance_from: whose picture the appearance encoder sees: "self", or "other" for a random other example of the
            same appearance_id, which is called the partner. If there is no other one, it is the example itself. If the
            split is too large for the memory, the partner comes from the same group of shards (`_pairs_from_disk`).
        mirror_appearance: flip half of the pictures that the appearance encoder sees, with their shapes.
        shift: move each picture and its shape together by up to this many pixels in x and in y; edges are repeated. A
            partner stays where it is.
        hue: turn the hues of each picture and of its partner by a random angle from -hue to hue, in turns: 0.5 for any
            hue. Greys stay.
        crops: which body parts to cut out; None for none.
        workers, worker: number of machines that share each batch, and the number of this one, from 0.
        memory_limit: bytes up to which a split is held in memory.

    Returns:
        A dataset of dictionaries of float32 tensors in [-1, 1]. S is the picture's side, and B = batch_size / workers:
        "image" [B, S, S, 3], "shape" [B, S, S, C], and with `crops` "parts" [B, size, size, 3 * parts].
        If the appearance encoder sees something else than these, that has the same keys after "appearance_".

    Raises:
        InputError: it is no dataset, has no such split, or has no joints for the crops.
    """
    info = read_info(directory)
    count = info.examples(split)
    _check(info, crops)
    if batch_size % workers:
        raise InputError(f"--batch_size={batch_size} cannot be shared evenly by {workers} workers")
    if not 0 <= worker < workers:
        raise InputError(f"worker {worker} of {workers}: they are counted from 0")
    if appearance_from not in ("self", "other"):
        raise InputError(f"--appearance_from={appearance_from}: must be one of self, other")
    if not 0 <= shift < info.image_size:
        raise InputError(f"--shift={shift}: must be between 0 and {info.image_size - 1} pixels")
    if not 0 <= hue <= 0.5:
        raise InputError(f"--hue={hue}: must be between 0 and 0.5 turns")
    paths = shard_paths(directory, info, split)
    start = first_batch * batch_size
    bytes_of_records = sum(shard.bytes for shard in info.splits[split])
    if bytes_of_records <= memory_limit:
        records = _shuffled_in_memory(paths, count, seed, start, partners=appearance_from == "other")
    elif appearance_from == "other":
        records = _pairs_from_disk(paths, count, seed, start, shards_in_memory(info, split, memory_limit))
    else:
        records = _shuffled_from_disk(paths, count, seed, start)
    if workers > 1:  # before anything is decoded
        share = batch_size // workers
        records = records.filter(lambda position, *_: position % batch_size // share == worker)

    def decode(position, record, partner=None):
        example = _decode(info, record, metadata=False)
        seen = example if partner is None else _decode(info, partner, metadata=False)
        if mirror:
            example, seen = _mirrored_if(_coin(seed, position), (example, seen))
        if shift:
            offset = tf.random.stateless_uniform([2], _stream(seed, position, _SHIFT), -shift, shift + 1, tf.int32)
            example, seen = _shifted(example, offset), seen if partner is not None else _shifted(seen, offset)
        if hue:
            turn = tf.random.stateless_uniform([], _stream(seed, position, _HUE), -hue, hue)
            example, seen = (
                {**either, "image": tf.image.adjust_hue(either["image"], turn)} for either in (example, seen)
            )
        if mirror_appearance:
            (seen,) = _mirrored_if(_coin(*_stream(seed, position, _MIRROR_APPEARANCE)), (seen,))
        return (example,) if partner is None and not mirror_appearance else (example, seen)

    finish = _finisher(info, crops)
    return _batched(records.map(decode, tf.data.AUTOTUNE), info, batch_size // workers, finish, endless=True)


def evaluation_batches(
    directory: Path | str,
    batch_size: int,
    *,
    split: str = "valid",
    positions: Sequence[int] | np.ndarray | None = None,
    crops: Crops | None = None,
) -> tf.data.Dataset:
    """Every example of a split once, in the order of the files. The last batch may be smaller.

    The other arguments, and the errors, are as for `training_batches`.

    Args:
        positions: only these examples, counted from 0 in the order of the files. The others are read but not decoded.

    Returns:
        As `training_batches`, and also "name", "appearance_id", "shape_id" and "attributes" (JSON) [B] strings,
        "joints" [B, 15, 2] if the dataset has joints, and "mask" [B, S, S, 1] in [0, 1] if it has masks.
    """
    info = read_info(directory)
    _check(info, crops)
    records = tf.data.TFRecordDataset(shard_paths(directory, info, split))
    if positions is not None:
        if wrong := [position for position in positions if not 0 <= position < info.examples(split)]:
            raise InputError(f"the split {split!r} has {info.examples(split)} examples, counted from 0; not {wrong[0]}")
        chosen = tf.constant(sorted(positions), tf.int64)
        records = records.enumerate().filter(lambda i, _: tf.reduce_any(chosen == i)).map(lambda _, record: record)
    examples = records.map(lambda record: (_decode(info, record, metadata=True),), tf.data.AUTOTUNE)
    return _batched(examples, info, batch_size, _finisher(info, crops), endless=False)


def batch_of(examples: Sequence[Example], *, crops: Crops | None = None) -> dict[str, tf.Tensor]:
    """A batch of given examples: "image", "shape" and crops, as `evaluation_batches` makes them from a dataset.

    Raises:
        InputError: crops are wanted, and an example has no joints.
    """
    decoded = [tf.io.decode_image(example.image, 3, expand_animations=False) for example in examples]
    batch = {"image": to_float(tf.stack(decoded))}
    size = batch["image"].shape[1]
    batch["shape"] = tf.stack([shape_of(example, size) for example in examples])
    if crops is not None:
        if without := [example.name for example in examples if example.joints is None]:
            raise InputError(f"{without[0]}: body parts need joints, which it has not")
        joints = tf.constant(np.stack([example.joints for example in examples]))
        batch["parts"] = crop_body_parts(batch["image"], joints, crops.size, crops.size, crops.parts)
    return batch


def shape_of(example: Example, size: int) -> tf.Tensor:
    """The shape of an example, [size, size, C] float32 in [-1, 1]: the stickman of its joints, or its map."""
    if example.joints is not None:
        return _compiled_stickman(size)(tf.constant(example.joints, tf.float32))
    return to_float(tf.io.decode_image(example.shape, expand_animations=False))


def undamaged(batches: Iterable, directory: Path | str) -> Iterator:
    """Iterates over batches of a dataset. A damaged record, or one without an example, becomes an InputError."""
    try:
        yield from batches
    except tf.errors.DataLossError as error:
        raise InputError(f"{directory} is damaged, prepare it again: {error.message}") from error
    except (
        tf.errors.InvalidArgumentError,
        UnicodeDecodeError,
    ) as error:  # TensorFlow raises the latter for its own message
        told = re.sub(r"\{\{.*?\}\} ", "", getattr(error, "message", "it holds no text where a text should stand"))
        raise InputError(f"{directory} has a damaged record, prepare it again: {shortened(told)}") from error


def _check(info: DatasetInfo, crops: Crops | None) -> None:
    if crops is None:
        return
    if info.joints is None:
        raise InputError(
            f"body parts need joints, which a dataset of the source {info.source!r} has not; "
            "let the appearance encoder see the picture instead"
        )
    if crops.parts not in BODY_PARTS:
        raise InputError(f"{crops.parts} body parts: there are tables of {' and '.join(map(str, BODY_PARTS))}")


def _stream(seed: int, position, number: int):
    """A new TF seed for one kind of random number at a position."""
    return tf.unstack(tf.random.experimental.stateless_fold_in([seed, position], number))


def _coin(seed, position):
    """True or false with equal chances."""
    return tf.random.stateless_uniform([], [seed, position], 0, 2, tf.int32) == 1


def _shuffled_in_memory(paths: list[str], count: int, seed: int, start: int, partners: bool) -> tf.data.Dataset:
    """(position, record) from position `start` on. The records of each epoch are in a random order.

    With `partners`, (position, record, record of a random other example of the same appearance_id).
    """
    store = tf.concat(list(tf.data.TFRecordDataset(paths).batch(1024)), axis=0)

    def record_at(position):
        epoch = tf.cast(position // count, tf.int32)
        index = tf.random.experimental.index_shuffle(
            tf.cast(position % count, tf.int32), tf.stack([seed, epoch]), count - 1
        )
        return position, index

    positions = tf.data.Dataset.range(start, tf.int64.max).map(record_at)
    if not partners:
        return positions.map(lambda position, index: (position, store[index]))

    grouped, first, rank, size = _by_appearance(_appearance_ids(store))

    def with_partner(position, index):
        partner = _partner(index, _stream(seed, position, _PARTNER), grouped, first, rank, size)
        return position, store[index], store[partner]

    return positions.map(with_partner)


def _appearance_ids(records):
    """The appearance_id of each of [N] records."""
    return tf.io.parse_example(records, {"appearance_id": tf.io.FixedLenFeature([], tf.string)})["appearance_id"]


def _by_appearance(ids):
    """From [N] appearance_ids, four [N] int64 tensors: grouped, first, rank and size.

    `grouped` lists the examples appearance by appearance. The appearance of example i has `size[i]` examples, which
    begin at `first[i]`, and example i is number `rank[i]` of them."""
    _, appearance, sizes = tf.unique_with_counts(ids, tf.int64)
    grouped = tf.cast(tf.argsort(appearance, stable=True), tf.int64)
    first = tf.gather(tf.cumsum(sizes, exclusive=True), appearance)
    return grouped, first, tf.math.invert_permutation(grouped) - first, tf.gather(sizes, appearance)


def _partner(index, seed, grouped, first, rank, size):
    """A random other example of the same appearance, each equally likely; the example itself if there is none."""
    others = tf.maximum(tf.gather(size, index) - 1, 1)
    step = 1 + tf.random.stateless_uniform([], seed, 0, others, tf.int64)
    place = tf.gather(first, index) + (tf.gather(rank, index) + step) % tf.gather(size, index)
    return tf.gather(grouped, place)


def _shuffled_from_disk(paths: list[str], count: int, seed: int, start: int) -> tf.data.Dataset:
    """As `_shuffled_in_memory`, for a larger split: its shards are shuffled, and their records block by block."""

    def epoch(number):
        epoch_seed = tf.stack([seed, tf.cast(number, tf.int32)])

        def shuffled(block_number, block):
            block_seed = tf.random.experimental.stateless_fold_in(epoch_seed, block_number)
            return tf.random.experimental.stateless_shuffle(block, block_seed)

        shards = tf.random.experimental.stateless_shuffle(tf.constant(paths), epoch_seed)
        records = tf.data.Dataset.from_tensor_slices(shards).interleave(
            tf.data.TFRecordDataset, cycle_length=8, num_parallel_calls=2, deterministic=True
        )
        return records.batch(SHUFFLE_BLOCK).enumerate().map(shuffled).unbatch()

    epochs = tf.data.Dataset.range(start // count, tf.int64.max).flat_map(epoch)
    return epochs.skip(start % count).enumerate(start)


def shards_in_memory(info: DatasetInfo, split: str, memory_limit: int = MEMORY_LIMIT) -> int:
    """How many shards of a split make a group, from which partners are taken: at least one.

    Two groups are in memory: one is in use, and the next one is being read.
    """
    return max(1, memory_limit // (2 * max(shard.bytes for shard in info.splits[split])))


def _pairs_from_disk(paths: list[str], count: int, seed: int, start: int, group: int) -> tf.data.Dataset:
    """(position, record, record of its partner) from position `start` on, of a split too large for memory.

    In each epoch the shards are shuffled and cut into groups of `group` shards. A group is read as a whole. Its records
    come in random order, each once, and each with a partner from the same group: a random other example of the same
    appearance_id, or the example itself if the group has no other. The next epoch has other groups, so all pairs occur
    in the end.
    """

    def epoch(number):
        epoch_seed = tf.stack([seed, tf.cast(number, tf.int32)])
        shards = tf.random.experimental.stateless_shuffle(tf.constant(paths), epoch_seed)

        def whole(group_number, files):
            # `count` is more than a group has, so all its records come as one tensor.
            return tf.data.TFRecordDataset(files).batch(count).map(lambda records: (group_number, records))

        def pairs(group_number, records):
            group_seed = tf.random.experimental.stateless_fold_in(epoch_seed, group_number)
            tables = _by_appearance(_appearance_ids(records))
            order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(records, tf.int64)), group_seed)

            def pair(place, index):
                partner_seed = tf.random.experimental.stateless_fold_in(group_seed, place + 1)
                return records[index], records[_partner(index, partner_seed, *tables)]

            return tf.data.Dataset.from_tensor_slices(order).enumerate().map(pair)

        groups = tf.data.Dataset.from_tensor_slices(shards).batch(group).enumerate()
        return groups.flat_map(whole).prefetch(1).flat_map(pairs)

    epochs = tf.data.Dataset.range(start // count, tf.int64.max).flat_map(epoch)
    numbered = epochs.skip(start % count).enumerate(start)
    return numbered.map(lambda position, pair: (position, *pair))


def _decode(info: DatasetInfo, record, metadata: bool) -> dict[str, tf.Tensor]:
    """A record as uint8 pictures and float32 joints, without the batch axis."""
    strings = ["image", *(METADATA if metadata else ())]
    if info.joints is None:
        strings.append("shape")
    if metadata and info.has_mask:
        strings.append("mask")
    features = {key: tf.io.FixedLenFeature([], tf.string) for key in strings}
    if info.joints is not None:
        features["joints"] = tf.io.FixedLenFeature([len(JOINTS), 2], tf.float32)
    example = tf.io.parse_single_example(record, features)
    channels = {"image": 3, "shape": info.shape_channels, "mask": 1}
    for key in channels.keys() & example.keys():
        picture = tf.io.decode_image(example[key], channels[key], expand_animations=False)
        example[key] = tf.ensure_shape(picture, [info.image_size, info.image_size, channels[key]])
    return example


def _mirrored_if(flip, examples):
    """The examples, all flipped from left to right if `flip` is true."""
    return tf.cond(flip, lambda: tuple(map(_mirrored, examples)), lambda: tuple(examples))


def _mirrored(example):
    """An example flipped from left to right. `keypoints.mirror` does the same in NumPy."""
    flipped = {
        key: tf.reverse(value, [1]) if key in ("image", "shape", "mask") else value for key, value in example.items()
    }
    if "joints" in flipped:
        joints = tf.gather(flipped["joints"], MIRRORED)
        unseen = tf.reduce_any((joints < 0) | (joints > 1), axis=-1)
        flipped["joints"] = tf.where(unseen[:, None], joints, tf.stack([1 - joints[:, 0], joints[:, 1]], axis=-1))
    return flipped


def _shifted(example, offset):
    """An example moved by `offset` (y, x) pixels. Edges are repeated; joints that leave the picture are unseen."""
    size = example["image"].shape[0]
    rows, columns = (tf.clip_by_value(tf.range(size) - offset[axis], 0, size - 1) for axis in (0, 1))
    moved = {
        key: tf.gather(tf.gather(value, rows, axis=0), columns, axis=1) if key in ("image", "shape", "mask") else value
        for key, value in example.items()
    }
    if "joints" in moved:
        joints = moved["joints"]
        unseen = tf.reduce_any((joints < 0) | (joints > 1), axis=-1, keepdims=True)
        moved["joints"] = tf.where(unseen, joints, joints + tf.cast(offset[::-1], tf.float32) / size)
    return moved


@cache
def _compiled_stickman(size: int):
    """A function that draws one stickman. It is compiled to one loop over the pixels, not dozens of passes over memory.

    It draws one and not a batch, because compiled code rounds differently for batches of different sizes.
    """
    return tf.function(lambda joints: draw_stickman(joints[None], size, size)[0], jit_compile=True)


def _batched(examples, info: DatasetInfo, batch_size: int, finish, endless: bool):
    """Batches of what the model sees, from tuples: a decoded example, and perhaps what F sees instead of it."""

    def draw(example):
        return {**example, "shape": _compiled_stickman(info.image_size)(example["joints"])}

    def join(batch, *seen):
        return finish(batch) | {f"appearance_{key}": value for other in seen for key, value in finish(other).items()}

    if info.joints is not None:
        examples = examples.map(lambda *several: tuple(map(draw, several)), num_parallel_calls=tf.data.AUTOTUNE)
    batches = examples.batch(batch_size, drop_remainder=endless)
    return batches.map(join, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _finisher(info: DatasetInfo, crops: Crops | None):
    """A function that turns a batch of bytes into a batch of floats, and cuts out body parts."""

    def finish(batch):
        batch = {**batch, "image": to_float(batch["image"])}
        if "mask" in batch:
            batch["mask"] = tf.cast(batch["mask"], tf.float32) / 255
        if info.joints is None:
            batch["shape"] = to_float(batch["shape"])
        if crops is not None:
            batch["parts"] = crop_body_parts(batch["image"], batch["joints"], crops.size, crops.size, crops.parts)
        if "name" not in batch:
            batch.pop("joints", None)
        return batch

    return finish
