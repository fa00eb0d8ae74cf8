"""Compares transfers with the truth: the appearance of one picture in another shape, if the dataset has that picture.

For every appearance one reference picture is chosen (see `references`). Each other example of that appearance is made
from the reference and the example's shape, and compared with the example itself. Baselines do the same task.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from vunet_tf.baselines.gallery import Gallery
from vunet_tf.baselines.transfer import TransferBaselines
from vunet_tf.data.batches import undamaged
from vunet_tf.data.dataset import read_examples
from vunet_tf.data.example import Example
from vunet_tf.evaluation import references
from vunet_tf.evaluation.examples import batches, evenly, masks, progress, read_index, text
from vunet_tf.evaluation.measures import MODEL, Measure, Missing, mean
from vunet_tf.evaluation.scoring import QUANTITIES, Scorer, Tally
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_uint8
from vunet_tf.models.generative import GenerativeModel

SECTION = "transfer"


class Question(NamedTuple):
    """One transfer with everything that belongs to it; pictures [S, S, 3] uint8.

    Attributes:
        made: {whose: picture}.
        shape: [S, S, C] float32 in [-1, 1].
        mask: [S, S] bool or None.
    """

    position: int
    example: Example
    reference: Example
    shape: np.ndarray
    truth: np.ndarray
    mask: np.ndarray | None
    made: dict[str, np.ndarray]


class TransferTask:
    """All transfers of a split that have a truth.

    Args:
        model: a `GenerativeModel` with the use "transfer".
        directory: a dataset that fits it.
        split: whose examples are made.
        selector: how references are chosen, see `references.choose`.
        limit: largest number of examples, evenly spread over the split; 0 for all.
        batch_size: number of pictures made at a time.
    """

    def __init__(
        self,
        model: GenerativeModel,
        directory: Path | str,
        split: str,
        selector: str | None = None,
        limit: int = 0,
        batch_size: int = 32,
    ):
        self.split, self.references = split, references.choose(directory, split, selector)
        self._model, self._directory, self._batch_size = model, directory, batch_size
        self._index = read_index(directory, split)
        at = self.references.positions
        with_truth = [
            position
            for position, example in enumerate(self._index)
            if example.appearance_id in at and (self.references.split != split or at[example.appearance_id] != position)
        ]
        self.without_reference = sum(example.appearance_id not in at for example in self._index)
        self._partners = self._shown_by_others(with_truth) if model.wanted_shape == "image" else None
        if self._partners is not None:
            with_truth = [position for position in with_truth if position in self._partners]
        self.positions = evenly(with_truth, limit)
        if self.positions:
            self._used = {self._index[position].appearance_id for position in self.positions}
            self._reference = self._read_references()
            self._z = self._encode_references()
            self._generate = tf.function(model.dress, reduce_retracing=True)
            self._baselines = TransferBaselines(self._gallery())

    def _read_references(self) -> dict[str, Example]:
        wanted = {self.references.positions[appearance] for appearance in self._used}
        everything = undamaged(read_examples(self._directory, self.references.split), self._directory)
        bar = progress(everything, desc=f"references of {self.split}", unit=" examples")
        return {example.appearance_id: example for i, example in enumerate(bar) if i in wanted}

    def _encode_references(self) -> dict[str, list[np.ndarray]]:
        """{appearance_id: z at every scale, [h, w, c]}"""
        if not self._model.config.latent_shapes:
            return {appearance: [] for appearance in self._used}
        z = {}
        at = [self.references.positions[appearance] for appearance in self._used]
        crops = self._model.appearance_input.crops
        what = f"encoding references of {self.split}"
        for batch in batches(self._directory, self.references.split, at, self._batch_size, what, crops):
            encoded = [scale.numpy() for scale in self._model.encode(batch)]
            for row, appearance in enumerate(text(batch["appearance_id"])):
                z[appearance] = [scale[row] for scale in encoded]
        return z

    def _shown_by_others(self, positions) -> dict[int, int]:
        """{position: that of a picture of its shape in another appearance}, if the model's shapes are pictures."""
        by_shape = defaultdict(list)
        for position, example in enumerate(self._index):
            by_shape[example.shape_id].append(position)
        found = {}
        for position in positions:
            mine = self._index[position]
            others = [at for at in by_shape[mine.shape_id] if self._index[at].appearance_id != mine.appearance_id]
            if others:
                found[position] = others[position % len(others)]
        return found

    def _wanted(self, batch, positions) -> np.ndarray:
        """What the model gets as the shapes of a batch: the maps, or pictures of the shapes in other appearances."""
        if self._partners is None:
            return batch["shape"]
        at = sorted({self._partners[position] for position in positions})
        (shown,) = batches(self._directory, self.split, at, len(at), "pictures of the shapes")
        return shown["image"][np.searchsorted(at, [self._partners[position] for position in positions])]

    def _gallery(self) -> Gallery:
        shapes = {self._index[position].shape_id: (self.split, position) for position in self.positions}
        for appearance, example in self._reference.items():
            shapes.setdefault(example.shape_id, (self.references.split, self.references.positions[appearance]))

        def watch(examples):
            return progress(examples, desc="pictures for the baselines", unit=" examples")

        return Gallery(self._directory, shapes, watch)

    @property
    def appearances(self) -> list[str]:
        """The appearances that have a reference and are measured, sorted."""
        return sorted(self._used)

    def make(self, appearances: list[str], shapes: np.ndarray) -> np.ndarray:
        """Pictures [B, S, S, 3] uint8 of these appearances, from their references, in these shapes [B, S, S, C].

        If the model's `wanted_shape` is the picture, shapes are pictures that show them.
        """
        scales = zip(*(self._z[appearance] for appearance in appearances), strict=True)
        z = [tf.constant(np.stack(scale)) for scale in scales]
        return to_uint8(self._generate(tf.constant(shapes), z))

    def questions(self, positions: list[int] | None = None) -> Iterator[list[Question]]:
        """Batches of transfers, made by the model and by the baselines, in ascending order of their positions."""
        positions = sorted(self.positions if positions is None else positions)
        done = 0
        what = f"transfers of {self.split}"
        for batch in batches(self._directory, self.split, positions, self._batch_size, what):
            appearances = text(batch["appearance_id"])
            pictures = self.make(appearances, self._wanted(batch, positions[done : done + len(appearances)]))
            truths, of_figures = to_uint8(batch["image"]), masks(batch)
            made = []
            for row, appearance in enumerate(appearances):
                position = positions[done + row]
                example, reference = self._index[position], self._reference[appearance]
                answers = {MODEL: pictures[row], **self._baselines.pictures(reference, example)}
                mask = None if of_figures is None else of_figures[row]
                made.append(Question(position, example, reference, batch["shape"][row], truths[row], mask, answers))
            done += len(made)
            yield made


def measure(
    task: TransferTask, scorer: Scorer, seed: int, by: str | None = None
) -> tuple[list[Measure | Missing], Tally]:
    """The scores of the model and of each baseline, and the tally that they come from.

    Args:
        task: the transfers.
        scorer: how near they are to the truth.
        seed: seed of the intervals.
        by: an attribute of the data; the model's error is then also measured for each of its values.

    Raises:
        InputError: no example has the attribute `by`.
    """
    tally, values = Tally(SECTION, task.split), []
    if not task.positions:
        why = "no two pictures share an appearance, so there is no true picture to compare a transfer with"
        return [Missing(SECTION, task.split, "all", why)], tally
    for batch in task.questions():
        tally.positions += [question.position for question in batch]
        values += [question.example.attributes.get(by) for question in batch]
        for of in {of: None for question in batch for of in question.made}:
            answered = [question for question in batch if of in question.made]
            truth, made = (np.stack(each) for each in zip(*((q.truth, q.made[of]) for q in answered), strict=True))
            mask = None if answered[0].mask is None else np.stack([question.mask for question in answered])
            tally.add(of, scorer(truth, made, mask), [question.example.appearance_id for question in answered])
    missing = []
    if task.without_reference:
        why = f"{task.without_reference} examples have no reference ({task.references.rule})"
        missing = [Missing(SECTION, task.split, "examples without a reference", why)]
    return tally.measures(seed) + (_by_value(tally, by, values, seed) if by else []) + missing, tally


def _by_value(tally, by, values, seed):
    """The model's error inside the figure (without masks: of the whole picture) for each value of an attribute."""
    key = "error_figure" if tally.has(MODEL, "error_figure") else "error"
    found = sorted({str(value) for value in values if value is not None})
    if not found:
        raise InputError(f"--by={by}: the examples of {tally.split} have no such attribute")
    errors, appearances = tally.values(MODEL, key), np.asarray(tally.appearances(MODEL))
    made = []
    for value in found:
        with_it = np.array([str(each) == value for each in values])
        quantity = QUANTITIES[key]._replace(name=f"{QUANTITIES[key].name}, {by} {value}")
        made.append(mean(SECTION, tally.split, quantity, MODEL, errors[with_it], appearances[with_it], seed))
    return made
