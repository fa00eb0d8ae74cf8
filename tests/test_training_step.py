"""The training step in one process: what it minimises, skips, averages and keeps."""

import dataclasses

import keras
import numpy as np
import pytest
import stepping
import tensorflow as tf
from stepping import weights

from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.files.errors import InputError
from vunet_tf.objective import losses
from vunet_tf.training.optimizer import SummedAdam, SummedMuon, as_matrix, orthogonalised
from vunet_tf.training.step import TrainingStep, array

MODEL = ModelConfig(
    image_size=8,
    appearance="picture",
    shape_channels=1,
    bottleneck_factor=2,
    width=4,
    max_width=4,
    activation="leaky_relu",
    latent_scales=1,
    prior="standard_normal",
)
CONFIG = TrainingConfig(
    steps=40, batch_size=4, reconstruction="l1", learning_rate=0.02, kl_schedule="constant", kl_weight=1e-3, ema=0.9
)


def batch_of(seed, size=4):
    rng = np.random.default_rng(seed)
    shape = np.kron(rng.choice([-1.0, 1.0], (size, 4, 4, 1)), np.ones((1, 2, 2, 1)))
    image = np.where(shape > 0, rng.uniform(-1, 1, (size, 1, 1, 3)), 0.0)
    return {"image": image.astype("float32"), "shape": shape.astype("float32")}


BATCHES = [batch_of(seed) for seed in range(8)]


def training_step(model=MODEL, **changes):
    made = TrainingStep(model, dataclasses.replace(CONFIG, **changes))
    made.initialise(BATCHES[:2])
    return made


@pytest.fixture(scope="module")
def traced():
    """A training step that is traced once for all tests, and its state before the first step."""
    made = training_step()
    return made, made.state()


def train(ours, steps, batches=BATCHES, first=0):
    return stepping.rows(ours, steps, batches, first)


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_learns_and_tells_what_it_did(ours):
    rows = train(ours, 40)
    assert np.mean([row["error"] for row in rows[-8:]]) < 0.6 * np.mean([row["error"] for row in rows[:8]])
    for row in rows:
        assert row["loss"] == pytest.approx(row["l1"] + 1e-3 * (row["kl_0"]), rel=1e-5)
        assert row["kl"] == pytest.approx(row["kl_0"])
        assert row["l1"] == pytest.approx(5 * row["error"], rel=1e-5)
    np.testing.assert_allclose([rows[k]["learning_rate"] for k in (0, 20)], [0.02, 0.02 * (1 - 19.6 / 39.6)], rtol=1e-5)


def test_a_step_is_adam_on_the_gradient_of_the_negative_elbo(ours):
    """The first step of Adam moves each weight by the learning rate against the sign of its gradient."""
    before = weights(ours.model)
    model, batch = ours.model, BATCHES[0]
    inputs = model.training_inputs(batch)
    inputs["noise"] = model.noise(4, tf.constant([0, 0], tf.int64))
    with tf.GradientTape() as tape:
        out = model(inputs, training=True)
        kl = losses.kl_terms(model.kl, out["posterior"], out["prior"], out["z"])
        loss = losses.negative_elbo(losses.l1(batch["image"], out["image"]), kl, 1e-3)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    (row,) = train(ours, 1)
    assert row["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert row["gradient_norm"] == pytest.approx(float(tf.linalg.global_norm(gradients)), rel=1e-4)
    for old, new, gradient in zip(before, weights(ours.model), gradients, strict=True):
        clear = np.abs(gradient) > 1e-3
        np.testing.assert_allclose((new - old)[clear], -0.02 * np.sign(gradient[clear]), rtol=1e-3)


def test_train_and_test_measure_the_same_terms(ours):
    measured = ours.test(BATCHES[0], tf.constant(0, tf.int64))
    (row,) = train(ours, 1)
    assert set(measured) <= set(row)
    for name in ("loss", "l1", "kl", "error"):
        assert float(measured[name]) == pytest.approx(row[name], rel=0.2)  # but for the noise


def test_what_f_sees_is_the_other_picture(ours):
    """If the latent's noise is the same, only "appearance_..." decides the posterior."""
    batch, other = BATCHES[0], BATCHES[1]
    both = {**batch, **{f"appearance_{key}": value for key, value in other.items()}}
    kl = [float(ours.test(b, tf.constant(0, tf.int64))["kl"]) for b in (batch, other, both)]
    assert kl[2] == pytest.approx(kl[1], rel=1e-5) and kl[0] != pytest.approx(kl[1], rel=1e-2)


def test_a_batch_that_is_no_number_is_skipped_and_counted(ours):
    train(ours, 3)
    before, averages = weights(ours.model), [array(v) for v in ours.optimizer.variables]
    broken = {**BATCHES[0], "image": np.full_like(BATCHES[0]["image"], np.nan)}
    (row,) = train(ours, 1, [broken])
    assert np.isnan(row["loss"]) and row["skipped"] == 1
    assert_equal(before, weights(ours.model))
    assert_equal(averages[2:], [array(v) for v in ours.optimizer.variables][2:])  # but iterations and learning rate
    assert int(array(ours.step)) == 4 and int(array(ours.skipped_in_a_row)) == 1
    (row,) = train(ours, 1)
    assert np.isfinite(row["loss"]) and row["skipped"] == 1 and int(array(ours.skipped_in_a_row)) == 0


def test_a_step_on_features_of_vgg19(tmp_path):
    """Weights come from a file, Gram terms are on, and the model is in bfloat16: VGG19 is unchanged and in float32."""
    vgg = keras.applications.VGG19(include_top=False, weights=None)
    vgg.save_weights(tmp_path / "vgg.weights.h5")
    model = dataclasses.replace(MODEL, image_size=16, bottleneck_factor=3)
    wishes = {
        "reconstruction": "vgg19",
        "vgg_weights": str(tmp_path / "vgg.weights.h5"),
        "gram_weights": (0, 1, 0, 0, 0, 1),
    }
    ours = TrainingStep(model, dataclasses.replace(CONFIG, mixed_precision="mixed_bfloat16", **wishes))
    batch = {key: np.repeat(np.repeat(value, 2, axis=1), 2, axis=2) for key, value in BATCHES[0].items()}
    ours.initialise([batch])
    before = weights(ours.model)
    (row,) = train(ours, 1, [batch])
    terms = [name for name in row if name.startswith(("vgg_", "gram_"))]
    assert len(terms) == 8 and {"vgg_input", "gram_block1_conv2", "gram_block5_conv2"} <= set(terms)
    assert row["reconstruction"] == pytest.approx(sum(row[name] for name in terms), rel=1e-4)
    assert row["gradient_norm"] > 0 and row["skipped"] == 0
    # But the first: one input, normalised, its gradient is rounding or 0.
    assert all(np.any(old != new) for old, new in zip(before[1:6], weights(ours.model)[1:6], strict=True))
    network = ours.reconstruction.features.network
    assert {weight.dtype for weight in network.weights} == {"float32"} and not network.trainable_weights
    unchanged = vgg.weights[: len(network.weights)]  # the last layers are not used
    assert_equal([array(v) for v in unchanged], [array(v) for v in network.weights])


def test_averaged_weights_are_the_moving_average(ours):
    """The average begins as the weights after the first update. Its momentum is 2 / 11, 3 / 12, ... up to --ema."""
    average = None
    for k in range(4):
        train(ours, 1, first=k)
        now, momentum = weights(ours.model), min(0.9, (1 + k) / (10 + k))
        average = now if k == 0 else [momentum * a + (1 - momentum) * b for a, b in zip(average, now, strict=True)]
    with ours.averaged_weights():
        for a, b in zip(average, weights(ours.model), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert_equal(now, weights(ours.model))


def test_after_a_short_run_the_average_is_near_the_weight():
    """With only the default momentum, the average would still be 94 % of the weight after the first step."""
    weight = keras.Variable(0.0)
    optimizer = SummedAdam(0.1, use_ema=True, ema_momentum=TrainingConfig.ema)
    for _ in range(60):
        optimizer.apply([tf.constant(-1.0)], [weight])
    (average,) = optimizer._model_variables_moving_average
    assert float(array(weight)) == pytest.approx(6, rel=1e-3) and 5 < float(array(average)) < 6


@pytest.mark.parametrize("shape", [(72, 16), (16, 72), (32, 32)])
def test_muon_makes_all_singular_values_about_equal(shape):
    """The matrix has singular values that differ by a factor of 100."""
    u, _, v = np.linalg.svd(np.random.default_rng(0).normal(size=shape), full_matrices=False)
    matrix = (u * np.geomspace(1, 100, min(shape))) @ v
    found = orthogonalised(tf.constant(matrix, tf.float32)).numpy()
    values = np.diag(u.T @ found @ v.T)
    assert values.min() > 0.5 and values.max() < 1.3
    np.testing.assert_allclose(found, (u * values) @ v, atol=1e-2)


def test_muon_steps_kernels_in_all_directions_alike_and_leaves_the_rest_to_adam():
    random = np.random.default_rng(0)
    start = [random.normal(size=size).astype(np.float32) for size in ((3, 3, 8, 16), (16,), (16, 4))]
    gradients = [tf.constant(random.normal(size=array.shape), tf.float32) for array in start]
    moved = {}
    for kind in (SummedAdam, SummedMuon):
        variables = [keras.Variable(array) for array in start]
        optimizer = kind(0.01)
        for _ in range(3):
            optimizer.apply(gradients, variables)
        moved[kind] = [array(variable) - before for variable, before in zip(variables, start, strict=True)]
    kernel = moved[SummedMuon][0]
    values = np.linalg.svd(kernel.reshape(72, 16), compute_uv=False)
    np.testing.assert_allclose(values, 3 * 10 * 0.01, rtol=0.35)
    assert (kernel * gradients[0]).numpy().sum() < 0
    assert_equal(moved[SummedMuon][1:], moved[SummedAdam][1:])


def test_muon_knows_its_kernels():
    assert as_matrix((3, 3, 8, 16)) == (72, 16)
    for other in ((16,), (3, 3, 8, 3), (32, 1, 64), (64, 32), (1, 1, 64, 32), (3, 3, 64, 256)):
        assert as_matrix(other) is None


def test_a_restored_training_step_goes_on_exactly():
    """Dropout has a state, too. A state is restored into a new training step."""
    model = dataclasses.replace(MODEL, dropout=0.3)
    whole = training_step(model)
    train(whole, 5)
    state = whole.state()
    train(whole, 7, first=5)
    second = TrainingStep(model, CONFIG)
    second.restore(state)
    train(second, 7, first=5)
    ours, theirs = whole.state(), second.state()
    assert ours.keys() == theirs.keys()
    assert_equal(ours.values(), theirs.values())


def test_a_second_round_keeps_weights_and_slots_alone(ours):
    first = ours
    train(first, 5)
    second = TrainingStep(MODEL, CONFIG)
    second.restore(first.state(), new_run=True)
    assert int(array(second.step)) == 0
    assert_equal(weights(first.model), weights(second.model))
    assert_equal([array(v) for v in first.optimizer.variables], [array(v) for v in second.optimizer.variables])


def test_a_quantisation_aware_step_measures_what_rounding_costs():
    """The loss of training feels the rounding, that of validation does not."""
    model = dataclasses.replace(MODEL, width=8, max_width=8)
    exact, aware = training_step(model), training_step(model, quantisation_aware=True)
    aware.restore(exact.state())
    noise = exact.model.noise(4, 0)
    measured = {
        training: [float(ours.loss_terms(BATCHES[0], noise, training)["loss"]) for ours in (exact, aware)]
        for training in (True, False)
    }
    assert measured[False][0] == measured[False][1]
    assert measured[True][0] != measured[True][1] == pytest.approx(measured[True][0], rel=0.05)


@pytest.mark.parametrize("changes", [{"prior": "flow"}, {"model": "realnvp", "latent_scales": 1}], ids=str)
def test_flows_are_not_rounded(changes):
    with pytest.raises(InputError, match="--quantisation_aware=true: not with --"):
        training_step(dataclasses.replace(MODEL, **changes), quantisation_aware=True)


def test_a_state_of_another_model_is_refused(traced):
    _, state = traced
    wider = TrainingStep(dataclasses.replace(MODEL, width=8, max_width=8), CONFIG)
    with pytest.raises(ValueError, match="has shape"):
        wider.restore(state)


def test_a_state_of_an_earlier_version_is_refused(ours):
    state = {name.replace("training/", "trainer/"): value for name, value in ours.state().items()}
    with pytest.raises(ValueError, match="it has no training/step"):
        ours.restore(state)


def test_without_latents_there_is_no_kl():
    rows = train(training_step(dataclasses.replace(MODEL, latent_scales=0)), 2)
    assert rows[1]["kl"] == 0 and rows[1]["loss"] == pytest.approx(rows[1]["l1"])


@pytest.mark.parametrize(
    ("setting", "value"), [("steps", 0), ("batch_size", -1), ("ema", 1.0), ("mixed_precision", "half"), ("seed", -1)]
)
def test_settings_that_make_no_sense_name_their_flag(setting, value):
    with pytest.raises(InputError, match=f"--{setting}={value}"):
        TrainingConfig(**{setting: value})
