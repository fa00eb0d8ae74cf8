"""The page's folder: program, style, LiteRT.js, the model, the first appearances and shapes, the pose estimator."""

import json
from pathlib import Path

import numpy as np

from export.tflite import files as tflite
from export.tflite.model_file import METADATA
from export.web import litert
from vunet_tf.body import pose_weights
from vunet_tf.body.skeleton import JOINTS, LEFT_BONES, MEDIAPIPE_33, REQUIRED_JOINTS, RIGHT_BONES, TORSO
from vunet_tf.data.batches import shape_of
from vunet_tf.data.dataset import read_examples, read_info
from vunet_tf.files import atomic, pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_rgb, to_uint8
from vunet_tf.generation import Generator
from vunet_tf.generation.generator import Names
from vunet_tf.runs import Run

PAGE = Path(__file__).with_name("page")
ABOUT = "page.json"
MODEL = "model"  # the folder of the TFLite files
POSE = "pose"  # the folder of the pose estimator
FROM_CACHE = "auto"  # value of --pose_model: take the weights from the cache
_POSE_NOTICE = f"""BlazePose: {" and ".join(pose_weights.FILES)}, unchanged, out of the package {pose_weights.PACKAGE}.
Copyright Google LLC. Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""
_NOTICE = """This page was made by vunet_tf. Licence: {licence}
Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
Others' work in this folder: litert/NOTICE.txt and, if it is there, pose/NOTICE.txt.
"""
_SEARCHED = 2000  # examples that are searched for different appearances and shapes
_SIDES = {"l": "left ", "r": "right ", "c": ""}
# {joint: the joints that hang on it and move along with it}.
_CARRIED = {
    **{side + "hip": (side + "knee", side + "ankle") for side in "lr"},
    **{side + "knee": (side + "ankle",) for side in "lr"},
    **{side + "shoulder": (side + "elbow", side + "wrist") for side in "lr"},
    **{side + "elbow": (side + "wrist",) for side in "lr"},
    "cnose": ("leye", "reye"),
}


def write(
    run: Run,
    out: Path | str,
    appearances: Names | None = None,
    shapes: Names | None = None,
    count: int = 12,
    precision: str = "float32",
    sample: bool = True,
    litert_dir: Path | str | None = None,
    pose_model: Path | str | None = None,
) -> None:
    """Writes the folder. Each file is written completely or not at all.

    Args:
        run: as `export.trained.load` gives it.
        out: the folder. It is made if it is not there.
        appearances, shapes: names of inputs, see `vunet_tf.generation.inputs`. By default the first different ones of
            the run's dataset.
        count: number of appearances and of shapes, by default.
        precision: number format of the weights, see `export.tflite.quantise`.
        sample: whether the page can sample new appearances. The prior is a large part of the weights.
        litert_dir: see `litert.files`.
        pose_model: the folder of the pose estimator's weights, or `FROM_CACHE`. Without it, the user puts the joints
            onto a photograph by hand.

    Raises:
        InputError: `out` is a file, or a folder with another page; an input cannot be used, the run's dataset is not
            there, or a file cannot be written; or `pose_model` is given and the weights are not there, or the run is on
            shape maps.
    """
    out = Path(out)
    _check_free(out)
    program = litert.files(litert_dir)
    estimator = _estimator(run, pose_model) if pose_model else {}
    uses = ("encode", "generate", *(["sample"] if sample else []))
    generator = Generator(run)
    about = {
        "name": run.directory.resolve().name,
        "drawn": run.fitting.drawn,
        "weights": f"{MODEL}/{tflite.file_name(precision)}",
        "skeleton": _skeleton() if run.fitting.stickmen else None,
        "pose": _pose() if estimator else None,
        "appearances": [],
        "shapes": [],
    }
    found = {f"litert/{name}": content for name, content in program.items()}
    found |= {f"{POSE}/{name}": content for name, content in estimator.items()}
    found |= {path.name: path.read_bytes() for path in PAGE.iterdir()}
    for i, (given, picture, z) in enumerate(generator.appearances(appearances or _different(run, "appearance", count))):
        name = f"appearances/{i}.png"
        found[name] = pictures.encode(picture, "png")
        z = [np.asarray(scale, float).round(6).ravel().tolist() for scale in z]
        about["appearances"].append({"label": given.label, "picture": name, "z": z})
    for i, given in enumerate(generator.shapes(shapes or _different(run, "shape", count))):
        name = f"shapes/{i}.png"
        found[name] = pictures.encode(to_rgb(to_uint8(shape_of(given.example, run.model.config.image_size))), "png")
        about["shapes"].append({"label": given.label, "picture": name, "joints": _joints(given.example)})
    tflite.write(run, out / MODEL, [precision], uses)
    described = json.loads((out / MODEL / METADATA).read_text())
    found["NOTICE.txt"] = _NOTICE.format(licence=described["licence"]).encode()
    # page.json comes first: a folder with an index.html but without it holds another page.
    for name, content in {ABOUT: json.dumps({**about, **described}).encode(), **found}.items():
        with atomic.writing(out / name):
            atomic.write_bytes(out / name, content)


def _check_free(out):
    """Looks whether the page may be written there, before the work: an earlier page may be replaced, no other one."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out={out} is a file: name a folder")
    if (out / "index.html").exists() and not (out / ABOUT).exists():
        raise InputError(f"--out={out} has an index.html that export.web did not write; name another folder")


def _skeleton():
    names = {name: i for i, name in enumerate(JOINTS)}

    def lines(pairs):
        return [[names[a], names[b]] for a, b in pairs]

    return {
        "joints": [
            {
                "name": name,
                "label": _SIDES[name[0]] + name[1:],
                "carries": [names[one] for one in _CARRIED.get(name, ())],
            }
            for name in JOINTS
        ],
        "right": lines(RIGHT_BONES),
        "left": lines(LEFT_BONES),
        "torso": [names[name] for name in TORSO],
        "required": [names[name] for name in REQUIRED_JOINTS],
    }


def _estimator(run, pose_model):
    """{file: content} of the pose estimator."""
    if not run.fitting.stickmen:
        raise InputError("--pose_model: the run is on shape maps, not on joints; leave it out")
    folder = None if pose_model == FROM_CACHE else pose_model
    return {
        "NOTICE.txt": _POSE_NOTICE.encode(),
        **{name: pose_weights.read(name, folder) for name in pose_weights.FILES},
    }


def _pose():
    return {
        "detector": f"{POSE}/{pose_weights.DETECTOR}",
        "landmarks": f"{POSE}/{pose_weights.LANDMARKS}",
        "landmark_of": [MEDIAPIPE_33.index(name) for name in JOINTS],
    }


def _joints(example):
    """Joints as pairs of fractions; None for an unseen joint. None for an example with a shape map."""
    if example.joints is None:
        return None
    return [[float(x), float(y)] if 0 <= x <= 1 and 0 <= y <= 1 else None for x, y in example.joints]


def _different(run, what, count):
    """Names of the first examples of the run's dataset that differ in appearance, or in shape. Only whole people."""
    try:
        info = read_info(run.dataset())
    except InputError as error:
        raise InputError(f"{error}; or give --appearances and --shapes") from error
    split = "valid" if "valid" in info.splits else next(iter(info.splits))
    chosen = {}
    for position, example in enumerate(read_examples(run.dataset_dir, split, count=_SEARCHED)):
        whole = example.joints is None or ((example.joints >= 0) & (example.joints <= 1)).all()
        identity = example.appearance_id if what == "appearance" else example.shape_id
        if whole and identity not in chosen:
            chosen[identity] = f"{split}:{position}"
    return list(chosen.values())[:count]
