"""Likelihood: the evidence lower bound in nats per picture, and a tighter bound with k samples.

The observation model is an independent Laplace distribution of every colour value of a picture in [-1, 1]:

    log p(x | shape, z) = -sum |x - x_hat| / b - S * S * 3 * log(2 b)

Only the loss l1 is -log p of such a model, up to a constant. So b does not come from the training: it is the
maximum-likelihood scale, the mean |x - x_hat| over examples of the training split. A model that states p(x | z) by
itself (a VAE's Gaussian) is measured by its own distribution.

Bits per dimension compare all models that have a likelihood or a bound of it. They are for the 8-bit picture, by
uniform dequantisation (Theis et al. 2016): with u uniform over the width of a level,

    log2 P(picture) >= E_u[log2 p(x + u)] + S * S * 3 * log2(width)

So the number is an upper bound of the bits per colour value that the model needs. A model that knows log p(x) exactly
gives the same number by its own dequantisation.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from keras import ops

from vunet_tf.data.dataset import read_info
from vunet_tf.evaluation.examples import batches, evenly, text
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, mean
from vunet_tf.models.generative import GenerativeModel

SECTION = "likelihood"
LARGEST = 256  # examples measured at most: each takes k passes
CALIBRATION = 256  # examples of the training split for b
LEVEL = 2 / 255  # width of one of the 256 levels in [-1, 1]
BITS = Quantity("bits per dimension of the 8-bit picture, dequantised", "bits/value", "lower")
_DEQUANTISATION = 8192  # stream of random numbers of a seed, different from those of the latents


def log_likelihood(image: tf.Tensor, image_hat: tf.Tensor, scale: float) -> tf.Tensor:
    """log p(x | shape, z) in nats, [B], of pictures [B, S, S, 3] in [-1, 1] under Laplace(x_hat, scale)."""
    difference = ops.sum(ops.abs(image - ops.cast(image_hat, "float32")), axis=(1, 2, 3))
    size = image.shape[1] * image.shape[2] * image.shape[3]
    return -difference / scale - size * float(np.log(2 * scale))


def terms(model: GenerativeModel, batch: dict, seed: int | tf.Tensor, scale: float) -> dict[str, tf.Tensor]:
    """The terms of one sample of q(z | x, shape), in nats, [B] each.

    "reconstruction": log p(x | shape, z). "kl_0" (the bottom scale), "kl_1", ...: KL(q || p) of each scale.
    "log_weight": log p(x | shape, z) + log p(z | shape) - log q(z | x, shape). "log_weight_of_levels": the same for the
    dequantised picture; the appearance encoder sees the picture itself.
    """
    made = model(model.training_inputs(batch, seed))

    def log_picture(image):
        return model.log_picture(image, made) if model.has_density else log_likelihood(image, made["image"], scale)

    reconstruction = log_picture(batch["image"])
    found, log_weight = {"reconstruction": reconstruction}, reconstruction
    for i, (q, p, z) in enumerate(zip(made["posterior"], made["prior"], made["z"], strict=True)):
        found[f"kl_{i}"] = model.kl(q, p, z)
        log_weight += model.log_prior(p, z) - model.latent.log_prob(q, z)
    of_levels = log_picture(dequantised(batch["image"], seed)) + log_weight - reconstruction
    return {**found, "log_weight": log_weight, "log_weight_of_levels": of_levels}


def dequantised(image: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
    """Pictures [B, S, S, 3] in [-1, 1] with uniform noise over the width of a level. `seed` is a TF seed [2]."""
    seed = tf.random.experimental.stateless_fold_in(seed, _DEQUANTISATION)
    return image + tf.random.stateless_uniform(tf.shape(image), seed, -LEVEL / 2, LEVEL / 2)


def laplace_scale(model: GenerativeModel, directory: Path | str, batch_size: int) -> float:
    """b: mean |x - x_hat| over up to 256 examples of the training split, with the posterior's mean as z."""
    count = read_info(directory).examples("train")
    positions = evenly(list(range(count)), CALIBRATION)
    reconstruct = tf.function(model.reconstruct, reduce_retracing=True)
    errors, crops = [], model.appearance_input.crops
    for batch in batches(directory, "train", positions, batch_size, "scale of the errors", crops):
        seen = {key: value for key, value in batch.items() if value.dtype == np.float32}
        errors += list(np.abs(batch["image"] - np.asarray(reconstruct(seen))).mean((1, 2, 3)))
    return max(float(np.mean(errors)), LEVEL / 2)


def measure(
    model: GenerativeModel,
    directory: Path | str,
    split: str,
    positions: list[int],
    samples: int,
    batch_size: int,
    seed: int,
) -> list[Measure | Missing]:
    """The terms of the bound, the bound, and the importance-weighted bound (Burda et al. 2016) with `samples`."""
    if "likelihood" not in model.uses:
        return [Missing(SECTION, split, "all", model.refusals()["likelihood"])]
    if model.own_likelihood:
        return _exact(model, directory, split, positions, samples, batch_size, seed)
    scale, observed = 1.0, "the model's own distribution"
    if not model.has_density:
        if "train" not in read_info(directory).splits:
            return [Missing(SECTION, split, "all", "the scale of the errors needs the split 'train'")]
        scale = laplace_scale(model, directory, batch_size)
        observed = f"Laplace with b = {scale:.3g}"
    sample = tf.function(lambda batch, seed: terms(model, batch, seed, scale), reduce_retracing=True)
    found, appearances = [], []
    crops, positions = model.appearance_input.crops, evenly(positions, LARGEST)
    measured = batches(directory, split, positions, batch_size, f"likelihood of {split}", crops)
    for number, batch in enumerate(measured):
        seen = {key: tf.constant(value) for key, value in batch.items() if value.dtype == np.float32}
        seen.pop("mask", None)
        draws = [sample(seen, tf.constant([seed, number * samples + draw])) for draw in range(samples)]
        stacked = {key: np.stack([draw[key].numpy() for draw in draws]).astype(np.float64) for key in draws[0]}
        means = {key: values.mean(0) for key, values in stacked.items()}
        means["bound"] = np.logaddexp.reduce(stacked["log_weight"], axis=0) - np.log(samples)
        means["bound_of_levels"] = np.logaddexp.reduce(stacked["log_weight_of_levels"], axis=0) - np.log(samples)
        found.append(means)
        appearances += text(batch["appearance_id"])
    values = {key: np.concatenate([means[key] for means in found]) for key in found[0]}
    kl = {key: values[key] for key in values if key.startswith("kl_")}
    elbo = values["reconstruction"] - sum(kl.values())
    size = model.config.image_size**2 * 3
    rows = [
        (Quantity(f"log p(x | shape, z), {observed}", "nats", "higher"), values["reconstruction"]),
        *(
            (Quantity(f"KL(q || p), latent of {_size(shape)}", "nats", ""), kl[f"kl_{i}"])
            for i, shape in enumerate(model.config.latent_shapes)
        ),
        (Quantity("evidence lower bound", "nats", "higher"), elbo),
        (Quantity(f"importance-weighted bound, {samples} samples", "nats", "higher"), values["bound"]),
        (
            Quantity("the latter as 8-bit pictures", "bits/value", "lower"),
            _bits(values["bound"], size),
        ),
        (BITS, _bits(values["bound_of_levels"], size)),
    ]
    made = [mean(SECTION, split, quantity, MODEL, numbers, appearances, seed) for quantity, numbers in rows]
    if not kl:
        made.append(Missing(SECTION, split, "KL", "the model has no latents (--latent_scales=0): the bounds are equal"))
    return made


def _size(shape):
    return f"{shape[0]} x {shape[0]}" if len(shape) > 1 else f"{shape[0]} numbers"


def _bits(nats, size):
    """Bits per colour value, from the log-density in nats of a picture with `size` colour values."""
    return -(nats / size + np.log(LEVEL)) / np.log(2)


def _exact(model, directory, split, positions, samples, batch_size, seed):
    """The exact likelihood, as a mean over `samples` draws of the dequantisation noise."""
    found, appearances, config = [], [], model.config
    quantity = BITS
    if config.grey or config.levels != 256:  # not the picture that the other models describe
        of = f"{config.levels} levels{' of grey' if config.grey else ''}"
        quantity = Quantity(f"bits per dimension of {of}, dequantised", "bits/value", "lower")
    bits = tf.function(model.bits_per_dimension, reduce_retracing=True)
    measured = batches(directory, split, evenly(positions, LARGEST), batch_size, f"likelihood of {split}")
    for number, batch in enumerate(measured):
        seen = {key: tf.constant(value) for key, value in batch.items() if value.dtype == np.float32}
        draws = [bits(seen, tf.constant([seed, number * samples + draw])) for draw in range(samples)]
        found.append(np.mean(draws, axis=0))
        appearances += text(batch["appearance_id"])
    return [mean(SECTION, split, quantity, MODEL, np.concatenate(found), appearances, seed)]
