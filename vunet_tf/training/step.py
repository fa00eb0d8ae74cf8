"""The training step. It is the same on one device, on several devices and on several machines."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models import registry
from vunet_tf.models.generative import INPUTS
from vunet_tf.models.layers import quantisation_aware
from vunet_tf.objective import adversarial, losses
from vunet_tf.objective.schedules import kl_weight, learning_rate
from vunet_tf.training.optimizer import DISCRIMINATORS, OPTIMIZERS

APPEARANCE = "appearance_"  # prefix of the keys of a batch that F sees instead of the picture itself
VALID_SEED = 1  # stream of the noise in `test_step`, so that it differs from the noise of training


# AutoGraph would rewrite about a hundred functions that do not need it. That costs seconds at every start.
_plain = tf.autograph.experimental.do_not_convert


def array(variable: keras.Variable | tf.Variable) -> np.ndarray:
    """The value of a variable of Keras or TensorFlow, mirrored on several devices or not."""
    return tf.convert_to_tensor(variable).numpy()


@contextlib.contextmanager
def _dtype_policy(name):
    """In the block, new layers have this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Player(NamedTuple):
    """One side of a training: its network, the optimizer that changes it, and the name of its loss in the terms."""

    name: str
    network: keras.Model
    optimizer: keras.Optimizer
    loss: str

    @property
    def norm(self) -> str:
        """The name of its gradient's norm among the terms."""
        return "gradient_norm" if self.name == "model" else f"{self.name}_gradient_norm"


class TrainingStep:
    """A model, its optimizer and everything else that changes from step to step.

    Every random number depends only on (seed, step, place in the global batch). So a step gives the same weights on any
    number of replicas and after any number of restarts. Only dropout and --quantisation_aware differ: each replica
    draws its own masks, and takes the ranges of the rounding from its own share of the batch.

    With a discriminator (--model=bigan, --adversarial) there are two players. Both make their step at the same time,
    each along the gradient of its own loss, from the same pass over the same batch.

    Args:
        model_config, config: configurations of the model and of its training.
        strategy: where it runs. By default the default device of this process.

    Attributes:
        model: the `GenerativeModel`.
        discriminator: the other player's network, or None.
        players: the `Player`s, the model first.
        step: the number of steps done, with those that were skipped (int64 variable).
    """

    def __init__(
        self, model_config: ModelConfig, config: TrainingConfig, strategy: tf.distribute.Strategy | None = None
    ):
        self.config = config
        self.strategy = strategy or tf.distribute.get_strategy()
        keras.utils.set_random_seed(config.seed)
        with self.strategy.scope():
            with _dtype_policy(config.mixed_precision):
                self.model = registry.build(model_config)
                self.discriminator = self._discriminator()
            if config.quantisation_aware:
                self._round()
            self.reconstruction = losses.reconstruction_loss(config)
            averages = {"use_ema": config.ema > 0, "ema_momentum": config.ema or 0.99}
            self.optimizer = OPTIMIZERS[config.optimizer](config.learning_rate, **averages)
            self.optimizer.build(self.model.trainable_variables)
            self.players = [Player("model", self.model, self.optimizer, "loss")]
            if self.discriminator:
                optimizer = DISCRIMINATORS(config.learning_rate * config.discriminator_rate)
                optimizer.build(self.discriminator.trainable_variables)
                self.players.append(Player("discriminator", self.discriminator, optimizer, "discriminator"))
            self.step = self._variable(0, tf.int64, "step")
            self.skipped = self._variable(0, tf.int64, "skipped")
            self.skipped_in_a_row = self._variable(0, tf.int64, "skipped_in_a_row")
        self.names: list[str] = []  # names of the columns that `train` and `test` return
        self.train = tf.function(self._train)
        self.test = tf.function(self.test_step, autograph=False)

    def _round(self):
        """Lets the model round in training. Raises InputError if it must not."""
        config = self.model.config
        if config.model == "realnvp" or (config.model == "vunet" and config.prior == "flow"):
            flow = "--model=realnvp" if config.model == "realnvp" else "--prior=flow"
            raise InputError(f"--quantisation_aware=true: not with {flow}, whose networks must be exact; leave it out")
        quantisation_aware(self.model)

    def _discriminator(self):
        """The other player's network, or None. Raises InputError if --adversarial does not suit the model."""
        given, name = f"--adversarial={self.config.adversarial}", f"--model={self.model.config.model}"
        if self.model.ADVERSARIAL:
            if self.config.adversarial:
                raise InputError(f"{given}: {name} always has a discriminator; leave it out")
        elif not self.config.adversarial:
            return None
        elif "image" not in self.model.output:
            raise InputError(f"{given}: {name} makes no pictures in its training that a discriminator could see")
        return self.model.discriminator()

    @staticmethod
    def _variable(value, dtype, name):
        aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
        return tf.Variable(value, trainable=False, dtype=dtype, name=name, aggregation=aggregation)

    def initialise(self, batches: Iterable[Mapping[str, tf.Tensor]]) -> None:
        """Sets the scales and biases of the weight normalisation from global batches, the same on every machine."""
        self.model.initialise(batches, self.config.seed)

    # Steps

    def kl_weight(self) -> tf.Tensor:
        """beta at the current step."""
        config = self.config
        return kl_weight(self.step, config.steps, config.kl_schedule, config.kl_weight)

    def loss_terms(
        self, batch: Mapping[str, tf.Tensor], noise: Sequence[tf.Tensor], training: bool
    ) -> dict[str, tf.Tensor]:
        """The terms of the loss on this replica's share of a global batch, each a mean over it.

        Args:
            batch: a dict, see `GenerativeModel`. F sees the values of the keys "appearance_...".
            noise: noise of the posterior's sample, for this share.
            training: whether dropout is active.

        Returns:
            dict: {"loss": the negative ELBO that is minimised, "reconstruction", "error": mean |x - x_hat| in grey
            levels (if the training pass makes a picture), "kl": the sum over all scales in nats, and then each term by
            itself}.
            With a discriminator also {"adversarial": the model's adversarial loss, a part of "loss" with the weight
            --adversarial, then its terms, "discriminator": the discriminator's own loss, "r1": a part of that loss, in
            training only}.
        """
        seen = {key: batch[APPEARANCE + key] for key in INPUTS if APPEARANCE + key in batch}
        inputs = self.model.training_inputs(batch, appearance_from=seen or None)
        if "noise" in inputs:
            inputs["noise"] = noise
        out = self.model(inputs, training=training)
        reconstruction, kl = self.model.terms(batch, out, self.reconstruction)
        error = {}
        if "image" in out:
            image_hat = tf.cast(out["image"], tf.float32)
            error["error"] = losses.HALF_RANGE * losses.mean_absolute(batch["image"], image_hat)
        besides = self.model.regularisers(inputs, batch, out) if seen else {}
        loss, against = losses.negative_elbo(reconstruction, kl, self.kl_weight()) + sum(besides.values()), {}
        if self.discriminator:
            against = self._adversarial_terms(batch, out, training)
            loss += (self.config.adversarial or 1.0) * against["adversarial"]
        return {
            "loss": loss,
            "reconstruction": sum(reconstruction.values()),
            **error,
            "kl": tf.add_n([*kl.values(), tf.constant(0.0)]),
            **reconstruction,
            **kl,
            **besides,
            **against,
            **self.model.curves(batch, out),
        }

    def _adversarial_terms(self, batch, out, training):
        true, made = self.model.pairs(batch, out)
        with tf.GradientTape() as tape:
            tape.watch(true)
            of_true = self.discriminator(true, training=training)
        of_made = self.discriminator(made, training=training)
        terms = self.model.adversarial_terms(of_true, of_made)
        discriminator, penalty = adversarial.discriminator_loss(of_true, of_made), {}
        if training and self.config.r1:
            slopes = tf.nest.flatten(tape.gradient(of_true, true))
            penalty["r1"] = adversarial.r1(slopes, positions=math.prod(of_true.shape[1:]))
            discriminator += self.config.r1 * penalty["r1"]
        return {"adversarial": sum(terms.values()), **terms, "discriminator": discriminator, **penalty}

    def _share_of_noise(self, batch, seed):
        """This replica's rows of the global batch's noise, so that noise does not depend on the replica."""
        share, context = tf.shape(batch["image"])[0], tf.distribute.get_replica_context()
        first = context.replica_id_in_sync_group * share
        noise = self.model.noise(share * context.num_replicas_in_sync, seed)
        return [rows[first : first + share] for rows in noise]

    def _mean_over_replicas(self, terms):
        context = tf.distribute.get_replica_context()
        means = {name: tf.cast(value, tf.float32) / context.num_replicas_in_sync for name, value in terms.items()}
        return context.all_reduce(tf.distribute.ReduceOp.SUM, means)

    def _gradients(self, batch):
        """On each replica: ([the gradients of the global batch's mean loss, for each player], terms)."""
        context = tf.distribute.get_replica_context()
        noise = self._share_of_noise(batch, self._seed(self.step))
        with tf.GradientTape(persistent=len(self.players) > 1) as tape:
            terms = self.loss_terms(batch, noise, training=True)
            # The sum of n replicas' mean losses is n times the mean over the global batch. Only the gradient needs it.
            shares = [terms[player.loss] / context.num_replicas_in_sync for player in self.players]
        gradients = []
        for player, share in zip(self.players, shares, strict=True):
            variables = [variable.value for variable in player.network.trainable_variables]
            gradients.append(tape.gradient(share, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO))
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norms = {player.norm: tf.linalg.global_norm(own) for player, own in zip(self.players, gradients, strict=True)}
        return gradients, {**self._mean_over_replicas(terms), **norms}

    def _update(self, gradients):
        for player, own in zip(self.players, gradients, strict=True):
            player.optimizer.apply(own, player.network.trainable_variables)

    @_plain
    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on a (distributed) batch. Returns the terms of its loss, the learning rate and so on, as scalars."""
        config = self.config
        rate = learning_rate(self.step, config.steps, config.learning_rate, config.warmup)
        beta = self.kl_weight()
        for player in self.players:
            share = 1.0 if player.network is self.model else config.discriminator_rate
            player.optimizer.learning_rate.assign(share * rate)
        gradients, terms = self.strategy.run(self._gradients, (batch,))
        terms = {name: self.strategy.experimental_local_results(value)[0] for name, value in terms.items()}
        decisive = [terms[name] for player in self.players for name in (player.loss, player.norm)]
        fine = tf.reduce_all(tf.math.is_finite(decisive))

        def update():
            self.strategy.run(self._update, (gradients,))
            self.skipped_in_a_row.assign(0)
            return tf.constant(0)

        def skip():
            self.skipped.assign_add(1)
            self.skipped_in_a_row.assign_add(1)
            return tf.constant(0)

        tf.cond(fine, update, skip)
        self.step.assign_add(1)
        return {**terms, "learning_rate": rate, "kl_weight": beta, "skipped": tf.cast(self.skipped, tf.float32)}

    @_plain
    def test_step(self, batch: Mapping[str, tf.Tensor], number: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """The terms of the loss of a (distributed) batch, as scalars. The `number` of the batch decides the noise."""
        seed = self._seed(number, VALID_SEED)

        def replica(batch):
            noise = self._share_of_noise(batch, seed)
            return self._mean_over_replicas(self.loss_terms(batch, noise, training=False))

        terms = self.strategy.run(replica, (batch,))
        return {name: self.strategy.experimental_local_results(value)[0] for name, value in terms.items()}

    def _seed(self, number, stream=0):
        return tf.stack([tf.constant(2 * self.config.seed + stream, tf.int64), tf.cast(number, tf.int64)])

    def _train(self, iterator, count):
        """`count` steps on an iterator of (distributed) batches: [count, terms] float32, with columns `self.names`."""
        rows = tf.TensorArray(tf.float32, size=count)
        for i in tf.range(count):
            rows = rows.write(i, self._row(self.train_step(next(iterator))))
        return rows.stack()

    def _row(self, terms):
        self.names[:] = terms
        return tf.stack(list(terms.values()))

    # Averaged weights

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """In the block, the model has the moving averages of its trainable weights."""
        averages = self.optimizer._model_variables_moving_average if self.config.ema else []
        variables = self.model.trainable_variables
        if not averages or array(self.optimizer.iterations) == 0:  # before the first update the averages are zeros
            yield
            return
        current = [array(variable) for variable in variables]
        for variable, average in zip(variables, averages, strict=True):
            variable.assign(array(average))
        try:
            yield
        finally:
            for variable, value in zip(variables, current, strict=True):
                variable.assign(value)

    # State

    def _state_variables(self):
        """Everything that a run needs to go on exactly. Keys are numbers: Keras's names differ between processes."""
        variables = {}
        for player in self.players:
            slots = "optimizer" if player.network is self.model else f"{player.name}_optimizer"
            for kind, of_kind in ((player.name, player.network), (slots, player.optimizer)):
                variables |= {f"{kind}/{i:04d}": variable for i, variable in enumerate(of_kind.variables)}
        own = ("step", "skipped", "skipped_in_a_row")
        return variables | {f"training/{name}": getattr(self, name) for name in own}

    def state(self) -> dict[str, np.ndarray]:
        """Everything that changes during training, as arrays."""
        return {name: array(variable) for name, variable in self._state_variables().items()}

    def restore(self, state: dict[str, np.ndarray], new_run: bool = False) -> None:
        """Goes on from `state`.

        Args:
            state: the state of a training step of the same model.
            new_run: True for a second round: it takes weights and optimizer slots, and steps and schedules start anew.
                If the first round had no discriminator, the discriminator starts anew too.

        Raises:
            ValueError: the state is of another model, or an earlier version of this program wrote it.
        """
        anew = ("training/",) if new_run else ()
        if new_run and not any(name.startswith("discriminator") for name in state):
            anew += ("discriminator/", "discriminator_optimizer/")
        for name, variable in self._state_variables().items():
            if not name.startswith(anew):
                if name not in state:
                    raise ValueError(f"it has no {name}")
                if state[name].shape != tuple(variable.shape):
                    raise ValueError(f"{name} has shape {state[name].shape}, here {tuple(variable.shape)}")
                variable.assign(state[name])
