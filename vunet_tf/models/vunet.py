"""The Variational U-Net: F, E and D joined, and the functional models of its uses over the same weights."""

import dataclasses
import types

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.config import ModelConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models.appearance_encoder import AppearanceEncoder
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.configured import ConfiguredModel
from vunet_tf.models.decoder import Decoder
from vunet_tf.models.distributions import DiagonalGaussian
from vunet_tf.models.laid_decoder import LaidDecoder
from vunet_tf.models.laid_encoder import LaidAppearanceEncoder
from vunet_tf.models.layers import WeightNormConv2D, data_dependent_initialisation, with_weights
from vunet_tf.models.shape_encoder import ShapeEncoder

INPUTS = ("image", "shape", "parts")  # what of a batch a model may look at; the rest is left alone
WIRINGS = ("encode", "generate", "transfer", "sample")
OF_PARTS = ("parts", "vary")  # wirings of a model with --latent=laid


@keras.saving.register_keras_serializable("vunet_tf")
class VUNet(ConfiguredModel):
    """VU-Net of a `ModelConfig` (paper, Sec. 3). As a functional model it is the training pass.

    Batches are dicts of float32 tensors in [-1, 1], as the data part makes them: "image" [B, S, S, 3],
    "shape" [B, S, S, C], and where the data has keypoints "parts" [B, s, s, 3 * P], a missing part being 0. Latents z
    are lists of [B, h, w, c], one per latent scale from the bottom up (`config.latent_shapes`), or with --latent=laid
    of one [B, K, c]; so is noise. Pictures that come out are float32, nominally in [-1, 1], unclipped.

    Inputs: {"appearance", "shape", "noise"}, as `training_inputs(batch, seed)` makes them.

    Returns:
        {"image": x-hat, "posterior": [parameters of q(z | x, shape)], "prior": [parameters of p(z | shape), the
        groups of the posterior's sample fed back], "z": [the posterior's sample]}. `latent`, a `DiagonalGaussian`,
        turns parameters into distributions.

    Example:
        model = VUNet(ModelConfig(image_size=64, appearance="picture"))
        model.initialise([batch])
        dressed = model.transfer(appearance=batch, shape=other["shape"])
    """

    def __init__(self, config: ModelConfig, name="vunet"):
        # Layers
        self.config = config
        self.appearance_input = AppearanceInput(config)
        self.latent = DiagonalGaussian(config.variance, name="latent")
        self.shape_encoder = ShapeEncoder(config)
        self.appearance_encoder = None
        if config.latent == "laid":
            self.decoder = LaidDecoder(config)
            if config.latent_shapes:
                self.appearance_encoder = LaidAppearanceEncoder(config, self.shape_encoder.part_maps)
        else:
            self.decoder = Decoder(config)
            if config.latent_shapes:
                self.appearance_encoder = AppearanceEncoder(config)

        # Functional model
        inputs = self._symbolic_inputs()
        q = {"posterior": [], "z": []}
        if self.appearance_encoder:
            q = self.appearance_encoder({key: inputs[key] for key in ("appearance", "noise")})
        p = self.decoder({"skips": self.shape_encoder(inputs["shape"]), "z": q["z"]})
        super().__init__(inputs, {**p, **q}, name=name)
        # A plain namespace, which Keras does not track: the wirings must not be saved as parts of this model.
        self._wirings = types.SimpleNamespace()

    def _symbolic_inputs(self):
        config, seen = self.config, self.appearance_input
        if not config.latent_scales:  # nothing would be connected to the others
            return {"shape": keras.Input((config.image_size, config.image_size, config.shape_channels), name="shape")}
        return {
            "appearance": keras.Input((seen.size, seen.size, seen.channels), name="appearance"),
            "shape": keras.Input((config.image_size, config.image_size, config.shape_channels), name="shape"),
            "noise": [keras.Input(shape, name=f"noise_{i}") for i, shape in enumerate(config.latent_shapes)],
        }

    def wiring(self, use):
        """The functional model of one use, over the weights of this model (built once, on first request).

        | use | inputs | output |
        |---|---|---|
        | "encode" | {"appearance"} | {"z"}, the posterior's mean at every scale |
        | "generate" | {"shape", "z"} | picture |
        | "transfer" | {"appearance", "shape"} | picture, by the posterior's mean |
        | "sample" | {"shape", "noise"} | {"image", "z"}, z from the prior by this noise |

        With --latent=laid also

        | "parts" | {"shape"} | part maps [B, m, m, K] |
        | "vary" | {"shape", "noise", "z", "keep" [B, K, 1]} | as "sample", but parts with keep 1 have the code of z |

        Only "sample" and "vary" contain the prior. None contains a random op. Raises InputError for another use.
        """
        if use in OF_PARTS:
            self.require_parts()
        elif use not in WIRINGS:
            raise InputError(f"unknown wiring {use!r}: one of {', '.join(WIRINGS + OF_PARTS)}")
        if not hasattr(self._wirings, use):
            setattr(self._wirings, use, self._wire(use))
        return getattr(self._wirings, use)

    def _wire(self, use):
        symbolic = self._symbolic_inputs()
        if use == "encode":
            self.require_latents()
            inputs = {"appearance": symbolic["appearance"]}
            outputs = {"z": self.appearance_encoder.connect(inputs["appearance"])["z"]}
        elif use == "generate":
            z = [keras.Input(shape, name=f"z_{i}") for i, shape in enumerate(self.config.latent_shapes)]
            inputs = {"shape": symbolic["shape"], "z": z}
            outputs = self.decoder.generate(self.shape_encoder(inputs["shape"]), z)
        elif use == "transfer":
            inputs = {key: symbolic[key] for key in ("appearance", "shape") if key in symbolic}
            z = self.wiring("encode")({"appearance": inputs["appearance"]})["z"] if self.config.latent_scales else []
            outputs = self.wiring("generate")({"shape": inputs["shape"], "z": z})
        elif use == "parts":
            inputs = {"shape": symbolic["shape"]}
            outputs = self.shape_encoder.part_maps(inputs["shape"])
        elif use == "vary":
            z = [keras.Input(shape, name=f"z_{i}") for i, shape in enumerate(self.config.latent_shapes)]
            keep = keras.Input((self.config.parts, 1), name="keep")
            inputs = {"shape": symbolic["shape"], "noise": symbolic["noise"], "z": z, "keep": keep}
            image, drawn = self.decoder.vary(self.shape_encoder(inputs["shape"]), inputs["noise"], z, keep)
            outputs = {"image": image, "z": drawn}
        else:
            inputs = {"shape": symbolic["shape"], "noise": symbolic.get("noise", [])}
            image, z = self.decoder.sample(self.shape_encoder(inputs["shape"]), inputs["noise"])
            outputs = {"image": image, "z": z}
        return keras.Model(inputs, outputs, name=use)

    def require_latents(self):
        """Raises InputError if this model has no appearance latent."""
        if not self.config.latent_scales:
            raise InputError("--latent_scales=0: this model has no appearance latent; set it to 1, 2 or 3")

    def require_parts(self):
        """Raises InputError if the appearance of this model is not kept part by part."""
        self.require_latents()
        if self.config.latent != "laid":
            raise InputError(f"--latent={self.config.latent}: only a model trained with --latent=laid has parts")

    # Inputs from batches

    def seen_by_f(self, batch):
        """F's input [B, s, s, C] from a batch, checked: the tensors that `appearance_input` names, side by side."""
        size_flag = "box_factor" if self.appearance_input.crops else "image_size"
        tensors = [
            checked(key, values, self.appearance_input.shapes[key], size_flag)
            for key, values in self.appearance_input.of_batch(batch).items()
        ]
        return ops.concatenate(tensors, axis=-1)

    def shape_input(self, shape):
        """E's input: the shape map itself, checked. Raises InputError naming the flag where it does not fit."""
        size = self.config.image_size
        return checked("shape", shape, (size, size, self.config.shape_channels), "image_size")

    def noise(self, batch_size, seed):
        """Standard normal noise for every latent, a function of `seed` alone (an int, or a TF seed of shape [2])."""
        if len(ops.shape(seed)) == 0:
            seed = [0, seed]
        return [
            tf.random.stateless_normal((batch_size, *shape), tf.random.experimental.stateless_fold_in(seed, scale))
            for scale, shape in enumerate(self.config.latent_shapes)
        ]

    def training_inputs(self, batch, seed=None, appearance_from=None):
        """The training pass's inputs from a batch.

        Args:
            batch: a dict, see the class.
            seed: of the posterior's sample, see `noise`; None for noise 0, the posterior's mean.
            appearance_from: another batch that F sees instead of this one.

        Without latents (--latent_scales=0) there is only "shape".
        """
        shape = self.shape_input(batch["shape"])
        if not self.config.latent_scales:
            return {"shape": shape}
        batch_size = ops.shape(shape)[0]
        if seed is None:
            noise = [ops.zeros((batch_size, *latent)) for latent in self.config.latent_shapes]
        else:
            noise = self.noise(batch_size, seed)
        appearance = self.seen_by_f(batch if appearance_from is None else appearance_from)
        return {"appearance": appearance, "shape": shape, "noise": noise}

    # Uses, each on a whole batch

    def encode(self, batch):
        """z of the batch's appearance: the posterior's mean at every scale."""
        return self.wiring("encode")({"appearance": self.seen_by_f(batch)})["z"]

    def generate(self, shape, z):
        """The pictures [B, S, S, 3] of these shapes [B, S, S, C] with these appearances z."""
        return self.wiring("generate")({"shape": self.shape_input(shape), "z": tensors(z)})

    def transfer(self, appearance, shape):
        """The pictures [B, S, S, 3] of shapes [B, S, S, C] with the appearance of the batch `appearance`.

        A batch of one is one appearance for all shapes, or one shape for all appearances. Raises InputError where the
        two batches fit in neither way.
        """
        inputs = {"shape": self.shape_input(shape)}
        if self.config.latent_scales:
            inputs["appearance"] = self.seen_by_f(appearance)
        return self.wiring("transfer")(of_one_size(inputs))

    def reconstruct(self, batch):
        """The batch's pictures [B, S, S, 3] by the posterior's mean: a transfer onto their own shapes."""
        return self.transfer(batch, batch["shape"])

    def sample(self, shape, seed=None, noise=None):
        """(pictures, z) of these shapes with appearances z ~ p(z | shape).

        Args:
            shape: [B, S, S, C].
            seed, noise: one of them; see `noise`. Noise 0 gives the prior's mean.
        """
        if (seed is None) == (noise is None):
            raise InputError("sample takes either a seed or noise")
        shape = self.shape_input(shape)
        noise = self.noise(ops.shape(shape)[0], seed) if noise is None else tensors(noise)
        drawn = self.wiring("sample")({"shape": shape, "noise": noise})
        return drawn["image"], drawn["z"]

    def interpolate(self, shape, z_from, z_to, steps):
        """Pictures [steps, B, S, S, 3] of shapes [B, S, S, C], z going in a straight line, both ends included."""
        if steps < 2:
            raise InputError(f"an interpolation has at least 2 steps, got {steps}")
        weights = [step / (steps - 1) for step in range(steps)]
        return ops.stack([self.generate(shape, between(z_from, z_to, weight)) for weight in weights])

    # Weights

    def initialise(self, batches, seed=0):
        """Data-dependent initialisation of every convolution, in one pass over `batches` together.

        Dropout is active, as in the released program, which takes 4 batches. Call it once before training, outside
        `strategy.run`; in several processes, with the same batches and the same Keras seed.

        Args:
            batches: an iterable of batches.
            seed: of the posterior's sample.
        """
        batches = list(batches)
        if not batches or not all(isinstance(batch, dict) for batch in batches):
            raise InputError("initialise takes one or more batches, each a dict")
        together = {key: ops.concatenate([batch[key] for batch in batches]) for key in INPUTS if key in batches[0]}
        with data_dependent_initialisation(self):
            self(self.training_inputs(together, seed), training=True)

    def fold(self):
        """The same model with plain convolutions: every kernel is g * V / ||V||, a constant for export."""
        folded = VUNet(dataclasses.replace(self.config, weight_norm=False), name=self.name)
        for ours, plain in zip(with_weights(self), with_weights(folded), strict=True):
            plain.set_weights(ours.fold() if isinstance(ours, WeightNormConv2D) else ours.get_weights())
        return folded


def between(z_from, z_to, weight):
    """z on the straight line from one appearance (weight 0) to another (1)."""
    return [(1 - weight) * a + weight * b for a, b in zip(z_from, z_to, strict=True)]


def of_one_size(inputs):
    """`inputs` with batches of one repeated to the size of the others; raises InputError for any other sizes."""
    sizes = {name: len(values) for name, values in inputs.items() if values.shape[0] is not None}
    largest = max(sizes.values(), default=1)
    if not set(sizes.values()) <= {1, largest}:
        raise InputError(f"batches of one size, or of one, are needed, got {sizes}")
    return {
        name: ops.repeat(x, largest, axis=0) if sizes.get(name, 0) == 1 < largest else x for name, x in inputs.items()
    }


def tensors(arrays):
    return [ops.convert_to_tensor(array) for array in arrays]


# The flag that decides how many channels an input of the model has.
_CHANNEL_FLAGS = {"image": "appearance", "shape": "shape_channels", "parts": "parts"}


def checked(name, values, shape, size_flag):
    """`values` as a float tensor; raises InputError unless they are floats of shape [B, *shape]."""
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
