"""Samples of the prior: is the shape kept when z is sampled, and how different do the samples look?

Shapes are compared by the directions of edges (`metrics.shape_agreement`), without any pose estimator. Beside the
samples stand two true pictures of one shape in different clothes, and two of different shapes in different clothes.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from vunet_tf.data.example import Example
from vunet_tf.evaluation.examples import batches, evenly, progress
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, mean
from vunet_tf.evaluation.metrics import mean_pairwise_error, shape_agreement
from vunet_tf.files.pixels import to_uint8
from vunet_tf.models.generative import GenerativeModel

SECTION = "disentanglement"
SAMPLES = 5  # for each shape
SHAPES = 100  # at most
SAME_SHAPE = "true pictures, other appearance"
OTHER_SHAPE = "true pictures, other shape and appearance"
KEPT = Quantity("shape kept when z is sampled: agreement of edge directions with the true picture", "", "higher")
DIVERSITY = Quantity("diversity: mean |difference| between pictures of one shape", "0-255", "")


def measure(
    model: GenerativeModel,
    directory: Path | str,
    split: str,
    index: list[Example],
    positions: list[int],
    batch_size: int,
    seed: int,
) -> list[Measure | Missing]:
    """Agreement in shape and diversity of 5 samples for each of up to 100 examples, and the same for true pictures.

    Args:
        index: all examples of the split, see `read_index`.
        positions: the examples from which to choose.
    """
    positions = sorted(evenly(positions, SHAPES))
    same_shape, other_shape = _partners(index, positions, seed)
    truth, shapes = {}, {}
    wanted = sorted({*positions, *same_shape.values(), *other_shape.values()})
    done = 0
    for batch in batches(directory, split, wanted, batch_size, f"true pictures of {split}"):
        for picture, shape in zip(to_uint8(batch["image"]), batch["shape"], strict=True):
            truth[wanted[done]], shapes[wanted[done]] = picture, shape
            done += 1
    sampled = []
    for start in progress(range(0, len(positions), batch_size), desc=f"sampling for {split}", unit=" batches"):
        chosen = np.stack([shapes[at] for at in positions[start : start + batch_size]])
        draws = [to_uint8(model.sample(chosen, seed=[seed, start * SAMPLES + draw])[0]) for draw in range(SAMPLES)]
        sampled += [
            (
                np.mean([shape_agreement(truth[at], picture) for picture in pictures]),
                mean_pairwise_error(pictures),
            )
            for at, pictures in zip(positions[start:], zip(*draws, strict=True), strict=False)
        ]
    pairs = {SAME_SHAPE: same_shape, OTHER_SHAPE: other_shape}
    who = [index[at].appearance_id for at in positions]
    found = [mean(SECTION, split, KEPT, MODEL, [kept for kept, _ in sampled], who, seed)]
    for of, partner in pairs.items():
        agreement = [shape_agreement(truth[at], truth[partner[at]]) if at in partner else np.nan for at in positions]
        found.append(mean(SECTION, split, KEPT, of, agreement, who, seed))
    found.append(mean(SECTION, split, DIVERSITY, MODEL, [differ for _, differ in sampled], who, seed))
    differ = [
        mean_pairwise_error([truth[at], truth[same_shape[at]]]) if at in same_shape else np.nan for at in positions
    ]
    return [*found, mean(SECTION, split, DIVERSITY, SAME_SHAPE, differ, who, seed)]


def _partners(index, positions, seed):
    """({position: one of its shape}, {position: one of another shape}), random ones among other appearances."""
    random, same, other = np.random.default_rng(seed), {}, {}
    for position in positions:
        mine = index[position]
        by_shape = defaultdict(list)
        for at, each in enumerate(index):
            if each.appearance_id != mine.appearance_id:
                by_shape[each.shape_id == mine.shape_id].append(at)
        for partner, found in ((same, by_shape[True]), (other, by_shape[False])):
            if found:
                partner[position] = int(random.choice(found))
    return same, other
