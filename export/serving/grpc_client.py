"""Asks a server for a transfer over gRPC."""

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from export.serving import checks
from vunet_tf.files.errors import InputError

# A server refuses a batch with these codes: one of its requests is wrong, or their sizes differ.
_REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)
MAX_MESSAGE = 64 * 2**20  # bytes; gRPC's own limit is 4 MiB, which one large picture can exceed


def request(
    model: str,
    picture: bytes,
    shape: tuple[str, np.ndarray],
    target: tuple[str, np.ndarray],
    version: int | None = None,
) -> predict_pb2.PredictRequest:
    """The `PredictRequest` of one transfer. `shape` and `target` are as `shapes.read_shape` gives them."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = model, "transfer_bytes"
    if version is not None:
        message.model_spec.version.value = version
    inputs = {"image_bytes": np.array([picture], object)}
    for prefix, (name, value) in (("", shape), ("target_", target)):
        inputs[prefix + name] = value[None]
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


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
        server: its gRPC address, such as "localhost:8500".
        model, picture, shape, target, version: see `request`. A picture with an EXIF rotation is sent upright.
        timeout: seconds to wait for the answer.

    Raises:
        InputError: the request is wrong, or the server cannot be reached or refuses it.
    """
    checks.check(picture, shape, target)
    picture = checks.upright(picture)
    message = request(model, picture, shape, target, version)
    options = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
    with grpc.insecure_channel(server, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask():
            try:
                return stub.Predict(message, timeout=timeout)
            except grpc.RpcError as error:
                kind = checks.Refused if error.code() in _REFUSALS else InputError
                told = f"--grpc={server}: {error.code().name}: {' '.join(error.details().split())}"
                if error.code() == grpc.StatusCode.UNAVAILABLE:
                    told += "; does a server run there? (docs/export.md)"
                raise kind(told) from error

        response = checks.until_answered(ask)
    if not response.outputs["image_bytes"].string_val:
        raise InputError(f"--grpc={server}: the answer has no picture, only {', '.join(response.outputs)}")
    return response.outputs["image_bytes"].string_val[0]
