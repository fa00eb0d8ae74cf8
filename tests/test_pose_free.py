"""The last layer of F with --pose_free: it learns what a picture tells of another picture of the same look."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import vunet_tf
from vunet_tf import runs
from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.data.batches import training_batches
from vunet_tf.files.errors import InputError
from vunet_tf.models.pose_free import PoseFree, unexplained
from vunet_tf.training import checkpoints
from vunet_tf.training.loop import Loop
from vunet_tf.training.step import TrainingStep

CODES, CHANNELS = 3, 2


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def two_pictures(looks, seed):
    """Codes of two pictures of each look.

    The first code shows the look and the pose, half and half. The second repeats it, but each picture hides it with the
    probability 1/2. The third is the pose alone.
    """
    random = np.random.default_rng(seed)
    look = random.normal(size=(looks, CHANNELS))
    pictures = []
    for _ in range(2):
        pose, hidden = random.normal(size=(looks, CHANNELS)), random.integers(0, 2, (looks, 1))
        pictures.append(np.stack([look + pose, hidden * look, pose], 1).astype(np.float32))
    return pictures


def test_at_first_it_changes_nothing():
    codes = normal(4, CODES, CHANNELS)
    np.testing.assert_array_equal(PoseFree()(codes), codes)


def test_only_learning_reaches_its_weights_and_only_the_call_reaches_the_codes():
    layer, codes = PoseFree(), tf.constant(normal(4, CODES, CHANNELS))
    layer(codes)
    weights = [weight.value for weight in layer.trainable_variables]
    for made, reaches_codes in ((layer, True), (layer.learning, False)):
        with tf.GradientTape() as tape:
            tape.watch(codes)
            loss = tf.reduce_sum(tf.square(made(codes)))
        by_codes, *by_weights = tape.gradient(loss, [codes, *weights])
        assert (by_codes is not None) == reaches_codes
        assert all((gradient is None) == reaches_codes for gradient in by_weights)


def test_unexplained_is_0_for_the_truth_and_1_for_the_mean():
    codes = normal(50, CODES, CHANNELS)
    assert float(unexplained(tf.constant(codes), tf.constant(codes))) == 0
    mean = np.broadcast_to(codes.mean(0), codes.shape)
    assert float(unexplained(tf.constant(mean), tf.constant(codes))) == pytest.approx(1, abs=1e-4)


def test_it_learns_the_best_linear_guess_and_takes_the_pose_out():
    layer, optimizer = PoseFree(), tf.keras.optimizers.Adam(0.02)
    layer(normal(1, CODES, CHANNELS))
    variables = layer.trainable_variables
    for step in range(400):
        a, b = two_pictures(64, seed=step)
        with tf.GradientTape() as tape:
            loss = unexplained(layer.learning(a), b)
        optimizer.learning_rate.assign(0.02 * (1 - step / 400))
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
    a, b = two_pictures(5000, seed=1000)
    guess = layer(a).numpy()
    # The best guess by least squares, from all numbers of the first picture.
    inputs = np.column_stack([a.reshape(5000, -1), np.ones(5000)])
    best = inputs @ np.linalg.lstsq(inputs, b.reshape(5000, -1), rcond=None)[0]

    def squared_error(made):
        return np.square(made - b.reshape(5000, -1)).mean()

    assert (
        squared_error(guess.reshape(5000, -1)) < 1.02 * squared_error(best) < 0.8 * squared_error(a.reshape(5000, -1))
    )

    def correlation_with_pose(codes):
        return np.abs(np.corrcoef(codes[:, :2].reshape(5000, -1).T, a[:, 2].T)[:4, 4:]).max()

    assert correlation_with_pose(a) > 0.6 and correlation_with_pose(guess) < 0.1


def test_a_second_round_can_add_it(laid_run, figures_dataset, tmp_path):
    """The checkpoint of a run without it has other optimizer slots, so only its weights are taken."""
    run = vunet_tf.load(laid_run)
    without = dataclasses.replace(run.model.config, pose_free=False)

    def step(config):
        return TrainingStep(config, TrainingConfig(batch_size=8, valid_batches=0))

    def begin(config, name, init_from):
        loop = Loop(step(config), figures_dataset, tmp_path / name, None, crops=None, chief=False)
        loop.start(init_from)
        return loop.training_step.model

    first = step(without)
    first.initialise(training_batches(figures_dataset, 4).take(1))
    (tmp_path / "first").mkdir()
    runs.save(first.model, tmp_path / "first", run.fitting)
    checkpoints.save(tmp_path / "first", 0, first.state(), keep=1)
    second = begin(run.model.config, "second", tmp_path / "first")
    batch = next(iter(training_batches(figures_dataset, 4)))
    expected = first.model.transfer(batch, batch["shape"])  # its last layer changes nothing at first
    np.testing.assert_array_equal(second.transfer(batch, batch["shape"]), expected)
    with pytest.raises(InputError, match="it has --pose_free=True"):
        begin(without, "third", laid_run)


def test_codes_in_maps_have_none():
    with pytest.raises(InputError, match="--pose_free"):
        ModelConfig(image_size=32, pose_free=True)
