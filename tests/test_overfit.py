"""The whole model learns: eight pictures are reconstructed almost exactly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.body.stickman import draw_stickman
from vunet_tf.config import ModelConfig
from vunet_tf.files.pixels import to_float
from vunet_tf.models import VUNet
from vunet_tf.objective import losses
from vunet_tf.people import draw, sample_look, sample_pose

STEPS = 300


def people(count=8, size=32):
    """Drawn people, each with a different look, and their stickmen."""
    poses = [sample_pose(7, i) for i in range(count)]
    images = np.stack([draw(sample_look(7, i), pose, size).image for i, pose in enumerate(poses)])
    joints = np.stack([pose.joints for pose in poses]).astype("float32")
    return {"image": to_float(images), "shape": draw_stickman(tf.constant(joints), size, size)}


@pytest.mark.slow
def test_eight_figures_are_reconstructed_to_3_of_255():
    keras.utils.set_random_seed(0)
    batch = people()
    model = VUNet(ModelConfig(image_size=32, appearance="picture", bottleneck_factor=2, width=16, max_width=32))
    model.initialise([batch])
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.PolynomialDecay(2e-3, STEPS, 0.0), beta_1=0.5, beta_2=0.9
    )
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train_step(seed):
        with tf.GradientTape() as tape:
            out = model(model.training_inputs(batch, seed), training=True)
            kl = losses.kl_terms(model.kl, out["posterior"], out["prior"], out["z"])
            loss = losses.negative_elbo(losses.l1(batch["image"], out["image"]), kl, kl_weight=1e-4)
        optimizer.apply(tape.gradient(loss, model.trainable_variables))

    for step in tf.range(STEPS):
        train_step(step)
    error = 127.5 * np.abs(model.reconstruct(batch) - batch["image"]).mean()
    assert error <= 3, f"mean |error| {error:.2f} of 255"
    # The appearance comes from z: with another picture's, the reconstruction is far off.
    others = {key: np.roll(values, 1, axis=0) for key, values in batch.items()}
    assert 127.5 * np.abs(model.transfer(others, batch["shape"]) - batch["image"]).mean() > 3 * error
    print(f"mean |error| {error:.2f} of 255 after {STEPS} steps")
