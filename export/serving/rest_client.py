r"""Asks a server for a transfer over REST.

  python -m export.serving.rest_client --picture=clothes.jpg --shape=clothes.json --target=pose.json --out=result.png

Joints are JSON files with 15 pairs [x, y], fractions of the picture; a model without joints takes pictures as shapes.
"""

import base64
import json
import urllib.error
import urllib.request

from absl import flags

from export import command
from export.serving import shapes
from vunet_tf.errors import InputError

_URL = flags.DEFINE_string("url", "http://localhost:8501/v1/models/vunet", "The model; may end in /versions/N.")
_PICTURE = flags.DEFINE_string("picture", None, "Whose looks: a PNG or JPEG file.")
_SHAPE = flags.DEFINE_string("shape", None, "The shape in that picture.")
_TARGET = flags.DEFINE_string("target", None, "The shape to be dressed.")
_OUT = flags.DEFINE_string("out", "transfer.png", "Where the picture goes.")
_TIMEOUT = flags.DEFINE_float("timeout", 30.0, "Seconds to wait.", lower_bound=0.1)


def request_body(picture: bytes, shape, target) -> bytes:
    """The JSON of one transfer; `shape` and `target` as `shapes.read_shape` gives them."""
    instance = {"image_bytes": {"b64": base64.b64encode(picture).decode()}}
    for prefix, (name, value) in (("", shape), ("target_", target)):
        instance[prefix + name] = value.tolist()
    return json.dumps({"signature_name": "transfer_bytes", "instances": [instance]}).encode()


def answer(body: bytes) -> bytes:
    """The PNG file in an answer. Raises InputError with the server's words where there is none."""
    try:
        content = json.loads(body)
        if "error" in content:
            raise InputError(f"the server answers: {content['error']}")
        (prediction,) = content["predictions"]
        # A server leaves the name out where there is one output.
        return base64.b64decode(prediction.get("image_bytes", prediction)["b64"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"this is no answer of TensorFlow Serving: {body[:200]!r}") from error


def transfer(url: str, picture: bytes, shape, target, timeout: float = 30.0) -> bytes:
    """The PNG file of a transfer. Raises InputError where the server cannot be reached or refuses."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}:predict", request_body(picture, shape, target), headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return answer(response.read())
    except urllib.error.HTTPError as error:
        return answer(error.read())
    except (OSError, ValueError) as error:
        raise InputError(f"--url={url}: {getattr(error, 'reason', None) or error}") from error


def _ask() -> None:
    if not (_PICTURE.value and _SHAPE.value and _TARGET.value):
        raise InputError("give --picture, --shape and --target; --help explains")
    picture = shapes.read_bytes(_PICTURE.value)
    shape, target = shapes.read_shape(_SHAPE.value), shapes.read_shape(_TARGET.value)
    shapes.write_bytes(_OUT.value, transfer(_URL.value, picture, shape, target, _TIMEOUT.value))
    print(_OUT.value)


if __name__ == "__main__":
    command.run(_ask, if_stopped="no picture was written")
