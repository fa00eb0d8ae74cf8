"""Our dataset on disk: sharded TFRecords, `dataset.json` (what it is) and `rejects.csv` (what was left out, and why).

A dataset gets its name only when it is complete: it is written under another name and renamed at the end.

TensorFlow is imported by the functions that need it. So a command can read `dataset.json`, and refuse what does not fit
it, without waiting for TensorFlow.
"""

import contextlib
import csv
import dataclasses
import functools
import hashlib
import json
import mmap
import os
import re
import shutil
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from vunet_tf import __version__
from vunet_tf.data.example import LARGEST_SIDE, Example, Rejected
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes
from vunet_tf.files.words import DOCUMENT_ERRORS, json_fault, shown

if TYPE_CHECKING:
    import tensorflow as tf

FORMAT = "vunet-dataset-1"
SHARD_BYTES = 32 * 2**20
_MOST_CHECKED = 2 * 2**30  # bytes: records of a smaller split are checked before they are read; it takes milliseconds
FRAMING_BYTES = 16  # of each record in a TFRecord file: the length and two checksums
_UNENCODABLE = "backslashreplace"  # how a file name that is not valid text is written
INFO_FILE, REJECTS_FILE = "dataset.json", "rejects.csv"
_MOST_INFO_BYTES = 64 * 2**20
_ENDS = 2**16  # bytes at the beginning and at the end of a file, for `digest`
_LONGEST_NAME = 100  # letters of a shard's file name
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")  # a split's name is a part of file names


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name in the dataset, how many examples it has, and its size in bytes."""

    file: str
    examples: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What `dataset.json` says.

    Attributes:
        source: which of `prepare`'s sources it came from.
        made_with: {"flags": flags of `prepare`, "how": how each picture was made, in words}. An excerpt also has
            "excerpt_of", the command that makes the whole dataset.
        image_size: side of the square pictures in pixels.
        joints: names of the joints in their order, or None if the pictures have none.
        shape_channels: channels of the shape map: 3 for a stickman (drawn from joints), 1 or 3 for maps in the records.
        has_mask: whether all examples carry the figure's mask.
        splits: name to shards.
        appearances: how many different ones each split has.
        shapes: how many different ones each split has.
        rejected: number of pictures that were left out.
        version: of vunet_tf, with which it was made.
        format: of the files.
    """

    source: str
    made_with: dict
    image_size: int
    joints: tuple[str, ...] | None
    shape_channels: int
    has_mask: bool
    splits: dict[str, tuple[Shard, ...]]
    appearances: dict[str, int]
    shapes: dict[str, int]
    rejected: int
    version: str = __version__
    format: str = FORMAT

    def examples(self, split: str) -> int:
        """How many examples a split has.

        Raises:
            InputError: if there is no such split.
        """
        if split not in self.splits:
            whole = self.made_with.get("excerpt_of")
            remedy = (
                f"; it is an excerpt: make the whole one by `{whole}` and name it with --dataset_dir" if whole else ""
            )
            raise InputError(f"this dataset has no split {split!r}; it has {', '.join(self.splits)}{remedy}")
        return sum(shard.examples for shard in self.splits[split])


def read_info(directory: Path | str) -> DatasetInfo:
    """Reads a dataset's `dataset.json` and checks that all shards are there and have the right size.

    Raises:
        InputError: the folder is no dataset or has another format, or a shard is missing or has another size.
    """
    directory = Path(directory)
    path = directory / INFO_FILE
    remedy = "make one with `python -m vunet_tf.prepare --source=... --output=DIR`"
    try:
        fields = json.loads(read_bytes(path, _MOST_INFO_BYTES))
    except OSError as error:
        raise InputError(
            f"{directory} is not a dataset: cannot read {INFO_FILE} ({error.strerror}); {remedy}"
        ) from None
    except DOCUMENT_ERRORS as error:
        raise InputError(f"{path} is damaged: {json_fault(error)}; {remedy}") from None
    found = fields.get("format") if isinstance(fields, dict) else None
    if found != FORMAT:
        raise InputError(f"{path} has format {shown(found)}, this version reads {FORMAT!r}; {remedy}")
    try:
        fields["splits"] = {
            name: tuple(Shard(**shard) for shard in shards) for name, shards in fields["splits"].items()
        }
        fields["joints"] = fields["joints"] and tuple(fields["joints"])
        info = DatasetInfo(**fields)
        _check_kinds(info)
    except DOCUMENT_ERRORS as error:
        raise InputError(f"{path} is damaged: {json_fault(error)}; {remedy}") from None
    for shard in (shard for shards in info.splits.values() for shard in shards):
        file = directory / shard.file
        size = file.stat().st_size if file.is_file() else None
        if size != shard.bytes:
            is_now = "is missing" if size is None else f"has {size} bytes instead of {shard.bytes}"
            raise InputError(f"{file} {is_now}: the dataset is damaged; prepare it again")
    return info


def _check_kinds(info: DatasetInfo) -> None:
    """Raises TypeError if `dataset.json` holds other kinds of values than `DatasetInfo` says."""
    shards = [shard for several in info.splits.values() for shard in several]
    numbers = [info.image_size, info.shape_channels, *(n for shard in shards for n in (shard.examples, shard.bytes))]
    right = (
        all(type(number) is int and number > 0 for number in numbers)
        and info.image_size <= LARGEST_SIDE
        and info.shape_channels <= 3
        and isinstance(info.source, str)
        and isinstance(info.made_with, dict)
        and isinstance(info.made_with.get("flags", {}), dict)
        and (info.joints is None or all(isinstance(name, str) for name in info.joints))
        and all(_SPLIT_NAME.fullmatch(split) for split in info.splits)
        and all(Path(shard.file).name == shard.file and len(shard.file) <= _LONGEST_NAME for shard in shards)
    )
    if not right:
        raise TypeError


def shard_paths(directory: Path | str, info: DatasetInfo, split: str) -> list[str]:
    """Paths of a split's TFRecord files, in order.

    Raises:
        InputError: there is no such split, or its records do not fit into its files.
    """
    info.examples(split)
    if sum(shard.bytes for shard in info.splits[split]) <= _MOST_CHECKED:
        for shard in info.splits[split]:
            path = Path(directory) / shard.file
            _check_records(path, shard.examples, path.stat().st_mtime_ns)
    return [str(Path(directory) / shard.file) for shard in info.splits[split]]


@functools.lru_cache(maxsize=1000)
def _check_records(path: Path, examples: int, modified: int) -> None:
    """Raises InputError unless the records of a file end where the file ends.

    TensorFlow allocates as many bytes as a record promises, and the process dies if there is not enough memory.
    """
    del modified  # a part of the cache's key: a changed file is checked again
    count = at = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while at + FRAMING_BYTES <= len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            at, count = at + FRAMING_BYTES + length, count + 1
        if (at, count) != (len(content), examples):
            raise InputError(f"{path} is damaged, not {examples} whole records: prepare the dataset again")


def digest(directory: Path | str) -> str:
    """12 letters that say which dataset this is: another one, or the same prepared otherwise, has other ones.

    Of `dataset.json`, which names the size of each file, and of the beginning and the end of each file: to read all
    of a large dataset would take minutes at every start.

    Raises:
        InputError: if it is no dataset.
    """
    info, whole = read_info(directory), hashlib.sha256((Path(directory) / INFO_FILE).read_bytes())
    for shard in (shard for shards in info.splits.values() for shard in shards):
        with (Path(directory) / shard.file).open("rb") as file:
            whole.update(file.read(_ENDS))
            file.seek(max(0, shard.bytes - _ENDS))
            whole.update(file.read(_ENDS))
    return whole.hexdigest()[:12]


def serialise(example: Example) -> bytes:
    """An example as a `tf.train.Example`; `parse` is the inverse."""
    import tensorflow as tf

    def feature(*values: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    features = {
        "name": feature(example.name.encode(errors=_UNENCODABLE)),
        "appearance_id": feature(example.appearance_id.encode(errors=_UNENCODABLE)),
        "shape_id": feature(example.shape_id.encode(errors=_UNENCODABLE)),
        "attributes": feature(json.dumps(example.attributes, sort_keys=True).encode()),
        "image": feature(example.image),
    }
    if example.joints is not None:
        values = np.asarray(example.joints, np.float32).ravel()
        features["joints"] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if example.shape is not None:
        features["shape"] = feature(example.shape)
    if example.mask is not None:
        features["mask"] = feature(example.mask)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def parse(serialised: bytes) -> Example:
    """The inverse of `serialise`, for use outside a pipeline (`batches` parses with TensorFlow ops)."""
    import tensorflow as tf

    features = tf.train.Example.FromString(serialised).features.feature

    def value(key: str) -> bytes | None:
        return features[key].bytes_list.value[0] if key in features else None

    image, joints = value("image"), None
    if image is None:
        raise KeyError("image")
    if "joints" in features:
        joints = np.array(features["joints"].float_list.value, np.float32).reshape(-1, 2)
    return Example(
        split="",
        name=value("name").decode(),
        appearance_id=value("appearance_id").decode(),
        shape_id=value("shape_id").decode(),
        image=image,
        joints=joints,
        shape=value("shape"),
        mask=value("mask"),
        attributes=json.loads(value("attributes")),
    )


def evenly_spread(count: int, limit: int) -> np.ndarray:
    """At most `limit` of the positions 0 ... count - 1, evenly spread from the first to the last, in rising order."""
    return np.linspace(0, count - 1, min(limit, count)).round().astype(int)


def read_examples(directory: Path | str, split: str, first: int = 0, count: int = -1) -> Iterator[Example]:
    """The examples of a split, in the order of its files, as they are on disk.

    Args:
        first: position of the first example, counted from 0.
        count: number of examples; -1 for all that follow.

    Raises:
        InputError: if it is no dataset, has no such split, or a record is damaged.
    """
    import tensorflow as tf

    records = tf.data.TFRecordDataset(shard_paths(directory, read_info(directory), split)).skip(first).take(count)
    options = tf.data.Options()
    # There is nothing to tune, and its thread can hold up the end: TensorFlow wakes it before it marks the iterator as
    # cancelled. A thread that looks in between sleeps on, for as long as the reading took, and at most 60 s.
    options.autotune.enabled = False
    records = records.with_options(options)
    try:
        for record in records.as_numpy_iterator():
            yield parse(record)._replace(split=split)
    except tf.errors.DataLossError as error:
        raise InputError(f"{directory} is damaged, prepare it again: {error.message}") from error
    except (DecodeError, *DOCUMENT_ERRORS) as error:
        raise InputError(f"{directory} is damaged, prepare it again: a record holds no example") from error


class DatasetWriter:
    """Writes a dataset into a folder; `write_dataset` moves the folder to its final place."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._writers: dict[str, tf.io.TFRecordWriter] = {}
        self._shards: dict[str, list[Shard]] = {}
        self._pending: dict[str, list[int]] = {}  # split: examples and bytes of the shard being written
        self._ids = {"appearance_id": {}, "shape_id": {}}
        self._names: set[tuple[str, str]] = set()
        self._rejects = (directory / REJECTS_FILE).open("w", newline="", encoding="utf-8", errors=_UNENCODABLE)
        self._reject_rows = csv.writer(self._rejects)
        self._reject_rows.writerow(["file", "reason"])
        self.reasons: Counter[str] = Counter()
        self._has_mask = True  # until an example without a mask comes

    def add(self, example: Example) -> None:
        """Appends an example to its split.

        It is rejected if the split already has its name, or if the split is not a plain word, which could name a file
        elsewhere.
        """
        if not _SPLIT_NAME.fullmatch(example.split):
            self.reject(Rejected(example.name, f"its split {shown(example.split)} is no word of letters and digits"))
            return
        if (example.split, example.name) in self._names:
            self.reject(Rejected(example.name, "duplicate name: an example of this name was written before"))
            return
        self._names.add((example.split, example.name))
        record = serialise(example)
        count, size = self._pending.get(example.split, [0, 0])
        if count and size + len(record) > SHARD_BYTES:
            self._close_shard(example.split)
            count, size = 0, 0
        if not count:
            import tensorflow as tf

            path = self.directory / self._shard_name(example.split)
            self._writers[example.split] = tf.io.TFRecordWriter(str(path))
        self._writers[example.split].write(record)
        self._pending[example.split] = [count + 1, size + len(record)]
        for key, seen in self._ids.items():
            seen.setdefault(example.split, set()).add(getattr(example, key))
        self._has_mask &= example.mask is not None

    def reject(self, rejected: Rejected) -> None:
        """Lists a picture that was left out."""
        self._reject_rows.writerow(rejected)
        self.reasons[rejected.reason] += 1

    def finish(self, **info: Any) -> DatasetInfo:
        """Closes all files and writes `dataset.json`. `info` has the fields of `DatasetInfo` that are not counted here.

        Raises:
            InputError: if no example was written.
        """
        for split in list(self._writers):
            self._close_shard(split)
        self._rejects.close()
        if not self._shards:
            told = "".join(f"\n  {count} x {reason}" for reason, count in self.reasons.most_common(5))
            raise InputError(
                f"no picture is left, the dataset would be empty; {self.reasons.total()} were left out"
                + (f", for these reasons:{told}" if told else "")
            )
        info = DatasetInfo(
            **info,
            has_mask=self._has_mask,
            splits={split: tuple(self._shards[split]) for split in sorted(self._shards)},
            appearances={split: len(ids) for split, ids in sorted(self._ids["appearance_id"].items())},
            shapes={split: len(ids) for split, ids in sorted(self._ids["shape_id"].items())},
            rejected=self.reasons.total(),
        )
        content = json.dumps(dataclasses.asdict(info), indent=1) + "\n"
        atomic.write_text(self.directory / INFO_FILE, content)
        return info

    def close(self) -> None:
        """Closes all files as they are, after an error."""
        import tensorflow as tf

        self._rejects.close()
        for writer in self._writers.values():
            with contextlib.suppress(tf.errors.OpError):
                writer.close()

    def _shard_name(self, split: str) -> str:
        return f"{split}-{len(self._shards.get(split, [])):05d}.tfrecord"

    def _close_shard(self, split: str) -> None:
        self._writers.pop(split).close()
        name = self._shard_name(split)
        examples, size = self._pending.pop(split)
        on_disk = (self.directory / name).stat().st_size
        if on_disk != size + examples * FRAMING_BYTES:
            raise OSError(
                f"{name} has {on_disk} bytes on disk, {size} and their framing were written; is the disk full?"
            )
        self._shards.setdefault(split, []).append(Shard(name, examples, on_disk))


def _put_in_place(partial: Path, directory: Path, replaced: Path) -> None:
    """Renames the new dataset to its name. The old one is set aside first, and comes back if this fails."""
    if directory.exists():
        directory.rename(replaced)
    try:
        os.replace(partial, directory)
    except BaseException:
        if replaced.exists():
            replaced.rename(directory)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def demand_free(directory: Path | str, overwrite: bool) -> None:
    """Raises InputError if a dataset cannot get this name: the folder is there, or holds something else."""
    directory = Path(directory).resolve()
    if directory.exists() and not overwrite:
        raise InputError(f"{directory} exists; name another --output or give --overwrite")
    if directory.exists() and not (directory / INFO_FILE).is_file():
        raise InputError(f"{directory} is not a dataset of ours, it is not overwritten; name another --output")


@contextlib.contextmanager
def write_dataset(directory: Path | str, overwrite: bool = False) -> Iterator[DatasetWriter]:
    """Opens a dataset for writing. It gets its name when the block ends without error; otherwise nothing is left.

    The next run removes what a killed run left behind (`.NAME.partial`). With `overwrite` an old dataset stays in place
    until the new one is complete.

    Raises:
        InputError: the name is taken, the folder cannot be written, or another run is writing it.
    """
    import tensorflow as tf

    directory = Path(directory).resolve()
    partial = directory.parent / f".{directory.name}.partial"
    replaced = directory.parent / f".{directory.name}.replaced"
    with atomic.locked(directory.parent / f".{directory.name}.lock", directory, "--output"):
        try:
            if replaced.exists() and not directory.exists():
                replaced.rename(directory)  # a run was killed between the two renames below
            demand_free(directory, overwrite)
            for leftover in (partial, replaced):
                shutil.rmtree(leftover, ignore_errors=True)
            partial.mkdir()
            writer = DatasetWriter(partial)
            try:
                yield writer
            finally:
                writer.close()
            _put_in_place(partial, directory, replaced)
        except (OSError, tf.errors.OpError) as error:
            raise InputError(f"cannot write {directory}: {getattr(error, 'strerror', None) or error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
