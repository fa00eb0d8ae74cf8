"""Every reader of the package: its good inputs, the broken ones, and what is called with them.

A picture, a file of keypoints and so on goes through the same functions as in the commands; a source goes through
`prepare` up to the dataset on disk.
"""

import csv
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from vunet_tf.body import keypoint_files
from vunet_tf.body.skeleton import COCO_17, JOINTS
from vunet_tf.files import pictures
from vunet_tf.people import draw, sample_look, sample_pose

from . import mutations
from .campaign import Reader, Started

READERS: dict[str, Reader] = {}


def reader(name: str, memory: int, seconds: float = 20.0, share: float = 1.0):
    """Adds a function (folder -> `Started`) to `READERS`."""

    def add(start):
        READERS[name] = Reader(name, start, memory, seconds, share)
        return start

    return add


def drawn_by(make: Callable[[Random], object]) -> st.SearchStrategy:
    """The inputs that a function of a `random.Random` makes."""
    return st.integers(0, 2**64 - 1).map(lambda number: make(Random(number)))


def person(i: int, size: int = 64) -> np.ndarray:
    """A drawn person, [size, size, 3] uint8."""
    return draw(sample_look(1, i), sample_pose(1, i), size).image


def out_folder(folder: Path) -> Path:
    out = folder / "out"
    out.mkdir()
    return out


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


def as_json(document) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


# Pictures


def _pictures(format: str, modes: tuple[str, ...], **options) -> list[bytes]:
    made = []
    for i, mode in enumerate(modes):
        image = Image.fromarray(person(i, 40)).convert(mode)
        for more in ({}, options):
            buffer = io.BytesIO()
            image.save(buffer, format, **more)
            made.append(buffer.getvalue())
    return made


def _frames(format: str) -> bytes:
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(person(i, 32)) for i in range(3))
    first.save(buffer, format, save_all=True, append_images=rest)
    return buffer.getvalue()


_EXIF = Image.Exif()
_EXIF[0x0112] = 6  # the orientation
FORMATS = {
    "png": lambda: _pictures("PNG", ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"), exif=_EXIF) + [_frames("PNG")],
    "jpeg": lambda: _pictures("JPEG", ("RGB", "L", "CMYK"), progressive=True, exif=_EXIF),
    "webp": lambda: _pictures("WEBP", ("RGB", "RGBA"), lossless=True, exif=_EXIF) + [_frames("WEBP")],
    "bmp": lambda: _pictures("BMP", ("RGB", "L", "P", "1", "RGBA")),
    "gif": lambda: _pictures("GIF", ("RGB", "L", "P"), interlace=1, transparency=0) + [_frames("GIF")],
    "tiff": lambda: (
        [file for kind in ("raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits") for file in _tiff(kind)]
        + [_frames("TIFF")]
    ),
    "ppm": lambda: _pictures("PPM", ("RGB", "L", "1")),
}


def _tiff(compression: str) -> list[bytes]:
    return _pictures(
        "TIFF", ("RGB", "L") if compression == "jpeg" else ("RGB", "RGBA", "I;16"), compression=compression
    )


def _of_format(name: str):
    def start(folder: Path) -> Started:
        out, path = out_folder(folder), folder / "given"
        path.touch()
        good = FORMATS[name]()

        def read(content: bytes) -> list[str]:
            path.write_bytes(content)
            picture = pictures.read_picture(path)
            assert picture.ndim == 3 and picture.dtype == np.uint8 and picture.shape[2] == 3
            pictures.cut(picture, pictures.fit_box(picture.shape[1], picture.shape[0], "pad"), 64)
            return []

        def make(random: Random) -> bytes:
            if name == "png" and random.random() < 0.5:
                return mutations.damaged_png(random, good)
            return mutations.damaged(random, good, header=64)

        return Started(good, drawn_by(make) | st.sampled_from(_declared_sizes(name)), read, out)

    return start


def _declared_sizes(name: str) -> list[bytes]:
    """Small files whose headers promise large pictures."""
    sides = ((65500, 65500), (8192, 8193), (60000, 1), (1, 60000), (8000, 8000))
    if name == "png":
        import struct
        import zlib

        def png(width, height):
            chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
            chunks += [(b"IDAT", zlib.compress(bytes(10**6), 9)), (b"IEND", b"")]
            parts = (
                struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                for kind, data in chunks
            )
            return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

        return [png(*side) for side in (*sides, (2**31 - 1, 2**31 - 1), (0, 0))]
    (content, *_) = FORMATS[name]()
    if name == "ppm":
        return [b"P6\n%d %d\n255\n" % side + bytes(100) for side in (*sides, (10**30, 10**30))]
    if name == "gif":
        return [content[:6] + b"".join(n.to_bytes(2, "little") for n in side) + content[10:] for side in sides]
    if name == "bmp":
        return [content[:18] + b"".join(n.to_bytes(4, "little") for n in side) + content[26:] for side in sides]
    if name == "jpeg":
        at = content.index(b"\xff\xc0") + 5
        return [content[:at] + b"".join(n.to_bytes(2, "big") for n in side) + content[at + 4 :] for side in sides]
    return [content[: len(content) // 2], content + content]


for _name in FORMATS:
    reader(_name, memory=1800)(_of_format(_name))


# Keypoints


def coco_person(i: int, image_id=None, size: int = 64) -> dict:
    joints = dict(zip(JOINTS, sample_pose(1, i).joints, strict=True))
    triples = [[*(joints[name] * size).round(2).tolist(), 2] if name in joints else [0, 0, 0] for name in COCO_17]
    flat = [float(value) for triple in triples for value in triple]
    return {
        "id": i,
        "image_id": i if image_id is None else image_id,
        "bbox": [2, 2, 60, 60],
        "iscrowd": 0,
        "keypoints": flat,
    }


def coco_file(count: int = 3) -> dict:
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(count)],
        "annotations": [coco_person(i) for i in range(count)],
        "categories": [{"id": 1, "name": "person"}],
    }


def _keypoint_documents() -> list:
    pose = sample_pose(1, 0).joints.astype(float).round(4).tolist()
    openpose = [value for i in range(25) for value in (10.0 + i, 20.0 + i, 0.9)]
    return [
        {**coco_file(1)},
        coco_file(3),
        [coco_person(0, "0"), coco_person(1, "0")],
        coco_person(0),
        {"version": 1.3, "people": [{"pose_keypoints_2d": openpose}]},
        {"version": 1.1, "people": [{"pose_keypoints": openpose[: 3 * 18]}]},
        {"format": keypoint_files.FORMAT, "unit": "fractions", "order": list(JOINTS), "joints": pose},
        pose,
    ]


@reader("keypoint_json", memory=300)
def _keypoint_json(folder: Path) -> Started:
    out, path, picture = out_folder(folder), folder / "0.json", folder / "0.png"
    picture.write_bytes(pictures.encode(person(0), "png"))
    path.touch()
    documents = _keypoint_documents()

    def read(content: bytes) -> list[str]:
        path.write_bytes(content)
        joints = keypoint_files.read_joints(path, picture)
        assert joints.shape == (15, 2) and np.isfinite(joints).all()
        found = keypoint_files.read_person(path, "0.png", (64, 64))
        assert found.joints.shape == (15, 2) and len(found.box) == 4
        return []

    inputs = drawn_by(lambda random: mutations.damaged_document(random, random.choice(documents)))
    return Started([*map(as_json, documents)], inputs | JSON.map(as_json), read, out)


# Sources, up to the dataset on disk


def _prepared(source: str, folder: Path, out: Path, **options) -> list[str]:
    """The reasons of what `prepare` rejects."""
    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.registry import SOURCES
    from vunet_tf.data.sources.source import Options

    opened = SOURCES[source](Options(**options))
    prepare(opened, out / "dataset", source, {}, overwrite=True, workers=1)
    assert set(os.listdir(out)) <= {"dataset"}, f"beside the dataset: {os.listdir(out)}"
    with (out / "dataset/rejects.csv").open(newline="", encoding="utf-8") as file:
        return [reason for _, reason in list(csv.reader(file))[1:]]


def _with_pictures(folder: Path, count: int = 3, name: str = "{}.png") -> Path:
    images = folder / "images"
    for i in range(count):
        path = images / name.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures.encode(person(i), "png"))
    return images


@reader("coco", memory=300)
def _coco(folder: Path) -> Started:
    images, out, path = _with_pictures(folder), out_folder(folder), folder / "people.json"
    path.touch()
    document = coco_file(3)

    def read(content: bytes) -> list[str]:
        path.write_bytes(content)
        return _prepared(
            "coco", folder, out, images=images, annotations=path, image_size=16, min_person=8, min_joints=0
        )

    inputs = drawn_by(lambda random: mutations.damaged_document(random, document))
    return Started([as_json(document)], inputs | JSON.map(as_json), read, out)


@reader("keypoint_csv", memory=300)
def _keypoint_csv(folder: Path) -> Started:
    images = _with_pictures(folder, name="{:04d}_c1s1_000451_03.png")
    out, path = out_folder(folder), folder / "keypoints.csv"
    path.touch()
    from vunet_tf.body.skeleton import SCHEMAS

    lines = ["name:keypoints_y:keypoints_x"]
    for i in range(3):
        joints = dict(zip(JOINTS, (sample_pose(1, i).joints * 64).round().astype(int).tolist(), strict=True))
        xy = [joints.get(name, [-1, -1]) for name in SCHEMAS["openpose18"]]
        lines.append(f"{i:04d}_c1s1_000451_03.png:{[y for _, y in xy]}:{[x for x, _ in xy]}")
    good = ("\n".join(lines) + "\n").encode()

    def make(random: Random) -> bytes:
        if random.random() < 0.5:
            return mutations.damaged(random, [good], header=40)
        rows = [line.split(":") for line in lines]
        for _ in range(random.choice((1, 2))):
            row = rows[random.randrange(1, len(rows))]
            cell = random.randrange(len(row))
            if cell == 0:
                row[0] = random.choice(mutations.NAMES)
            else:
                row[cell] = mutations.damaged_document(random, json.loads(lines[1].split(":")[1])).decode(
                    errors="replace"
                )
        return "\n".join(":".join(row) for row in rows).encode("utf-8", "surrogatepass")

    def read(content: bytes) -> list[str]:
        path.write_bytes(content)
        return _prepared("market", folder, out, images=images, annotations=path, image_size=16, min_joints=0)

    return Started([good], drawn_by(make), read, out)


@reader("index", memory=300)
def _index(folder: Path) -> Started:
    images, out = _with_pictures(folder), out_folder(folder)
    path = images / "index.p"
    path.touch()
    index = {
        "joint_order": list(JOINTS),
        "imgs": [f"{i}.png" for i in range(3)],
        "train": [True, True, False],
        "joints": [sample_pose(1, i).joints for i in range(3)],
    }
    good = [pickle.dumps(index, protocol) for protocol in range(6)]
    good.append(pickle.dumps({**index, "joints": [rows.tolist() for rows in index["joints"]]}, 2))

    def read(content: bytes) -> list[str]:
        path.write_bytes(content)
        return _prepared("index", folder, out, input=images, image_size=16, min_joints=0)

    plain = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
        max_leaves=12,
    )

    def forged(key, value, protocol):
        return pickle.dumps({**index, key: value}, protocol)

    keys, protocols = st.sampled_from([*index, "more", 7, ("a", "b")]), st.integers(0, 5)
    names = st.lists(st.sampled_from(mutations.NAMES), min_size=3, max_size=3)
    return Started(
        good,
        drawn_by(lambda random: mutations.damaged(random, good, header=200))
        | st.builds(forged, keys, plain, protocols)
        | st.builds(lambda value: forged("imgs", value, 4), names)
        | st.sampled_from(_hostile_pickles()),
        read,
        out,
    )


def _hostile_pickles() -> list[bytes]:
    """Pickles that would run something, fill the memory or never end."""
    from . import cases

    return [*cases.pickles().values()]


@reader("sprites", memory=300)
def _sprites(folder: Path) -> Started:
    given, out = folder / "sprites", out_folder(folder)
    given.mkdir()
    frames, cell = 3, 16
    sheet = np.concatenate([person(i, cell) for i in range(frames)], axis=1)
    for name in ("a.png", "b.png", "map.png"):
        (given / name).write_bytes(pictures.encode(sheet, "png"))
    document = {
        "format": "vunet-sprites-1",
        "cell": cell,
        "background": [128, 128, 128],
        "shape_maps": {"any": {"body": "map.png", "mask": "map.png"}},
        "frames": [
            {"id": i, "action": "idle", "direction": "up", "t": i, "row": 0, "col": i, "split": "train"}
            for i in range(frames)
        ],
        "appearances": [
            {"id": name, "sheet": f"{name}.png", "shape_set": "any", "split": split, "attributes": {"hair": "red"}}
            for name, split in (("a", "train"), ("b", "valid"))
        ],
    }
    path = given / "index.json"

    def read(content: bytes) -> list[str]:
        path.write_bytes(content)
        return _prepared("sprites", folder, out, input=given)

    inputs = drawn_by(lambda random: mutations.damaged_document(random, document))
    return Started([as_json(document)], inputs | JSON.map(as_json), read, out)
