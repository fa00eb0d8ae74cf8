"""Examples of the training split, in the form that the signatures of a TFLite file take."""

from collections.abc import Sequence

import numpy as np

from export.tflite import graph
from vunet_tf.data.batches import evaluation_batches, undamaged
from vunet_tf.data.dataset import evenly_spread, read_info
from vunet_tf.files.errors import InputError
from vunet_tf.runs import Run

SPLIT = "train"


def require_examples(run: Run) -> None:
    """Looks whether the run's dataset can calibrate int8, which takes no time. The conversion before it takes long.

    Raises:
        InputError: the dataset has no training split (a preset's has none), or is none.
    """
    info = read_info(run.dataset())
    if SPLIT not in info.splits:
        raise InputError(
            f"int8 is calibrated with training examples, and {run.dataset()} has no split '{SPLIT}'. Name a dataset of "
            "the same kind by --dataset_dir; 400 examples are enough (docs/export.md has a command for drawn people). "
            "Or give another --precision, such as float32"
        )


def examples(run: Run, count: int, uses: Sequence[str] = graph.USES, seed: int = 0) -> dict[str, list[dict]]:
    """{signature: list of {input: array [1, ...]}}, evenly spread over the training split.

    As in a transfer, "generate" gets each shape with the appearance of another example.

    Args:
        run: as `trained.load` gives it.
        count: number of examples, or all if the split has fewer.
        uses: the signatures.
        seed: seed of the noise of "sample".

    Raises:
        InputError: the run's dataset is none, is damaged, or has another size than the model.
    """
    batch = spread(run, SPLIT, count)
    model, seen = run.model, list(run.model.appearance_input.shapes)
    appearance = {key: batch[key].numpy() for key in seen}
    shape = {"shape": batch["shape"].numpy()} if model.config.draws_shapes else {}
    z = {f"z_{i}": np.roll(latent, 1, axis=0) for i, latent in enumerate(model.encode(batch))}
    noise = {f"noise_{i}": x.numpy() for i, x in enumerate(model.noise(len(batch["image"]), seed))}
    inputs = {"encode": appearance, "generate": shape | z, "sample": shape | noise}
    return {use: _one_by_one(inputs[use]) for use in uses}


def spread(run: Run, split: str, count: int) -> dict:
    """One batch of `count` examples, evenly spread over a split, as `evaluation_batches` makes them."""
    return chosen(run, split, evenly_spread(read_info(run.dataset()).examples(split), count))


def chosen(run: Run, split: str, positions: Sequence[int] | np.ndarray) -> dict:
    """One batch of the examples at these positions, in rising order."""
    crops, positions = run.model.appearance_input.crops, list(positions)
    batches = evaluation_batches(run.dataset(), len(positions), split=split, positions=positions, crops=crops)
    return next(iter(undamaged(batches, run.dataset())))


def _one_by_one(inputs):
    count = len(next(iter(inputs.values())))
    return [{key: value[i : i + 1] for key, value in inputs.items()} for i in range(count)]
