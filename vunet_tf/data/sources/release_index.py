"""The original release's `index.p`: a pickle that names pictures, splits and joints.

A pickle can run any program when it is loaded. This reader admits only plain containers, strings, numbers and NumPy
arrays, which it builds itself from their bytes. Anything else is refused by name before it is called. A pickle also
cannot fill the memory or keep the processor busy for years: copied values are counted, and only plain values can be
keys.
"""

import io
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from vunet_tf.body.keypoints import to_canonical
from vunet_tf.body.skeleton import JOINTS, SCHEMAS
from vunet_tf.data.example import Example
from vunet_tf.data.sources.source import DEFAULT_FITS, Options, Source, fit_in_words, leaves_folder, person_example
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes

_MOST_JOINTS = 200  # more than any schema has; a longer list is not a list of joints
# How many values and bytes a pickle may copy: a fixed number, and a number for each of its own bytes. Without a limit,
# a small pickle could copy the same large list again and again.
_COPIES, _COPIES_PER_BYTE = 2**20, 4
_PAIR = 64  # a pair of a dictionary counts as so many bytes, since it takes that much memory
_KEYS = (str, bytes, int, float, bool, type(None), np.generic)


class Entry(NamedTuple):
    """One picture of the index. Joints are fractions of the picture, negative where unseen."""

    file: str
    train: bool
    joints: object


def open_source(options: Options) -> Source:
    """The pictures of an index. --input is the index or its folder.

    Raises:
        InputError: if the index is missing, refused, or not in the release's form.
    """
    options.require("input")
    path = options.input / "index.p" if options.input.is_dir() else options.input
    index = load_index(path)
    options = options.with_defaults(image_size=256, fit=DEFAULT_FITS["index"], encoding="jpeg")

    return Source(
        items=[Entry(*fields) for fields in zip(index["imgs"], index["train"], index["joints"], strict=True)],
        make=partial(_make, folder=path.parent, order=index["joint_order"], options=options),
        name_of=lambda entry: entry.file,
        image_size=options.image_size,
        has_joints=True,
        how={
            "picture": fit_in_words(options.fit),
            "left out": f"people with fewer than {options.min_joints} of the 15 joints or without shoulders and hips",
            "appearance_id": "one for each picture, the index has no identities",
            "split": "the index's own",
        },
    )


def _make(entry: Entry, folder: Path, order, options: Options) -> list[Example]:
    if leaves_folder(entry.file):
        raise InputError("the file name leaves the folder of the index")
    points = _table(entry.joints)
    picture = pictures.read_picture(folder / entry.file)
    height, width = picture.shape[:2]
    return [
        person_example(
            picture,
            to_canonical(points, order or _schema_of(len(points)), visible=(points >= 0).all(axis=1)),
            pictures.fit_box(width, height, options.fit),
            options,
            split="train" if entry.train else "valid",
            name=entry.file,
            appearance_id=entry.file,
            shape_id=entry.file,
        )
    ]


def _table(joints) -> np.ndarray:
    """An entry's joints as [K, 2] float32. Lists are checked before NumPy unfolds them."""
    try:
        rows = list(joints)
        if len(rows) <= _MOST_JOINTS and all(len(row) == 2 for row in rows):
            return np.array([[float(x), float(y)] for x, y in rows], np.float32).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError("its joints are no table of x and y")


def _schema_of(count: int) -> tuple[str, ...]:
    by_count = {len(JOINTS): JOINTS, len(SCHEMAS["openpose18"]): SCHEMAS["openpose18"]}
    if count not in by_count:
        raise InputError(f"{count} joints without a joint_order; known without one: 15 (VU-Net) and 18 (OpenPose)")
    return by_count[count]


def load_index(path: Path) -> dict:
    """Reads an index without running anything in it.

    Returns:
        dict: {"imgs": list of strings, "train": list of booleans, "joints": list, "joint_order": tuple of strings, or
        None}.

    Raises:
        InputError: the index cannot be read, is not a pickle, asks for more than plain data, or lacks a part.
    """
    try:
        index = _PlainUnpickler(read_bytes(path)).load()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # a broken pickle raises anything
        raise InputError(f"{path} is not a whole pickle of plain data: {type(error).__name__}: {error}") from error
    if not isinstance(index, dict):
        raise InputError(f"{path} holds a {type(index).__name__}, not the release's dictionary")
    try:
        return _lists({_text(key): value for key, value in index.items()})
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _lists(index: dict) -> dict:
    if missing := {"imgs", "train", "joints"} - index.keys():
        has = ", ".join(key[:20] for key in list(index)[:10]) or "nothing"
        raise InputError(f"it lacks {', '.join(sorted(missing))}; it has {has}")
    lists = {}
    for key in ("imgs", "train", "joints"):
        value = _plain(index[key])
        if not isinstance(value, (list, tuple, np.ndarray)):
            raise InputError(f"{key} is a {type(value).__name__}, not a list")
        lists[key] = [_plain(item) for item in value]
    if len({len(values) for values in lists.values()}) != 1:
        counts = ", ".join(f"{len(values)} {key}" for key, values in lists.items())
        raise InputError(f"its lists differ in length: {counts}")
    order = _plain(index.get("joint_order"))
    try:
        return {
            "imgs": [_text(name) for name in lists["imgs"]],
            "train": [bool(value) for value in lists["train"]],
            "joints": lists["joints"],
            "joint_order": None if order is None else tuple(_text(name) for name in order),
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"its joint_order or train is no list of plain values: {error}") from error


def _text(value) -> str:
    if not isinstance(value, _KEYS):  # the text of a nested value can be longer than any memory
        raise InputError(f"it holds a {type(value).__name__} where a text should stand")
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _require_keys(values) -> None:
    if not all(isinstance(value, _KEYS) for value in values):
        raise InputError("refused: a key is no text and no number")


class _Dtype:
    """Stands for `numpy.dtype` while unpickling. It allows only kinds whose bytes are plain values."""

    def __init__(self, name, *_flags):
        self.name, self.order = str(name), "="

    def __setstate__(self, state):
        self.order = str(state[1])

    def resolve(self) -> np.dtype:
        dtype = np.dtype(self.name)
        if dtype.kind not in "biufUSO":
            raise InputError(f"it holds an array of {dtype}, which is not plain data")
        return dtype.newbyteorder(self.order) if self.order in "<>" else dtype


class _Copies:
    """Counts the values that are copied out of a pickle."""

    def __init__(self, most: int):
        self.left = most

    def add(self, values, size: int = 1) -> None:
        """Adds the values of a sequence, each of which counts `size`. Raises InputError if there are too many."""
        self.left -= size * len(values)
        if self.left < 0:
            raise InputError("refused: it unfolds to far more than its own size")


class _Array:
    """Stands for `numpy.ndarray` while unpickling. `resolve` builds the array from shape, dtype and bytes."""

    def __init__(self, copies: _Copies):
        self.copies = copies
        self.state: tuple = ()

    def __setstate__(self, state):
        self.state = state

    def resolve(self) -> np.ndarray:
        _, shape, dtype, fortran, content = self.state
        dtype = dtype.resolve()
        self.copies.add(content)
        if dtype.hasobject:
            array = np.empty(len(content), object)
            array[:] = content
        else:
            content = content.encode("latin1") if isinstance(content, str) else content
            array = np.frombuffer(content, dtype)
        return array.reshape(shape, order="F" if fortran else "C")


def _plain(value):
    """The array of a stand-in. Any other value stays as it is."""
    try:
        return value.resolve() if isinstance(value, _Array) else value
    except InputError:
        raise
    except Exception as error:  # a forged array can be wrong in any way
        raise InputError(f"it holds an array that is damaged: {error}") from error


class _PlainUnpickler(pickle._Unpickler):
    """Admits the few names that pickled NumPy arrays use. Each is replaced by a stand-in that can only hold data.

    It derives from Python's unpickler that is written in Python. The one written in C can take 64 GiB for five bytes (a
    place far out in its memo). It also cannot check the keys of dictionaries and sets, whose hashes can take years.
    """

    def __init__(self, content: bytes):
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._copies = _Copies(_COPIES + _COPIES_PER_BYTE * len(content))
        self._admitted = {
            **{(f"numpy.{core}.multiarray", "_reconstruct"): self._array for core in ("core", "_core")},
            **{(f"numpy.{core}.multiarray", "scalar"): self._scalar for core in ("core", "_core")},
            **{(f"numpy.{core}.numeric", "_frombuffer"): self._from_buffer for core in ("core", "_core")},
            ("numpy", "ndarray"): None,
            ("numpy", "dtype"): _Dtype,
            ("_codecs", "encode"): self._encode,
            ("collections", "OrderedDict"): self._dictionary,
        }

    def find_class(self, module, name):
        if (module, name) not in self._admitted:
            raise InputError(f"refused: it asks for {module}.{name}; only plain containers and arrays are read")
        return self._admitted[module, name]

    # Stand-ins

    def _array(self, *_arguments) -> _Array:
        return _Array(self._copies)

    def _scalar(self, dtype: _Dtype, content: bytes | str):
        self._copies.add(content)
        content = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(content, dtype.resolve(), count=1)[0]

    def _from_buffer(self, content: bytes | bytearray, dtype: _Dtype, shape: tuple, order: str) -> _Array:
        self._copies.add(content)
        array = _Array(self._copies)
        array.state = (1, shape, dtype, order == "F", bytes(content))
        return array

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        if encoding not in ("latin1", "latin-1", "utf-8"):
            raise InputError(f"it asks for the codec {encoding!r}, which is not plain data")
        self._copies.add(text)
        return text.encode(encoding)

    def _dictionary(self, pairs=()) -> dict:
        self._copies.add(pairs, _PAIR)
        keys_and_values = [(key, value) for key, value in pairs]
        _require_keys([key for key, _ in keys_and_values])
        return dict(keys_and_values)

    # Instructions of a pickle that are checked before they are carried out

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def load_setitem(self):
        _require_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self):
        _require_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self):
        _require_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self):
        _require_keys(self.stack)
        super().load_additems()

    def load_frozenset(self):
        _require_keys(self.stack)
        super().load_frozenset()

    def load_build(self):
        if not isinstance(self.stack[-2], (_Array, _Dtype)):
            raise InputError(f"refused: it changes a {type(self.stack[-2]).__name__}")
        super().load_build()

    def load_bytearray8(self):
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))  # no more bytes than there are

    dispatch |= {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }

    def persistent_load(self, pid):
        raise InputError("refused: it asks for an object outside the file")
