"""Samples as a whole: are they as varied and as sharp as true pictures, and do they have the same distribution?

Every model makes one picture for each of up to 512 examples: for the example's shape if it draws shapes, otherwise
without one. An autoencoder has no distribution of z. It decodes codes from a diagonal Gaussian with the mean and the
standard deviation of the codes of training pictures, and, as a second measure, standard normal codes.

The Frechet distance is that of the FID (Heusel et al. 2017) on other features: those of random convolutions
(`metrics.random_features`), which need no download. It can be compared only with itself, for equally many pictures.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.data.dataset import read_info
from vunet_tf.evaluation import metrics
from vunet_tf.evaluation.examples import batches, evenly, text
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, measured
from vunet_tf.evaluation.scoring import SHARPNESS
from vunet_tf.files.pixels import to_uint8
from vunet_tf.models.generative import GenerativeModel

SECTION = "samples"
LARGEST = 512  # pictures
RANDOM_CODES = "model, random codes"  # of a model without a distribution of z: with the mean and spread of true codes
NORMAL_CODES = "model, standard normal codes"  # of the same, as a VAE is sampled
RECONSTRUCTIONS = "model, reconstructions"
TRAINING = "true pictures of train"
TRUE = "true pictures"
DISTANCE = Quantity("Frechet distance, features of random convolutions", "", "lower")
VARIETY = Quantity("variety: mean |difference| between one picture and the next", "0-255", "")


def drawn(model: GenerativeModel, batch: dict, seed: int | tf.Tensor) -> np.ndarray:
    """A sample for each example of a batch, [B, S, S, 3] uint8: for its shape, if the model draws shapes."""
    shape = batch["shape"] if "shape" in model.wiring("sample").input else None
    return to_uint8(model.sample(shape, seed=seed, count=len(batch["image"]))[0])


def measure(
    model: GenerativeModel, directory: Path | str, split: str, positions: list[int], batch_size: int, seed: int
) -> list[Measure | Missing]:
    """Distance, variety and sharpness of samples; distance of reconstructions; and the same for true pictures."""
    positions = evenly(positions, LARGEST)
    if len(positions) < 2:
        return [Missing(SECTION, split, "all", "the split has one example")]
    info, crops = read_info(directory), model.appearance_input.crops
    whose = MODEL if "sample" in model.uses or "sample" in model.WIRINGS else RANDOM_CODES
    known = {TRUE: [], whose: [], RECONSTRUCTIONS: []}
    training = _training_pictures(directory, info, len(positions), batch_size, crops)
    codes = _codes(model, training) if whose == RANDOM_CODES else None
    appearances = []
    for number, batch in enumerate(batches(directory, split, positions, batch_size, f"samples for {split}", crops)):
        seen = {key: value for key, value in batch.items() if value.dtype == np.float32}
        known[TRUE].append(to_uint8(batch["image"]))
        if codes is None:
            known[whose].append(drawn(model, seen, [seed, number]))
        else:
            random = np.random.default_rng([seed, number])
            normal = [random.normal(size=(len(batch["image"]), *mean.shape)) for mean, _ in codes]
            fitted = [mean + scale * each for each, (mean, scale) in zip(normal, codes, strict=True)]
            for of, z in ((RANDOM_CODES, fitted), (NORMAL_CODES, normal)):
                made = to_uint8(model.generate(None, [each.astype(np.float32) for each in z]))
                known.setdefault(of, []).append(made)
        if "reconstruct" in model.uses:
            known[RECONSTRUCTIONS].append(to_uint8(model.reconstruct(seen)))
        appearances += text(batch["appearance_id"])
    known = {of: np.concatenate(made) for of, made in known.items() if made}
    if training:
        known[TRAINING] = np.concatenate([to_uint8(batch["image"]) for batch in training])[: len(positions)]

    def row(quantity, of, interval):
        return measured(SECTION, split, quantity, of, interval, appearances)

    truth = metrics.random_features(known[TRUE])
    found = [
        row(DISTANCE, of, (metrics.frechet_distance(truth, metrics.random_features(made)), np.nan, np.nan))
        for of, made in known.items()
        if of != TRUE and len(made) == len(positions)
    ]
    for of in (whose, TRUE):
        differences = metrics.absolute_error(known[of], np.roll(known[of], 1, axis=0))
        found.append(row(VARIETY, of, metrics.mean_interval(differences, appearances, seed)))
    made, true = (metrics.gradient_energy(known[of]) for of in (whose, TRUE))
    found.append(row(SHARPNESS, whose, metrics.ratio_interval(made, true, appearances, seed)))
    return found


def _training_pictures(directory, info, count, batch_size, crops):
    """Batches of `count` training examples, evenly spread; none if there is no split "train"."""
    if "train" not in info.splits:
        return []
    positions = evenly(list(range(info.examples("train"))), count)
    return list(batches(directory, "train", positions, batch_size, "training pictures", crops))


def _codes(model, training):
    """(mean, standard deviation) of each z over training pictures."""
    z = [model.encode({key: value for key, value in batch.items() if value.dtype == np.float32}) for batch in training]
    scales = [np.concatenate(scale) for scale in zip(*z, strict=True)]
    return [(scale.mean(0), scale.std(0)) for scale in scales]
