"""The models with a bottleneck: their equations, their uses, and the digits."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import saved_run
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import vunet_tf
from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.data.batches import batch_of
from vunet_tf.data.dataset import read_examples, read_info
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_uint8
from vunet_tf.generation import Generator
from vunet_tf.models import registry
from vunet_tf.models.bottleneck import SMALLEST_PICTURE_SCALE, manifold_grid
from vunet_tf.objective import losses
from vunet_tf.training.step import TrainingStep

TINY = ModelConfig(image_size=8, shape_channels=1, width=2, max_width=4, code_size=4, activation="leaky_relu")


def batch(seed, size=3):
    random = np.random.default_rng(seed)
    return {
        "image": random.uniform(-1, 1, (size, 8, 8, 3)).astype("float32"),
        "shape": random.uniform(-1, 1, (size, 8, 8, 1)).astype("float32"),
    }


@functools.cache
def model_of(name):
    keras.utils.set_random_seed(0)
    model = registry.build(dataclasses.replace(TINY, model=name))
    model.initialise([batch(0, 8)])
    return model


# What each equation says


def test_a_linear_autoencoder_spans_the_principal_components():
    random = np.random.default_rng(0)
    spread, directions = np.array([0.5, 0.3, 0.03, 0.02]), np.linalg.qr(random.normal(size=(192, 4)))[0]
    data = (random.normal(size=(64, 4)) * spread * 8 @ directions.T + 0.1).astype("float32")
    settings = TrainingConfig(
        steps=1000, batch_size=64, reconstruction="mse", learning_rate=0.02, kl_schedule="constant", ema=0
    )
    step = TrainingStep(dataclasses.replace(TINY, model="ae", linear=True, code_size=2), settings)
    pictures = {"image": data.reshape(64, 8, 8, 3), "shape": np.zeros((64, 8, 8, 1), "float32")}
    step.train(iter(tf.data.Dataset.from_tensors(pictures).repeat()), tf.constant(1000))
    decoder = step.model.decoder.get_layer("from_code").kernel.numpy()  # [2, 192]
    ours, theirs = np.linalg.qr(decoder.T)[0], PCA(2).fit(data).components_
    cosines = np.linalg.svd(theirs @ ours, compute_uv=False)  # of the angles between the two planes
    assert cosines.min() > 0.999
    made = step.model.reconstruct(pictures).numpy().reshape(64, -1)
    errors = [np.square(data - x).mean() for x in (_by_pca(data), made)]
    assert errors[1] < 1.02 * errors[0]


def _by_pca(data):
    pca = PCA(2).fit(data)
    return pca.inverse_transform(pca.transform(data))


def test_the_gaussian_likelihood_is_that_of_tfp():
    random = np.random.default_rng(1)
    image, mean = (random.uniform(-1, 1, (3, 8, 8, 3)).astype("float32") for _ in range(2))
    for scale in (random.uniform(0.05, 2, (3, 8, 8, 3)).astype("float32"), 0.3):
        theirs = tfp.distributions.Independent(tfp.distributions.Normal(mean, scale), 3).log_prob(image)
        np.testing.assert_allclose(losses.gaussian_log_likelihood(image, mean, scale), theirs, rtol=1e-5)


def test_the_terms_of_a_vae_are_the_negative_elbo():
    model, data = model_of("vae"), batch(1)
    made = model(model.training_inputs(data, seed=3))
    nll, kl = model.terms(data, made, losses.l1)
    assert made["scale"].numpy().min() >= SMALLEST_PICTURE_SCALE
    normal = tfp.distributions.Independent(tfp.distributions.Normal(made["image"], made["scale"]), 3)
    np.testing.assert_allclose(nll["nll"], -np.mean(normal.log_prob(data["image"])), rtol=1e-5)
    mean, scale = (x.numpy() for x in model.latent.mean_and_scale(made["posterior"][0]))
    closed_form = (np.square(mean) + np.square(scale) - 1 - 2 * np.log(scale)).sum(-1) / 2
    np.testing.assert_allclose(kl["kl_0"], closed_form.mean(), rtol=1e-4)
    np.testing.assert_allclose(made["z"][0], mean + scale * model.noise(3, 3)[0], rtol=1e-5)


def test_the_prior_of_a_cvae_depends_on_the_shape_and_that_of_a_vae_on_nothing():
    assert np.abs(model_of("vae").sample(noise=[np.zeros((1, 4), "f4")])[1][0]).max() < 1e-6
    model, noise = model_of("cvae"), [np.zeros((3, 4), "float32")]
    means = model.sample(batch(1)["shape"], noise=noise)[1][0].numpy()
    assert np.abs(means[0] - means[1]).max() > 1e-3
    made = model(model.training_inputs(batch(1), seed=1))
    np.testing.assert_allclose(model.latent(made["prior"][0]), means, atol=1e-5)


def test_a_joint_vae_takes_one_half_of_z_from_the_picture_that_shows_the_shape():
    model, a, b = model_of("vae_joint"), batch(1), batch(2)
    (of_a,), (of_b,) = model.encode(a), model.encode(b)
    mixed = np.concatenate([of_b[:, :2], of_a[:, 2:]], axis=1)
    np.testing.assert_allclose(model.transfer(a, b["image"]), model.generate(None, [mixed]), atol=1e-5)
    np.testing.assert_allclose(model.dress(b["image"], [of_a]), model.generate(None, [mixed]), atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(a), model.generate(None, [of_a]), atol=1e-5)


def test_settings_that_make_no_model_are_refused():
    for changes, flag in [
        ({"model": "vae", "linear": True}, "--linear=True: only --model=ae"),
        ({"model": "vae_joint", "code_size": 3}, "--code_size=3: must be even"),
        ({"model": "vae", "picture_scale": 0.0}, "--picture_scale=0.0: must be a number above 0"),
    ]:
        with pytest.raises(InputError, match=flag):
            dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize(
    ("name", "use", "why"),
    [
        ("ae", "sample", "does not know how its codes are distributed"),
        ("vae", "transfer", "a VAE has no shape to keep"),
        ("vae_joint", "animate", "its shapes are pictures"),
        ("cvae", "manifold", "what z means depends on the shape"),
    ],
)
def test_what_a_model_cannot_do_is_refused_with_a_reason(name, use, why):
    with pytest.raises(InputError, match=f"--model={name}: .*{why}"):
        model_of(name).require(use)


# The digits


def decode(content, channels):
    return tf.io.decode_png(content, channels).numpy()


def test_the_digits_are_those_of_scikit_learn(digits_dataset):
    info, given = read_info(digits_dataset), load_digits()
    assert {split: info.examples(split) for split in info.splits} == {"train": 1438, "valid": 359}
    assert info.shape_channels == 1 and info.image_size == 8 and info.joints is None
    for example in read_examples(digits_dataset, "valid", 0, 20):
        digit, number = int(example.name[5]), int(example.name[7:])
        assert given.target[number] == digit == int(example.attributes["digit"]) and number >= 1438
        np.testing.assert_array_equal(decode(example.image, 3)[..., 1], np.rint(given.images[number] * 255 / 16))
        mean = given.images[:1438][given.target[:1438] == digit].mean(0) * 255 / 16
        assert np.abs(decode(example.shape, 1)[..., 0].astype(float) - mean).max() < 1.5


def test_digits_of_a_size_that_is_no_multiple_are_refused():
    with pytest.raises(InputError, match="--image_size=12: must be a multiple of 8"):
        SOURCES["digits"](Options(image_size=12))


# Pictures


def test_the_grid_of_z_has_the_quantiles_of_the_normal_distribution():
    grid = manifold_grid(5, 4, (3, 1))
    quantiles = norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(grid[2, :, 3], quantiles, atol=1e-5)
    np.testing.assert_allclose(grid[:, 0, 1], quantiles[::-1], atol=1e-5)
    assert not grid[..., [0, 2]].any()
    for dimensions, told in (((0, 4), "z has numbers 0 to 3"), ((2, 2), "two different numbers")):
        with pytest.raises(InputError, match=told):
            manifold_grid(5, 4, dimensions)


def test_a_vae_makes_pictures_without_shapes(vae_run):
    run = vunet_tf.load(vae_run)
    generator, model = Generator(run), run.model
    manifold = generator.manifold(steps=3).array()
    z = manifold_grid(3, 4)[0, 2]
    np.testing.assert_allclose(manifold[0, 2], to_uint8(model.generate(None, [z[None]]))[0], atol=1)
    samples = generator.sample(samples=3, seed=1).array()
    np.testing.assert_allclose(samples[0, 1], to_uint8(model.sample(seed=[1, 1])[0])[0], atol=1)
    assert generator.reconstruct("valid:0-1").array().shape == (2, 1, 8, 8, 3)
    assert generator.interpolate("valid:0,1", steps=3).draw().ndim == 3
    for refused, why in (
        (lambda: generator.transfer("valid:0", "valid:1"), "a VAE has no shape to keep"),
        (lambda: generator.sample(shapes="valid:0"), "--shapes: of no use for --model=vae"),
        (lambda: generator.manifold(dimensions=[0]), "--dimensions=0: must be two numbers"),
    ):
        with pytest.raises(InputError, match=why):
            refused()


def test_an_attribute_is_the_difference_of_two_means(vae_run):
    run = vunet_tf.load(vae_run)
    generator = Generator(run, batch_size=500)
    made = generator.attribute("valid:0", "digit=3", strength=2.0, steps=2).array()
    examples = list(read_examples(run.dataset_dir, "train"))
    z = np.concatenate([run.model.encode(batch_of(examples[i : i + 500]))[0] for i in range(0, 1438, 500)])
    threes = np.array([example.attributes["digit"] == "3" for example in examples])
    start = run.model.encode(batch_of(list(read_examples(run.dataset_dir, "valid", 0, 1))))[0]
    moved = start + 2 * (z[threes].mean(0) - z[~threes].mean(0))
    np.testing.assert_allclose(made[0, 1], to_uint8(run.model.generate(None, [moved]))[0], atol=1)
    for attribute, told in (("digit", "must be KEY=VALUE"), ("digit=x", "none has it; there is digit=0, digit=1")):
        with pytest.raises(InputError, match=told):
            generator.attribute("valid:0", attribute)


def test_transfers_of_a_joint_vae_take_shapes_from_pictures(digits_dataset, tmp_path):
    config = {"model": "vae_joint", "bottleneck_factor": 1, "shape_channels": 1, "code_size": 4}
    run = vunet_tf.load(saved_run(tmp_path / "run", digits_dataset, **config))
    made = Generator(run).transfer("valid:0-1", "valid:2-3").array()
    given = batch_of(list(read_examples(run.dataset_dir, "valid", 0, 4)))
    first = {key: values[:1] for key, values in given.items()}
    np.testing.assert_allclose(made[0, 1], to_uint8(run.model.transfer(first, given["image"][3:]))[0], atol=1)
