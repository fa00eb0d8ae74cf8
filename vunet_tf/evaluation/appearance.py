"""Appearance kept over poses (the paper's Table 3): features of one appearance in five shapes should be one point.

The paper uses features of a re-identification network. Here a feature is used that needs no download: the square roots
of a histogram of colours (8 x 8 x 8 bins of RGB, whole picture), whose distances are at most sqrt(2). With VGG19
weights the same is also measured with the means over the positions of block5_conv2. The model's own z cannot judge the
model.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vunet_tf.data.example import Example
from vunet_tf.evaluation import metrics
from vunet_tf.evaluation.examples import batches, evenly
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, Quantity, mean
from vunet_tf.evaluation.transfer import TransferTask
from vunet_tf.files.pixels import to_float, to_uint8
from vunet_tf.objective.perceptual import VGG19Features

SECTION = "disentanglement"
POSES = 5
APPEARANCES = 60  # at most
TRUE = "true pictures"
CHANCE = "model, five appearances in one shape"


def colours(pictures: np.ndarray) -> np.ndarray:
    """Square roots of colour histograms [N, 512] of pictures [N, H, W, 3] uint8."""
    return np.sqrt([metrics.colour_histogram(picture) for picture in pictures])


def measure(
    task: TransferTask, index: list[Example], directory: Path | str, vgg: VGG19Features | None, seed: int
) -> list[Measure | Missing]:
    """Spread over five shapes: of transfers, of true pictures if there are any, and of different appearances.

    Args:
        task: gives the references of the appearances and the model.
        index: all examples of the task's split.
        vgg: for the second feature, or None.
    """
    name = "appearance kept over 5 poses: spread of {} (lower: kept)"
    if not task.positions:
        return [Missing(SECTION, task.split, name.format("features"), "no appearance has a reference picture")]
    appearances = evenly(task.appearances, APPEARANCES)
    at = _five_shapes(index, set(appearances))
    if len(at) < POSES:
        why = f"the split has {len(at)} shapes, {POSES} are needed"
        return [Missing(SECTION, task.split, name.format("features"), why)]
    (batch,) = batches(directory, task.split, at.values(), POSES, "five shapes")
    truth = _truth(task.split, index, directory, appearances, list(at))
    features: dict[str, Callable] = {"colour histograms": colours}
    if vgg is not None:
        features["VGG19 block5_conv2"] = lambda pictures: vgg(to_float(pictures))[-1].numpy().mean((1, 2))
    found = []
    made = {who: task.make([who] * POSES, batch["shape"]) for who in appearances}
    for feature, of in features.items():
        quantity = Quantity(name.format(feature), "", "lower")
        points = np.stack([of(pictures) for pictures in made.values()])  # [appearances, poses, D]
        found.append(mean(SECTION, task.split, quantity, MODEL, metrics.spread(points), appearances, seed))
        true = [metrics.spread(of(truth[who])) if who in truth else np.nan for who in appearances]
        found.append(mean(SECTION, task.split, quantity, TRUE, true, appearances, seed))
        groups = len(appearances) // POSES
        if groups:
            others = points[: groups * POSES].reshape(groups, POSES, POSES, -1).swapaxes(1, 2)
            clusters = np.repeat(np.arange(groups), POSES)
            found.append(mean(SECTION, task.split, quantity, CHANCE, metrics.spread(others).ravel(), clusters, seed))
    return found


def _five_shapes(index, appearances):
    """{shape_id: position of an example} for five shapes that the most appearances have, in order of position."""
    shown = Counter(
        shape
        for _, shape in {(each.appearance_id, each.shape_id) for each in index if each.appearance_id in appearances}
    )
    most = max(shown.values())
    first = {}
    for position, example in enumerate(index):
        if shown[example.shape_id] == most:
            first.setdefault(example.shape_id, position)
    return {shape: first[shape] for shape in evenly(list(first), POSES)}


def _truth(split, index, directory, appearances, shapes):
    """{appearance: its true pictures [5, S, S, 3] in these shapes}, for the appearances that have all of them."""
    where = {}
    for position, example in enumerate(index):
        where.setdefault((example.appearance_id, example.shape_id), position)
    complete = [who for who in appearances if all((who, shape) in where for shape in shapes)]
    wanted = sorted({where[who, shape] for who in complete for shape in shapes})
    if not wanted:
        return {}
    found = [to_uint8(batch["image"]) for batch in batches(directory, split, wanted, 64, "true pictures")]
    picture = dict(zip(wanted, np.concatenate(found), strict=True))
    return {who: np.stack([picture[where[who, shape]] for shape in shapes]) for who in complete}
