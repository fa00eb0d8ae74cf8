"""Flows: exact inverses and log-determinants, densities that integrate to 1, data-dependent normalisation."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from export.tflite import graph
from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models import bijectors, flows, registry
from vunet_tf.models.distributions import DiagonalGaussian
from vunet_tf.models.flow_prior import FlowPrior
from vunet_tf.models.layers import data_dependent_initialisation
from vunet_tf.training.step import TrainingStep

NETWORK = {"hidden": 6, "blocks": 1, "activation": "elu"}


def shaken(layer, seed=0, scale=0.5):
    """The layer with random weights, since a new flow is the identity."""
    random = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(variable + scale * random.standard_normal(variable.shape))
    return layer


def normal(*shape, seed=1):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape), tf.float32)


def log_det_by_jacobian(f, x):
    """log |det df / dx| of one example x [1, ...] by automatic differentiation, in float64."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    jacobian = tf.cast(tape.jacobian(y, x), tf.float64)
    size = int(np.prod(x.shape))
    return tf.linalg.slogdet(tf.reshape(jacobian, (size, size)))[1].numpy()


def picture_flow():
    return flows.MultiScaleFlow((4, 4, 1), scales=2, couplings=1, hidden=6, max_hidden=12, settings={"blocks": 1})


MAPS = {
    "several positions": ((2, 2, 2), None),
    "a vector": ((1, 1, 5), None),
    "a vector with a condition": ((1, 1, 5), (3, 1, 1, 2)),
}


@pytest.fixture(scope="module", params=["pictures", *MAPS])
def flow_and_data(request):
    """(flow with random weights, x [3, H, W, C], condition)."""
    keras.utils.set_random_seed(0)
    if request.param == "pictures":
        flow, x, condition = picture_flow(), normal(3, 4, 4, 1), None
    else:
        shape, condition = MAPS[request.param]
        condition = None if condition is None else normal(*condition, seed=2)
        settings = {**NETWORK, "kernel_size": 1 if shape[:2] == (1, 1) else 3}
        settings["condition_channels"] = 0 if condition is None else 2
        flow, x = flows.MapFlow(shape, couplings=5, settings=settings), normal(3, *shape)
    return shaken(flow, seed=2, scale=0.3), x, condition


def test_the_inverse_of_a_flow_brings_the_data_back(flow_and_data):
    flow, x, condition = flow_and_data
    z, log_det = flow(x, condition)
    assert np.abs(z.numpy().reshape(x.shape) - x).max() > 0.1
    # A flow makes its bijector anew, so nothing here is remembered.
    back, log_det_back = flow(z, condition, inverse=True)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)


def test_the_log_determinant_is_that_of_the_jacobian(flow_and_data):
    flow, x, condition = flow_and_data
    one = None if condition is None else condition[:1]
    expected = log_det_by_jacobian(lambda x: flow(x, one)[0], x[:1])
    assert abs(expected) > 0.1
    assert flow(x[:1], one)[1].numpy()[0] == pytest.approx(expected, abs=1e-4)


def test_the_distribution_of_tfp_is_the_same(flow_and_data):
    flow, x, condition = flow_and_data
    size = int(np.prod(x.shape[1:]))
    distribution = bijectors.with_standard_normal(flow.bijector(condition), size)
    np.testing.assert_allclose(distribution.log_prob(x), flows.log_prob(flow, x, condition), rtol=1e-4, atol=1e-4)


def test_each_bijector_alone():
    x = normal(1, 2, 4, 2)
    mask = bijectors.checkerboard(2, 4, True)
    numbers = normal(2, 2), normal(2, 4, 2, seed=3)

    def network(kept):
        return tf.sin(3 * kept) + numbers[1], tf.tanh(tf.reverse(kept, [1, 2]) + numbers[1])

    for made in (
        lambda: bijectors.AffineCoupling(mask, network),
        lambda: bijectors.ActNorm(lambda x=None: tuple(numbers[0])),
        bijectors.Squeeze,
        lambda: bijectors.FactorOut(bijectors.flatten((2, 4, 1)), (2, 4, 2)),
        bijectors.logit,
    ):
        bijector = made()
        data = tf.sigmoid(x) if made is bijectors.logit else x
        y = bijector.forward(data)
        # TFP remembers what it has computed, so all others get copies.
        np.testing.assert_allclose(made().inverse(tf.identity(y)), data, atol=1e-5)
        expected = log_det_by_jacobian(made().forward, tf.identity(data))
        found = made().forward_log_det_jacobian(data, event_ndims=3)
        assert np.ravel(found) == pytest.approx([expected], abs=1e-4)
        back = made().inverse_log_det_jacobian(tf.identity(y), event_ndims=len(y.shape) - 1)
        assert np.ravel(back) == pytest.approx([-expected], abs=1e-4)


def test_masks_split_in_two_and_alternate():
    for mask, sizes in (("checkerboard", (4, 6)), ("channel_halves", (8,)), ("every_second_channel", (8,))):
        first, second = (getattr(bijectors, mask)(*sizes, first) for first in (True, False))
        np.testing.assert_array_equal(first + second, np.ones_like(first))
        assert first.mean() == 0.5 and first.flat[0] == 1
    board = bijectors.checkerboard(4, 6, True)[..., 0]
    assert (board[1:] != board[:-1]).all() and (board[:, 1:] != board[:, :-1]).all()


def test_what_a_mask_keeps_does_not_change():
    coupling = shaken(flows.MapFlow((2, 2, 2), 1, NETWORK)).couplings[0]
    x = normal(1, 2, 2, 2)
    y = coupling.bijectors()[1].forward(x)
    kept = np.broadcast_to(coupling.mask == 1, x.shape)
    np.testing.assert_array_equal(y.numpy()[kept], x.numpy()[kept])
    assert (y.numpy()[~kept] != x.numpy()[~kept]).all()


def test_a_density_in_two_dimensions_integrates_to_1():
    keras.utils.set_random_seed(3)
    settings = {"hidden": 8, "blocks": 1, "kernel_size": 1}
    flow = shaken(flows.MapFlow((1, 1, 2), couplings=4, settings=settings), scale=0.2)
    points, step = np.linspace(-15, 15, 601, retstep=True, dtype=np.float32)
    grid = np.stack(np.meshgrid(points, points), -1).reshape(-1, 1, 1, 2)
    log_prob = tf.function(lambda x: flows.log_prob(flow, x))
    density = np.exp(log_prob(grid).numpy().astype(np.float64))
    assert density.std() > 0
    assert density.sum() * step**2 == pytest.approx(1, abs=0.01)
    # It is no normal distribution: its best fit is another density.
    weights = density / density.sum()
    flat = grid.reshape(-1, 2)
    mean = weights @ flat
    covariance = (flat - mean).T @ ((flat - mean) * weights[:, None])
    gaussian = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    assert gaussian + weights @ np.log(density + 1e-300) > 0.05


def test_the_initialisation_normalises_every_channel():
    keras.utils.set_random_seed(0)
    x = 3 + 5 * normal(64, 4, 4, 1)
    flow = picture_flow()
    with data_dependent_initialisation(flow):
        flow(x)
    z, log_det = flow(x)
    assert abs(z.numpy().mean()) < 0.1 and abs(z.numpy().std() - 1) < 0.1
    np.testing.assert_allclose(log_det, np.full(64, -16 * np.log(5)), rtol=0.05)


# The prior


@pytest.mark.parametrize("shape", [(2, 2, 4), (1, 1, 4), (3, 4)])
def test_a_prior_gives_the_density_of_what_it_draws(shape):
    keras.utils.set_random_seed(0)
    prior = shaken(FlowPrior(shape, features=5), scale=0.05)
    h = normal(3, *(shape[:2] if len(shape) == 3 else (2, 2)), 5)
    noise = normal(3, *shape, seed=4)
    log_prob, z = prior(h, noise=noise)
    assert z.shape == noise.shape and np.abs(z - noise).max() > 0.1
    again, same = prior(h, z=z)
    np.testing.assert_array_equal(same, z)
    np.testing.assert_allclose(again, log_prob, rtol=1e-4, atol=1e-3)
    other, _ = prior(h[::-1], z=z)  # it is conditional
    assert np.abs(other - log_prob).max() > 0.1
    np.testing.assert_array_equal(prior(h)[1], prior(h, noise=0 * noise)[1])


def test_the_estimate_of_kl_has_the_mean_of_the_analytic_one():
    """A new flow is the identity: p(z | shape) is a standard normal."""
    latent, count = DiagonalGaussian("learned"), 4000
    prior = FlowPrior((2, 3), features=5)
    q = tf.repeat(normal(1, 2, 6), count, axis=0)
    z = latent(q, normal(count, 2, 3, seed=5))
    estimate = (latent.log_prob(q, z) - prior(tf.zeros((count, 1, 1, 5)), z=z)[0]).numpy()
    expected = latent.kl(q[:1], tf.zeros((1, 2, 6))).numpy()[0]
    assert expected > 1
    error = estimate.std() / np.sqrt(count)
    assert 0 < error < 0.1
    assert abs(estimate.mean() - expected) < 4 * error


# The models


def batch_of(count, size, seed=0):
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (count, size, size, 3)) / 127.5 - 1
    shapes = random.uniform(-1, 1, (count, size, size, 3))
    return {"image": tf.constant(pictures, tf.float32), "shape": tf.constant(shapes, tf.float32)}


def trained_for_a_step(policy="float32", **config):
    """(training step, its batch) of a model after one step, with noise added to its weights."""
    step = TrainingStep(ModelConfig(**config), TrainingConfig(mixed_precision=policy, reconstruction="l1"))
    batch = batch_of(6, config["image_size"])
    step.initialise([batch])
    found = step.train_step(batch)
    assert all(np.isfinite(value) for value in found.values()) and found["gradient_norm"] > 0
    assert np.isfinite(step.test_step(batch, 0)["loss"])
    random = np.random.default_rng(7)
    for variable in step.model.trainable_variables:
        if "leave" in variable.path:
            variable.assign(0.05 * random.standard_normal(variable.shape))
    return step, batch


REALNVP = {"model": "realnvp", "image_size": 4, "bottleneck_factor": 1, "width": 4, "max_width": 8, "couplings": 1}


@pytest.fixture(scope="module")
def realnvp():
    return trained_for_a_step(**REALNVP)


def test_realnvp_gives_pictures_back_and_knows_its_likelihood(realnvp):
    step, batch = realnvp
    model = step.model
    (z,) = model.encode(batch)
    assert z.shape == (6, 48)
    np.testing.assert_allclose(model.reconstruct(batch), batch["image"], atol=1e-4)
    terms, kl = model.terms(batch, model(model.training_inputs(batch, 3)), None)
    assert not kl
    bits = model.bits_per_dimension(batch, 3).numpy()
    assert bits.mean() * 48 * np.log(2) == pytest.approx(float(terms["nll"]), rel=1e-5)
    assert 7 < bits.mean() < 10  # uniform noise of 256 levels has 8 bits
    pictures, drawn = model.sample(seed=1, count=2)
    np.testing.assert_allclose(model.generate(None, drawn), pictures)
    assert model.interpolate(None, model.encode(batch), [drawn[0][:1]], 3).shape == (3, 6, 4, 4, 3)
    with pytest.raises(InputError, match="no shape to keep"):
        model.transfer(batch, batch["shape"])


def test_the_likelihood_of_levels_is_their_density_over_the_cell():
    """For a new flow before its initialisation, log P of the levels follows from the logit alone."""
    model = registry.build(ModelConfig(**{**REALNVP, "levels": 4, "grey": True}))
    batch = batch_of(3, 4)
    noise = normal(3, 16)
    log_prob = model({"appearance": batch["image"], "noise": [noise]})["log_prob"]
    level = np.round((batch["image"].numpy().mean(-1) + 1) * 3 / 2).reshape(3, 16)
    v = (level + scipy.stats.norm.cdf(noise)) / 4
    p = 0.05 + 0.9 * v
    expected = scipy.stats.norm.logpdf(scipy.special.logit(p)) + np.log(0.9 / (p * (1 - p))) - np.log(4)
    np.testing.assert_allclose(log_prob, expected.sum(-1), rtol=1e-4)


@pytest.fixture(scope="module", params=["maps", "laid"])
def with_flow_prior(request):
    latent = {"maps": {"latent_scales": 2}, "laid": {"latent": "laid", "parts": 3, "code_channels": 3, "map_factor": 0}}
    sizes = {"image_size": 8, "bottleneck_factor": 1, "width": 4, "max_width": 4}
    config = {**sizes, "appearance": "picture", "prior": "flow", "variance": "learned", **latent[request.param]}
    policy = "float32" if request.param == "maps" else "mixed_bfloat16"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vunet_tf.models.flow_prior.HIDDEN", 8)
        patch.setattr("vunet_tf.models.flow_prior.COUPLINGS", 3)
        step, batch = trained_for_a_step(policy, **config)
        yield step, batch, step.model.fold()


def test_every_wiring_of_a_vunet_with_a_flow_prior_works(with_flow_prior):
    step, batch, folded = with_flow_prior
    model = step.model
    made = model(model.training_inputs(batch, 0))
    assert all(p.shape == (6,) for p in made["prior"])
    kl = model.terms(batch, made, step.reconstruction)[1]
    for i, (q, p, z) in enumerate(zip(made["posterior"], made["prior"], made["z"], strict=True)):
        assert float(kl[f"kl_{i}"]) == pytest.approx(np.mean(model.latent.log_prob(q, z) - p), rel=1e-3)
    pictures, z = model.sample(batch["shape"], seed=1)
    assert np.abs(z[0] - model.noise(6, 1)[0]).max() > 0.01
    np.testing.assert_allclose(model.generate(batch["shape"], z), pictures, atol=1e-4)
    assert model.transfer(batch, batch["shape"]).shape == pictures.shape
    tolerance = 1e-4 if model.dtype_policy.compute_dtype == "float32" else 0.2
    np.testing.assert_allclose(folded.sample(batch["shape"], seed=1)[0], pictures, atol=tolerance)
    if model.config.latent == "laid":
        with pytest.raises(InputError, match="--prior=flow: it draws the codes of all parts together"):
            model.wiring("vary")


def in_tflite(content, signature, inputs):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content).get_signature_runner(signature)
    return runner(**{key: np.asarray(value, np.float32) for key, value in inputs.items()})


def test_tflite_goes_in_both_directions(realnvp):
    step, batch = realnvp
    folded = step.model.fold()
    content = graph.model_graph(folded)
    one = {key: value[:1] for key, value in batch.items()}
    z = in_tflite(content, "encode", {"image": one["image"]})
    np.testing.assert_allclose(z["z_0"], folded.encode(one)[0], atol=1e-4)
    np.testing.assert_allclose(in_tflite(content, "generate", z)["image"], one["image"], atol=1e-4)
    noise = folded.noise(1, 2)
    drawn = in_tflite(content, "sample", {"noise_0": noise[0]})
    np.testing.assert_array_equal(drawn["z_0"], noise[0])
    np.testing.assert_allclose(drawn["image"], np.clip(folded.sample(noise=noise)[0], -1, 1), atol=1e-4)


def test_tflite_draws_from_a_flow_prior(with_flow_prior):
    _, batch, folded = with_flow_prior
    content = graph.model_graph(folded, ("sample",))
    noise = folded.noise(1, 2)
    given = {"shape": batch["shape"][:1], **{f"noise_{i}": value for i, value in enumerate(noise)}}
    pictures, z = folded.sample(batch["shape"][:1], noise=noise)
    drawn = in_tflite(content, "sample", given)
    tolerance = 1e-3 if folded.dtype_policy.compute_dtype == "float32" else 0.2
    np.testing.assert_allclose(drawn["z_0"], z[0], atol=tolerance)
    np.testing.assert_allclose(drawn["image"], np.clip(pictures, -1, 1), atol=tolerance)
