"""The SavedModel: answers of TensorFlow's C++ loader against the Keras model, refusals, versions, warm-up."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from serving import INVALID_ARGUMENT, serve, signatures
from tensorflow.core.protobuf import saved_model_pb2

import vunet_tf
from export import trained
from export.saved_model import versions, warmup
from export.saved_model.graph import Graph
from vunet_tf import ModelConfig, VUNet, runs
from vunet_tf.body.body_parts import Crops, crop_body_parts
from vunet_tf.data.batches import evaluation_batches
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_float, to_uint8

BATCHES = (1, 3, 32)


def png(picture):
    return pictures.encode(picture, "png")


def unpng(content):
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture(scope="module", params=["parts", "grey_maps"])
def case(request, tiny_figures):
    """(kind, the trained Keras model, a batch of 32 for it, what is sent of the batch, the version's folder)."""
    run_dir = request.getfixturevalue(f"{request.param}_run")
    version = request.getfixturevalue(f"{request.param}_version")
    model = vunet_tf.load(run_dir).model
    if request.param == "parts":
        batch = next(iter(evaluation_batches(tiny_figures, 32, crops=Crops(8, 8))))
        batch = {key: value.numpy() for key, value in batch.items() if key in ("image", "shape", "parts", "joints")}
        sent = {"image": to_uint8(batch["image"]), "joints": batch["joints"]}
        sent["joints"][0, 0] = np.nan  # unseen
    else:
        random = np.random.default_rng(0)
        sent = {"image": random.integers(0, 256, (32, 16, 16, 3), np.uint8)}
        sent["shape"] = random.integers(0, 256, (32, 16, 16, 1), np.uint8)
        batch = {key: to_float(value) for key, value in sent.items()}
    return request.param, model, batch, sent, version


@pytest.fixture(scope="module")
def answers(case):
    """{(signature, batch size): answer} and {refused: (code, message)} of one server process.

    After all that is wrong it is asked for ("encode", "again") and for each ("warm-up", signature).
    """
    kind, model, batch, sent, version = case
    key = "joints" if kind == "parts" else "shape"
    z = {f"z_{i}": np.asarray(value) for i, value in enumerate(model.encode(batch))}
    noise = {f"noise_{i}": np.asarray(value) for i, value in enumerate(model.noise(32, 5))}
    files = np.array([png(picture) for picture in sent["image"]], object)
    target = {f"target_{key}": sent[key][::-1]}
    whole = {
        "serving_default": {**sent, **target},
        "transfer": {**sent, **target},
        "transfer_bytes": {"image_bytes": files, key: sent[key], **target},
        "encode": sent,
        "encode_bytes": {"image_bytes": files, key: sent[key]},
        "generate": {key: sent[key], **z},
        "generate_bytes": {key: sent[key], **z},
        "sample": {key: sent[key], "seed": np.arange(32, dtype=np.int32)},
        "sample_noise": {key: sent[key], **noise},
    }
    requests = {
        (name, size): (name, {key: value[:size] for key, value in inputs.items()})
        for name, inputs in whole.items()
        for size in BATCHES
    }
    larger = sent["image"].repeat(5, axis=1).repeat(3, axis=2)
    requests["encode", "80 x 48 pixels"] = ("encode", {**sent, "image": larger})
    three = {name: {key: value[:3] for key, value in inputs.items()} for name, inputs in whole.items()}

    def wrong(name, **changes):
        return name, {**three[name], **changes}

    def with_file(content):
        return wrong("transfer_bytes", image_bytes=np.array([files[0], files[1], content], object))

    bomb = files[0][:16] + b"\x7f\xff\xff\xff" * 2 + files[0][24:]
    jpeg = pictures.encode(sent["image"][0], "jpeg")
    sides = jpeg.index(b"\xff\xc0") + 5  # height and width in the frame header
    jpeg_bomb = jpeg[:sides] + b"\xff\xdc" * 2 + jpeg[sides + 4 :]
    nan = np.full_like(z["z_0"][:3], np.nan)
    requests |= {
        "rubbish": with_file(b"rubbish"),
        "empty file": with_file(b""),
        "cut in the data": with_file(files[0][:60]),
        "cut before its end": with_file(files[0][:-13]),
        "cut in the header": with_file(files[0][:20]),
        "damaged": with_file(files[0][:200] + b"\0" * 9 + files[0][209:]),
        "JPEG cut in the header": with_file(b"\xff\xd8\xffabc"),
        "JPEG cut in the data": with_file(pictures.encode(sent["image"][0], "jpeg")[:-20]),
        "gigabytes": with_file(bomb),
        "gigabytes of a JPEG": with_file(jpeg_bomb),
        "one pixel too many": wrong("encode", image=np.zeros((3, 1, 8193, 3), np.uint8)),
        "NaN in z": wrong("generate", z_0=nan),
        "NaN in noise": wrong("sample_noise", noise_0=nan),
        "rank of image": wrong("encode", image=sent["image"][0]),
        "channels of image": wrong("encode", image=sent["image"][:3, ..., :1]),
        "no pixels": wrong("encode", image=sent["image"][:3, :0]),
        "rank of shape": wrong("encode", **{key: sent[key][0]}),
        "size of z": wrong("generate", z_0=z["z_0"][:3, :1]),
        "rank of seed": wrong("sample", seed=np.zeros((3, 1), np.int32)),
        "other batch size": wrong("encode", image=sent["image"][:2]),
        "no picture": ("encode", {name: value[:0] for name, value in sent.items()}),
        "no file": ("transfer_bytes", {name: value[:0] for name, value in whole["transfer_bytes"].items()}),
    }
    if kind == "parts":
        requests["joints in pixels"] = wrong("encode", joints=sent["joints"][:3] * 64 + 2)
        far = np.where(np.arange(15)[:, None] < 4, 0, sent["joints"][:3] * 64 + 9)  # unseen ones are (0, 0)
        requests["joints in pixels and unseen ones"] = wrong(
            "encode", joints=np.concatenate([sent["joints"][:2], far[2:]]).astype(np.float32)
        )
        requests["14 joints"] = wrong("encode", joints=sent["joints"][:3, :14])
    requests["encode", "again"] = requests["encode", 32]
    requests |= {("warm-up", name): (name, inputs) for name, inputs in warm_up_requests(version)}
    return dict(zip(requests, serve(version, list(requests.values())), strict=True))


def warm_up_requests(version):
    """[(signature, inputs)] of the file that TensorFlow Serving looks for beside a version."""
    from tensorflow_serving.apis import prediction_log_pb2

    requests = []
    for record in tf.data.TFRecordDataset(str(version / warmup.FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "vunet"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        requests.append((request.model_spec.signature_name, inputs))
    return requests


def assert_same_picture(ours, theirs):
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - to_uint8(theirs)).max() <= 1


@pytest.mark.parametrize("size", BATCHES)
def test_pictures_equal_keras_within_one_grey_level(case, answers, size):
    kind, model, before, _, _ = case
    batch = dict(before)
    if kind == "parts":  # the stickman of the first lost a joint
        batch["shape"] = np.asarray(Graph(model, True)._shape(tf.constant(batch["joints"])))
        batch["parts"] = np.asarray(crops(batch))
    shape, reverse = batch["shape"][:size], batch["shape"][::-1][:size]
    seen = {key: value[:size] for key, value in batch.items()}
    expected = np.asarray(model.transfer(seen, reverse))
    for name in ("serving_default", "transfer"):
        assert_same_picture(answers[name, size]["image"], expected)
    assert_same_picture(decoded(answers["transfer_bytes", size]), expected)
    for i, z in enumerate(model.encode(seen)):
        for name in ("encode", "encode_bytes"):
            np.testing.assert_allclose(answers[name, size][f"z_{i}"], z, atol=1e-4)
    z = [x[:size] for x in model.encode(before)]  # what was sent
    expected = np.asarray(model.generate(shape, z))
    assert_same_picture(answers["generate", size]["image"], expected)
    assert_same_picture(decoded(answers["generate_bytes", size]), expected)
    sampled, z = model.sample(shape, noise=[x[:size] for x in model.noise(32, 5)])
    assert_same_picture(answers["sample_noise", size]["image"], np.asarray(sampled))
    for i, value in enumerate(z):
        np.testing.assert_allclose(answers["sample_noise", size][f"z_{i}"], value, atol=1e-4)
    for i in range(min(size, 3)):
        alone = np.asarray(model.sample(shape[i : i + 1], seed=i)[0])
        assert_same_picture(answers["sample", size]["image"][i : i + 1], alone)


def decoded(answer):
    return np.stack([unpng(content) for content in answer["image_bytes"]])


def crops(batch):
    return crop_body_parts(tf.constant(batch["image"]), tf.constant(batch["joints"]), 8, 8)


CUT = "image_bytes must be whole PNG or JPEG files"
REFUSED = {
    "rubbish": "image_bytes must be PNG or JPEG",
    "empty file": "image_bytes must be PNG or JPEG",
    "cut in the data": CUT,
    "cut before its end": CUT,
    "cut in the header": CUT,
    "damaged": CUT,
    "JPEG cut in the header": CUT,
    "JPEG cut in the data": CUT,
    "gigabytes": "image_bytes must have 1 to 8192 pixels a side",
    "gigabytes of a JPEG": "image_bytes must have 1 to 8192 pixels a side",
    "one pixel too many": "image must have the shape [1 or more, 1 to 8192, 1 to 8192, 3]",
    "NaN in z": "z_0 must be finite",
    "NaN in noise": "noise_0 must be finite",
    "rank of image": "image must have the shape [1 or more, 1 to 8192, 1 to 8192, 3]",
    "channels of image": "image must have the shape [1 or more, 1 to 8192, 1 to 8192, 3]",
    "no pixels": "image must have the shape",
    "rank of shape": "must have the shape",
    "size of z": "z_0 must have the shape [1 or more, 4, 4, 8]",
    "rank of seed": "seed must have the shape [1 or more]",
    "other batch size": "must be of one batch size",
    "no picture": "must have the shape [1 or more",
    "no file": "must have the shape [1 or more",
    "joints in pixels": "joints must have a joint inside the picture",
    "joints in pixels and unseen ones": "joints must be fractions of the picture, not pixels: no number is above 8; "
    "wrong examples, from 0:] [2]",
    "14 joints": "joints must have the shape [1 or more, 15, 2]",
}


def test_wrong_requests_come_back_as_invalid_argument(answers):
    refused = {name: answer for name, answer in answers.items() if isinstance(name, str)}
    assert len(refused) >= 20
    for name, answer in refused.items():
        assert isinstance(answer, tuple), f"{name} was answered"
        assert answer[0] == INVALID_ARGUMENT and REFUSED[name] in answer[1], (name, answer)


def test_wrong_ranks_are_named_by_tensorflow_too(parts_version):
    """Python's TensorFlow optimises by what a signature promises (the C++ loader does not). It must keep the checks."""
    functions = tf.saved_model.load(str(parts_version)).signatures
    for signature in ("encode", "encode_bytes", "transfer_bytes", "generate", "sample"):
        right = warmup.example_inputs(functions[signature].structured_input_signature[1], 16)
        for name, value in right.items():
            for wrong in (value[0], value[None], value[:0], value.ravel()[0]):
                with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} must have the shape"):
                    functions[signature](**{k: tf.constant(v) for k, v in {**right, name: wrong}.items()})


def test_the_server_lives_on_after_wrong_requests(answers):
    """One process answered all requests one after another."""
    np.testing.assert_array_equal(answers["encode", 32]["z_0"], answers["encode", "again"]["z_0"])


@pytest.mark.parametrize("height, width", [(16, 16), (40, 70), (9, 13)])
def test_pictures_of_other_sizes_are_resized_as_prepare_does(parts_export, height, width):
    graph = Graph(parts_export.model, True)
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    ours = graph._resized(picture[None])[0].numpy().astype(int)
    theirs = pictures.cut(picture, pictures.Box(0, 0, width, height), 16)
    assert np.abs(ours - theirs).max() <= (0 if (height, width) == (16, 16) else 1)


def test_a_server_takes_larger_pictures(case, answers):
    kind, model, batch, sent, _ = case
    larger = sent["image"].repeat(5, axis=1).repeat(3, axis=2)
    box = pictures.Box(0, 0, *larger.shape[2:0:-1])
    seen = {**batch, "image": to_float(np.stack([pictures.cut(picture, box, 16) for picture in larger]))}
    if kind == "parts":
        seen["parts"] = crops(seen)
    for i, z in enumerate(model.encode(seen)):
        found = answers["encode", "80 x 48 pixels"][f"z_{i}"]
        assert np.corrcoef(found.ravel(), np.ravel(z))[0, 1] > 0.99  # a grey level here and there


def test_transparent_pixels_are_laid_on_white_and_jpeg_is_read(parts_export):
    graph = Graph(parts_export.model, True)
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[8:, :, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    jpeg = pictures.encode(np.full((20, 30, 3), 77, np.uint8), "jpeg")
    transparent, grey = graph._decoded(tf.constant([buffer.getvalue(), jpeg])).numpy()
    assert transparent[:8].min() == 255 and transparent[8:].max() == 0
    assert np.abs(grey.astype(int) - 77).max() <= 1


@pytest.mark.parametrize("transparency", [None, 0])
@pytest.mark.parametrize("colours", [2, 4, 16, 17])
def test_png_files_of_few_colours_are_read(parts_export, colours, transparency):
    gradient = np.add.outer(np.arange(0, 64, 4), np.arange(0, 64, 4)).astype(np.uint8)
    palette = Image.fromarray(np.stack([gradient, 255 - gradient, gradient // 2], axis=-1)).quantize(colours)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", **({} if transparency is None else {"transparency": transparency}))
    (bits,) = buffer.getvalue()[24:25]
    assert bits == {2: 1, 4: 2, 16: 4, 17: 8}[colours]
    graph = Graph(parts_export.model, True)
    decoded = graph._decoded(tf.constant([buffer.getvalue()]))[0].numpy()
    seen = pictures.cut(pictures.read_picture(buffer.getvalue()), pictures.Box(0, 0, 16, 16), 16)
    assert np.ptp(seen) > 50
    np.testing.assert_array_equal(decoded, seen)


def test_nothing_of_training_is_in_the_graph(case):
    kind, model, _, _, version = case
    (graph,) = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs
    functions = [f for f in graph.graph_def.library.function if "__traced_" not in f.signature.name]  # save, restore
    ops = {node.op for function in functions for node in function.node_def}
    assert {"Conv2D", "Assert"} <= ops
    for forbidden in ("PyFunc", "EagerPyFunc", "RandomStandardNormal", "RandomUniform", "AssignVariableOp", "Rsqrt"):
        assert forbidden not in ops, forbidden
    reader = tf.train.load_checkpoint(str(version / "variables/variables"))
    shapes = reader.get_variable_to_shape_map()
    stored = sum(int(np.prod(shape)) for name, shape in shapes.items() if name.startswith("weights/"))
    folded = model.fold()
    assert stored == sum(int(np.prod(v.shape)) for v in folded.trainable_variables), kind


def test_every_signature_has_its_names_and_types(case):
    kind, _, _, _, version = case
    known = signatures(version)
    key = "joints" if kind == "parts" else "shape"
    assert {"serving_default", "transfer", "transfer_bytes", "encode", "generate", "sample"} <= set(known)
    assert set(known["serving_default"].inputs) == {"image", key, f"target_{key}"}
    assert known["transfer"].inputs["image"].dtype == tf.uint8.as_datatype_enum
    assert known["transfer_bytes"].inputs["image_bytes"].dtype == tf.string.as_datatype_enum
    assert all(tensor.tensor_shape.dim[0].size == -1 for s in known.values() for tensor in s.inputs.values())


def test_warm_up_requests_are_answered(case, answers):
    warmed = {name[1]: answer for name, answer in answers.items() if name[0] == "warm-up"}
    assert set(warmed) == set(signatures(case[-1])) - {"__saved_model_init_op"}
    assert all(isinstance(answer, dict) for answer in warmed.values())


def test_the_description_says_what_a_client_must_know(case):
    kind, model, _, _, version = case
    told = json.loads((version / versions.DESCRIPTION).read_text())
    assert told["image_size"] == 16 and told["latents"] == [list(shape) for shape in model.config.latent_shapes]
    assert (told["joints"] or [None])[0] == ("rankle" if kind == "parts" else None)


@pytest.fixture
def quick(monkeypatch):
    """Writes without tracing, to test only what happens to folders."""
    monkeypatch.setattr(Graph, "functions", lambda self: {"transfer": identity()})
    monkeypatch.setattr(warmup, "write", lambda *arguments: None)


def identity():
    return tf.function(lambda image: {"image": image}).get_concrete_function(image=tf.TensorSpec([None], tf.uint8))


def test_versions_count_up_and_none_is_replaced(grey_maps_export, tmp_path, quick):
    run = grey_maps_export
    (tmp_path / "vunet/assets").mkdir(parents=True)
    made = [versions.write(run, tmp_path / "vunet").name, versions.write(run, tmp_path / "vunet", 7).name]
    made.append(versions.write(run, tmp_path / "vunet").name)
    assert made == ["1", "7", "8"]
    with pytest.raises(InputError, match=r"vunet/7 exists.*--version"):
        versions.write(run, tmp_path / "vunet", 7)


def test_a_stopped_export_leaves_nothing_that_a_server_would_take(grey_maps_export, tmp_path, quick, monkeypatch):
    seen = []

    def stop(folder, *arguments):
        seen.extend(path.name for path in (tmp_path / "vunet").iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        versions.write(grey_maps_export, tmp_path / "vunet")
    assert seen and all(name.startswith(".") for name in seen)
    assert not list((tmp_path / "vunet").iterdir())


def test_a_killed_export_leaves_nothing_that_a_server_would_take(grey_maps_run, grey_maps_export, tmp_path, quick):
    killed = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_saved_model as quick
quick.Graph.functions = lambda self: {{"transfer": quick.identity()}}
quick.warmup.write = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
quick.versions.write(quick.trained.load({str(grey_maps_run)!r}), Path({str(tmp_path / "vunet")!r}))
"""
    assert subprocess.run([sys.executable, "-c", killed], stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    (left,) = (tmp_path / "vunet").iterdir()
    assert left.name.startswith(".") and (left / "saved_model.pb").is_file()
    assert versions.write(grey_maps_export, tmp_path / "vunet").name == "1"


def test_an_unwritable_folder_is_a_clear_error(grey_maps_export, tmp_path, quick):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file is a file; name another --out"):
        versions.write(grey_maps_export, tmp_path / "file/vunet")


def test_where_nothing_can_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "vunet/3").mkdir(parents=True)
    for out, version, told in (
        (tmp_path / "file", None, r"^--out=.*/file is a file; name a folder$"),
        ("/proc/vunet/a", None, r"^cannot write /proc/vunet: .*; name another --out$"),
        (tmp_path / "vunet", 3, r"vunet/3 exists.*--version"),
    ):
        with pytest.raises(InputError, match=told):
            versions.free_path(out, version)
    assert versions.free_path(tmp_path / "new/vunet").name == "1" and not (tmp_path / "new").exists()
    assert versions.free_path(tmp_path / "vunet").name == "4"
    arguments = [sys.executable, "-m", "export.saved_model", f"--run_dir={tmp_path}/none", f"--out={tmp_path}/file"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1 and "file is a file; name a folder" in done.stderr and not done.stdout


def test_runs_that_cannot_be_exported_are_named(parts_run, tmp_path):
    with pytest.raises(InputError, match=r"config\.json is missing"):
        trained.load(tmp_path)
    description = json.loads((parts_run / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"model\.weights\.h5 is missing"):
        trained.load(tmp_path)
    (tmp_path / "model.weights.h5").write_bytes((parts_run / "model.weights.h5").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**description, "format": 1}))
    with pytest.raises(InputError, match="format 1"):
        trained.load(tmp_path)
    with pytest.raises(InputError, match="--run_dir"):
        trained.load(None)


FITTING = Fitting(8, "pad", 0.15, shape_channels=3, stickmen=False, edges=False)


def test_runs_that_have_diverged_or_no_latent_are_refused(tmp_path):
    config = {"image_size": 8, "bottleneck_factor": 2, "width": 2, "max_width": 2, "appearance": "picture"}
    model = VUNet(ModelConfig(**config, latent_scales=1, prior="standard_normal"))
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    runs.save(model, tmp_path / "nan", FITTING)
    with pytest.raises(InputError, match="not finite"):
        trained.load(tmp_path / "nan")
    runs.save(VUNet(ModelConfig(**config, latent_scales=0)), tmp_path / "none", FITTING)
    with pytest.raises(InputError, match="--latent_scales=0"):
        trained.load(tmp_path / "none")
