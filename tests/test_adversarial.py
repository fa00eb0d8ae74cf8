"""Two players: what each minimises, that each changes only its own network, and what is kept of them."""

import dataclasses

import keras
import numpy as np
import pytest
import stepping
import tensorflow as tf
from stepping import weights

from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models import registry
from vunet_tf.models.discriminator import discriminator
from vunet_tf.objective import adversarial
from vunet_tf.training.step import TrainingStep

SIZES = {"image_size": 8, "shape_channels": 1, "bottleneck_factor": 2, "width": 4, "max_width": 4}
BIGAN = ModelConfig(**SIZES, model="bigan", code_size=3, activation="leaky_relu", weight_norm=False)
VUNET = ModelConfig(
    **SIZES, appearance="picture", activation="leaky_relu", latent_scales=1, prior="standard_normal", weight_norm=False
)
POSITIONS = {BIGAN: 1, VUNET: 16}  # logits of a pair
CONFIG = TrainingConfig(steps=40, batch_size=4, reconstruction="l1", learning_rate=1e-3, kl_schedule="constant", r1=0.5)
CONFIG = dataclasses.replace(CONFIG, discriminator_rate=2.0, ema=0.9)


def batch_of(seed, size=4):
    random = np.random.default_rng(seed)
    return {key: random.uniform(-1, 1, (size, 8, 8, n)).astype("float32") for key, n in (("image", 3), ("shape", 1))}


BATCHES = [batch_of(seed) for seed in range(4)]


def step_of(model, **changes):
    made = TrainingStep(model, dataclasses.replace(CONFIG, adversarial=2.0 * (model.model == "vunet"), **changes))
    made.initialise(BATCHES[:2])
    return made


@pytest.fixture(scope="module", params=[BIGAN, VUNET], ids=["bigan", "vunet"])
def traced(request):
    made = step_of(request.param)
    return made, made.state()


def train(ours, steps, first=0):
    return stepping.rows(ours, steps, BATCHES, first)


# What each equation says


def test_the_losses_are_logarithms_of_probabilities():
    true, made = (np.random.default_rng(i).normal(0, 3, (5, 2, 2, 1)) for i in range(2))

    def log_sigmoid(logit):
        return np.log(1 / (1 + np.exp(-logit)))

    discriminates = -log_sigmoid(true).mean() - np.log(1 - 1 / (1 + np.exp(-made))).mean()
    assert float(adversarial.discriminator_loss(true, made)) == pytest.approx(discriminates)
    assert float(adversarial.non_saturating(made)) == pytest.approx(-log_sigmoid(made).mean())
    assert float(adversarial.encoder_loss(true)) == pytest.approx(-log_sigmoid(-true).mean())
    assert float(adversarial.discriminator_loss(0 * true, 0 * made)) == pytest.approx(2 * np.log(2))


def test_r1_of_a_linear_and_of_a_square_discriminator():
    """D = w x + |z|^2 / 2 has the gradient (w, z)."""
    random = np.random.default_rng(0)
    w, x, z = (tf.constant(random.normal(size=size), tf.float32) for size in ((2, 2, 1), (6, 2, 2, 1), (6, 3)))
    with tf.GradientTape() as tape:
        tape.watch([x, z])
        logits = tf.reduce_sum(w * x, (1, 2, 3)) + tf.reduce_sum(z * z, 1) / 2
    expected = (np.sum(w**2) + np.sum(np.square(z), 1).mean()) / 2
    gradients = tape.gradient(logits, [x, z])
    assert float(adversarial.r1(gradients)) == pytest.approx(expected, rel=1e-5)
    assert float(adversarial.r1(gradients, positions=4)) == pytest.approx(expected / 4, rel=1e-5)


def test_r1_of_a_step_is_that_of_each_pair_alone(ours):
    """Each true pair's gradient by itself, by finite differences in a random direction and by autodiff."""
    batch = BATCHES[0]
    inputs = ours.model.training_inputs(batch, seed=1)
    out = ours.model(inputs, training=True)
    true, _ = ours.model.pairs(batch, out)
    squares = []
    for i in range(4):
        one = {key: tf.constant(value[i : i + 1]) for key, value in true.items()}
        with tf.GradientTape() as tape:
            tape.watch(one)
            logit = tf.reduce_sum(ours.discriminator(one))
        gradient = {key: value.numpy() for key, value in tape.gradient(logit, one).items()}
        squares.append(sum(np.square(each).sum() for each in gradient.values()))
        ahead, behind = (
            tf.reduce_sum(ours.discriminator({key: one[key] + way * gradient[key] for key in one}))
            for way in (1e-3, -1e-3)
        )
        assert float(ahead - behind) / 2e-3 == pytest.approx(squares[-1], rel=0.02)
    (row,) = train(ours, 1)
    assert row["r1"] == pytest.approx(np.mean(squares) / (2 * POSITIONS[ours.model.config]), rel=1e-4)


def test_without_a_weight_there_is_no_r1():
    (row,) = train(step_of(BIGAN, r1=0.0), 1)
    assert "r1" not in row and row["discriminator"] > 0


# Two players


def test_each_player_steps_its_own_network_down_its_own_loss(ours):
    """The first step of Adam moves each weight by the learning rate against the sign of its gradient."""
    model, batch, d = ours.model, BATCHES[0], ours.discriminator
    before = weights(model), weights(d)
    inputs = model.training_inputs(batch)
    inputs["noise"] = model.noise(4, tf.constant([0, 0], tf.int64))
    with tf.GradientTape(persistent=True) as tape:
        out = model(inputs, training=True)
        true, made = model.pairs(batch, out)
        with tf.GradientTape() as inner:
            inner.watch(true)
            of_true = d(true)
        of_made = d(made)
        against = adversarial.non_saturating(of_made)
        if model.ADVERSARIAL:
            loss = against + adversarial.encoder_loss(of_true)
        else:
            reconstruction, kl = model.terms(batch, out, ours.reconstruction)
            loss = sum(reconstruction.values()) + sum(kl.values()) + 2 * against
        squares = [tf.reduce_sum(tf.reshape(g, (4, -1)) ** 2, 1) for g in inner.gradient(of_true, true).values()]
        penalty = tf.reduce_mean(sum(squares)) / (2 * POSITIONS[model.config])
        fooled = adversarial.discriminator_loss(of_true, of_made) + CONFIG.r1 * penalty
    (row,) = train(ours, 1)
    assert row["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert row["discriminator"] == pytest.approx(float(fooled), rel=1e-5)
    for network, old, own, rate in (
        (model, before[0], loss, 1e-3),
        (d, before[1], fooled, 1e-3 * CONFIG.discriminator_rate),
    ):
        gradients = tape.gradient(own, [v.value for v in network.trainable_variables], unconnected_gradients="zero")
        moved = 0
        for start, new, gradient in zip(old, weights(network), gradients, strict=True):
            clear = np.abs(gradient) > 1e-3
            np.testing.assert_allclose((new - start)[clear], -rate * np.sign(gradient[clear]), rtol=0.02)
            moved += clear.sum()
        assert moved > 100


def test_a_restored_step_goes_on_exactly_with_both_players():
    first, second = step_of(BIGAN), step_of(BIGAN)
    train(first, 3)
    second.restore(first.state())
    assert train(second, 3, first=3) == train(first, 3, first=3)
    end = first.state()
    for name, value in second.state().items():
        np.testing.assert_array_equal(value, end[name], err_msg=name)
    assert {"discriminator/0000", "discriminator_optimizer/0000"} <= set(end)


def test_a_second_round_may_bring_the_discriminator_and_a_run_that_goes_on_may_not(traced):
    ours, state = traced
    alone = {name: value + 1 for name, value in state.items() if not name.startswith("discriminator")}
    before = weights(ours.discriminator)
    with pytest.raises(ValueError, match="it has no discriminator/0000"):
        ours.restore(alone)
    ours.restore(alone, new_run=True)
    np.testing.assert_array_equal(weights(ours.model)[0], alone["model/0000"])
    for old, new in zip(before, weights(ours.discriminator), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_step_of_one_player_is_as_it_was_without_the_other():
    """--adversarial draws nothing that the model would have drawn: its first weights and losses are equal."""
    alone, both = TrainingStep(VUNET, CONFIG), TrainingStep(VUNET, dataclasses.replace(CONFIG, adversarial=1.0))
    for old, new in zip(weights(alone.model), weights(both.model), strict=True):
        np.testing.assert_array_equal(old, new)
    (row,), (against,) = train(alone, 1), train(both, 1)
    assert against["l1"] == row["l1"] and not {"adversarial", "discriminator"} & set(row)
    assert not any("discriminator" in name for name in alone.state())


def test_a_loss_of_either_player_that_is_no_number_skips_the_step_of_both(ours):
    before = ours.state()
    broken = ours.discriminator.trainable_variables[0]
    broken.assign(np.full(broken.shape, np.inf, np.float32))
    (row,) = train(ours, 1)
    assert row["skipped"] == 1
    after = ours.state()
    kept = [name for name in before if name.startswith("model/")]
    assert kept and all(np.array_equal(before[name], after[name]) for name in kept)


def test_combinations_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match=r"--adversarial=1\.0: --model=bigan always has a discriminator"):
        TrainingStep(BIGAN, dataclasses.replace(CONFIG, adversarial=1.0))
    with pytest.raises(InputError, match=r"--adversarial=1\.0: --model=realnvp makes no pictures"):
        TrainingStep(ModelConfig(**SIZES, model="realnvp", couplings=1), dataclasses.replace(CONFIG, adversarial=1.0))
    for name, value in (("adversarial", -1.0), ("r1", -1.0), ("discriminator_rate", 0.0)):
        with pytest.raises(InputError, match=f"--{name}={value}"):
            TrainingConfig(**{name: value})


# The discriminator


def test_the_discriminator_looks_at_everything_that_it_is_shown():
    random = np.random.default_rng(0)
    picture, vector = (random.normal(size=size).astype("float32") for size in ((2, 8, 8, 3), (2, 3)))
    d = discriminator(BIGAN, 3, 3)
    first, other = (d({"picture": picture, "vector": v}).numpy() for v in (vector, vector[::-1]))
    assert first.shape == (2, 1) and np.abs(first - other).min() > 1e-3
    assert sum(layer.name.startswith("vector_") for layer in d.layers) == 2 * len(BIGAN.widths) - 1 + 2
    patches = discriminator(VUNET, 4, scales=2)
    inputs = random.normal(size=(1, 8, 8, 4)).astype("float32")
    turned = inputs.copy()
    turned[..., 3] *= -1
    judged = patches({"picture": inputs}).numpy()
    assert judged.shape == (1, 4, 4, 1) and np.abs(judged - patches({"picture": turned})).max() > 1e-3
    local = inputs.copy()
    local[0, 0, 0] += 1
    assert np.abs(judged - patches({"picture": local}))[0, -1, -1].max() == 0  # too far away to be seen from there


def test_pairs_have_the_condition_in_common(ours):
    batch = BATCHES[1]
    out = ours.model(ours.model.training_inputs(batch, seed=1))
    true, made = ours.model.pairs(batch, out)
    if ours.model.ADVERSARIAL:
        np.testing.assert_allclose(true["vector"], ours.model.encode(batch)[0], atol=1e-5)
        np.testing.assert_array_equal(made["vector"], ours.model.noise(4, 1)[0])
        np.testing.assert_allclose(made["picture"], ours.model.generate(None, [made["vector"]]), atol=1e-5)
        np.testing.assert_array_equal(true["picture"], batch["image"])
    else:
        for pair, picture in ((true, batch["image"]), (made, out["image"])):
            np.testing.assert_array_equal(pair["picture"], np.concatenate([picture, batch["shape"]], axis=-1))


# BiGAN


@pytest.fixture(scope="module")
def bigan():
    keras.utils.set_random_seed(0)
    return registry.build(BIGAN)


def test_the_diversity_is_that_of_pixels_from_picture_to_picture(bigan):
    batch = BATCHES[0]
    out = bigan(bigan.training_inputs(batch, seed=2))
    expected = np.std(out["made"], axis=0).mean() / np.std(batch["image"], axis=0).mean()
    assert float(bigan.curves(batch, out)["diversity"]) == pytest.approx(expected, rel=1e-4)
    one_for_all = {**out, "made": tf.repeat(out["made"][:1], 4, axis=0)}
    assert float(bigan.curves(batch, one_for_all)["diversity"]) < 1e-5


def test_a_bigan_has_no_shape_and_no_likelihood(bigan):
    for use, why in (("transfer", "no shape to keep"), ("likelihood", "states no p"), ("parts", "part by part")):
        with pytest.raises(InputError, match=f"--model=bigan: .*{why}"):
            bigan.require(use)
    batch = BATCHES[0]
    np.testing.assert_array_equal(bigan.reconstruct(batch), bigan.generate(None, bigan.encode(batch)))
    pictures, z = bigan.sample(seed=3, count=2)
    np.testing.assert_allclose(bigan.generate(None, z), pictures, atol=1e-6)
