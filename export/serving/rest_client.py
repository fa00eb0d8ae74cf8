"""Asks a server for a transfer over REST."""

import base64
import json
import urllib.error
import urllib.request

import numpy as np

from vunet_tf.files.errors import InputError
from vunet_tf.files.words import DOCUMENT_ERRORS, shortened


def request_body(picture: bytes, shape: tuple[str, np.ndarray], target: tuple[str, np.ndarray]) -> bytes:
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
            raise InputError(f"the server answers: {shortened(' '.join(content['error'].split()))}")
        (prediction,) = content["predictions"]
        # A server leaves the name out where there is one output.
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
        server: its REST address, "http://localhost:8501".
        model, version: which model, and which version if not the newest.
        picture, shape, target: see `request_body`.
        timeout: seconds.

    Raises:
        InputError: the server cannot be reached, or refuses.
    """
    chosen = "" if version is None else f"/versions/{version}"
    url = f"{server.rstrip('/')}/v1/models/{model}{chosen}:predict"
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, request_body(picture, shape, target), headers)
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return answer(response.read())
    except urllib.error.HTTPError as error:
        return answer(error.read())
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--rest={server}: {getattr(error, 'reason', None) or error}") from error
