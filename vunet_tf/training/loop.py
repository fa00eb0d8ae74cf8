"""The loop around the step: data, curves, checkpoints, and saving at the end or when it is stopped."""

import contextlib
import errno
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from vunet_tf import runs
from vunet_tf.body.body_parts import Crops
from vunet_tf.data.batches import training_batches
from vunet_tf.files.errors import InputError
from vunet_tf.models.generative import GenerativeModel
from vunet_tf.training import checkpoints
from vunet_tf.training.journal import Journal
from vunet_tf.training.step import TrainingStep, array
from vunet_tf.training.transfer_matrix import TransferMatrix

AUGMENTATIONS = ("mirror", "mirror_appearance", "shift", "hue")  # settings of the pipeline, only for training
BEST = "loop/best"  # key of a checkpoint: the lowest validation loss so far
# CUDA's texts for a GPU without free memory, for which TensorFlow has no error of its own.
_OUT_OF_MEMORY = re.compile("out.of.memory|Dst tensor is not initialized", re.IGNORECASE)
# TensorFlow's texts for a lost worker, inside a longer text.
_LOST_WORKER = re.compile("Collective ops is aborted by: (.+)|coordination service|heartbeat", re.IGNORECASE)


class Loop:
    """Trains until `config.steps`. It goes on from the last checkpoint of the run directory, if there is one.

    Args:
        training_step: the `TrainingStep`.
        dataset_dir: folder of a dataset.
        run_dir: folder of the run. It is made if it is not there.
        save_model: is called with the model, which then has averaged weights, when it has to be saved for use.
        crops: crops of body parts that the model sees, or None.
        matrix: a `TransferMatrix`, or None for no pictures.
        chief: whether this process writes the run directory.
    """

    def __init__(
        self,
        training_step: TrainingStep,
        dataset_dir: Path | str,
        run_dir: Path | str,
        save_model: Callable[[GenerativeModel], object],
        crops: Crops | None,
        matrix: TransferMatrix | None = None,
        chief: bool = True,
    ):
        self.training_step, self.config, self.strategy = training_step, training_step.config, training_step.strategy
        self.dataset_dir, self.run_dir = Path(dataset_dir), Path(run_dir)
        self.save_model, self.crops, self.matrix, self.chief = save_model, crops, matrix, chief
        self.best = np.inf

    # Data

    def batches(
        self, split: str, seed: int, first_batch: int = 0, augment: bool = False
    ) -> tf.distribute.DistributedDataset:
        """Distributed batches: example i of a global batch has the same place for any number of replicas."""
        config = self.config
        augmentation = {name: getattr(config, name) for name in AUGMENTATIONS} if augment else {}

        def of_worker(context):
            batches = training_batches(
                self.dataset_dir,
                config.batch_size,
                split=split,
                seed=seed,
                first_batch=first_batch,
                appearance_from=config.appearance_from,
                workers=context.num_input_pipelines,
                worker=context.input_pipeline_id,
                **augmentation,
                crops=self.crops,
            )
            return _replica_batches(batches, context.num_replicas_in_sync // context.num_input_pipelines)

        return self.strategy.distribute_datasets_from_function(of_worker)

    def initial_batches(self) -> list[dict[str, tf.Tensor]]:
        """The global batches of the data-dependent initialisation, the same on every machine."""
        batches = training_batches(self.dataset_dir, self.config.batch_size, seed=self.config.seed, crops=self.crops)
        return list(batches.take(self.config.init_batches))

    # The run

    def start(self, init_from: Path | str | None = None) -> None:
        """Prepares the run and writes nothing.

        It goes on from the run's last checkpoint. A new run begins with weights and optimizer slots of the run
        `init_from`, or with the weights of that preset, or with weights that are initialised by the first batches.

        Raises:
          InputError: a checkpoint is of another model, or none can be read; or the dataset cannot be used in this way.
        """
        self._restore(init_from)
        self._train_batches = self.batches("train", self.config.seed, first_batch=self.step, augment=True)
        self._valid_batches = self.batches("valid", seed=0) if self.config.valid_batches else None

    def _restore(self, init_from):
        found = checkpoints.latest(self.run_dir, tell=self._say)
        begins_from = init_from if found is None else None
        if begins_from:
            found = checkpoints.latest(begins_from, tell=self._say)
            if found is None or self.training_step.model.config.pose_free:
                trained = runs.load(begins_from)
                # The optimizer slots of a run without --pose_free do not fit a model that has it.
                if found is None or not trained.model.config.pose_free:
                    self._take_weights(trained, begins_from)
                    return
        if found is None:
            self.training_step.initialise(self.initial_batches())
            return
        path, state = found
        try:
            self.training_step.restore(state, new_run=begins_from is not None)
        except ValueError as error:
            flag = "--init_from" if begins_from else "--run_dir"
            raise InputError(
                f"{path} is of another model, or of an earlier version of vunet_tf: {error}; name another {flag}"
            ) from error
        if not begins_from:
            self.best = float(state[BEST])
        self._say(f"{path}: {'weights and optimizer taken' if begins_from else f'going on from step {self.step}'}")

    def _take_weights(self, trained, init_from):
        """Begins with the weights of a model without a checkpoint that fits, such as a preset."""
        try:
            self.training_step.model.take_weights(trained.model)
        except ValueError as error:
            theirs = runs.different_settings(trained, self.training_step.model.config)
            raise InputError(
                f"--init_from={init_from} is another model, whose weights have other shapes; it has {theirs}. "
                "Give the same flags; for another --image_size, a --bottleneck_factor that leaves equally many scales"
            ) from error
        self._say(f"{trained.directory}: weights taken")

    @property
    def step(self) -> int:
        """Number of steps done."""
        return int(array(self.training_step.step))

    def run(self) -> int:
        """Trains to the end, or until SIGTERM or Ctrl-C. Either way everything is saved.

        Returns:
          0 at the end, or the number of the signal that stopped it.

        Raises:
          InputError: loss or gradient was not finite `config.max_skipped` times in a row.
        """
        config = self.config
        journal = Journal(self.run_dir, self.step) if self.chief else None
        batches = iter(self._train_batches)
        rows, clock = [], time.perf_counter()
        bar = tqdm(total=config.steps, initial=self.step, unit=" steps", disable=None if self.chief else True)
        with _stop_signals() as stop, bar:
            while self.step < config.steps:
                rows.append(self.training_step.train(batches, tf.constant(self._steps_until_event())).numpy())
                bar.update(len(rows[-1]))
                self._check_skipped()
                stopped = self._agree(stop.signal)
                if self._due(config.log_every):
                    values = self._means(rows)
                    values["images_per_second"] = (
                        sum(map(len, rows)) * config.batch_size / (time.perf_counter() - clock)
                    )
                    if journal:
                        journal.scalars("train", self.step, values)
                    self._tell(bar, "train", values)
                    rows = []
                if config.pictures_every and self.matrix and self._due(config.pictures_every):
                    self._draw(journal)
                if self._due(config.checkpoint_every) or stopped:
                    self._require_run_dir()
                    if self._due(config.checkpoint_every):
                        self._validate(journal, bar)
                    self._save()
                if stopped:
                    self._say(f"stopped after step {self.step}; the same command goes on from here")
                    return stopped
                if not rows:
                    clock = time.perf_counter()
        return 0

    def _due(self, every):
        return self.step % every == 0 or self.step == self.config.steps

    def _steps_until_event(self):
        config, step = self.config, self.step
        events = [every for every in (config.log_every, config.checkpoint_every, config.pictures_every) if every]
        return min(config.steps_per_call, config.steps - step, *(every - step % every for every in events))

    def _means(self, rows):
        """Means of the steps since the last row. Skipped steps do not count."""
        rows = np.concatenate(rows).astype(np.float64)
        fine = np.isfinite(rows).all(axis=-1)
        means = rows[fine].mean(axis=0) if fine.any() else np.full(rows.shape[-1], np.nan)
        last = {"learning_rate", "kl_weight", "skipped"}
        return {
            name: float(rows[-1, i] if name in last else means[i]) for i, name in enumerate(self.training_step.names)
        }

    def _agree(self, stop: int) -> int:
        """The signal that stops this machine, SIGTERM if another one has to stop, or 0. All stop at the same step."""
        if not isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return stop

        def replica():
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(float(stop)))

        asked = float(self.strategy.experimental_local_results(self.strategy.run(replica))[0]) > 0
        return (stop or signal.SIGTERM) if asked else 0

    def _check_skipped(self):
        in_a_row = int(array(self.training_step.skipped_in_a_row))
        if in_a_row >= self.config.max_skipped:
            raise InputError(
                f"loss or gradient was no finite number for {in_a_row} steps in a row, up to step {self.step}; "
                f"{_last_checkpoint(self.run_dir)}; a smaller --learning_rate may help"
            )

    # What is kept

    def _require_run_dir(self):
        """Raises OSError where the run directory was removed meanwhile: a new one would have the last state alone."""
        if self.chief and not self.run_dir.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the folder was removed while it was written", str(self.run_dir))

    def _validate(self, journal, bar):
        """Measures the averaged weights on the valid split, and saves the model for use if it is the best so far.

        While the weight of the KL term changes, losses cannot be compared, and the latest model is kept. After that the
        best is kept. Without validation the latest is always kept; with a discriminator too, because the size of its
        loss says nothing.
        """
        config = self.config
        settled = config.kl_schedule == "constant" or self.step > 0.75 * config.steps
        settled = settled and not self.training_step.discriminator
        with self.training_step.averaged_weights():
            loss = np.inf
            if config.valid_batches:
                if not isinstance(self._valid_batches, list):
                    batches = iter(self._valid_batches)
                    self._valid_batches = [next(batches) for _ in range(config.valid_batches)]
                measured = [
                    self.training_step.test(batch, tf.constant(i, tf.int64))
                    for i, batch in enumerate(self._valid_batches)
                ]
                values = {name: float(np.mean([terms[name] for terms in measured])) for name in measured[0]}
                loss = values["loss"]
                if journal:
                    journal.scalars("valid", self.step, values)
                self._tell(bar, "valid", values)
            if not (settled and config.valid_batches) or loss <= self.best:
                self.best = loss if settled else np.inf
                if self.chief:
                    self.save_model(self.training_step.model)

    def _draw(self, journal):
        if journal:
            model = self.training_step.model
            with self.training_step.averaged_weights():
                name = "transfer" if "transfer" in model.uses else "pictures"
                journal.picture(name, self.step, self.matrix.draw(model))

    def _save(self):
        # This comes after the model. A run killed between the two goes on from the checkpoint before and saves the
        # model again.
        if self.chief:
            state = {**self.training_step.state(), BEST: np.array(self.best)}
            checkpoints.save(self.run_dir, self.step, state, self.config.keep_checkpoints)

    def _say(self, text):
        if self.chief:
            tqdm.write(text)

    def _tell(self, bar, split, values):
        names = ("loss", "error", "kl", "kl_weight", "diversity", "images_per_second")
        text = ", ".join(f"{name} {values[name]:.4g}" for name in names if name in values)
        if bar.disable:
            self._say(f"step {self.step} {split}: {text}")
        elif split == "train":
            bar.set_postfix_str(text)


def _replica_batches(batches, replicas):
    """A worker's batches cut into the batches of its replicas, in order."""
    if replicas == 1:
        return batches
    share = batches.element_spec["image"].shape[0]
    if share % replicas:
        raise InputError(f"--batch_size: {share} pictures cannot be shared evenly by {replicas} replicas")

    def cut(batch):
        pieces = {key: tf.reshape(value, [replicas, -1, *value.shape[1:]]) for key, value in batch.items()}
        return tf.data.Dataset.from_tensor_slices(pieces)

    def static(batch):
        return {key: tf.ensure_shape(value, [share // replicas, *value.shape[1:]]) for key, value in batch.items()}

    return batches.flat_map(cut).map(static).prefetch(2 * replicas)


@contextlib.contextmanager
def explained(run_dir: Path | str, dataset_dir: Path | str) -> Iterator[None]:
    """In the block, a full disk, too little memory, a damaged dataset and a lost worker become an InputError.

    It says what to do."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        whole = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", whole.splitlines()[0])  # without TensorFlow's names of nodes
        if isinstance(error, OSError):
            told = f"cannot write {run_dir}: {reason}"
        elif isinstance(error, tf.errors.ResourceExhaustedError) or _OUT_OF_MEMORY.search(whole):
            told = f"there is too little memory ({reason}): give a smaller --batch_size, --width or --max_width"
        elif lost := _LOST_WORKER.search(whole):
            reason = (lost[1] or reason).rstrip(": ")
            told = f"another worker is gone ({reason}): to go on, give the same command again on all machines"
        elif isinstance(error, tf.errors.DataLossError):
            told = f"{dataset_dir} is damaged ({reason}): prepare it again"
        elif isinstance(error, tf.errors.InvalidArgumentError) and "IteratorGetNext" in whole:
            told = f"{dataset_dir} has a damaged picture ({reason}): prepare it again"
        else:
            raise
        raise InputError(f"{told}; {_last_checkpoint(run_dir)}") from error


def _last_checkpoint(run_dir):
    found = checkpoints.paths(run_dir)
    return f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"


class _Stop:
    """The signal that asked the program to stop, or 0."""

    signal = 0


@contextlib.contextmanager
def _stop_signals():
    """In the block, SIGTERM and Ctrl-C ask to stop after the current call. A second Ctrl-C stops at once."""
    stop = _Stop()

    def ask(number, frame):
        if stop.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = number

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
