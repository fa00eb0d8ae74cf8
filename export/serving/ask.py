r"""Asks a server for a transfer, over REST or gRPC.

  python -m export.serving.ask --picture=clothes.jpg --shape=clothes.json --target=pose.json --out=result.png
  python -m export.serving.ask --picture=me.jpg --target=you.jpg --out=result.png
  python -m export.serving.ask --grpc=localhost:8500 --picture=... --shape=... --target=... --out=result.png

--shape and --target are joints, in one of these forms: a file that `python -m export.serving.joints` writes (its --help
says the order of the joints, and that null is an unseen one); COCO's or OpenPose's JSON, in pixels of the picture; or a
list of 15 pairs [x, y], in fractions of the picture. For a model on shape maps both are pictures.

Without --shape, --picture is a photograph whose joints are estimated here. A --target that is no JSON file is then
estimated too. This needs the pose estimator (once before: python -m vunet_tf.estimate get).

The whole picture is sent, with its background. A model of drawn people needs a person who is cut out:
`python -m export.serving.joints --of=me.jpg --out=me.json --picture=me.png` writes this picture and its joints.
"""

from pathlib import Path

from absl import flags

from export.serving import rest_client, shapes
from vunet_tf.command_line.flags import define_pose_model
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

_REST = flags.DEFINE_string(
    "rest", "http://localhost:8501", "Address of the server for REST, with http:// or https://."
)
_GRPC = flags.DEFINE_string(
    "grpc", None, "Address of the server for gRPC, for example localhost:8500. With it, REST is not used."
)
_MODEL = flags.DEFINE_string("model", "vunet", "Name under which the model is served.")
_VERSION = flags.DEFINE_integer("version", None, "Version of the model. By default the server's newest.")
_PICTURE = flags.DEFINE_string(
    "picture",
    None,
    "PNG or JPEG file of the person whose appearance is wanted. If it has an EXIF rotation, it is sent upright.",
)
_SHAPE = flags.DEFINE_string(
    "shape",
    None,
    "JSON file with the joints of the person in --picture; for a model on shape maps, the picture of the shape map. "
    "Joints in pixels are pixels of --picture. By default the joints are estimated.",
)
_POSE_MODEL = define_pose_model()
_TARGET = flags.DEFINE_string(
    "target",
    None,
    "The shape that gets the appearance: a file like --shape, or a photograph if --shape is not given. Joints in "
    "pixels need the picture of the same name beside them.",
)
_BODY = flags.DEFINE_string(
    "body", None, "Write the JSON of the REST request into this file and ask nobody: for curl -d @FILE."
)
_OUT = flags.DEFINE_string("out", "transfer.png", "PNG file for the answer. Its folder is made if it is not there.")
_TIMEOUT = flags.DEFINE_float(
    "timeout", 30.0, "Seconds to wait for the answer, in each of up to four tries.", lower_bound=0.1
)


def _ask() -> None:
    if not (_PICTURE.value and _TARGET.value):
        raise InputError("give --picture and --target; `python -m export.serving.ask --help` explains")
    if _SHAPE.value:
        shape, target = shapes.read_shape(_SHAPE.value, _PICTURE.value), shapes.read_shape(_TARGET.value)
    else:
        shape = shapes.estimated(_PICTURE.value, _POSE_MODEL.value)
        is_file = Path(_TARGET.value).suffix.lower() == ".json"
        target = shapes.read_shape(_TARGET.value) if is_file else shapes.estimated(_TARGET.value, _POSE_MODEL.value)
    if shape[0] != target[0]:  # only with --shape
        one, other = ("joints", "a picture") if shape[0] == "joints" else ("a picture", "joints")
        told = "give two JSON files of joints (export.serving.joints), or two shape maps"
        raise InputError(f"--shape={_SHAPE.value} is {one} and --target={_TARGET.value} is {other}: {told}")
    question = shapes.read_bytes(_PICTURE.value), shape, target
    if _BODY.value:
        with atomic.writing(_BODY.value, "--body"):
            atomic.write_bytes(Path(_BODY.value), rest_client.checked_body(*question))
        print(_BODY.value)
        return
    if _GRPC.value:
        start_tensorflow()  # for the messages
        from export.serving import grpc_client

        made = grpc_client.transfer(_GRPC.value, _MODEL.value, *question, _VERSION.value, _TIMEOUT.value)
    else:
        made = rest_client.transfer(_REST.value, _MODEL.value, *question, _VERSION.value, _TIMEOUT.value)
    with atomic.writing(_OUT.value):
        atomic.write_bytes(Path(_OUT.value), made)
    print(_OUT.value)


if __name__ == "__main__":
    run(_ask, if_stopped="no picture was written")
