"""Inception score and Frechet inception distance, if weights of an InceptionV3 are given.

Both depend on the network. Published values were made with ports of the weights of 2015. Values made here with Keras's
weights can be compared with each other, but not with those.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from vunet_tf.evaluation import metrics
from vunet_tf.evaluation.examples import text
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, measured
from vunet_tf.evaluation.reconstruction import reconstructions
from vunet_tf.evaluation.samples import drawn
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_float, to_uint8
from vunet_tf.models.generative import GenerativeModel

SECTION = "distribution"
SIDE = 299  # pixels, as InceptionV3 was trained with; pictures are resized bilinearly
REAL = "true pictures"
SAMPLES = "samples of the prior"
SCORE = Quantity("inception score", "", "higher")


class Inception:
    """InceptionV3 with the weights of a file.

    Args:
        weights: a file of `keras.applications.InceptionV3` weights, with or without the classifier, which the inception
            score needs.

    Raises:
        InputError: the file does not hold these weights. The message names --inception_weights.
    """

    def __init__(self, weights: Path | str):
        if not Path(weights).is_file():
            raise InputError(f"--inception_weights={weights}: there is no such file")
        for self.classifies in (True, False):
            network = keras.applications.InceptionV3(include_top=self.classifies, weights=None, pooling="avg")
            try:
                network.load_weights(weights)
                break
            except (OSError, ValueError, KeyError) as error:
                reason = error
        else:
            raise InputError(f"--inception_weights={weights}: no weights of Keras's InceptionV3: {reason}") from reason
        outputs = [network.layers[-2].output, network.output] if self.classifies else [network.output]
        self._network = tf.function(keras.Model(network.input, outputs), reduce_retracing=True)

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Features [B, 2048] and, with a classifier, probabilities [B, 1000] of pictures [B, S, S, 3] uint8."""
        resized = tf.image.resize(to_float(pictures), (SIDE, SIDE))
        return [output.numpy() for output in self._network(resized, training=False)]


def measure(
    model: GenerativeModel,
    directory: Path | str,
    split: str,
    positions: list[int],
    inception: Inception | None,
    batch_size: int,
    seed: int,
) -> list[Measure | Missing]:
    """Inception score of true pictures, reconstructions and samples; FID of reconstructions and samples.

    The true pictures of the FID are those of the same examples, so both sides have equally many.
    """
    if inception is None:
        return [Missing(SECTION, split, "inception score and FID", "needs --inception_weights")]
    for use in ("reconstruct", "sample"):
        if use not in model.uses and use not in model.WIRINGS:
            return [Missing(SECTION, split, "inception score and FID", model.refusals()[use])]
    outputs = {REAL: [], MODEL: [], SAMPLES: []}
    appearances = []
    for number, (batch, made) in enumerate(reconstructions(model, directory, split, positions, batch_size)):
        sampled = drawn(model, batch, [seed, number])
        for of, pictures in ((REAL, to_uint8(batch["image"])), (MODEL, made), (SAMPLES, sampled)):
            outputs[of].append(inception(pictures))
        appearances += text(batch["appearance_id"])
    outputs = {of: [np.concatenate(each) for each in zip(*made, strict=True)] for of, made in outputs.items()}
    found: list[Measure | Missing] = []
    distance = Quantity(f"FID against the {len(appearances)} true pictures of {split}", "", "lower")
    for of, (features, *probabilities) in outputs.items():
        if probabilities:
            score = metrics.inception_score(probabilities[0])
            found.append(measured(SECTION, split, SCORE, of, (score, np.nan, np.nan), appearances))
        if of != REAL and len(appearances) > 1:
            fid = metrics.frechet_distance(outputs[REAL][0], features)
            found.append(measured(SECTION, split, distance, of, (fid, np.nan, np.nan), appearances))
    if not inception.classifies:
        found.append(Missing(SECTION, split, SCORE.name, "the --inception_weights have no classifier"))
    return found
