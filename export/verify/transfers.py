"""Transfers whose true result is known: the look comes from another picture of the same appearance."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from export import runtime
from export.tflite import calibration
from vunet_tf.data.dataset import evenly_spread, read_examples, read_info
from vunet_tf.evaluation import examples
from vunet_tf.files.pixels import to_uint8
from vunet_tf.runs import Run

_SERVED = 32  # pictures in a request to a SavedModel


class Transfers(NamedTuple):
    """Some transfers. All arrays have the same first axis.

    Attributes:
        seen: inputs of "encode" of a TFLite file, float32.
        sent: inputs of "transfer" of a SavedModel.
        batch: what the Keras model takes as appearance.
        shape: the shapes that get the appearance, float32 in [-1, 1].
        truth: the true pictures, uint8.
        masks: [n, S, S] bool: where errors count. None if the dataset has no masks; then they count in the whole
            picture.
    """

    seen: dict[str, np.ndarray]
    sent: dict[str, np.ndarray]
    batch: dict
    shape: np.ndarray
    truth: np.ndarray
    masks: np.ndarray | None

    def by_saved_model(self, model: runtime.SavedModel | runtime.TFLiteFile) -> np.ndarray:
        """The pictures [n, S, S, 3] uint8 that a `runtime.SavedModel` makes."""
        starts = range(0, len(self.truth), _SERVED)
        sent = [{name: value[i : i + _SERVED] for name, value in self.sent.items()} for i in starts]
        return np.concatenate([model.call("transfer", inputs)["image"] for inputs in sent])

    def by_tflite(self, model: runtime.SavedModel | runtime.TFLiteFile) -> np.ndarray:
        """The pictures [n, S, S, 3] uint8 that a `runtime.TFLiteFile` makes."""
        pictures = []
        for i in range(len(self.truth)):
            z = model.call("encode", {name: value[i : i + 1] for name, value in self.seen.items()})
            pictures.append(model.call("generate", {"shape": self.shape[i : i + 1], **z})["image"][0])
        return to_uint8(np.stack(pictures))


def load(run: Run, split: str, count: int) -> Transfers:
    """Transfers onto `count` examples, evenly spread over a split.

    The look comes from the next example of the same appearance, or from the example itself if there is no other.

    Raises:
        InputError: the run's dataset is none, has no such split, or is damaged.
    """
    targets = evenly_spread(read_info(run.dataset()).examples(split), count)
    same = defaultdict(list)
    for position, example in enumerate(read_examples(run.dataset(), split)):
        same[example.appearance_id].append(position)
    following = {p: group[(i + 1) % len(group)] for group in same.values() for i, p in enumerate(group)}
    positions = np.unique([*targets, *(following[p] for p in targets)])
    found = calibration.chosen(run, split, positions)
    target = np.searchsorted(positions, targets)
    source = np.searchsorted(positions, [following[p] for p in targets])

    arrays = {key: value.numpy() for key, value in found.items() if value.dtype.is_floating}
    key = "joints" if run.fitting.stickmen else "shape"
    sendable = {"image": to_uint8(arrays["image"]), "shape": to_uint8(arrays["shape"]), "joints": arrays.get("joints")}
    sent = {"image": sendable["image"][source], key: sendable[key][source], f"target_{key}": sendable[key][target]}
    masks = examples.masks(arrays)
    return Transfers(
        seen={name: arrays[name][source] for name in run.model.appearance_input.shapes},
        sent=sent,
        batch={name: value[source] for name, value in arrays.items()},
        shape=arrays["shape"][target],
        truth=sendable["image"][target],
        masks=None if masks is None else masks[target],
    )
