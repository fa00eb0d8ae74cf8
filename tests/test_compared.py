"""All models with the same measures, and exported."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import saved_run

import vunet_tf
from export import trained
from export.runtime import TFLiteFile
from export.saved_model.graph import Graph
from export.tflite import graph
from vunet_tf.config import EvaluationConfig
from vunet_tf.evaluation import likelihood, metrics, samples
from vunet_tf.evaluation.evaluation import Evaluation
from vunet_tf.evaluation.measures import Measure, Missing
from vunet_tf.evaluation.scoring import SHARPNESS, Scorer
from vunet_tf.evaluation.transfer import TransferTask, measure
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_uint8

SMALL = {"bottleneck_factor": 2, "code_size": 4, "activation": "leaky_relu"}
SECTIONS = ("reconstruction", "transfer", "likelihood", "samples")


@pytest.fixture(scope="module")
def runs(tiny_figures, tmp_path_factory):
    """{model: an untrained run on drawn people of 16 pixels}."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: vunet_tf.load(saved_run(folder / name, tiny_figures, model=name, **SMALL))
        for name in ("ae", "vae_joint", "cvae", "bigan")
    }


def evaluated(run, **changes):
    config = {"split": ("valid",), "sections": SECTIONS, "max_examples": 12, "samples": 2, "batch_size": 12}
    evaluation = Evaluation(run, EvaluationConfig(**{**config, **changes}))
    evaluation.run()
    return evaluation.found


def values(found, section, name, of):
    return [x.value for x in found if isinstance(x, Measure) and (x.section, x.quantity, x.of) == (section, name, of)]


# Measures


def test_the_energy_of_gradients_and_what_blur_does_to_it():
    ramp = np.tile(np.arange(16, dtype=np.uint8)[None, :, None] * 4, (2, 16, 1, 3))
    np.testing.assert_allclose(metrics.gradient_energy(ramp), [16, 16])  # 4 grey levels from pixel to pixel, squared
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    blurred = (noise[:, :, :-1].astype(int) + noise[:, :, 1:]) // 2
    assert (metrics.gradient_energy(blurred) < 0.8 * metrics.gradient_energy(noise)).all()


def test_random_features_tell_blurred_pictures_from_sharp_ones():
    random = np.random.default_rng(0)
    sharp = random.integers(0, 256, (800, 16, 16, 3)).astype(np.uint8)
    blurred = ((sharp.astype(int) + np.roll(sharp, 1, axis=2)) // 2).astype(np.uint8)
    first, second, soft = (metrics.random_features(x) for x in (sharp[:400], sharp[400:], blurred[:400]))
    assert first.shape == (400, 96)
    assert metrics.frechet_distance(first, soft) > 5 * metrics.frechet_distance(first, second)
    np.testing.assert_array_equal(first, metrics.random_features(sharp[:400]))


def test_dequantisation_is_uniform_over_one_level():
    image = np.zeros((4, 16, 16, 3), np.float32)
    noise = likelihood.dequantised(image, tf.constant([0, 1])).numpy() * 255
    assert -1 <= noise.min() < -0.98 and 0.98 < noise.max() <= 1 and abs(noise.std() - 3**-0.5) < 0.02


def test_an_autoencoder_is_measured_as_far_as_it_goes_and_the_rest_has_a_reason(runs):
    found = evaluated(runs["ae"], sections=(*SECTIONS, "disentanglement"))
    assert values(found, "reconstruction", SHARPNESS.name, "model")[0] > 0
    for codes in (samples.RANDOM_CODES, samples.NORMAL_CODES):
        assert values(found, "samples", samples.DISTANCE.name, codes)[0] > 0
    assert values(found, "samples", samples.DISTANCE.name, samples.TRAINING)[0] > 0
    why = {x.section: x.why for x in found if isinstance(x, Missing) and x.quantity == "all"}
    assert {"transfer", "likelihood"} <= set(why)
    assert "no shape to keep" in why["transfer"]
    assert values(found, "disentanglement", "joints read from z (chance: 0)", "probe of z")


def test_a_conditional_vae_has_bits_and_samples(runs):
    found = evaluated(runs["cvae"], sections=("likelihood", "samples"), samples=1)
    assert values(found, "samples", samples.DISTANCE.name, "model")[0] > 0
    assert values(found, "likelihood", likelihood.BITS.name, "model")[0] > 6  # untrained: little less than 8 bits


def test_a_bigan_has_samples_and_reconstructions_but_no_bits(runs):
    found = evaluated(runs["bigan"], sections=("reconstruction", "likelihood", "samples"))
    assert values(found, "samples", samples.DISTANCE.name, "model")[0] > 0
    assert values(found, "reconstruction", "mean |error|, whole picture", "model")[0] > 0
    (missing,) = (each for each in found if isinstance(each, Missing) and each.section == "likelihood")
    assert "states no p(x | z)" in missing.why


def test_the_bits_of_a_gaussian_are_those_by_hand(runs):
    """If only z is random, one sample gives -(log p(x + u | z) + log p(z) - log q(z)) / D in bits of a level."""
    model = runs["vae_joint"].model
    image = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    batch, seed = {"image": tf.constant(image), "shape": tf.constant(image)}, tf.constant([0, 5])
    term = likelihood.terms(model, batch, seed, 1.0)
    made = model(model.training_inputs(batch, seed))
    x, z = likelihood.dequantised(image, seed).numpy(), made["z"][0].numpy()
    mean, scale = made["image"].numpy(), made["scale"].numpy()

    def log_normal(x, mean, scale):
        flat = -np.square((x - mean) / scale) / 2 - np.log(scale) - np.log(2 * np.pi) / 2
        return flat.reshape(len(x), -1).sum(1)

    q = [np.asarray(each) for each in model.latent.mean_and_scale(made["posterior"][0])]
    expected = log_normal(x, mean, scale) + log_normal(z, 0 * z, 1 + 0 * z) - log_normal(z, *q)
    np.testing.assert_allclose(term["log_weight_of_levels"], expected, rtol=1e-4)


def test_a_joint_vae_is_asked_for_shapes_by_pictures_of_others(runs):
    run = runs["vae_joint"]
    task = TransferTask(run.model, run.dataset(), "valid", limit=10, batch_size=10)
    assert task.positions
    for position, partner in ((at, task._partners[at]) for at in task.positions):
        mine, other = task._index[position], task._index[partner]
        assert mine.shape_id == other.shape_id and mine.appearance_id != other.appearance_id
    found, tally = measure(task, Scorer(), 0)
    assert len(tally.positions) == 10 and values(found, "transfer", "mean |error| inside the figure", "model")[0] > 0


# Out of Python


@pytest.mark.parametrize("name", ["ae", "vae_joint", "cvae", "bigan"])
def test_encoder_and_generator_run_as_tflite_and_in_a_served_graph(runs, name):
    run = runs[name]
    model = trained.load(run.directory, run.dataset_dir).model
    uses = graph.available(model)
    assert uses == (("encode", "generate") if name == "ae" else ("encode", "generate", "sample"))
    file = TFLiteFile(graph.model_graph(model, uses), 1)
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    image, shape = picture / np.float32(127.5) - 1, random.uniform(-1, 1, (1, 16, 16, 3)).astype("float32")
    shapes = {"shape": shape} if name == "cvae" else {}
    (z,) = run.model.encode({"image": image, "shape": shape})
    told = graph.feeding(model.config, keypoints=False, uses=uses)
    assert set(told["generate"]["inputs"]) == {*shapes, "z_0"}
    np.testing.assert_allclose(file.call("encode", {"image": image, **shapes})["z_0"], z, atol=1e-3)
    expected = np.clip(run.model.generate(shape, [z]), -1, 1)
    np.testing.assert_allclose(file.call("generate", {**shapes, "z_0": np.asarray(z)})["image"], expected, atol=1e-3)
    if name != "cvae":
        served = Graph(model, keypoints=False)
        assert "transfer" not in served.functions() and ("sample" in served.functions()) == (name != "ae")
        made = served.reconstruct({"image": tf.constant(picture)})["image"]
        np.testing.assert_allclose(made, to_uint8(run.model.reconstruct({"image": image})), atol=1)


def test_what_a_model_lacks_is_refused_at_export(runs):
    with pytest.raises(InputError, match="does not know how its codes are distributed"):
        runs["ae"].model.require("sample")
