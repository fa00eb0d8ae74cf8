"""Samples of the prior: is the shape kept when z is drawn anew, and how different do the samples look?

Shapes are compared by Canny edges (`vunet_tf.data.edges`) of the pictures, without any pose estimator: agreement with
the edges of the true picture. Two true pictures of one shape in other clothes say how much agreement the clothes leave
(the ceiling), two of different shapes how much there is by chance (the floor).
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from vunet_tf.data.edges import edge_map
from vunet_tf.data.example import Example
from vunet_tf.evaluation.examples import batches, evenly, progress
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, mean
from vunet_tf.evaluation.metrics import edge_agreement, mean_pairwise_error
from vunet_tf.files.pixels import to_uint8

SECTION = "disentanglement"
SAMPLES = 5  # for each shape
SHAPES = 100  # at most
SAME_SHAPE = "true pictures, other appearance"
OTHER_SHAPE = "true pictures, other shape"
KEPT = Quantity("shape kept when z is sampled: edge agreement with the true picture", "F1", "higher")
DIVERSITY = Quantity("diversity: mean |difference| between pictures of one shape", "0-255", "")


def measure(
    model, directory: Path | str, split: str, index: list[Example], positions: list[int], batch_size: int, seed: int
) -> list[Measure | Missing]:
    """Edge agreement and diversity of 5 samples for each of up to 100 examples, beside the true pictures'.

    Args:
        index: all examples of the split, see `read_index`.
        positions: those to choose from.
    """
    positions = sorted(evenly(positions, SHAPES))
    same_shape, other_shape = _partners(index, positions)
    truth, shapes = {}, {}
    wanted = sorted({*positions, *same_shape.values(), *other_shape.values()})
    done = 0
    for batch in batches(directory, split, wanted, batch_size, f"true pictures of {split}"):
        for picture, shape in zip(to_uint8(batch["image"]), batch["shape"], strict=True):
            truth[wanted[done]], shapes[wanted[done]] = picture, shape
            done += 1
    edges = {at: _edges(picture) for at, picture in truth.items()}
    sampled = []
    for start in progress(range(0, len(positions), batch_size), desc=f"sampling for {split}", unit=" batches"):
        chosen = np.stack([shapes[at] for at in positions[start : start + batch_size]])
        draws = [to_uint8(model.sample(chosen, seed=[seed, start + draw])[0]) for draw in range(SAMPLES)]
        sampled += [
            (
                np.mean([edge_agreement(edges[at], _edges(picture)) for picture in pictures]),
                mean_pairwise_error(pictures),
            )
            for at, pictures in zip(positions[start:], zip(*draws, strict=True), strict=False)
        ]
    pairs = {SAME_SHAPE: same_shape, OTHER_SHAPE: other_shape}
    who = [index[at].appearance_id for at in positions]
    found = [mean(SECTION, split, KEPT, MODEL, [kept for kept, _ in sampled], who, seed)]
    for of, partner in pairs.items():
        agreement = [edge_agreement(edges[at], edges[partner[at]]) if at in partner else np.nan for at in positions]
        found.append(mean(SECTION, split, KEPT, of, agreement, who, seed))
    found.append(mean(SECTION, split, DIVERSITY, MODEL, [differ for _, differ in sampled], who, seed))
    differ = [
        mean_pairwise_error([truth[at], truth[same_shape[at]]]) if at in same_shape else np.nan for at in positions
    ]
    return [*found, mean(SECTION, split, DIVERSITY, SAME_SHAPE, differ, who, seed)]


def _edges(picture):
    return edge_map(picture)[..., 0] > 0


def _partners(index, positions):
    """({position: one of its shape and another appearance}, {position: one of another shape}), where there is one.

    The next such example in the order of the files, which comes round to the first.
    """
    by_shape = defaultdict(list)
    for position, example in enumerate(index):
        by_shape[example.shape_id].append(position)
    same, other = {}, {}
    for position in positions:
        mine = index[position]
        following = [*range(position + 1, len(index)), *range(position)]
        dressed = [at for at in by_shape[mine.shape_id] if index[at].appearance_id != mine.appearance_id]
        if dressed:
            same[position] = dressed[np.searchsorted(dressed, position) % len(dressed)]
        posed = next((at for at in following if index[at].shape_id != mine.shape_id), None)
        if posed is not None:
            other[position] = posed
    return same, other
