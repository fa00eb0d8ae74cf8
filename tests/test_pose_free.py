"""The last layer of F with --pose_free: it learns what a picture tells of another picture of the same look."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import vunet_tf
from vunet_tf import runs
from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.data.batches import training_batches
from vunet_tf.files.errors import InputError
from vunet_tf.models import registry
from vunet_tf.models.pose_free import PoseFree, places, unexplained
from vunet_tf.training import checkpoints
from vunet_tf.training.loop import Loop
from vunet_tf.training.step import TrainingStep

CODES, CHANNELS, PARTS = 3, 2, 2
MAPS = np.full((4, 4, 4, PARTS), 1 / PARTS, np.float32)


STEPS = 400


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def two_pictures(looks, seed):
    """Codes and part maps of two pictures of each look.

    The first code shows the look and the pose, half and half. The second repeats it, but each picture hides it with the
    probability 1/2. The third is the pose alone. The last part lies on the left or on the right side, and all codes are
    larger there.
    """
    random = np.random.default_rng(seed)
    look = random.normal(size=(looks, CHANNELS))
    pictures = []
    for _ in range(2):
        pose, hidden = random.normal(size=(looks, CHANNELS)), random.integers(0, 2, (looks, 1))
        right = random.integers(0, 2, looks)
        codes = np.stack([look + pose, hidden * look, pose], 1) + 2 * right[:, None, None]
        maps = np.zeros((looks, 4, 4, PARTS), np.float32)
        maps[..., 0] = 1
        maps[np.arange(looks), 1, 3 * right] = np.eye(PARTS)[-1]
        pictures.append((codes.astype(np.float32), maps))
    return pictures


def test_at_first_it_changes_nothing():
    codes = normal(4, CODES, CHANNELS)
    np.testing.assert_array_equal(PoseFree()(codes, MAPS), codes)


def test_only_learning_reaches_its_weights_and_only_the_call_reaches_the_codes():
    layer, codes = PoseFree(), tf.constant(normal(4, CODES, CHANNELS))
    layer(codes, MAPS)
    weights = [weight.value for weight in layer.trainable_variables]
    for made, reaches_codes in ((layer, True), (layer.learning, False)):
        with tf.GradientTape() as tape:
            tape.watch(codes)
            loss = tf.reduce_sum(tf.square(made(codes, MAPS)))
        by_codes, *by_weights = tape.gradient(loss, [codes, *weights])
        assert (by_codes is not None) == reaches_codes
        assert all((gradient is None) == reaches_codes for gradient in by_weights)


def test_unexplained_is_0_for_the_truth_and_1_for_the_mean():
    codes = normal(50, CODES, CHANNELS)
    assert float(unexplained(tf.constant(codes), tf.constant(codes))) == 0
    mean = np.broadcast_to(codes.mean(0), codes.shape)
    assert float(unexplained(tf.constant(mean), tf.constant(codes))) == pytest.approx(1, abs=1e-4)


def test_places_tell_area_and_mean_place():
    maps = np.zeros((1, 4, 8, 2), np.float32)
    maps[..., 0] = 1
    maps[0, 3, 0] = 0, 1  # one of 32 positions: the lowest row, the column at the left
    area, down, right = places(tf.constant(maps)).numpy().reshape(3, 2)[:, 1]
    assert area == pytest.approx(2 / 32)
    assert (down / area, right / area) == pytest.approx((3.5 / 4 - 0.5, 0.5 / 8 - 0.5))


def test_it_learns_the_best_guess_and_takes_the_pose_out():
    layer, optimizer = PoseFree(), keras.optimizers.Adam(0.02)
    layer(normal(4, CODES, CHANNELS), MAPS)
    variables = layer.trainable_variables
    for step in range(STEPS):
        (codes, maps), (others, _) = two_pictures(64, seed=step)
        with tf.GradientTape() as tape:
            loss = unexplained(layer.learning(codes, maps), others)
        optimizer.learning_rate.assign(0.02 * (1 - step / STEPS))
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
    (codes, maps), (others, _) = two_pictures(5000, seed=STEPS)
    guess = layer(codes, maps).numpy()
    right, pose = maps[:, 1, 3, -1], codes[:, 2] - 2 * maps[:, 1, 3, -1:]

    def flat(values):
        return values.reshape(len(values), -1)

    # The best guess by least squares, which knows the side.
    inputs = np.column_stack([flat(codes), right, np.ones(5000)])
    best = inputs @ np.linalg.lstsq(inputs, flat(others), rcond=None)[0]
    errors = [np.square(flat(made) - flat(others)).mean() for made in (guess, best, codes)]
    assert errors[0] < 1.03 * errors[1] < 0.8 * errors[2]

    def correlation(made):
        """Of the codes with what the pose decides, the largest."""
        numbers = np.column_stack([pose, right])
        own = flat(made)
        return np.abs(np.corrcoef(own.T, numbers.T)[: own.shape[1], own.shape[1] :]).max()

    assert correlation(codes[:, :2]) > 0.6 and correlation(guess[:, :2]) < 0.1


def test_a_model_with_it_begins_with_the_weights_of_one_without(laid_run, figures_dataset):
    config = vunet_tf.load(laid_run).model.config
    without = registry.build(dataclasses.replace(config, pose_free=False))
    with_it = registry.build(config)
    with_it.take_weights(without)
    batch = next(iter(training_batches(figures_dataset, 4)))
    shape = batch["shape"]
    np.testing.assert_array_equal(with_it.transfer(batch, shape), without.transfer(batch, shape))
    with pytest.raises(ValueError):
        without.take_weights(with_it)


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
    expected = first.model.transfer(batch, batch["shape"])
    np.testing.assert_array_equal(second.transfer(batch, batch["shape"]), expected)
    with pytest.raises(InputError, match="it has --pose_free=True"):
        begin(without, "third", laid_run)


def test_codes_in_maps_have_none():
    with pytest.raises(InputError, match="--pose_free"):
        ModelConfig(image_size=32, pose_free=True)
