"""Examples of the training split, as the signatures of a TFLite file take them."""

import numpy as np

from export.tflite import graph
from export.trained import Trained
from vunet_tf.data.batches import evaluation_batches, undamaged
from vunet_tf.data.dataset import read_info

SPLIT = "train"


def examples(trained: Trained, dataset_dir, count: int, uses=graph.USES, seed: int = 0) -> dict[str, list[dict]]:
    """{signature: list of {input: array [1, ...]}}, evenly spread over the training split.

    "generate" gets each shape with the looks of the next example, as a transfer does.

    Args:
        trained: the run.
        dataset_dir: its dataset.
        count: how many examples; fewer where the split has fewer.
        uses: the signatures.
        seed: of the noise of "sample".

    Raises:
        InputError: it is no dataset, or damaged, or not of the model's size.
    """
    batch = spread(trained, dataset_dir, SPLIT, count)
    model, seen = trained.model, list(graph.appearance_inputs(trained.model.config))
    appearance = {key: batch[key].numpy() for key in seen}
    shape = {"shape": batch["shape"].numpy()}
    z = {f"z_{i}": np.roll(latent, 1, axis=0) for i, latent in enumerate(model.encode(batch))}
    noise = {f"noise_{i}": x.numpy() for i, x in enumerate(model.noise(len(batch["image"]), seed))}
    inputs = {"encode": appearance, "generate": shape | z, "sample": shape | noise}
    return {use: _one_by_one(inputs[use]) for use in uses}


def spread(trained: Trained, dataset_dir, split: str, count: int) -> dict:
    """One batch of `count` examples, evenly spread over a split, as `evaluation_batches` makes them."""
    total = read_info(dataset_dir).examples(split)
    return chosen(trained, dataset_dir, split, np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)))


def chosen(trained: Trained, dataset_dir, split: str, positions) -> dict:
    """One batch of the examples at these positions, in rising order."""
    config = trained.model.config
    parts = {}
    if config.appearance != "picture":
        parts = {
            "num_parts": config.parts,
            "part_size": config.appearance_size,
            "shape_parts": config.appearance == "both",
        }
    batches = evaluation_batches(dataset_dir, len(positions), split=split, positions=list(positions), **parts)
    return next(iter(undamaged(batches, dataset_dir)))


def _one_by_one(inputs):
    count = len(next(iter(inputs.values())))
    return [{key: value[i : i + 1] for key, value in inputs.items()} for i in range(count)]
