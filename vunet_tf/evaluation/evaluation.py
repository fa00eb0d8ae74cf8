"""Measures a run section by section, and makes the pictures that belong to the results."""

import functools

from vunet_tf.config import EvaluationConfig
from vunet_tf.data.dataset import read_info
from vunet_tf.evaluation import (
    appearance,
    inception,
    likelihood,
    parts,
    per_example,
    plots,
    pose,
    probes,
    reconstruction,
    samples,
    sampling,
    showcase,
)
from vunet_tf.evaluation.examples import evenly, read_index
from vunet_tf.evaluation.measures import Measure, Missing
from vunet_tf.evaluation.page import Picture
from vunet_tf.evaluation.scoring import QUANTITIES, SSIM_PROTOCOL, Scorer
from vunet_tf.evaluation.transfer import SECTION as TRANSFER
from vunet_tf.evaluation.transfer import TransferTask
from vunet_tf.evaluation.transfer import measure as measure_transfers
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.objective.perceptual import VGG19Features
from vunet_tf.runs import Run
from vunet_tf.training.transfer_matrix import TransferMatrix

SPLITS = ("valid", "valid_appearance", "valid_shape")
# Which looks and poses training has seen, as the tables say it.
SEEN = {
    "valid": "unseen looks, unseen poses",
    "valid_appearance": "unseen looks, seen poses",
    "valid_shape": "seen looks, unseen poses",
    "train": "seen looks, seen poses",
}


class Evaluation:
    """Measures a run on its dataset.

    Args:
        run: as `vunet_tf.load(run_dir)` gives it.
        config: what to measure. Without `split`, it is valid, valid_appearance and valid_shape, as far as the dataset
            has them.

    After `run`, `found` has the measures and what is missing, `examples` the scores of each example
    (`per_example.rows`), `pictures` the pictures, and `settings` the protocols.

    Raises:
        InputError: the dataset does not fit, there is no such split, or weights cannot be read.
    """

    def __init__(self, run: Run, config: EvaluationConfig):
        directory = run.dataset()
        info = read_info(directory)
        self.splits = config.split or tuple(split for split in SPLITS if split in info.splits)
        for split in self.splits:
            info.examples(split)
        if not self.splits:
            raise InputError(f"name a --split: this dataset has {', '.join(info.splits)}")
        self._model, self._directory, self._config = run.model, directory, config
        self._vgg = VGG19Features(config.vgg_weights) if config.vgg_weights else None
        self._inception = inception.Inception(config.inception_weights) if config.inception_weights else None
        self.found: list[Measure | Missing] = []
        self.examples: list[dict[str, str]] = []
        self.pictures: list[Picture] = []
        self.settings = {
            "seed": config.seed,
            "examples per split": config.max_examples or "all",
            "splits": {split: SEEN.get(split, "as the source has it") for split in self.splits},
            "pictures": "clipped and rounded to 0-255, as a file would hold them; z is the posterior's mean",
            "SSIM": SSIM_PROTOCOL,
            "intervals": "95 %, percentiles of 1,000 bootstrap resamples of whole appearances",
        }

    def run(self) -> None:
        """Measures everything that was asked for."""
        for split in self.splits:
            self._measure(split)
        if TRANSFER in self._config.sections:
            for key in ("error_figure", "error"):
                if plot := plots.scores(self._measures(TRANSFER), QUANTITIES[key].name):
                    title = f"Transfer: {QUANTITIES[key].name}"
                    self.pictures.append(Picture(f"transfer_{key}", title, "With 95 % intervals.", plot))

    def _measures(self, section):
        return [each for each in self.found if isinstance(each, Measure) and each.section == section]

    def _measure(self, split):
        model, directory, config = self._model, self._directory, self._config
        index = read_index(directory, split)
        positions = evenly(list(range(len(index))), config.max_examples)
        scorer = Scorer(self._vgg)
        task = None
        if "transfer" in model.uses and {"transfer", "disentanglement"} & set(config.sections):
            task = TransferTask(model, directory, split, config.reference, config.max_examples, config.batch_size)
            self.settings[f"references of {split}"] = task.references.rule
        if "reconstruction" in config.sections and self._can("reconstruct", "reconstruction", split):
            found, tally = reconstruction.measure(
                model, directory, split, positions, scorer, config.batch_size, config.seed
            )
            self.found += found
            self.examples += per_example.rows(tally, index)
            sheet = showcase.reconstructed(model, directory, split, tally)
            self._add(f"reconstruction_{split}", f"Reconstructions of {split}", "Best, median and worst.", sheet)
        if "transfer" in config.sections and self._can("transfer", TRANSFER, split):
            found, tally = measure_transfers(task, scorer, config.seed, config.by)
            self.found += found
            if tally.positions:
                self.examples += per_example.rows(tally, index)
                sheet = showcase.transfers(task, tally)
                caption = f"Best, median and worst by the model's error. The model sees: {task.references.rule}."
                self._add(f"transfer_{split}", f"Transfers of {split}", caption, sheet)
            matrix = TransferMatrix(directory, split, crops=model.appearance_input.crops).draw(model)
            caption = "Rows: appearances (first column), columns: shapes (first row), both of the split."
            self._add(f"matrix_{split}", f"Transfer matrix of {split}", caption, matrix)
        if "disentanglement" in config.sections:
            self._disentanglement(task, split, index, positions)
        if "likelihood" in config.sections:
            k = config.samples
            self.found += likelihood.measure(model, directory, split, positions, k, config.batch_size, config.seed)
        if "distribution" in config.sections:
            self.found += inception.measure(
                model, directory, split, positions, self._inception, config.batch_size, config.seed
            )

        if "samples" in config.sections:
            self.found += samples.measure(model, directory, split, positions, config.batch_size, config.seed)
        if "pose" in config.sections and self._can("animate", pose.SECTION, split):
            self.found += pose.measure(model, directory, split, positions, config.batch_size, config.seed)

    def _can(self, use, section, split) -> bool:
        """Whether the model has a use. If not, the section is listed as missing, with the model's reason."""
        if use in self._model.uses:
            return True
        self.found.append(Missing(section, split, "all", self._model.refusals()[use]))
        return False

    def _disentanglement(self, task, split, index, positions):
        model, directory, config = self._model, self._directory, self._config
        if "encode" in model.uses:
            encoded = probes.encodings(model, directory, split, positions, config.batch_size)
            self.found += probes.measure(*encoded, split, config.seed, more=self._of_training)
        else:
            self.found.append(Missing(probes.SECTION, split, "probes of z", model.refusals()["encode"]))
        if "parts" in model.uses:
            self.found += parts.measure(model, directory, split, positions, config.batch_size, config.seed)
        if "sample" in model.WIRINGS and "shape" in model.wiring("sample").input:
            self.found += sampling.measure(model, directory, split, index, positions, config.batch_size, config.seed)
        else:
            why = f"--model={model.config.model}: it draws no pictures for a shape"
            self.found.append(Missing(sampling.SECTION, split, "samples of a shape", why))
        if self._can("animate", appearance.SECTION, split):
            self.found += appearance.measure(task, index, directory, self._vgg, config.seed)

    @functools.cached_property
    def _of_training(self):
        """Encodings of training examples. A validation split has too few looks to learn what each attribute means."""
        directory, config, info = self._directory, self._config, read_info(self._directory)
        if "train" not in info.splits:
            return None
        positions = evenly(list(range(info.examples("train"))), config.max_examples)
        return probes.encodings(self._model, directory, "train", positions, config.batch_size)

    def _add(self, name, title, caption, picture):
        self.pictures.append(Picture(name, title, caption, pictures.encode(picture, "png")))
