r"""Asks a server for a transfer over gRPC.

  python -m export.serving.grpc_client --picture=clothes.jpg --shape=clothes.json --target=pose.json --out=result.png

Joints are JSON files with 15 pairs [x, y], fractions of the picture; a model without joints takes pictures as shapes.
"""

import grpc
import numpy as np
from absl import flags

from export import command
from export.serving import shapes
from vunet_tf.errors import InputError
from vunet_tf.startup import start_tensorflow

_SERVER = flags.DEFINE_string("server", "localhost:8500", "Host and port.")
_MODEL = flags.DEFINE_string("model", "vunet", "Name of the model.")
_VERSION = flags.DEFINE_integer("version", None, "Its version; by default the server's newest.")
_PICTURE = flags.DEFINE_string("picture", None, "Whose looks: a PNG or JPEG file.")
_SHAPE = flags.DEFINE_string("shape", None, "The shape in that picture.")
_TARGET = flags.DEFINE_string("target", None, "The shape to be dressed.")
_OUT = flags.DEFINE_string("out", "transfer.png", "Where the picture goes.")
_TIMEOUT = flags.DEFINE_float("timeout", 30.0, "Seconds to wait.", lower_bound=0.1)

MAX_MESSAGE = 64 * 2**20  # bytes; gRPC's own limit of 4 MiB is one large picture


def request(model: str, picture: bytes, shape, target, version: int | None = None):
    """The `PredictRequest` of one transfer; `shape` and `target` as `shapes.read_shape` gives them."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

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


def transfer(server: str, message, timeout: float = 30.0) -> bytes:
    """The PNG file that a server answers with. Raises InputError where it cannot be reached or refuses."""
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    options = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
    with grpc.insecure_channel(server, options) as channel:
        try:
            response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(message, timeout=timeout)
        except grpc.RpcError as error:
            raise InputError(f"--server={server}: {error.code().name}: {error.details()}") from error
    return response.outputs["image_bytes"].string_val[0]


def _ask() -> None:
    if not (_PICTURE.value and _SHAPE.value and _TARGET.value):
        raise InputError("give --picture, --shape and --target; --help explains")
    picture = shapes.read_bytes(_PICTURE.value)
    shape, target = shapes.read_shape(_SHAPE.value), shapes.read_shape(_TARGET.value)
    start_tensorflow()
    message = request(_MODEL.value, picture, shape, target, _VERSION.value)
    shapes.write_bytes(_OUT.value, transfer(_SERVER.value, message, _TIMEOUT.value))
    print(_OUT.value)


if __name__ == "__main__":
    command.run(_ask, if_stopped="no picture was written")
