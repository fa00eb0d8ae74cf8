"""What all models of the package share: their uses, what they see of a batch, and how a training step uses them.

A new model is a subclass that

1. builds its layers and its training pass, a functional model whose inputs are some of "appearance", "shape", "noise",
2. names its `WIRINGS` and makes each in `_wire`, functional models for single uses over the same weights,
3. says in `refusals` what it cannot do, and why; it can do everything else (`uses`),
4. gives in `terms` what the training step adds up,

and has a name in `vunet_tf.models.registry` and in `ModelConfig.model`.
"""

import dataclasses
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.configured import ConfiguredModel
from vunet_tf.models.discriminator import PATCH_SCALES, discriminator
from vunet_tf.models.layers import WeightNormConv2D, data_dependent_initialisation, with_weights
from vunet_tf.objective import adversarial, losses

INPUTS = ("image", "shape", "parts")  # the keys of a batch that a model may use
USES = {
    "reconstruct": "make a picture again",
    "encode": "find the z of a picture",
    "generate": "make the picture of a z",
    "transfer": "give a shape the appearance of a picture",
    "sample": "draw pictures at random",
    "interpolate": "go from one picture to another",
    "animate": "let an appearance follow a sequence of shapes",
    "parts": "show where its parts lie",
    "vary": "draw single parts at random",
    "manifold": "show a grid of z over two of its numbers",
    "attribute": "give a picture an attribute that others have",
    "likelihood": "say how likely a picture is",
    "export": "run outside of Python",
}


class GenerativeModel(ConfiguredModel):
    """The base of all models.

    Batches are dicts of float32 tensors in [-1, 1], as `vunet_tf.data` makes them: "image" [B, S, S, 3], "shape" [B, S,
    S, C], and if the data has keypoints "parts" [B, s, s, 3 * P], in which a missing part is 0. Latents z are lists of
    tensors [B, ...], one for each entry of `config.latent_shapes`. Noise has the same form, with `noise_shapes`.
    Pictures in outputs are float32, about in [-1, 1], and not clipped.

    A subclass makes its layers and calls `super().__init__(inputs, outputs, name=name)`. If the outputs have an
    "image", the training shows its error.

    Attributes:
        config: the `ModelConfig`.
        appearance_input: the `AppearanceInput`, which says what `seen_by_f` takes from a batch.
        latent: the `DiagonalGaussian` of the posterior and the prior, if the model has them.
        own_likelihood: whether the model knows log p(x) exactly. Its `terms` are then only -log p(x).
        has_density: whether the model states p(x | z). If not, the evaluation takes a Laplace distribution.
        wanted_shape: the key of a batch that holds the wanted shape.
        ADVERSARIAL: whether a discriminator alone trains the model.
        WIRINGS: names of the functional models that `wiring` gives.
        DRESS: the one of them that makes the picture of a wanted shape with an appearance z.
    """

    WIRINGS: tuple[str, ...] = ()
    own_likelihood = False
    ADVERSARIAL = False
    has_density = False
    wanted_shape = "shape"
    DRESS = "generate"

    def __init__(self, inputs: dict[str, Any], outputs: dict[str, Any], name: str):
        super().__init__(inputs, outputs, name=name)
        # Keras does not track a plain namespace. The wirings must not be saved as parts of this model.
        self._wirings = types.SimpleNamespace()

    # What it can do

    def refusals(self) -> dict[str, str]:
        """{use: a sentence that says why this model does not have it}, for some of `USES`."""
        raise NotImplementedError

    @property
    def uses(self) -> frozenset[str]:
        """The uses that the model has, names out of `USES`."""
        return frozenset(USES) - frozenset(self.refusals())

    def require(self, use: str) -> None:
        """Raises InputError with the sentence of `refusals` if the model does not have this use."""
        if use not in USES:
            raise InputError(f"unknown use {use!r}: one of {', '.join(USES)}")
        if why := self.refusals().get(use):
            raise InputError(why)

    def wiring(self, use: str) -> keras.Model:
        """The functional model of one use, over the weights of this model (built once, on first request).

        The names are `WIRINGS`. The docstring of the class says what each takes and gives. None contains a random op.
        Raises InputError for another name.
        """
        if use not in self.WIRINGS:
            raise InputError(f"unknown wiring {use!r}: one of {', '.join(self.WIRINGS)}")
        if not hasattr(self._wirings, use):
            setattr(self._wirings, use, self._wire(use))
        return getattr(self._wirings, use)

    def _wire(self, use):
        """Builds the functional model of one of `WIRINGS`."""
        raise NotImplementedError

    # What the training step asks

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Shapes, without the batch, of the standard normal noise that the training pass and "sample" take."""
        return self.config.latent_shapes

    def terms(
        self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any], reconstruction: losses.ReconstructionLoss
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """What the training step adds up to the negative ELBO: sum of the first + beta * sum of the second.

        Args:
            batch: what the outputs were made of.
            outputs: of the training pass.
            reconstruction: the loss that the user chose, see `objective.losses`: (image, image_hat) -> terms.

        Returns:
            tuple: ({name: scalar over the batch}, {name: scalar, in nats}), the reconstruction and the KL terms. A
            model with `own_likelihood` gives its negative log-likelihood per picture as the only term, and no KL.
        """
        made = reconstruction(batch["image"], ops.cast(outputs["image"], "float32"))
        if not outputs.get("posterior"):
            return made, {}
        return made, losses.kl_terms(self.kl, outputs["posterior"], outputs["prior"], outputs["z"])

    def regularisers(
        self, inputs: Mapping[str, Any], batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """{name: scalar over the batch}: what the training minimises beside the negative ELBO, weighted.

        Args:
            inputs: of the training pass.
            batch: what it was to make. The appearance in `inputs` is of other pictures of the same looks.
            outputs: of the training pass.
        """
        return {}

    # What the training step asks of a model with a discriminator

    def discriminator(self) -> keras.Model:
        """A new discriminator, see `models.discriminator`. This one sees picture and shape map side by side."""
        config = self.config
        channels = PICTURE_CHANNELS + (config.shape_channels if config.draws_shapes else 0)
        return discriminator(config, channels, scales=PATCH_SCALES)

    def pairs(
        self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """(true pairs, made pairs) as the discriminator takes them: (x, shape) and (x_hat, shape)."""

        def pair(picture):
            seen = [ops.cast(picture, "float32"), *([batch["shape"]] if self.config.draws_shapes else [])]
            return {"picture": ops.concatenate(seen, axis=-1)}

        return pair(batch["image"]), pair(outputs["image"])

    def adversarial_terms(self, true: tf.Tensor, made: tf.Tensor) -> dict[str, tf.Tensor]:
        """{name: scalar}: the losses that the model minimises, from the logits of true and of made pairs."""
        return {"generator": adversarial.non_saturating(made)}

    def curves(self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """{name: scalar}: what the curves of this model show besides its losses."""
        return {}

    def take_weights(self, other: "GenerativeModel") -> None:
        """Takes the weights of another model. Raises ValueError if they do not fit."""
        self.set_weights(other.get_weights())

    def kl(self, posterior: tf.Tensor, prior: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """KL(q || p) of one latent in nats, [B], from the outputs of the training pass; z is the posterior's sample."""
        return self.latent.kl(posterior, prior)

    def log_prior(self, prior: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """log p(z) of one latent in nats, [B], by the "prior" among the outputs of the training pass."""
        return self.latent.log_prob(prior, z)

    def log_picture(self, image: tf.Tensor, outputs: Mapping[str, Any]) -> tf.Tensor:
        """log p(x | z) in nats, [B], of pictures under the outputs of a training pass, if `has_density`."""
        raise NotImplementedError

    def bits_per_dimension(self, batch: Mapping[str, tf.Tensor], seed: int | tf.Tensor = 0) -> tf.Tensor:
        """-log2 P(x) / D of each picture of a batch, [B], with one draw of the dequantisation, if `own_likelihood`."""
        raise NotImplementedError

    # Inputs from batches

    def seen_by_f(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The appearance encoder's input [B, s, s, C] from a batch, checked.

        It has the tensors that `appearance_input` names, side by side."""
        size_flag = "box_factor" if self.appearance_input.crops else "image_size"
        tensors = [
            checked(key, values, self.appearance_input.shapes[key], size_flag)
            for key, values in self.appearance_input.of_batch(batch).items()
        ]
        return ops.concatenate(tensors, axis=-1)

    def shape_input(self, shape: tf.Tensor) -> tf.Tensor:
        """The wanted shape, checked. Raises InputError, which names the flag, if it does not fit."""
        size = self.config.image_size
        channels = {"image": 3, "shape": self.config.shape_channels}[self.wanted_shape]
        return checked(self.wanted_shape, shape, (size, size, channels), "image_size")

    def noise(self, batch_size: int | tf.Tensor, seed: int | tf.Tensor) -> list[tf.Tensor]:
        """Standard normal noise of `noise_shapes`. Only `seed` decides it (an int, or a TF seed of shape [2])."""
        if len(ops.shape(seed)) == 0:
            seed = [0, seed]
        return [
            tf.random.stateless_normal((batch_size, *shape), tf.random.experimental.stateless_fold_in(seed, scale))
            for scale, shape in enumerate(self.noise_shapes)
        ]

    def training_inputs(
        self,
        batch: Mapping[str, tf.Tensor],
        seed: int | tf.Tensor | None = None,
        appearance_from: Mapping[str, tf.Tensor] | None = None,
    ) -> dict[str, Any]:
        """The training pass's inputs from a batch: those that the model has.

        Args:
            batch: a dict, see the class.
            seed: seed of the noise, see `noise`. None is noise 0, which gives the posterior's mean.
            appearance_from: another batch that the appearance encoder sees instead of this one.
        """
        inputs = {}
        if "appearance" in self.input:
            inputs["appearance"] = self.seen_by_f(batch if appearance_from is None else appearance_from)
        if "shape" in self.input:
            inputs["shape"] = self.shape_input(batch[self.wanted_shape])
        if "noise" in self.input:
            batch_size = ops.shape(next(iter(inputs.values())))[0]
            if seed is None:
                inputs["noise"] = [ops.zeros((batch_size, *shape)) for shape in self.noise_shapes]
            else:
                inputs["noise"] = self.noise(batch_size, seed)
        return inputs

    # Uses, each on a whole batch

    def encode(self, batch: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """z of the batch's pictures: the posterior's mean."""
        return self.wiring("encode")({"appearance": self.seen_by_f(batch)})["z"]

    def generate(self, shape: tf.Tensor | None, z: Sequence[tf.Tensor]) -> tf.Tensor:
        """The pictures [B, S, S, 3] of these z, in these shapes [B, S, S, C] (None for a model without shapes)."""
        wiring, inputs = self.wiring("generate"), {"z": tensors(z)}
        if "shape" in wiring.input:
            inputs["shape"] = self.shape_input(shape)
        return wiring(inputs)

    def dress(self, shape: tf.Tensor, z: Sequence[tf.Tensor]) -> tf.Tensor:
        """The pictures [B, S, S, 3] of these wanted shapes with these appearances z."""
        self.require("transfer")
        return self.wiring(self.DRESS)({"shape": self.shape_input(shape), "z": tensors(z)})

    def transfer(self, appearance: Mapping[str, tf.Tensor], shape: tf.Tensor) -> tf.Tensor:
        """The pictures [B, S, S, 3] of shapes [B, S, S, C] with the appearance of the batch `appearance`.

        A batch of one is one appearance for all shapes, or one shape for all appearances. Raises InputError if the
        sizes of the two batches do not fit, or the model has no transfer.
        """
        self.require("transfer")
        inputs = {"shape": self.shape_input(shape)}
        if "appearance" in self.wiring("transfer").input:
            inputs["appearance"] = self.seen_by_f(appearance)
        return self.wiring("transfer")(of_one_size(inputs))

    def reconstruct(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The batch's pictures [B, S, S, 3] made from the posterior's mean: a transfer onto their own shapes."""
        self.require("reconstruct")
        if "transfer" in self.uses:
            return self.transfer(batch, batch[self.wanted_shape])
        return self.generate(batch.get(self.wanted_shape), self.encode(batch))

    def sample(
        self,
        shape: tf.Tensor | None = None,
        seed: int | tf.Tensor | None = None,
        noise: Sequence[tf.Tensor] | None = None,
        count: int = 1,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(pictures, z) for z sampled from the prior.

        Args:
            shape: [B, S, S, C], if the model has shapes: z ~ p(z | shape).
            seed, noise: give one of them; see `noise`. Noise 0 gives the prior's mean.
            count: how many pictures a model without shapes makes from the seed.
        """
        if (seed is None) == (noise is None):
            raise InputError("sample takes either a seed or noise")
        wiring, inputs = self.wiring("sample"), {}
        if "shape" in wiring.input:
            inputs["shape"] = self.shape_input(shape)
            count = ops.shape(inputs["shape"])[0]
        drawn = wiring({**inputs, "noise": self.noise(count, seed) if noise is None else tensors(noise)})
        return drawn["image"], drawn["z"]

    def interpolate(
        self, shape: tf.Tensor | None, z_from: Sequence[tf.Tensor], z_to: Sequence[tf.Tensor], steps: int
    ) -> tf.Tensor:
        """Pictures [steps, B, S, S, 3] for z on a straight line, both ends included. Shape is as in `generate`."""
        if steps < 2:
            raise InputError(f"an interpolation has at least 2 steps, got {steps}")
        weights = [step / (steps - 1) for step in range(steps)]
        return ops.stack([self.generate(shape, between(z_from, z_to, weight)) for weight in weights])

    # Weights

    def initialise(self, batches: Iterable[Mapping[str, tf.Tensor]], seed: int = 0) -> None:
        """Data-dependent initialisation of every convolution, in one pass over `batches` together.

        Dropout is active, as in the released program, which takes 4 batches. Call it once before training, outside
        `strategy.run`. If there are several processes, call it in each with the same batches and the same Keras seed.

        Args:
            batches: an iterable of batches.
            seed: seed of the noise.
        """
        batches = list(batches)
        if not batches or not all(isinstance(batch, dict) for batch in batches):
            raise InputError("initialise takes one or more batches, each a dict")
        together = {key: ops.concatenate([batch[key] for batch in batches]) for key in INPUTS if key in batches[0]}
        with data_dependent_initialisation(self):
            self(self.training_inputs(together, seed), training=True)

    def fold(self) -> "GenerativeModel":
        """The same model with plain convolutions, for export: every kernel is g * V / ||V|| as a constant."""
        plain_config = dataclasses.replace(self.config, weight_norm=False)
        folded = type(self)(plain_config, name=self.name)  # type: ignore[call-arg]  # a subclass takes its settings
        for ours, plain in zip(with_weights(self), with_weights(folded), strict=True):
            plain.set_weights(ours.fold() if isinstance(ours, WeightNormConv2D) else ours.get_weights())
        return folded


def symbolic_inputs(config: ModelConfig) -> dict[str, Any]:
    """Inputs of a model with these settings, by name: "appearance", "shape", and "noise" for every latent."""
    seen = AppearanceInput(config)
    return {
        "appearance": keras.Input((seen.size, seen.size, seen.channels), name="appearance"),
        "shape": keras.Input((config.image_size, config.image_size, config.shape_channels), name="shape"),
        "noise": [keras.Input(shape, name=f"noise_{i}") for i, shape in enumerate(config.latent_shapes)],
    }


def symbolic_z(config: ModelConfig) -> list[keras.KerasTensor]:
    """Inputs for z, one per latent."""
    return [keras.Input(shape, name=f"z_{i}") for i, shape in enumerate(config.latent_shapes)]


def between(z_from: Sequence[tf.Tensor], z_to: Sequence[tf.Tensor], weight: float) -> list[tf.Tensor]:
    """z on the straight line from one appearance (weight 0) to another (1)."""
    return [(1 - weight) * a + weight * b for a, b in zip(z_from, z_to, strict=True)]


def of_one_size(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`inputs` with batches of one repeated to the size of the others. Raises InputError for other sizes."""
    sizes = {name: len(values) for name, values in inputs.items() if values.shape[0] is not None}
    largest = max(sizes.values(), default=1)
    if not set(sizes.values()) <= {1, largest}:
        raise InputError(f"batches of one size, or of one, are needed, got {sizes}")
    return {
        name: ops.repeat(x, largest, axis=0) if sizes.get(name, 0) == 1 < largest else x for name, x in inputs.items()
    }


def tensors(arrays: Iterable[np.ndarray | tf.Tensor]) -> list[tf.Tensor]:
    """Each array as a tensor."""
    return [ops.convert_to_tensor(array) for array in arrays]


# The flag that decides how many channels an input of the model has.
_CHANNEL_FLAGS = {"image": "appearance", "shape": "shape_channels", "parts": "parts"}


def checked(name: str, values: np.ndarray | tf.Tensor, shape: tuple[int, int, int], size_flag: str) -> tf.Tensor:
    """`values` as a float tensor. Raises InputError unless they are floats of shape [B, *shape]."""
    tensor = ops.convert_to_tensor(values)
    found, (height, width, channels) = tuple(tensor.shape), shape
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)):
        raise InputError(f"{name!r} must be floats in [-1, 1], got {tensor.dtype}")
    if len(found) != 4:
        raise InputError(f"{name!r} must be a batch [B, {height}, {width}, {channels}], got shape {found}")
    if found[1:3] != (height, width):
        raise InputError(
            f"{name!r} is {found[2]}x{found[1]} pixels where the model takes {width}x{height}: change --{size_flag}"
        )
    if found[3] != channels:
        flag = _CHANNEL_FLAGS[name]
        raise InputError(f"{name!r} has {found[3]} channels where the model takes {channels}: change --{flag}")
    return tensor
