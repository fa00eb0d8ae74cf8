"""The TFLite files: every signature against Keras, what XNNPACK takes, and what quantisation must not break."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from conftest import saved_run

import vunet_tf
from export import runtime, trained
from export.tflite import PRECISIONS, calibration, files, graph, integer_ops, model_file, quantise
from vunet_tf.body.body_parts import BACKGROUND, REGIONS, crop_body_parts
from vunet_tf.body.skeleton import SCHEMAS
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_float

USES = ("encode", "generate", "sample")


class File:
    """A TFLite file. Its signatures are called with keyword arguments in both runtimes of LiteRT, which must agree."""

    def __init__(self, content):
        self.content, self.interpreter = content, Interpreter(model_content=content, num_threads=2)
        self.compiled = runtime.TFLiteFile(content)

    def __call__(self, signature, **inputs):
        runner = self.interpreter.get_signature_runner(signature)
        answer = {name: value.copy() for name, value in runner(**inputs).items()}
        compiled = self.compiled.call(signature, inputs)
        assert compiled.keys() == answer.keys()
        for name, value in answer.items():
            np.testing.assert_array_equal(compiled[name], value, f"CompiledModel, {signature}, {name}")
        return answer

    def types(self, signature):
        runner = self.interpreter.get_signature_runner(signature)
        return {
            detail["dtype"] for detail in [*runner.get_input_details().values(), *runner.get_output_details().values()]
        }


def random_inputs(file, signature, seed=0):
    details = file.interpreter.get_signature_runner(signature).get_input_details()
    random = np.random.default_rng(seed)
    return {name: random.uniform(-1, 1, detail["shape"]).astype(np.float32) for name, detail in details.items()}


@pytest.fixture(scope="module")
def picture_run(tiny_figures, tmp_path_factory):
    """A run directory, as `make demo` trains it: F sees picture and stickman, and the prior is standard normal."""
    directory = tmp_path_factory.mktemp("runs") / "picture"
    config = {"bottleneck_factor": 2, "latent_scales": 2, "appearance": "picture", "prior": "standard_normal"}
    return saved_run(directory, tiny_figures, **config, activation="elu", variance="learned")


@pytest.fixture(scope="module", params=["parts", "picture"])
def case(request):
    """(the Keras model as trained, {precision: File}) of a run."""
    run_dir = request.getfixturevalue(f"{request.param}_run")
    content = graph.model_graph(trained.load(run_dir).model)
    floats = File(content)
    examples = {use: [random_inputs(floats, use, seed) for seed in range(16)] for use in USES}
    # "sample" must be calibrated by noise, which is what it gets.
    ranges = quantise.ranges_of(content, examples)
    files = {precision: File(quantise.quantised(content, precision, ranges)) for precision in PRECISIONS}
    return vunet_tf.load(run_dir).model, files


def keras_answers(model, inputs):
    """The Keras model's answers to the inputs of all three signatures."""
    seen = np.concatenate([inputs["encode"][key] for key in model.appearance_input.shapes], axis=-1)
    latents = range(model.config.latent_scales)
    z = model.wiring("encode")({"appearance": seen})["z"]
    made = model.generate(inputs["generate"]["shape"], [inputs["generate"][f"z_{i}"] for i in latents])
    drawn, drawn_z = model.sample(inputs["sample"]["shape"], noise=[inputs["sample"][f"noise_{i}"] for i in latents])
    named = [{f"z_{i}": np.asarray(value) for i, value in enumerate(values)} for values in (z, drawn_z)]
    return {
        "encode": named[0],
        "generate": {"image": np.clip(made, -1, 1)},
        "sample": {"image": np.clip(drawn, -1, 1), **named[1]},
    }


@pytest.mark.parametrize(
    "precision, tolerance", [("float32", 1e-3), ("float16", 0.02), ("dynamic", 0.1), ("int8", 0.3)]
)
def test_every_precision_answers_like_keras(case, precision, tolerance):
    """Tolerances are root mean squares over the spread of the right answer. That of float32 is for every value."""
    model, files = case
    inputs = {use: random_inputs(files["float32"], use, seed=3) for use in USES}
    expected = keras_answers(model, inputs)
    for use in USES:
        answer = files[precision](use, **inputs[use])
        assert answer.keys() == expected[use].keys()
        for name, value in expected[use].items():
            difference = answer[name] - value
            error = np.abs(difference).max() if precision == "float32" else np.sqrt(np.mean(np.square(difference)))
            assert error <= tolerance * max(np.std(value), 0.1), (use, name, error)


@pytest.mark.parametrize("case", ["picture"], indirect=True)
def test_the_noise_of_a_standard_normal_prior_comes_back_as_z(case):
    """Equal to the last bit, also in int8 and outside the range of the calibration."""
    _, files = case
    for precision, file in files.items():
        inputs = {name: 5 * value for name, value in random_inputs(file, "sample", seed=4).items()}
        answer = file("sample", **inputs)
        for i in (0, 1):
            np.testing.assert_array_equal(answer[f"z_{i}"], inputs[f"noise_{i}"], precision)


def test_no_output_may_be_an_input():
    """CompiledModel gives wrong results for such a file without an error."""
    through = graph._converted({"through": (lambda x: {"y": tf.identity(x)}, {"x": (3,)})})
    with pytest.raises(ValueError, match="an output of through is one of its inputs"):
        model_file.with_description(through, {"model": "none", "licence": "none"})


def test_the_generator_is_one_partition_of_built_in_ops(case):
    _, files = case
    for precision, file in files.items():
        for use in ("encode", "generate"):
            found = model_file.signature(file.content, use)
            assert found.partitions == 1 and not found.outside, (precision, use, found)
            assert not {"VAR_HANDLE", "READ_VARIABLE", "CUSTOM", "RSQRT"} & found.ops.keys()


def test_ops_outside_of_xnnpack_are_told(parts_export):
    """This shows that the check above can fail: the drawing has ops that XNNPACK does not take."""
    content = graph.drawing_graph(parts_export.model.config)
    found = model_file.signature(content, "parts")
    assert found.outside["GATHER"] and sum(found.outside.values()) < sum(found.ops.values())


def test_signatures_share_their_weights(case):
    """ "generate" and "sample" share all weights of "generate", which are in the file only once."""
    _, files = case
    for precision, file in files.items():
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(file.content))
        sizes = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
        of_signature = {
            signature.signatureKey.decode(): {
                tensor.buffer for tensor in model.subgraphs[signature.subgraphIndex].tensors
            }
            for signature in model.signatureDefs
        }
        generate = sum(sizes[index] for index in of_signature["generate"])
        shared = sum(sizes[index] for index in of_signature["generate"] & of_signature["sample"])
        assert shared > 0.8 * generate > 0, (precision, shared, generate)
    assert len(files["float32"].content) > len(files["float16"].content)


def test_int8_is_integer_inside_and_float_outside(case):
    _, files = case
    for use in USES:
        assert files["int8"].types(use) == {np.float32}
    ops = model_file.signature(files["int8"].content, "generate").ops
    assert ops["DEQUANTIZE"] == 1, "only the picture leaves int8"
    assert {"LEAKY_RELU", "ELU"} & ops.keys() and ops["DEPTH_TO_SPACE"] == 2


def test_no_two_convolutions_share_a_bias_before_int8(case):
    """A bias has the scale of one convolution's input. `test_every_precision_answers_like_keras` tests the results."""
    _, files = case
    floats = files["float32"]
    own = File(integer_ops.own_biases(floats.content))
    assert biases(floats.content) > len(set(bias_buffers(floats.content))), "signatures share them"
    assert biases(own.content) == len(set(bias_buffers(own.content)))
    inputs = random_inputs(floats, "sample")
    np.testing.assert_array_equal(own("sample", **inputs)["image"], floats("sample", **inputs)["image"])


def bias_buffers(content):
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    return [
        graph.tensors[op.inputs[2]].buffer
        for graph in model.subgraphs
        for op in graph.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    ]


def biases(content):
    return len(bias_buffers(content))


def test_files_say_how_to_feed_them(parts_phone):
    written = parts_phone
    assert [path.name for path in written] == [
        "drawing.tflite",
        "vunet_float32.tflite",
        "vunet_int8.tflite",
        "vunet.json",
    ]
    told = json.loads(written[3].read_text())
    for path in written[:3]:
        inside = model_file.description(path.read_bytes())
        assert {key: inside[key] for key in told} == told
    assert told["joints"][6] == "reye" and "Apache-2.0" in told["licence"]
    assert told["photographs"] == {"fit": "person", "margin": 0.15, "cutout": 255}  # drawn people: cut out, on white
    feeding = told["feeding"]
    assert_feeding(File(written[2].read_bytes()), feeding)
    assert_feeding(File(written[0].read_bytes()), feeding["drawing.tflite"])


def assert_feeding(file, signatures):
    """The description of a file's signatures is true."""
    for name in file.interpreter.get_signature_list():
        runner = file.interpreter.get_signature_runner(name)
        details = {"inputs": runner.get_input_details(), "outputs": runner.get_output_details()}
        for side, found in details.items():
            assert {key: list(detail["shape"]) for key, detail in found.items()} == {
                key: value["shape"] for key, value in signatures[name][side].items()
            }


def test_what_a_model_is_fed_with_is_told(case):
    model, files = case
    assert_feeding(files["int8"], graph.feeding(model.config, keypoints=True))


@pytest.mark.parametrize("app", ["Dresser.kt", "Dresser.swift"])
def test_apps_fit_every_model(app):
    """Each name in an app is one that files have; what a model takes is there; and no size or number of latents."""
    code = (Path(runtime.__file__).parent / "mobile" / app).read_text()
    named = set(re.findall(r'"([a-z_0-9]+)"', code))
    known = {"vunet_dynamic", "drawing", "tflite", "image_size", "feeding", "inputs", "outputs", "shape"}
    known |= {"photographs", "margin", "cutout", "keypoints", "latents", "regions", *REGIONS, BACKGROUND, *SCHEMAS}
    for appearance, keypoints in (("picture", True), ("picture", False), ("parts", True)):
        feeding = graph.feeding(vunet_tf.ModelConfig(appearance=appearance), keypoints)
        drawing = feeding.get("drawing.tflite", {})
        assert {*feeding["encode"]["inputs"], *drawing, "encode", "generate"} <= named, (appearance, keypoints)
        for name, signature in [*drawing.items(), *((use, feeding[use]) for use in USES)]:
            known |= {name, *signature["inputs"], *signature["outputs"]}
    assert named <= known
    assert not re.search(r"(z|noise)_\d|\b(8|16|32|64|128|256)\b", code)


def test_the_drawing_is_that_of_training(parts_export, figure_people):
    images, joints = figure_people
    images = tf.image.resize(images[:8], (16, 16)).numpy()
    joints = joints[:8].astype(np.float32)
    joints[0, 3], joints[1, 13] = np.nan, -1  # unseen
    drawing = File(graph.drawing_graph(parts_export.model.config))
    shapes = draw_stickman(joints, 16, 16).numpy()
    pictures = to_float(images.astype(np.uint8))
    parts = crop_body_parts(pictures, joints, 8, 8).numpy()
    for i in range(8):
        shape = drawing("stickman", joints=joints[i : i + 1])["shape"]
        np.testing.assert_allclose(shape[0], shapes[i], atol=1e-4)
        cut = drawing("parts", image=pictures[i : i + 1], joints=joints[i : i + 1])["parts"]
        np.testing.assert_allclose(cut[0], parts[i], atol=1e-3)


def test_calibration_takes_the_training_split_evenly(parts_export):
    examples = calibration.examples(parts_export, 5)
    assert {use: len(inputs) for use, inputs in examples.items()} == dict.fromkeys(USES, 5)
    assert examples["encode"][0]["parts"].shape == (1, 8, 8, 24)
    assert set(examples["generate"][0]) == {"shape", "z_0", "z_1"}
    shapes = [example["shape"] for example in examples["generate"]]
    assert not np.array_equal(shapes[0], shapes[1])


def test_a_run_without_its_dataset_says_what_int8_needs(grey_maps_export, tmp_path):
    with pytest.raises(InputError, match="--dataset_dir"):
        files.write(grey_maps_export, tmp_path, ("int8",))
    assert not list(tmp_path.iterdir())


def test_a_preset_says_what_int8_needs_before_the_long_conversion(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "model_graph", None)
    with pytest.raises(InputError, match=r"no split .train.\. Name a dataset .* by --dataset_dir; 400 examples"):
        files.write(trained.load("figures-64"), tmp_path)
    assert not list(tmp_path.iterdir())
