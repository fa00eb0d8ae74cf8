"""What a client sends as a shape: joints from a JSON file, or a shape map from a picture."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vunet_tf import pretrained
from vunet_tf.body import keypoint_files, keypoints
from vunet_tf.body.estimation import open_estimator
from vunet_tf.command_line.startup import start_tensorflow
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError

_DRAWN_SIZE = 256  # pixels


def read_shape(path: Path | str, picture: Path | str | None = None) -> tuple[str, np.ndarray]:
    """The name of the input and its value for one example.

    A JSON file holds joints, in any format of `keypoint_files`. They give ("joints", float32 [15, 2]) in fractions of
    the picture; an unseen joint is (-1, -1). A picture is a shape map, and gives ("shape", uint8 [H, W, 1 or 3]).

    Args:
        path: the file.
        picture: the picture that has this shape. Joints in pixels need it; see `keypoint_files.read_joints`.

    Raises:
        InputError: the file cannot be read, or it has neither joints nor a picture.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return "joints", keypoint_files.read_joints(path, picture)
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return "shape", pixels.reshape(*pixels.shape[:2], -1)


def estimated(picture: Path | str, pose_model: Path | None = None) -> tuple[str, np.ndarray]:
    """Like `read_shape`, but the pose estimator finds the joints of the largest person in a photograph.

    Args:
        picture: the file of the photograph.
        pose_model: the folder of the estimator's weights; by default the user's cache folder.

    Raises:
        InputError: the photograph cannot be read or shows nobody, or the weights are not there.
    """
    try:
        person = open_estimator(pose_model, workers=1).the_person(pictures.read_picture(Path(picture))).person()
    except InputError as error:
        raise InputError(f"{picture}: {error}") from error
    return "joints", keypoints.mark_unseen(person.joints)


def joints_of(
    named: str, dataset_dir: Path | str | None = None, pose_model: Path | None = None
) -> tuple[np.ndarray, bytes | None]:
    """Joints [15, 2] in fractions, and the bytes of the picture, or None if the user named a picture file.

    Args:
        named: the value of --of, see `export.serving.joints`.

    Raises:
        InputError: there is no such file or example, or it has no joints.
    """
    picture, plus, beside = named.partition("+")
    if is_picture_file(named):
        beside = Path(beside) if plus else Path(picture).with_suffix(".json")
        if plus or beside.is_file():
            return keypoint_files.read_joints(beside, picture), None
        return estimated(picture, pose_model)[1], None
    kind, _, number = named.partition(":")
    if kind == "drawn":
        if not number.isdecimal():
            raise InputError(f"--of={named}: write drawn:NUMBER")
        return _drawn(int(number))
    if not dataset_dir:
        raise InputError(f"--of={named} is no file: give --dataset_dir if it is of a dataset")
    if not Path(dataset_dir).is_dir() and str(dataset_dir) in pretrained.presets():
        dataset_dir = pretrained.folder_of(dataset_dir) / pretrained.EXAMPLES
    return _of_dataset(named, Path(dataset_dir))


def is_picture_file(named: str) -> bool:
    """Whether a value of --of names a picture file, and no example or drawn person."""
    picture, plus, _ = named.partition("+")
    return bool(plus) or Path(picture).is_file()


def cut_person(
    named: str, size: int, cutout: str | None = "white", pose_model: Path | None = None
) -> tuple[np.ndarray, bytes]:
    """The square that `vunet_tf.generate` makes of a photograph, as PNG, and its joints [15, 2] in fractions of it.

    Args:
        named: PICTURE or PICTURE+FILE.json.
        size: side of the square in pixels.
        cutout: the colour behind the person, one of `source.CUTOUTS`; None keeps the background.
        pose_model: the folder of the estimator's weights; by default the user's cache folder.

    Raises:
        InputError: the picture cannot be read, shows nobody, or shoulders or hips are unseen.
    """
    start_tensorflow()
    from vunet_tf.data.own_pictures import Fitting
    from vunet_tf.data.sources.source import Options

    fitting = Fitting(size, "person", Options.margin, 3, stickmen=True, edges=False, cutout=cutout)
    example = _the_example(named, fitting, estimator=lambda: open_estimator(pose_model, workers=1))
    return example.joints, example.image


def _of_dataset(named: str, dataset_dir: Path) -> tuple[np.ndarray, bytes]:
    start_tensorflow()  # joints alone do not need it
    from vunet_tf.data.dataset import read_info
    from vunet_tf.data.own_pictures import Fitting

    info = read_info(dataset_dir)
    if info.joints is None:
        raise InputError(f"--dataset_dir={dataset_dir} has shape maps, not joints: its shapes are pictures")
    example = _the_example(named, Fitting.of_dataset(info), dataset_dir, info)
    return example.joints, example.image


def _the_example(named, fitting, dataset_dir=None, info=None, **options):
    """The one example that --of names, read as `vunet_tf.generate` reads it."""
    from vunet_tf.generation.inputs import Inputs

    def refuse(rejected):
        raise InputError(f"--of={rejected.file}: {rejected.reason}")

    inputs = Inputs([named], fitting, dataset_dir, info, refuse, **options)
    if len(inputs) != 1:
        raise InputError(f"--of={named} names {len(inputs)} examples: name one")
    (given,) = inputs
    return given.example


def _drawn(number: int) -> tuple[np.ndarray, bytes]:
    from vunet_tf.people import draw, sample_look, sample_pose

    pose = sample_pose(0, number)
    return pose.joints, pictures.encode(draw(sample_look(0, number), pose, _DRAWN_SIZE).image, "png")


def read_bytes(path: Path | str) -> bytes:
    """A file's bytes. Raises InputError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
