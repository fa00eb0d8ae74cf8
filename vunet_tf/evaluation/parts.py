"""Measures whether the parts that a model has found by itself agree with the parts of the body."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from vunet_tf.body.body_parts import REGIONS, region_masses
from vunet_tf.evaluation.examples import batches, evenly, text
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, mean
from vunet_tf.models.generative import GenerativeModel

SECTION = "disentanglement"
PEOPLE = 200  # at most
CHANCE = "chance"
AGREEMENT = Quantity("body in the right region: each part stands for the region in which it mostly lies", "", "higher")


def measure(
    model: GenerativeModel, directory: Path | str, split: str, positions: list[int], batch_size: int, seed: int
) -> list[Measure | Missing]:
    """The share of the body (head, torso, arms, legs) that lies in parts which mostly lie in the same region.

    Chance is one part for everything, which is assigned to the largest region.
    """
    masses, who = [], []
    maps_of = tf.function(model.wiring("parts"), reduce_retracing=True)
    for batch in batches(directory, split, evenly(positions, PEOPLE), batch_size, f"parts of {split}"):
        if "joints" not in batch:
            return [Missing(SECTION, split, AGREEMENT.name, "the dataset has no joints")]
        maps = maps_of({"shape": batch["shape"]}).numpy()
        masses += [region_masses(*of_person)[: len(REGIONS)] for of_person in zip(maps, batch["joints"], strict=True)]
        who += text(batch["appearance_id"])
    masses = np.stack(masses)
    largest = masses.sum((0, 2)).argmax()
    stands_for = masses.sum(0).argmax(0)
    right = masses[:, stands_for, np.arange(masses.shape[-1])].sum(1) / masses.sum((1, 2))
    chance = masses[:, largest].sum(1) / masses.sum((1, 2))
    return [mean(SECTION, split, AGREEMENT, of, values, who, seed) for of, values in ((MODEL, right), (CHANCE, chance))]
