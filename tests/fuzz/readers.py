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
from vunet_tf.files.errors import InputError
from vunet_tf.people import draw, sample_look, sample_pose

from . import cases, mutations
from .campaign import Reader, Started, put

READERS: dict[str, Reader] = {}


def reader(name: str, memory: int, seconds: float = 20.0, share: float = 1.0, alone: bool = False):
    """Adds a function (folder -> `Started`) to `READERS`."""

    def add(start):
        READERS[name] = Reader(name, start, memory, seconds, share, alone)
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


LETTERS = "aZ09 ./\\\\~-_:+,;#%'\"\n\r\t\0\x1b\x7f\u00a0\u00e9\u202e\u4e2d\ud800\udcff\ufeff\U0001f600"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(LETTERS, max_size=8), inner, max_size=5),
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
            put(path, content)
            picture = pictures.read_picture(path)
            assert picture.ndim == 3 and picture.dtype == np.uint8 and picture.shape[2] == 3
            pictures.cut(picture, pictures.fit_box(picture.shape[1], picture.shape[0], "pad"), 64)
            return []

        promising = _declared_sizes(name)

        def make(random: Random) -> bytes:
            if random.random() < 0.005:
                return random.choice(promising)
            if name == "png" and random.random() < 0.5:
                return mutations.damaged_png(random, good)
            return mutations.damaged(random, good, header=64)

        return Started(good, drawn_by(make), read, out)

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
    reader(_name, memory=1800, alone=True)(_of_format(_name))


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


@reader("keypoint_json", memory=300, alone=True)
def _keypoint_json(folder: Path) -> Started:
    out, path, picture = out_folder(folder), folder / "0.json", folder / "0.png"
    picture.write_bytes(pictures.encode(person(0), "png"))
    path.touch()
    documents = _keypoint_documents()

    def read(content: bytes) -> list[str]:
        put(path, content)
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
        put(path, content)
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
        put(path, content)
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
        put(path, content)
        return _prepared("index", folder, out, input=images, image_size=16, min_joints=0)

    plain = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=5) | st.binary(max_size=5),
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
    return [*cases.pickles().values()]


@reader("sprites", memory=300)
def _sprites(folder: Path) -> Started:
    given, out = folder / "sprites", out_folder(folder)
    given.mkdir()
    cell, frames = cases.SPRITES["cell"], cases.SPRITES["frames"]
    sheet = np.concatenate([person(i, cell) for i in range(len(frames))], axis=1)
    for name in ("a.png", "b.png", "map.png"):
        (given / name).write_bytes(pictures.encode(sheet, "png"))
    document = cases.SPRITES
    path = given / "index.json"

    def read(content: bytes) -> list[str]:
        put(path, content)
        return _prepared("sprites", folder, out, input=given)

    inputs = drawn_by(lambda random: mutations.damaged_document(random, document))
    return Started([as_json(document)], inputs | JSON.map(as_json), read, out)


# A dataset, a run, a preset


def _dataset(folder: Path) -> Path:
    """A small dataset of drawn people."""
    from vunet_tf.data.dataset import write_dataset
    from vunet_tf.data.example import Example

    with write_dataset(folder) as writer:
        for i in range(8):
            figure, pose = draw(sample_look(1, i), sample_pose(1, i), 16), sample_pose(1, i)
            image, mask = pictures.encode(figure.image, "png"), pictures.encode(figure.mask, "png")
            split = "train" if i < 6 else "valid"
            writer.add(Example(split, f"person{i}", f"look{i}", f"pose{i}", image, pose.joints, mask=mask))
        made_with = {"flags": {}, "how": {}}
        writer.finish(source="figures", made_with=made_with, image_size=16, joints=JOINTS, shape_channels=3)
    return folder


@reader("dataset_json", memory=300)
def _dataset_json(folder: Path) -> Started:
    from vunet_tf.data.dataset import read_info
    from vunet_tf.data.own_pictures import Fitting

    dataset, out = _dataset(folder / "dataset"), out_folder(folder)
    path = dataset / "dataset.json"
    document = json.loads(path.read_bytes())

    def read(content: bytes) -> list[str]:
        put(path, content)
        info = read_info(dataset)
        Fitting.of_dataset(info)
        for split in info.splits:
            info.examples(split)
        return []

    inputs = drawn_by(lambda random: mutations.damaged_document(random, document))
    return Started([as_json(document)], inputs | JSON.map(as_json), read, out)


@reader("tfrecords", memory=600, share=2)
def _tfrecords(folder: Path) -> Started:
    """Both ways of reading them: one by one, and in batches. Half of the inputs have right checksums."""
    import tensorflow as tf

    from vunet_tf.data.batches import evaluation_batches, undamaged
    from vunet_tf.data.dataset import read_examples, read_info

    dataset, out = _dataset(folder / "dataset"), out_folder(folder)
    info = json.loads((dataset / "dataset.json").read_bytes())
    path, written = dataset / info["splits"]["valid"][0]["file"], folder / "written"
    written.touch()
    good, records = path.read_bytes(), [*tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    examples = [tf.train.Example.FromString(record) for record in records]

    def framed(contents: list[bytes]) -> bytes:
        with tf.io.TFRecordWriter(str(written)) as writer:
            for content in contents:
                writer.write(content)
        return written.read_bytes()

    def make(random: Random) -> bytes:
        kind = random.random()
        if kind < 0.4:
            return mutations.damaged(random, [good], header=64)
        if kind < 0.6:
            return framed([mutations.damaged(random, records) for _ in range(random.choice((1, 2, 3)))])
        example = tf.train.Example.FromString(random.choice(records))
        features = example.features.feature
        key = random.choice(list(features))
        how = random.randrange(5)
        if how == 0:
            del features[key]
        elif how == 1:
            features[key].CopyFrom(examples[0].features.feature[random.choice(list(features))])
        elif how == 2:
            features[key].bytes_list.value[:] = [random.choice((b"", b"\xff\xfe", b"x" * 10**6, b"[" * 5000))]
        elif how == 3:
            features[key].float_list.value[:] = [float(random.choice(("nan", "inf", "1e38", "-5", "0.5")))] * 30
        else:
            features["image"].bytes_list.value[:] = [mutations.damaged_png(random, [records_image])]
        return framed([example.SerializeToString()] * random.choice((1, 2)))

    records_image = examples[0].features.feature["image"].bytes_list.value[0]

    def read(content: bytes) -> list[str]:
        put(path, content)
        info["splits"]["valid"][0]["bytes"] = len(content)
        put(dataset / "dataset.json", as_json(info))
        read_info(dataset)
        read_error = None
        try:
            for example in read_examples(dataset, "valid"):
                assert example.image is not None
        except InputError as error:
            read_error = error
        for batch in undamaged(evaluation_batches(dataset, 2, split="valid"), dataset):
            assert np.isfinite(batch["image"]).all() and np.isfinite(batch["shape"]).all()
        if read_error:
            raise read_error
        return []

    return Started([good], drawn_by(make), read, out)


@reader("checkpoint", memory=300)
def _checkpoint(folder: Path) -> Started:
    from vunet_tf.training import checkpoints

    out = out_folder(folder)
    state = {
        "model/0001": np.arange(300, dtype=np.float32).reshape(20, 15),
        "training/step": np.array(7),
        "best": np.array(0.5),
    }
    path = checkpoints.save(folder / "run", 7, state, keep=1)
    good = path.read_bytes()

    def read(content: bytes) -> list[str]:
        put(path, content)
        found = checkpoints.latest(folder / "run", tell=lambda text: None)
        assert found[1].keys() and all(isinstance(value, np.ndarray) for value in found[1].values())
        return []

    inputs = drawn_by(lambda random: mutations.damaged(random, [good], 200)) | drawn_by(
        lambda random: npz(random, state)
    )
    return Started([good], inputs, read, out)


def npz(random: Random, arrays: dict[str, np.ndarray]) -> bytes:
    """An NPZ archive whose checksums are right and whose arrays are not."""
    import zipfile

    buffer = io.BytesIO()
    packing = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            kind, content = random.randrange(6), content.getvalue()
            if kind == 0:
                content = mutations.damaged(random, [content], header=128)
            elif kind == 1:
                shape = random.choice(("(1000000000000,)", "(70000, 70000)", "(-5,)", "(2**9,)", "(True,)", "((1,),)"))
                dtype = random.choice(("<f4", "|O", "|V9", "<U9", "<M8"))
                head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"
                content = (
                    b"\x93NUMPY\x01\x00" + len(head + "\n").to_bytes(2, "little") + head.encode() + b"\n" + content
                )
            elif kind == 2:
                content += bytes(random.choice((0, 10**5, 2 * 10**6)))
            archive.writestr(f"{random.choice((name, '../' + name, '/etc/x', name * 50))}.npy", content)
    return buffer.getvalue()


def _tiny_run(folder: Path, dataset: Path) -> Path:
    """An untrained run on the dataset."""
    from vunet_tf import ModelConfig, VUNet, runs
    from vunet_tf.data.dataset import read_info
    from vunet_tf.data.own_pictures import Fitting

    info = read_info(dataset)
    config = ModelConfig(
        image_size=16, bottleneck_factor=3, width=2, max_width=4, latent_scales=1, appearance="picture"
    )
    runs.save(VUNet(config), folder, Fitting.of_dataset(info))
    (folder / "flags.txt").write_text(f"--dataset_dir={dataset}\n--run_dir={folder}\n--nomirror\n")
    start = {"step": 0, "date": "2026-01-01", "changed": [], "flags": {"seed": "0"}, "versions": {"keras": "3"}}
    (folder / "history.jsonl").write_text(json.dumps(start) + "\n")
    return folder


@reader("config_json", memory=600, seconds=60, share=2)
def _config_json(folder: Path) -> Started:
    """`config.json` with `history.jsonl` and `flags.txt` of a run."""
    import keras

    from vunet_tf import runs

    run, out = _tiny_run(folder / "run", _dataset(folder / "dataset")), out_folder(folder)
    names = ("config.json", "history.jsonl", "flags.txt")
    good = {name: (run / name).read_bytes() for name in names}
    document = json.loads(good["config.json"])

    def read(files: dict[str, bytes]) -> list[str]:
        for name, content in {**good, **files}.items():
            put(run / name, content)
        runs.history(run)
        runs.load(run)
        keras.backend.clear_session()
        return []

    def make(random: Random) -> dict[str, bytes]:
        name = random.choice((*names, "config.json", "config.json", "config.json", "config.json"))
        if name == "config.json":
            return {name: mutations.damaged_document(random, document)}
        return {name: mutations.damaged(random, [good[name]])}

    return Started([good], drawn_by(make), read, out)


@reader("weights", memory=600, seconds=60)
def _weights(folder: Path) -> Started:
    """The HDF5 file of a run."""
    import h5py

    from vunet_tf import runs

    run, out = _tiny_run(folder / "run", _dataset(folder / "dataset")), out_folder(folder)
    path, written = run / "model.weights.h5", folder / "written.h5"
    written.touch()
    good = path.read_bytes()
    model = runs.load(run).model

    def make(random: Random) -> bytes:
        if random.random() < 0.6:
            return mutations.damaged(random, [good], header=2000)
        written.write_bytes(good)
        with h5py.File(written, "r+") as file:
            names = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            name = random.choice(names)
            kind = random.randrange(8)
            del file[name]
            if kind == 0:
                file.create_dataset(name, (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip")
            elif kind == 1:
                file.create_dataset(name, data=np.full(3, np.nan))
            elif kind == 2:
                file[name] = h5py.ExternalLink("/etc/passwd", "/")
            elif kind == 3:
                file[name] = h5py.SoftLink("/")
            elif kind == 4:
                file.create_dataset(name, (10,), "f4", external=[("/etc/passwd", 0, 40)])
            elif kind == 5:
                file.create_dataset(name, data=np.array([b"text"] * 3))
            elif kind == 6:
                file.create_group(name)
        return written.read_bytes()

    def read(content: bytes) -> list[str]:
        put(path, content)
        runs.read_weights(model, path)
        return []

    return Started([good], drawn_by(make), read, out)


@reader("preset", memory=600, seconds=60)
def _preset(folder: Path) -> Started:
    """Weights and `preset.json` of a preset; most of the weights come with their right hash."""
    import hashlib

    from vunet_tf import pretrained

    out, preset = out_folder(folder), folder / "preset"
    preset.mkdir()
    random = np.random.default_rng(0)
    weights = [random.normal(size=size).astype(np.float32) for size in ((3, 3, 4, 8), (8,), (3, 3, 40, 64))]
    packed = pretrained.pack(weights)
    with np.load(io.BytesIO(packed)) as file:
        arrays = dict(file)

    def info(content: bytes) -> bytes:
        about = {"description": "x", "parameters": 9, "licence": "x", "sha256": hashlib.sha256(content).hexdigest()}
        return as_json(about)

    def make(random: Random) -> dict[str, bytes]:
        kind = random.random()
        if kind < 0.3:
            return {"preset.json": mutations.damaged_document(random, json.loads(info(packed))), "weights.npz": packed}
        content = npz(random, arrays) if kind < 0.7 else mutations.damaged(random, [packed], header=100)
        return {"preset.json": info(content), "weights.npz": content}

    def read(files: dict[str, bytes]) -> list[str]:
        for name, content in files.items():
            put(preset / name, content)
        assert all(weight.dtype == np.float32 for weight in pretrained.read_weights(preset))
        return []

    return Started([{"preset.json": info(packed), "weights.npz": packed}], drawn_by(make), read, out)


# What a command is given


@reader("flagfile", memory=100, alone=True)
def _flagfile(folder: Path) -> Started:
    from vunet_tf.command_line.flags import read_flagfile

    out, path = out_folder(folder), folder / "x.flags"
    path.touch()
    good = b"# a comment\n--image_size=64\n--width=8\n--latent=maps\n--steps=10\n--nomirror\n--learning_rate=1e-3\n"
    lines = [
        line.encode() for line in ("--image_size=", "--width", "--feature_weights=1,x", "--flagfile=", "--nosuch=1")
    ]
    values = [
        str(value).encode("utf-8", "surrogatepass")
        for value in (*mutations.NUMBERS, *mutations.NAMES, "nan", "9" * 5000)
    ]

    def make(random: Random) -> bytes:
        if random.random() < 0.5:
            return mutations.damaged(random, [good])
        more = b"".join(random.choice(lines) + random.choice(values) + b"\n" for _ in range(random.choice((1, 3))))
        return good + more + (f"--flagfile={path}\n".encode() if random.random() < 0.2 else b"")

    def read(content: bytes) -> list[str]:
        put(path, content)
        read_flagfile(path)
        return []

    return Started([good], drawn_by(make), read, out)


@reader("video", memory=1200, seconds=60, alone=True)
def _video(folder: Path) -> Started:
    import av

    from vunet_tf.files import video

    av.logging.set_level(None)
    out, good = out_folder(folder), []
    for suffix, codec in ((".mp4", "libx264"), (".mkv", "mpeg4"), (".avi", "mjpeg"), (".webm", "libvpx")):
        path = folder / f"made{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for i in range(4):
                for packet in stream.encode(av.VideoFrame.from_ndarray(person(i), format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        good.append((suffix, path.read_bytes()))
        path.unlink()
    secret = folder / "secret.ppm"
    secret.write_bytes(b"P6\n64 64\n255\n" + bytes(64 * 64 * 3))
    lists = [
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x\n",
        b"ffconcat version 1.0\nfile secret.ppm\n",
        secret.read_bytes(),
    ]
    lists += [b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:%s\n#EXT-X-ENDLIST\n" % os.fsencode(secret)]
    for suffix in video.SUFFIXES:
        (folder / f"given{suffix}").touch()

    def make(random: Random):
        suffix, _ = random.choice(good)
        if random.random() < 0.05:
            return random.choice(video.SUFFIXES), random.choice(lists)
        same = [other for ending, other in good if ending == suffix]
        return suffix, mutations.damaged(random, same, header=400)

    def read(value) -> list[str]:
        suffix, content = value
        path = folder / f"given{suffix}"
        put(path, content)
        video.length(path), video.rate(path)
        for frame in video.frames(path):
            assert frame.ndim == 3 and frame.shape[2] == 3
        assert content not in lists, "a list of other files was followed"
        return []

    return Started(good, drawn_by(make), read, out)


@reader("names", memory=100, alone=True)
def _names(folder: Path) -> Started:
    """Labels that become file names of `generate --separate`, and names of inputs."""
    from vunet_tf.data.own_pictures import Fitting
    from vunet_tf.files.grids import Header
    from vunet_tf.generation.inputs import Inputs
    from vunet_tf.generation.sheet import Cell, Sheet

    images, out = _with_pictures(folder), out_folder(folder)
    picture = person(0, 8)
    fitting = Fitting(16, "pad", 0.15, shape_channels=3, stickmen=False, edges=True)

    def read(value) -> list[str]:
        labels, named = value
        cells = [Cell(i, 0, Header(label), Header("shape"), picture, picture) for i, label in enumerate(labels)]
        Sheet(cells, len(cells), 8).save_pictures(out)
        assert all(path.suffix in (".png", ".csv") and not path.name.startswith(("-", ".")) for path in out.iterdir())
        for path in out.iterdir():
            path.unlink()
        rejects = []
        for _ in Inputs([named], fitting, None, None, rejects.append):
            pass
        return [rejected.reason for rejected in rejects]

    names = st.sampled_from(mutations.NAMES) | st.text(LETTERS, max_size=100)
    elsewhere = names.filter(lambda name: not os.path.isdir(name.strip()))  # "/" would mean every picture there is
    paths = names.map(lambda name: f"{images}/{name}") | elsewhere | names.map(lambda name: f"valid:{name}")
    good = (["valid:0", "cat"], str(images / "0.png"))
    return Started([good], st.tuples(st.lists(names, min_size=1, max_size=3), paths), read, out)


@reader("server_answer", memory=100, alone=True)
def _server_answer(folder: Path) -> Started:
    """What the REST client gets from a server."""
    from export.serving import rest_client

    out = out_folder(folder)
    document = {"predictions": [{"image_bytes": {"b64": "aGVsbG8="}}]}
    documents = (document, {"predictions": [{"b64": "aGVsbG8="}]}, {"error": "no such model"})

    def read(content: bytes) -> list[str]:
        assert isinstance(rest_client.answer(content), bytes)
        return []

    inputs = drawn_by(lambda random: mutations.damaged_document(random, random.choice(documents)))
    return Started([as_json(document)], inputs | JSON.map(as_json), read, out)


_SCORES = b"section,split,position,appearance_id,shape_id,error_figure,ssim_figure\n" + b"".join(
    b"transfer,valid,%d,look%d,pose%d,%d.5,0.%d\n" % (i, i // 2, i, 10 + i, 80 + i) for i in range(4)
)


@reader("results", memory=300)
def _results(folder: Path) -> Started:
    """What `evaluate --compare` reads: the JSON file of an evaluation, beside a good one."""
    out, path = out_folder(folder), folder / "results.json"
    path.touch()

    def read(content: bytes) -> list[str]:
        put(path, content)
        return _compared(path, _SCORES)

    inputs = drawn_by(lambda random: mutations.damaged_document(random, cases.RESULTS))
    return Started([as_json(cases.RESULTS)], inputs | JSON.map(as_json), read, out)


@reader("scores", memory=300)
def _scores(folder: Path) -> Started:
    """What `evaluate --compare` reads beside it: the CSV file with the scores of each example."""
    out, path = out_folder(folder), folder / "results.json"
    put(path, as_json(cases.RESULTS))

    def read(content: bytes) -> list[str]:
        return _compared(path, content)

    return Started([_SCORES], drawn_by(lambda random: mutations.damaged(random, [_SCORES])), read, out)


def _compared(path: Path, scores: bytes) -> list[str]:
    """The page of the evaluation at `path`, which gets this table of scores, beside a good one."""
    from vunet_tf.evaluation import comparison, per_example, report

    first = path.with_name("first.json")
    put(first, as_json(cases.RESULTS))
    put(per_example.path_beside(first), _SCORES)
    put(per_example.path_beside(path), scores)
    results = [report.read(each) for each in (first, path)]
    examples = [per_example.read(per_example.path_beside(each)) for each in (first, path)]
    for order in ((0, 1), (1, 0)):
        page = comparison.as_markdown([results[i] for i in order], [examples[i] for i in order], "command")
        assert page.encode().startswith(b"# Results")
    return []


# What a model is given


@reader("saved_model", memory=3000, seconds=120, share=2)
def _saved_model(folder: Path) -> Started:
    """Requests to every signature of a SavedModel: arrays of wrong kinds, sizes and numbers, and files as bytes."""
    import tensorflow as tf

    from export import runtime, trained
    from export.saved_model import versions

    out = out_folder(folder)
    run = trained.load(_tiny_run(folder / "run", _dataset(folder / "dataset")))
    model = runtime.SavedModel(versions.write(run, folder / "served"))
    files = FORMATS["png"]()[:4] + FORMATS["jpeg"]() + [*_declared_sizes("png"), *_declared_sizes("jpeg")]
    names = ("transfer", "encode", "generate", "generate_bytes", "sample", "sample_noise")
    good = [(name, model.example(name)) for name in names]
    joints, file = model.example("encode")["joints"], {"image_bytes": np.array([files[0]], object)}
    good.append(("encode_bytes", {**file, "joints": joints}))
    good.append(("transfer_bytes", {**file, "joints": joints, "target_joints": joints}))

    def make(random: Random):
        signature, inputs = random.choice(good)
        inputs = dict(inputs)
        name = random.choice(list(inputs))
        kind = random.randrange(8)
        value = inputs[name]
        if name == "image_bytes":
            own = [
                mutations.damaged_png(random, files[:4]),
                mutations.damaged(random, files[4:10]),
                random.choice(files),
            ]
            value = np.array([random.choice(own) for _ in range(random.choice((1, 1, 2)))], object)
        elif kind == 0:
            value = value[:0]
        elif kind == 1:
            value = np.concatenate([value] * random.choice((2, 3)))
        elif kind == 2:
            value = np.zeros([random.choice((0, 1, 2, 15, 16)) for _ in range(random.randrange(6))], value.dtype)
        elif kind == 3 and value.dtype == np.float32:
            value = np.full_like(value, random.choice((np.nan, np.inf, -np.inf, 1e38, -1, 1e-45, 0, 2)))
        elif kind == 4 and value.ndim == 4 and value.dtype == np.uint8:
            sides = random.choice(((1, 8192), (8193, 1), (1, 1), (2, 9000), (300, 1), (0, 5)))
            value = np.full((1, *sides, 3), 9, np.uint8)
        elif kind == 5 and value.dtype == np.int32:
            value = np.array([random.choice((-(2**31), 2**31 - 1, 0))], np.int32)
        else:
            value = value.copy()
            value.ravel()[random.randrange(max(1, value.size)) :] = random.choice((0, 1, 255))
        inputs[name] = value
        return signature, inputs

    def read(value) -> list[str]:
        signature, inputs = value
        try:
            made = model.call(signature, inputs)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise InputError(str(error).splitlines()[0]) from error
        assert all(np.isfinite(array).all() for array in made.values() if array.dtype.kind == "f")
        return []

    return Started(good, drawn_by(make), read, out)


@reader("tflite", memory=600, seconds=60)
def _tflite(folder: Path) -> Started:
    """Inputs of every signature of a TFLite file."""
    from export import runtime, trained
    from export.tflite import files

    out = out_folder(folder)
    run = trained.load(_tiny_run(folder / "run", _dataset(folder / "dataset")))
    paths = files.write(run, folder / "phone", ("float32",))
    model = runtime.TFLiteFile(next(path for path in paths if path.suffix == ".tflite" and path.name != files.DRAWING))
    good = [(name, model.example(name)) for name in ("encode", "generate", "sample")]

    def make(random: Random):
        signature, inputs = random.choice(good)
        inputs = dict(inputs)
        name = random.choice(list(inputs))
        kind, value = random.randrange(6), inputs[name]
        if kind == 0:
            inputs[random.choice(("x", "", "noise"))] = inputs.pop(name)
        elif kind == 1:
            inputs[name] = np.zeros([random.choice((0, 1, 2, 16)) for _ in range(random.randrange(6))], np.float32)
        elif kind == 2:
            inputs[name] = np.full(value.shape, random.choice((np.nan, np.inf, -np.inf, 3e38, 1e-45)), np.float32)
        elif kind == 3:
            inputs[name] = random.choice(
                (None, "text", [[1], [2, 3]], value.astype(object), value.astype(complex), b"")
            )
        elif kind == 4:
            inputs[name] = value.astype(random.choice((np.uint8, np.int64, np.float64, np.float16)))
        else:
            signature = random.choice(("encode", "generate", "sample", "", "none"))
        return signature, inputs

    def read(value) -> list[str]:
        signature, inputs = value
        try:
            model.call(signature, inputs)
        except ValueError as error:
            raise InputError(str(error)) from error
        return []

    return Started(good, drawn_by(make), read, out)
