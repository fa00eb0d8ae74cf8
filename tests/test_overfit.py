"""The whole model learns: eight pictures are reconstructed almost exactly."""

import keras
import numpy as np
import tensorflow as tf

from vunet_tf import losses
from vunet_tf.config import ModelConfig
from vunet_tf.models import VUNet

STEPS = 600


def pictures(count=8, size=64, seed=0):
    """Three soft-edged discs of random colours on a plain ground; the shape map is where any disc is."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    image = np.broadcast_to(rng.uniform(-0.5, 0.5, (count, 1, 1, 3)), (count, size, size, 3)).copy()
    shape = np.zeros((count, size, size, 1))
    for i in range(count):
        for _ in range(3):
            (centre_x, centre_y), radius = rng.uniform(0.25, 0.75, 2), rng.uniform(0.1, 0.25)
            distance = (np.hypot(x - centre_x, y - centre_y) - radius) * size
            cover = np.clip(0.5 - distance, 0, 1)[..., None]
            image[i] += cover * (rng.uniform(-0.9, 0.9, 3) - image[i])
            shape[i] = np.maximum(shape[i], cover)
    return {"image": image.astype("float32"), "shape": (2 * shape - 1).astype("float32")}


def test_eight_pictures_are_reconstructed_to_3_of_255():
    keras.utils.set_random_seed(0)
    batch = pictures()
    model = VUNet(
        ModelConfig(image_size=64, shape_channels=1, appearance="picture", bottleneck_factor=3, width=16, max_width=32)
    )
    model.initialise([batch])
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.PolynomialDecay(2e-3, STEPS, 0.0), beta_1=0.5, beta_2=0.9
    )
    optimizer.build(model.trainable_variables)

    @tf.function
    def train_step(seed):
        with tf.GradientTape() as tape:
            out = model(model.training_inputs(batch, seed), training=True)
            kl = losses.kl_terms(model.latent, out["posterior"], out["prior"])
            loss = losses.negative_elbo(losses.l1(batch["image"], out["image"]), kl, kl_weight=1e-4)
        optimizer.apply(tape.gradient(loss, model.trainable_variables))

    for step in tf.range(STEPS):
        train_step(step)
    error = 127.5 * np.abs(model.reconstruct(batch) - batch["image"]).mean()
    assert error <= 3, f"mean |error| {error:.2f} of 255"
    # The appearance comes from z: with another picture's, the reconstruction is far off.
    others = {key: np.roll(values, 1, axis=0) for key, values in batch.items()}
    assert 127.5 * np.abs(model.transfer(others, batch["shape"]) - batch["image"]).mean() > 10 * error
    print(f"mean |error| {error:.2f} of 255 after {STEPS} steps")
