"""The inputs that once were findings, made by code: {reader: {what it was: input}}. Each must end well now."""

import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable


class _Calls:
    """Pickled, it asks for a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def pickles() -> dict[str, bytes]:
    """Pickles that would run something, fill the memory or never end."""
    import os

    empty = b"\x80\x04}"
    lists = b"(" + b"".join(b"\x8c%c%b]" % (len(key), key) for key in (b"imgs", b"train", b"joints")) + b"u."
    many = b"(" + b"".join(b"J" + struct.pack("<i", i) + b"K\x00\x86" for i in range(3000)) + b"lq\x00"
    copies = b"ccollections\nOrderedDict\nq\x010(" + b"h\x01h\x00\x85R" * 20_000 + b"l"
    return {
        "a call of the system": pickle.dumps({"imgs": _Calls(os.system, "true")}),
        "a place in the memo that takes 64 GiB": empty + b"]r\xff\xff\xff\xff0" + lists,
        "a text that is longer than the file": empty + b"\x8e" + struct.pack("<Q", 2**40) + lists,
        "a key whose hash takes years": empty + b"K\x01" + b"2\x86" * 60 + b"K\x01s" + lists,
        "a name that unfolds to more than any memory": b"\x80\x02}(X\x04\x00\x00\x00imgs]K\x01"
        + b"2\x86" * 40
        + b"aX\x05\x00\x00\x00train]K\x01aX\x06\x00\x00\x00joints]]au.",
        "one list copied many times": b"\x80\x02" + many + b"0" + copies + b".",
        "a function of ours changed": b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__N\x85s\x86b}.",
    }


DEEP = b"[" * 100_000


def flagfile(line: str) -> Callable[[], bytes]:
    return lambda: f"--image_size=64\n{line}\n".encode("utf-8", "surrogatepass")


def archive(head: str, packing: int = zipfile.ZIP_STORED) -> bytes:
    """An NPZ archive of one array, with a head that promises more than there is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as file:
        file.writestr("0.npy", b"\x93NUMPY\x01\x00" + len(head + "\n").to_bytes(2, "little") + head.encode() + b"\n")
    return buffer.getvalue()


def _preset(content: bytes) -> dict[str, bytes]:
    return {"weights.npz": content, "preset.json": json.dumps({"sha256": hashlib.sha256(content).hexdigest()}).encode()}


_HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (300000, 300000)}"
_OPEN = "{'descr': '<f4', 'fortran_order': False, 'shape': (300,"
_COCO = {
    "images": [{"id": 0, "file_name": "0.png"}],
    "annotations": [{"id": 0, "image_id": 0, "bbox": [2, 2, 60, 60], "keypoints": [30, 30, 2] * 17}],
}


def coco(**changes) -> Callable[[], bytes]:
    """A person-keypoints file of one person, with changes in the annotation, or in the list of pictures for `file`."""
    document = json.loads(json.dumps(_COCO))
    document["images"][0]["file_name"] = changes.pop("file", "0.png")
    document["annotations"][0].update(changes)
    return lambda: json.dumps(document).encode()


SPRITES = {
    "format": "vunet-sprites-1",
    "cell": 16,
    "background": [128, 128, 128],
    "shape_maps": {"any": {"body": "map.png", "mask": "map.png"}},
    "frames": [
        {"id": i, "action": "idle", "direction": "up", "t": i, "row": 0, "col": i, "split": "train"} for i in range(3)
    ],
    "appearances": [
        {"id": name, "sheet": f"{name}.png", "shape_set": "any", "split": split, "attributes": {"hair": "red"}}
        for name, split in (("a", "train"), ("b", "valid"))
    ],
}


def _long_shard() -> bytes:
    shard = {"file": "x" * 5000, "examples": 1, "bytes": 1}
    info = {"source": "x", "made_with": {}, "image_size": 16, "joints": None, "shape_channels": 3, "has_mask": False}
    counts = {"appearances": {}, "shapes": {}, "rejected": 0, "format": "vunet-dataset-1"}
    return json.dumps({**info, **counts, "splits": {"train": [shard]}}).encode()


def sprites(frame=(), appearance=(), **changes) -> Callable[[], bytes]:
    """A sprite index with changes in it, in its first frame and in its first appearance."""
    document = json.loads(json.dumps(SPRITES)) | changes
    document["frames"][0].update(frame)
    document["appearances"][0].update(appearance)
    return lambda: json.dumps(document).encode()


# A small evaluation as `evaluate` writes it.
RESULTS = {
    "run": "runs/a",
    "dataset": "datasets/a",
    "source": "figures",
    "command": "python -m vunet_tf.evaluate",
    "settings": {"seed": 0, "splits": {"valid": "unseen"}, "references of valid": "first"},
    "model": {"image_size": 64, "widths": [16, 32]},
    "training": {"steps": 100, "adversarial": "0.0", "kl_weight": 0.1},
    "versions": {"keras": "3"},
    "measures": [
        {"section": "transfer", "split": "valid", "quantity": quantity, "of": "model", "unit": "", "better": "lower"}
        | {"value": 12.5, "low": 11.0, "high": 14.0, "examples": 4, "appearances": 2}
        for quantity in ("mean |error| inside the figure", "SSIM inside the figure")
    ],
    "missing": [{"section": "pose", "split": "valid", "quantity": "joints", "why": "no estimator"}],
    "changes": ["step 5: other data"],
    "format": "vunet-evaluation-1",
}


def results(**changes) -> Callable[[], bytes]:
    """Results of an evaluation with changes in them."""
    return lambda: json.dumps(RESULTS | changes).encode()


CASES: dict[str, dict[str, Callable[[], object]]] = {
    "keypoint_json": {
        "nested deeply": lambda: DEEP,
        "a box of two numbers": lambda: json.dumps({"keypoints": [9, 9, 2] * 17, "bbox": [1, 2]}).encode(),
        "a number beyond every float": lambda: json.dumps({"keypoints": [10**400, 9, 2] * 17}).encode(),
        "a unit of 100,000 letters": lambda: json.dumps({"format": "x" * 100_000, "unit": "x" * 100_000}).encode(),
    },
    "flagfile": {
        "a flag of 50,000 letters": flagfile("--" + "n" * 50_000),
        "a value of 5,000 digits": flagfile("--width=" + "9" * 5000),
        "a file that is no text": lambda: b"--width=\xff\xfe",
        "a device that never ends": flagfile("--flagfile=/dev/zero"),
        "a choice of 5,000 letters": flagfile("--latent=" + "x" * 5000),
    },
    "names": {
        "a name too long for a file": lambda: (["x" * 300, "\U0001f600" * 80], "x" * 300),
        "a name that is an option": lambda: (["-rf", "..", ".hidden"], "-rf"),
        "a number of 5,000 digits": lambda: (["a\nb"], "valid:" + "9" * 5000),
        "a surrogate and a NUL": lambda: (["\ud800", "\0"], "\ud800\0"),
    },
    "results": {
        "a weight that is no number": results(training={"adversarial": "/etc/passwd"}),
        "a change without words": results(changes=[None]),
        "no splits": results(settings={}),
        "half of a surrogate pair": results(run="\udcff"),
        "nested deeply": lambda: DEEP,
    },
    "server_answer": {
        "an error of 100,000 letters": lambda: json.dumps({"error": "x" * 100_000}).encode(),
        "nested deeply": lambda: DEEP,
    },
    "video": {
        "a list of files under a video's name": lambda: (".mp4", b"ffconcat version 1.0\nfile secret.ppm\n"),
        "a playlist under a video's name": lambda: (".mkv", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x\n"),
    },
    # With TensorFlow.
    "index": {name: (lambda content=content: content) for name, content in pickles().items()},
    "coco": {
        "nested deeply": lambda: DEEP,
        "a NUL in the name of a file": coco(file="a\0b.png"),
        "a surrogate in the name of a file": coco(file="\ud800.png"),
        "a box beyond every float": coco(bbox=[10**400, 1, 2, 3]),
        "keypoints beyond every float": coco(keypoints=[10**400, 9, 2] * 17),
    },
    "sprites": {
        "nested deeply": lambda: DEEP,
        "a split that is a path": sprites(appearance={"split": "../../x"}),
        "a split that is a number": sprites(frame={"split": 7}),
        "a number as the name of a sheet": sprites(appearance={"sheet": 7, "id": 7}),
        "a list of attributes": sprites(appearance={"attributes": [1]}),
        "a background beyond bytes": sprites(background=[300, 0, 0]),
        "a background of two numbers": sprites(background=[1, 2]),
        "no cell": sprites(cell=0),
        "a map with a name of 100,000 letters": sprites(shape_maps={"any": {"body": "x" * 100_000}}),
        "a format of 100,000 letters": sprites(format="x" * 100_000),
    },
    "checkpoint": {
        "an array of 335 GiB": lambda: archive(_HUGE),
        "an archive of nothing": lambda: b"PK\x05\x06" + bytes(18),
        "an array whose head is cut": lambda: archive(_OPEN),
        "a compressed one": lambda: archive(_HUGE, zipfile.ZIP_DEFLATED),
    },
    "preset": {
        "an array of 335 GiB": lambda: _preset(archive(_HUGE)),
        "no archive": lambda: _preset(b"PK"),
        "a list as preset.json": lambda: {"weights.npz": b"PK", "preset.json": b"[]"},
    },
    "dataset_json": {"nested deeply": lambda: DEEP, "a shard with a name of 5,000 letters": _long_shard},
    "tfrecords": {
        "a record of 2**60 bytes": lambda: _record_that_promises(2**60),
        "a record without a picture": lambda: _record_without_picture(),
    },
}


def _masked_crc(content: bytes) -> bytes:
    """A checksum of a TFRecord: CRC-32C, masked."""
    check = 0xFFFFFFFF
    for byte in content:
        check ^= byte
        for _ in range(8):
            check = (check >> 1) ^ (0x82F63B78 if check & 1 else 0)
    check ^= 0xFFFFFFFF
    return struct.pack("<I", (((check >> 15) | (check << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _record_that_promises(length: int) -> bytes:
    """A TFRecord whose length has its right checksum, and no content."""
    head = struct.pack("<Q", length)
    return head + _masked_crc(head) + bytes(100)


def _record_without_picture() -> bytes:
    """A TFRecord whose example has all that it needs but the picture, twice: the dataset has two examples."""

    def field(number: int, content: bytes) -> bytes:  # of a protocol buffer; under 128 bytes
        return bytes([number << 3 | 2, len(content)]) + content

    values = {b"name": b"a", b"appearance_id": b"a", b"shape_id": b"a", b"attributes": b"{}"}
    entries = (field(1, field(1, key) + field(2, field(1, field(1, value)))) for key, value in values.items())
    example = field(1, b"".join(entries))
    head = struct.pack("<Q", len(example))
    return 2 * (head + _masked_crc(head) + example + _masked_crc(example))
