"""Warm-up requests: TensorFlow Serving runs them through a version before it answers with this version."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.people import draw, sample_look, sample_pose

FILE = "assets.extra/tf_serving_warmup_requests"


def example_inputs(specs: dict[str, tf.TensorSpec], image_size: int) -> dict[str, np.ndarray]:
    """Inputs of a signature for a batch of one: a drawn person, its joints, and its mask as shape map. Latents are 0.

    Args:
        specs: {input: its shape and type}.
        image_size: side of the pictures in pixels.
    """
    inputs = {}
    for name, spec in specs.items():
        pose = sample_pose(0, int(name.startswith("target_")))
        drawn = draw(sample_look(0, 0), pose, image_size)
        if name == "image":
            value = drawn.image
        elif name == "image_bytes":
            value = pictures.encode(drawn.image, "png")
        elif name.endswith("joints"):
            value = pose.joints
        elif name.endswith("shape"):
            value = np.repeat(drawn.mask.reshape(image_size, image_size, 1), spec.shape[-1], axis=-1)
        else:
            value = np.zeros(spec.shape[1:], spec.dtype.as_numpy_dtype)
        dtype = object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
        inputs[name] = np.array([value], dtype)
    return inputs


def write(version_dir: Path, signatures: dict[str, dict[str, tf.TensorSpec]], image_size: int, model_name: str) -> None:
    """Writes one request for each signature, as records of `tensorflow.serving.PredictionLog`.

    Args:
        version_dir: folder of a SavedModel.
        signatures: {signature: {input: its shape and type}}.
        image_size: side of the pictures in pixels.
        model_name: name under which the model is served. The server does not check it.

    Raises:
        InputError: the package with the messages is not installed.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise InputError("the package tensorflow-serving-api is missing: pip install 'vunet-tf[export]'") from error
    path = version_dir / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, specs in signatures.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = model_name, signature
            for name, value in example_inputs(specs, image_size).items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            records.write(log.SerializeToString())
