"""A server's configuration and requests: every message is parsed by its protobuf; both clients talk to a stand-in.

The stand-ins answer with the real SavedModel over the real protocols; the server itself is a container.
"""

import base64
import http.server
import io
import json
import re
import subprocess
import sys
import threading
import urllib.error
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from PIL import ExifTags, Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from export import runtime
from export.serving import grpc_client, rest_client, shapes
from vunet_tf import pretrained
from vunet_tf.body import keypoint_files, keypoints
from vunet_tf.body.skeleton import JOINT_INDEX, OPENPOSE_18
from vunet_tf.data.dataset import read_examples
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.people import sample_pose

ASKED = {"picture": "picture.png", "shape": "joints.json", "target": "picture.png"}
SERVING = Path(runtime.__file__).parent / "serving"


def batching_parameters():
    """The class of tensorflow.serving.BatchingParameters.

    Its fields as in tensorflow_serving/servables/tensorflow/session_bundle_config.proto, which the package
    tensorflow-serving-api does not contain.
    """
    int64, text = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    wrapped = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    for number, name in enumerate([*wrapped, "thread_pool_name"], 1):
        kind = text if name == "thread_pool_name" else int64
        message.field.add(name=name, number=number, type=kinds.TYPE_MESSAGE, type_name=kind, label=kinds.LABEL_OPTIONAL)
    message.field.add(name="allowed_batch_sizes", number=6, type=kinds.TYPE_INT64, label=kinds.LABEL_REPEATED)
    message.field.add(name="pad_variable_length_inputs", number=7, type=kinds.TYPE_BOOL, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))


@pytest.mark.parametrize("name", ["models.config", "rollback.config"])
def test_model_configurations_are_what_the_server_reads(name):
    config = text_format.Parse((SERVING / name).read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.name == "vunet" and model.base_path == "/models/vunet" and model.model_platform == "tensorflow"
    policy = model.model_version_policy.WhichOneof("policy_choice")
    assert policy == {"models.config": "latest", "rollback.config": "specific"}[name]


def test_the_batching_configuration_is_what_the_server_reads():
    config = text_format.Parse((SERVING / "batching.config").read_text(), batching_parameters()())
    sizes = list(config.allowed_batch_sizes)
    assert sizes == sorted(sizes) and sizes[-1] == config.max_batch_size.value, "what the server demands of them"
    assert not config.pad_variable_length_inputs, "pictures must not be padded"
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_sizes { value: 1 }", batching_parameters()())


def test_batching_is_switched_by_one_variable():
    """The server refuses rules of batching without --enable_batching, so both follow from the same variable."""
    compose = (SERVING / "compose.yaml").read_text()
    assert "--enable_batching=${BATCHING:-false}" in compose
    assert "--batching_parameters_file=${BATCHING:+/config/batching.config}" in compose


def test_compose_names_files_that_are_there():
    named = set(re.findall(r"\w+\.config", (SERVING / "compose.yaml").read_text()))
    assert named == {"models.config", "batching.config", "monitoring.config"}
    assert all((SERVING / name).is_file() for name in named)


@pytest.fixture(scope="module")
def model(grey_maps_version):
    return runtime.SavedModel(grey_maps_version)


@pytest.fixture(scope="module")
def question():
    """(picture file, its shape, the target shape) as the clients take them."""
    random = np.random.default_rng(0)
    picture = pictures.encode(random.integers(0, 256, (20, 30, 3), np.uint8), "png")
    return picture, *(("shape", random.integers(0, 256, (16, 16, 1), np.uint8)) for _ in range(2))


@pytest.fixture(scope="module")
def expected(model, question):
    picture, shape, target = question
    inputs = {"image_bytes": np.array([picture], object), "shape": shape[1][None], "target_shape": target[1][None]}
    return model.call("transfer_bytes", inputs)["image_bytes"][0]


@pytest.fixture(scope="module")
def grpc_server(model):
    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            try:
                outputs = model.call(request.model_spec.signature_name, inputs)
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def rest_server(model):
    """TensorFlow Serving's REST rules: instances in rows, {"b64"} for bytes, one output without its name."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = 200, None
            try:
                assert self.path == "/v1/models/vunet:predict"
                (instance,) = body["instances"]
                inputs = {}
                for name, value in instance.items():
                    if isinstance(value, dict):
                        inputs[name] = np.array([base64.b64decode(value["b64"])], object)
                    else:
                        inputs[name] = np.array([value], np.uint8 if name.endswith("shape") else np.float32)
                outputs = model.call(body["signature_name"], inputs)["image_bytes"]
                answer = {"predictions": [{"b64": base64.b64encode(content).decode()} for content in outputs]}
            except tf.errors.InvalidArgumentError as error:
                status, answer = 400, {"error": error.message}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_grpc_client_gets_the_picture(grpc_server, question, expected):
    message = grpc_client.request("vunet", *question, version=3)
    parsed = predict_pb2.PredictRequest.FromString(message.SerializeToString())
    assert parsed.model_spec.version.value == 3 and parsed.model_spec.signature_name == "transfer_bytes"
    answer = grpc_client.transfer(grpc_server, "vunet", *question)
    assert answer == expected and Image.open(io.BytesIO(answer)).size == (16, 16)


def test_the_rest_client_gets_the_picture(rest_server, question, expected):
    assert rest_client.transfer(rest_server, "vunet", *question) == expected


def test_a_wrong_request_is_not_sent_and_a_refusal_is_told_with_the_servers_words(grpc_server, rest_server, question):
    wrong = (b"rubbish", *question[1:])
    for transfer, server in ((grpc_client.transfer, grpc_server), (rest_client.transfer, rest_server)):
        with pytest.raises(InputError, match=r"^image_bytes must be PNG or JPEG"):
            transfer(server, "vunet", *wrong)
    three = ("shape", np.zeros((16, 16, 3), np.uint8))  # what only the model knows
    with pytest.raises(InputError, match=r"INVALID_ARGUMENT: .*shape must have the shape"):
        grpc_client.transfer(grpc_server, "vunet", question[0], three, question[2])
    with pytest.raises(InputError, match=r"the server answers: .*shape must have the shape"):
        rest_client.transfer(rest_server, "vunet", question[0], three, question[2])


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION])
def test_a_right_request_that_was_in_a_refused_batch_is_asked_again(model, question, expected, monkeypatch, code):
    """By both clients: the first two answers are refusals of a batch."""
    refusals = iter([1, 1])

    class Stub:
        def __init__(self, channel):
            pass

        def Predict(self, request, timeout):
            if next(refusals, None):
                raise Refusal
            response = predict_pb2.PredictResponse()
            response.outputs["image_bytes"].CopyFrom(tf.make_tensor_proto(np.array([expected], object)))
            return response

    class Refusal(grpc.RpcError):
        def details(self):
            return "of another's fault"

    Refusal.code = lambda self: code
    monkeypatch.setattr(prediction_service_pb2_grpc, "PredictionServiceStub", Stub)
    assert grpc_client.transfer("127.0.0.1:1", "vunet", *question) == expected
    refusals = iter([400, 412])  # HTTP statuses

    def answered(request, timeout):
        if status := next(refusals, None):
            told = io.BytesIO(b'{"error": "of another\'s fault"}')
            raise urllib.error.HTTPError(request.full_url, status, "", None, told)
        return io.BytesIO(json.dumps({"predictions": [{"b64": base64.b64encode(expected).decode()}]}).encode())

    monkeypatch.setattr("urllib.request.urlopen", answered)
    assert rest_client.transfer("http://127.0.0.1:1", "vunet", *question) == expected


@pytest.mark.parametrize("status", [404, 503, 504])
def test_a_model_that_is_not_served_and_a_busy_server_are_asked_once(question, monkeypatch, status):
    asked = []

    def refused(request, timeout):
        asked.append(request.full_url)
        body = io.BytesIO(b'{"error": "Servable not found for request: Latest(other)"}')
        raise urllib.error.HTTPError(request.full_url, status, "", None, body)

    monkeypatch.setattr("urllib.request.urlopen", refused)
    with pytest.raises(InputError, match=r"the server answers: Servable not found"):
        rest_client.transfer("http://127.0.0.1:1", "other", *question)
    assert asked == ["http://127.0.0.1:1/v1/models/other:predict"]


def test_ask_writes_the_request_for_curl(tmp_path, question):
    keypoint_files.write_joints(tmp_path / "joints.json", sample_pose(0, 1).joints)
    (tmp_path / "picture.png").write_bytes(question[0])
    files = {"picture": "picture.png", "shape": "joints.json", "target": "joints.json", "body": "new/request.json"}
    options = [f"--{name}={tmp_path / file}" for name, file in files.items()]
    subprocess.run([sys.executable, "-m", "export.serving.ask", *options], check=True, capture_output=True)
    request = json.loads((tmp_path / "new/request.json").read_text())
    (instance,) = request["instances"]
    assert request["signature_name"] == "transfer_bytes"
    assert base64.b64decode(instance["image_bytes"]["b64"]) == question[0]
    assert len(instance["joints"]) == len(instance["target_joints"]) == 15


def test_ask_refuses_joints_beside_a_picture(tmp_path):
    keypoint_files.write_joints(tmp_path / "joints.json", sample_pose(0, 1).joints)
    (tmp_path / "picture.png").write_bytes(pictures.encode(np.zeros((8, 8, 3), np.uint8), "png"))
    options = [f"--{name}={tmp_path / file}" for name, file in ASKED.items()]
    done = subprocess.run([sys.executable, "-m", "export.serving.ask", *options], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"^error: --shape=\S+ is joints and --target=\S+ is a picture: give two JSON files", done.stderr)


def test_no_server_is_a_clear_error(question):
    with pytest.raises(InputError, match=r"--grpc=127.0.0.1:1"):
        grpc_client.transfer("127.0.0.1:1", "vunet", *question, timeout=2)
    with pytest.raises(InputError, match=r"--rest=http://127.0.0.1:1"):
        rest_client.transfer("http://127.0.0.1:1", "vunet", *question, timeout=2)
    with pytest.raises(InputError, match=r"^--rest=localhost:8501: write http://localhost:8501$"):
        rest_client.transfer("localhost:8501", "vunet", *question)
    with pytest.raises(InputError, match="no answer of TensorFlow Serving"):
        rest_client.answer(b"<html>")


def test_both_clients_send_a_rotated_picture_upright(grpc_server, rest_server, question, expected):
    stored = Image.fromarray(np.rot90(np.asarray(Image.open(io.BytesIO(question[0])))))
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    stored.save(buffer, "PNG", exif=exif)
    rotated = (buffer.getvalue(), *question[1:])
    assert grpc_client.transfer(grpc_server, "vunet", *rotated) == expected
    assert rest_client.transfer(rest_server, "vunet", *rotated) == expected


def test_shapes_are_read_from_joints_and_pictures(tmp_path):
    (tmp_path / "pose.json").write_text(json.dumps([[0.5, 0.25], None, *[[0.1, 0.2]] * 13]))
    name, joints = shapes.read_shape(tmp_path / "pose.json")
    assert name == "joints" and joints.dtype == np.float32
    assert joints[0].tolist() == [0.5, 0.25] and joints[1].tolist() == [-1, -1]
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(tmp_path / "map.png")
    name, shape = shapes.read_shape(tmp_path / "map.png")
    assert name == "shape" and shape.shape == (4, 6, 1) and shape.dtype == np.uint8
    for name, said in (("none.json", "No such"), ("none.png", "No such")):
        with pytest.raises(InputError, match=f"{name}.*{said}"):
            shapes.read_shape(tmp_path / name)


def command(module, *arguments):
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_persons_joints_to_the_request_of_the_client(tmp_path):
    """`joints` writes what `ask` sends; OpenPose's pixels become fractions of the picture that they belong to."""
    received, pose = [], sample_pose(0, 7).joints

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            content = json.dumps({"predictions": [{"b64": base64.b64encode(b"a picture").decode()}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    told = command(
        "export.serving.joints", "--of=drawn:7", f"--out={tmp_path}/pose.json", f"--picture={tmp_path}/clothes.png"
    )
    written, picture = told.splitlines()
    assert written == f"{tmp_path}/pose.json: {(pose >= 0).all(axis=1).sum()} of 15 joints"
    assert picture.startswith(f"{tmp_path}/clothes.png: ") and (tmp_path / "clothes.png").is_file()
    rows = np.zeros((18, 3))
    for row, name in enumerate(OPENPOSE_18):
        if name in JOINT_INDEX and (pose[JOINT_INDEX[name]] >= 0).all():
            rows[row] = [*keypoints.fractions_to_pixels(pose[JOINT_INDEX[name]], 256, 256), 1]
    (tmp_path / "openpose.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": rows.ravel().tolist()}]}))
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    command(
        "export.serving.ask",
        f"--rest=http://127.0.0.1:{server.server_port}",
        *(f"--{name}={tmp_path}/{file}" for name, file in (("picture", "clothes.png"), ("shape", "openpose.json"))),
        *(f"--{name}={tmp_path}/{file}" for name, file in (("target", "pose.json"), ("out", "out.png"))),
    )
    thread.join()
    server.server_close()
    assert (tmp_path / "out.png").read_bytes() == b"a picture"
    (instance,) = received[0]["instances"]
    assert base64.b64decode(instance["image_bytes"]["b64"]) == (tmp_path / "clothes.png").read_bytes()
    for name in ("joints", "target_joints"):
        np.testing.assert_allclose(instance[name], pose, atol=1e-5)


def test_joints_of_an_example_of_a_file_and_of_nothing(figures_dataset, tmp_path):
    (example,) = read_examples(figures_dataset, "valid", 3, 1)
    joints, picture = shapes.joints_of("valid:3", figures_dataset)
    np.testing.assert_array_equal(joints, example.joints)
    assert picture == example.image
    (tmp_path / "me.png").write_bytes(example.image)
    keypoint_files.write_joints(tmp_path / "me.json", joints)
    for named in (f"{tmp_path}/me.png", f"{tmp_path}/me.png+{tmp_path}/me.json"):
        np.testing.assert_allclose(shapes.joints_of(named)[0], example.joints, atol=1e-6)
    (of_preset,) = read_examples(pretrained.folder_of("figures-64") / pretrained.EXAMPLES, "valid", 3, 1)
    np.testing.assert_array_equal(shapes.joints_of("valid:3", "figures-64")[0], of_preset.joints)
    for named, directory, said in (
        ("valid:3", None, "--of=valid:3 is no file: give --dataset_dir"),
        ("valid:0-3", figures_dataset, "names 4 examples: name one"),
        ("valid:99", figures_dataset, "--of=valid:99: the split 'valid' has 48 examples"),
        ("drawn:x", None, "write drawn:NUMBER"),
    ):
        with pytest.raises(InputError, match=said):
            shapes.joints_of(named, directory)
