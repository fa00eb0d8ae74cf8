r"""Writes a person's joints to a file, in the form in which a client sends them to a server.

  python -m export.serving.joints --of=valid:3 --dataset_dir=figures-64 --out=pose.json --picture=clothes.png
  python -m export.serving.joints --of=me.jpg+keypoints.json --out=pose.json
  python -m export.serving.joints --of=me.jpg --out=pose.json
  python -m export.serving.joints --of=me.jpg --out=me.json --picture=me.png
  python -m export.serving.joints --of=drawn:7 --out=pose.json

The file is {"format": "vunet-joints-1", "unit": "fractions", "order": [names], "joints": [[x, y], ...]}. x and y are
fractions of the picture's width and height, from its upper left corner; null is an unseen joint. The order is rankle,
rknee, rhip, rshoulder, relbow, rwrist, reye, the same seven of the left side (lankle, ...), and cnose, the nose. Right
and left are the person's own. `export.serving.ask` reads this file as --shape and --target, and `vunet_tf.generate`
reads it beside a picture.

With --picture, a photograph becomes the square that `vunet_tf.generate` makes of it: the person with a margin, cut out
and put on one colour. The joints are then fractions of this square. Use it for a model of drawn people (--cutout=white)
and for one whose people were cut out by `prepare --cutout`.
"""

from pathlib import Path

from absl import flags

from export.serving import shapes
from vunet_tf.body import keypoint_files, keypoints
from vunet_tf.command_line.flags import define_pose_model
from vunet_tf.command_line.startup import run
from vunet_tf.data.example import LARGEST_SIDE
from vunet_tf.data.sources.source import CUTOUTS
from vunet_tf.files import atomic, pictures
from vunet_tf.files.errors import InputError

_OF = flags.DEFINE_string(
    "of",
    None,
    "Whose joints. SPLIT:NUMBER or SPLIT:NAME: an example of --dataset_dir. PICTURE+FILE.json: a picture and its "
    "keypoints (COCO, OpenPose or vunet-joints-1). PICTURE: the same with the JSON file of that name beside it. "
    "Without such a file, the joints are estimated. drawn:NUMBER: a person drawn by vunet_tf.people.",
)
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir",
    None,
    "For --of=SPLIT:NUMBER: folder of the dataset, or name of a preset for the examples that it carries.",
)
_POSE_MODEL = define_pose_model()
_OUT = flags.DEFINE_string("out", "pose.json", "JSON file for the joints.")
_PICTURE = flags.DEFINE_string(
    "picture",
    None,
    "PNG file for the picture that has these joints. For a picture file this is the square around the person, made as "
    "--cutout and --image_size say, and the joints are fractions of it.",
)
_CUTOUT = flags.DEFINE_enum(
    "cutout",
    "white",
    [*CUTOUTS, "none"],
    "Colour behind the person in --picture, if --of is a picture file; with none, the background stays. People are cut "
    "out by the pose estimator, also where their joints are in a file.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    256,
    "Side of --picture in pixels, if --of is a picture file. The server resizes it; with the model's own size "
    "(vunet.json) it is the very picture that generate sees.",
    8,
    LARGEST_SIDE,
)


def _write() -> None:
    if not _OF.value:
        raise InputError("give --of; `python -m export.serving.joints --help` explains")
    if _PICTURE.value and shapes.is_picture_file(_OF.value):
        cutout = None if _CUTOUT.value == "none" else _CUTOUT.value
        joints, picture = shapes.cut_person(_OF.value, _IMAGE_SIZE.value, cutout, _POSE_MODEL.value)
    else:
        joints, picture = shapes.joints_of(_OF.value, _DATASET_DIR.value, _POSE_MODEL.value)
    if _PICTURE.value:
        with atomic.writing(_PICTURE.value, "--picture"):
            atomic.write_bytes(Path(_PICTURE.value), pictures.encode(pictures.read_picture(picture), "png"))
    with atomic.writing(_OUT.value):
        keypoint_files.write_joints(_OUT.value, joints)
    print(f"{_OUT.value}: {keypoints.seen(joints).sum()} of {len(joints)} joints")
    if _PICTURE.value:
        print(f"{_PICTURE.value}: the picture that has them")


if __name__ == "__main__":
    run(_write, if_stopped="no joints were written")
