"""Asks a server for a transfer over REST."""

import base64
import json
import urllib.error
import urllib.request

import numpy as np

from export.serving import checks
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import DOCUMENT_ERRORS, shortened

_REFUSED = (400, 412)  # HTTP statuses of INVALID_ARGUMENT and FAILED_PRECONDITION


def checked_body(picture: bytes, shape: tuple[str, np.ndarray], target: tuple[str, np.ndarray]) -> bytes:
    """The same as `request_body`, for a picture that is sent upright. Raises InputError if the request is wrong."""
    checks.check(picture, shape, target)
    return request_body(checks.upright(picture), shape, target)


def request_body(picture: bytes, shape: tuple[str, np.ndarray], target: tuple[str, np.ndarray]) -> bytes:
    """The JSON of one transfer. `shape` and `target` are as `shapes.read_shape` gives them."""
    instance = {"image_bytes": {"b64": base64.b64encode(picture).decode()}}
    for prefix, (name, value) in (("", shape), ("target_", target)):
        instance[prefix + name] = value.tolist()
    return json.dumps({"signature_name": "transfer_bytes", "instances": [instance]}).encode()


def answer(body: bytes, status: int = 200) -> bytes:
    """The PNG file in an answer with an HTTP status.

    Raises:
        checks.Refused: the server refused the batch that the request was in, in its words. Another batch may do.
        InputError: it is no answer, there is no such model or version (404), or the server is too busy (503, 504).
    """
    try:
        content = json.loads(body)
        if "error" in content:
            kind = checks.Refused if status in _REFUSED else InputError
            raise kind(f"the server answers: {shortened(' '.join(content['error'].split()))}")
        (prediction,) = content["predictions"]
        # With a single output the server leaves its name out.
        return base64.b64decode(prediction.get("image_bytes", prediction)["b64"])
    except DOCUMENT_ERRORS as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"this is no answer of TensorFlow Serving: {body[:200]!r}") from error


def transfer(
    server: str,
    model: str,
    picture: bytes,
    shape: tuple[str, np.ndarray],
    target: tuple[str, np.ndarray],
    version: int | None = None,
    timeout: float = 30.0,
) -> bytes:
    """The PNG file of a transfer.

    Args:
        server: its REST address, such as "http://localhost:8501".
        model, version: the name of the model, and its version; None is the newest.
        picture, shape, target: see `request_body`. A picture with an EXIF rotation is sent upright.
        timeout: seconds to wait for the answer.

    Raises:
        InputError: the request is wrong, or the server cannot be reached or refuses it.
    """
    if not server.startswith(("http://", "https://")):
        raise InputError(f"--rest={server}: write http://{server}")
    body, headers = checked_body(picture, shape, target), {"Content-Type": "application/json"}
    chosen = "" if version is None else f"/versions/{version}"
    url = f"{server.rstrip('/')}/v1/models/{model}{chosen}:predict"

    def ask():
        try:
            request = urllib.request.Request(url, body, headers)
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return answer(response.read())
        except urllib.error.HTTPError as error:
            return answer(error.read(), error.code)
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = getattr(error, "reason", None) or error
            told = getattr(reason, "strerror", None) or reason
            raise InputError(f"--rest={server}: {told}; does a server run there? (docs/export.md)") from error

    return checks.until_answered(ask)
