"""Models whose latent is one vector between an encoder and a decoder: what came before the U-Net (docs/models.md).

| class | --model | latent z | what the decoder gets |
|---|---|---|---|
| `Autoencoder` | ae | a code, a function of the picture | z |
| `VAE` | vae | q(z \\| x) against p(z) = N(0, 1) | z |
| `JointVAE` | vae_joint | q(y, z \\| x) against p(y, z) = N(0, 1): shape and appearance in one vector | (y, z) |
| `CVAE` | cvae | q(z \\| x, y) against p(z \\| y) | z and a vector made of the shape map y; no skips |

Encoder and decoder are made of the residual blocks of the VU-Net. Each has a dense layer at the bottleneck. z is a list
of one tensor [B, `config.code_size`].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.configured import block_settings
from vunet_tf.models.distributions import SOFTPLUS_OF_ONE, DiagonalGaussian
from vunet_tf.models.generative import GenerativeModel, symbolic_inputs, symbolic_z
from vunet_tf.models.layers import Activation, ResidualBlock, SubPixelUp, convolution, rounded
from vunet_tf.models.prior import StandardNormalPrior
from vunet_tf.models.shape_encoder import contracting_path
from vunet_tf.objective import losses

SMALLEST_PICTURE_SCALE = 1 / 255  # half a grey level on [-1, 1]; files cannot store a smaller difference


def without_parts(model: str) -> dict[str, str]:
    """The refusals of a model, a value of --model, that keeps no appearance part by part."""
    why = f"--model={model}: only a VU-Net with --latent=laid keeps an appearance part by part"
    return dict.fromkeys(("parts", "vary"), why)


def without_shape(model: str, kind: str) -> dict[str, str]:
    """The refusals of a model without a shape. `kind` says in the messages what it is, such as "a VAE"."""
    why = f"--model={model}: {kind} has no shape to keep, since z holds shape and appearance together"
    return {**dict.fromkeys(("transfer", "animate"), why), **without_parts(model)}


def picture_encoder(config: ModelConfig, channels: int, numbers: int, name: str) -> keras.Model:
    """A functional model [B, S, S, channels] -> [B, numbers], float32: a contracting path and a dense layer."""
    seen = keras.Input((config.image_size, config.image_size, channels))
    bottom = contracting_path(seen, config.widths, config)[-1]
    flat = keras.layers.Flatten()(Activation(config.activation, name="activation")(bottom))
    return keras.Model(seen, keras.layers.Dense(numbers, dtype="float32", name="to_code")(flat), name=name)


def picture_decoder(config: ModelConfig, numbers: int, channels: int, name: str = "decoder") -> keras.Model:
    """A functional model [B, numbers] -> [B, S, S, channels], float32: a dense layer, an expanding path, no skips."""
    code, widths = keras.Input((numbers,)), config.widths[::-1]
    side = config.image_size >> (config.scales - 1)
    h = keras.layers.Dense(side * side * widths[0], name="from_code")(code)
    h = keras.layers.Reshape((side, side, widths[0]))(h)
    for scale, width in enumerate(widths):
        if scale:
            h = SubPixelUp(width, weight_norm=config.weight_norm, name=f"up_{scale}")(h)
        for block in range(config.blocks_per_scale):
            h = ResidualBlock(width, name=f"block_{scale}_{block}", **block_settings(config))(h)
    to_picture = convolution(channels, 3, weight_norm=config.weight_norm, dtype="float32", name="to_picture")
    return keras.Model(code, rounded(to_picture(h)), name=name)


@keras.saving.register_keras_serializable("vunet_tf")
class Autoencoder(GenerativeModel):
    """AE: z = f(x), x_hat = g(z), trained to make x_hat like x (Hinton and Salakhutdinov 2006).

    With `config.linear` f and g are one linear layer each. If the loss is the squared error, z then spans the principal
    components (Baldi and Hornik 1989).

    Inputs: {"appearance": picture}. Returns {"image": x_hat, "z": [code]}.

    Wirings: "encode" {"appearance"} -> {"z"}, "generate" {"z"} -> picture.
    """

    WIRINGS = ("encode", "generate")

    def __init__(self, config: ModelConfig, name: str = "ae"):
        # Layers
        self.config = config
        self.appearance_input = AppearanceInput(config)
        if config.linear:
            side, pixels = config.image_size, config.image_size**2 * PICTURE_CHANNELS
            self.encoder = keras.Sequential(
                [
                    keras.Input((side, side, PICTURE_CHANNELS)),
                    keras.layers.Flatten(),
                    keras.layers.Dense(config.code_size, dtype="float32", name="to_code"),
                ],
                name="encoder",
            )
            self.decoder = keras.Sequential(
                [
                    keras.Input((config.code_size,)),
                    keras.layers.Dense(pixels, dtype="float32", name="from_code"),
                    keras.layers.Reshape((side, side, PICTURE_CHANNELS)),
                ],
                name="decoder",
            )
        else:
            self.encoder = picture_encoder(config, PICTURE_CHANNELS, config.code_size, "encoder")
            self.decoder = picture_decoder(config, config.code_size, PICTURE_CHANNELS)

        # Functional model
        inputs = {"appearance": symbolic_inputs(config)["appearance"]}
        z = self.encoder(inputs["appearance"])
        super().__init__(inputs, {"image": self.decoder(z), "z": [z]}, name=name)

    def refusals(self) -> dict[str, str]:
        no_distribution = "--model=ae: an autoencoder does not know how its codes are distributed; --model=vae does"
        return {
            **without_shape("ae", "an autoencoder"),
            **dict.fromkeys(("sample", "manifold", "likelihood"), no_distribution),
        }

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        return []

    def _wire(self, use):
        if use == "encode":
            inputs = {"appearance": symbolic_inputs(self.config)["appearance"]}
            return keras.Model(inputs, {"z": [self.encoder(inputs["appearance"])]}, name=use)
        z = symbolic_z(self.config)
        return keras.Model({"z": z}, self.decoder(z[0]), name=use)


@keras.saving.register_keras_serializable("vunet_tf")
class VAE(GenerativeModel):
    """VAE (Kingma and Welling 2014): q(z | x) a diagonal Gaussian, p(z) standard normal, p(x | z) = N(mu(z), Sigma(z)).

    Sigma(z) is diagonal: the decoder makes a picture of means and one of standard deviations. With
    --picture_variance=fixed it makes only the means, and the standard deviation is `config.picture_scale` everywhere.

    Inputs: {"appearance": picture, "noise"}.

    Returns:
        dict: {"image": mu, "scale": standard deviations, the shape of mu, or one number, "posterior": [parameters],
        "prior": [parameters], "z": [sample]}.

    Wirings:

    | use | inputs | output |
    |---|---|---|
    | "encode" | {"appearance"} | {"z"}, the posterior's mean |
    | "generate" | {"z"} | picture, mu(z) |
    | "sample" | {"noise"} | {"image", "z"}, z from the prior |
    """

    WIRINGS: tuple[str, ...] = ("encode", "generate", "sample")
    NAME = "vae"
    has_density = True

    def __init__(self, config: ModelConfig, name: str | None = None):
        # Layers
        self.config = config
        self.appearance_input = AppearanceInput(config)
        self.latent = DiagonalGaussian("learned", name="latent")
        numbers = self.latent.parameters_per_channel * config.code_size
        self.encoder = picture_encoder(config, self.appearance_input.channels, numbers, "encoder")
        self.decoder = picture_decoder(config, self._decoded_numbers(), self._decoded_channels())
        self._make_prior()

        # Functional model
        symbolic = symbolic_inputs(config)
        inputs = {key: symbolic[key] for key in self._training_inputs()}
        posterior = self.encoder(inputs["appearance"])
        z = self.latent(posterior, inputs["noise"][0])
        condition = self._condition(inputs)
        outputs = {
            **self._decoded(z, condition),
            "posterior": [posterior],
            "prior": [self._prior_parameters(z, condition)],
            "z": [z],
        }
        super().__init__(inputs, outputs, name=name or self.NAME)

    # What a conditional model does differently

    def _training_inputs(self):
        return ("appearance", "noise")

    def _decoded_numbers(self):
        return self.config.code_size

    def _make_prior(self):
        self.prior = StandardNormalPrior((self.config.code_size,), self.latent.variance, name="prior")

    def _condition(self, inputs):
        """What the decoder and the prior see besides z: here nothing."""
        return None

    def _prior_parameters(self, z, condition):
        return self.prior(z, z=z)[0]

    # p(x | z)

    def _decoded_channels(self):
        return PICTURE_CHANNELS * (2 if self.config.picture_variance == "learned" else 1)

    def _decoded(self, z, condition):
        made = self.decoder(z if condition is None else keras.layers.Concatenate()([z, condition]))
        if self.config.picture_variance == "fixed":
            return {"image": made}
        mean, raw = made[..., :PICTURE_CHANNELS], made[..., PICTURE_CHANNELS:]
        return {"image": mean, "scale": ops.maximum(ops.softplus(raw + SOFTPLUS_OF_ONE), SMALLEST_PICTURE_SCALE)}

    def log_picture(self, image: tf.Tensor, outputs: Mapping[str, Any]) -> tf.Tensor:
        """log p(x | z) = log N(x; mu(z), Sigma(z)) in nats, [B], with z as in the outputs of a training pass."""
        return losses.gaussian_log_likelihood(image, outputs["image"], outputs.get("scale", self.config.picture_scale))

    def terms(
        self, batch: Mapping[str, tf.Tensor], outputs: Mapping[str, Any], reconstruction: losses.ReconstructionLoss
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """The negative ELBO itself, in nats per picture: -log p(x | z) and KL(q || p). --reconstruction is not used."""
        _, kl = super().terms(batch, outputs, lambda image, image_hat: {})
        return {"nll": -ops.mean(self.log_picture(batch["image"], outputs))}, kl

    # Uses

    def refusals(self) -> dict[str, str]:
        return without_shape(self.NAME, "a VAE")

    def _wire(self, use):
        symbolic = symbolic_inputs(self.config)
        if use == "encode":
            inputs = {"appearance": symbolic["appearance"]}
            return keras.Model(inputs, {"z": [self._mean(inputs["appearance"])]}, name=use)
        if use == "generate":
            inputs = {"z": symbolic_z(self.config), **self._symbolic_shape(symbolic)}
            outputs = self._decoded(inputs["z"][0], self._condition(inputs))["image"]
        else:
            inputs = {"noise": symbolic["noise"], **self._symbolic_shape(symbolic)}
            condition = self._condition(inputs)
            z = self._drawn(inputs["noise"][0], condition)
            outputs = {"image": self._decoded(z, condition)["image"], "z": [z]}
        return keras.Model(inputs, outputs, name=use)

    def _symbolic_shape(self, symbolic):
        return {}

    def _mean(self, appearance):
        return self.latent(self.encoder(appearance))

    def _drawn(self, noise, condition):
        return self.prior(noise, noise=noise)[1]


@keras.saving.register_keras_serializable("vunet_tf")
class JointVAE(VAE):
    """The VAE whose latent is meant to hold the shape y and the appearance z: q(y, z | x), p(y, z) = N(0, 1).

    It is the `VAE`. Only, the first half of the latent is called y and the second z. A transfer takes z from one
    picture and y from another one, which has the wanted shape. Nothing in the objective makes one half the shape and
    the other the appearance, so the halves mean nothing. This model is here to show that.

    Besides the wirings of the `VAE`:

    | use | inputs | output |
    |---|---|---|
    | "dress" | {"shape": a picture of the wanted shape, "z"} | picture: y from that picture, z from the given latent |
    | "transfer" | {"appearance", "shape": a picture} | picture |
    """

    WIRINGS = (*VAE.WIRINGS, "dress", "transfer")
    NAME = "vae_joint"
    DRESS = "dress"
    wanted_shape = "image"

    def refusals(self) -> dict[str, str]:
        why = "--model=vae_joint: its shapes are pictures, and between two of them there is no pose; use transfer"
        return {"animate": why, **without_parts("vae_joint")}

    def _wire(self, use):
        if use not in ("dress", "transfer"):
            return super()._wire(use)
        half, seen = self.config.code_size // 2, symbolic_inputs(self.config)["appearance"]
        shape = keras.Input(seen.shape[1:], name="shape")
        if use == "dress":
            inputs = {"shape": shape, "z": symbolic_z(self.config)}
            appearance = inputs["z"][0]
        else:
            inputs = {"appearance": seen, "shape": shape}
            appearance = self._mean(seen)
        mixed = keras.layers.Concatenate()([self._mean(shape)[:, :half], appearance[:, half:]])
        return keras.Model(inputs, self._decoded(mixed, None)["image"], name=use)


@keras.saving.register_keras_serializable("vunet_tf")
class CVAE(VAE):
    """The conditional VAE (Sohn, Lee and Yan 2015): q(z | x, y), p(z | y), p(x | y, z), y the shape map.

    The shape reaches the decoder as one vector beside z at the bottleneck. There are no skips, so the decoder has to
    draw every edge of the shape from that vector. The skips of the U-Net solve this.

    p(z | y) is a diagonal Gaussian whose parameters come from that vector. With --prior=standard_normal it is N(0, 1).

    Inputs: {"appearance": picture and shape map, "shape", "noise"}. It returns the same as the `VAE`. The wirings are
    the same, but "generate" and "sample" also take "shape", and there is "transfer" {"appearance", "shape"} -> picture.
    """

    WIRINGS = (*VAE.WIRINGS, "transfer")
    NAME = "cvae"

    def refusals(self) -> dict[str, str]:
        why = "--model=cvae: what z means depends on the shape, as p(z | shape) does; use sample"
        return {"manifold": why, **without_parts("cvae")}

    def _training_inputs(self):
        return ("appearance", "shape", "noise")

    def _decoded_numbers(self):
        return 2 * self.config.code_size

    def _make_prior(self):
        config = self.config
        self.shape_encoder = picture_encoder(config, config.shape_channels, config.code_size, "shape_encoder")
        self.prior = None
        if config.prior == "standard_normal":
            super()._make_prior()
        else:
            self.to_prior = keras.layers.Dense(2 * config.code_size, dtype="float32", name="to_prior")

    def _condition(self, inputs):
        """The vector of the shape map, [B, code_size]."""
        return self.shape_encoder(inputs["shape"])

    def _prior_parameters(self, z, condition):
        return self.to_prior(condition) if self.prior is None else super()._prior_parameters(z, condition)

    def _drawn(self, noise, condition):
        if self.prior is None:
            return self.latent(self.to_prior(condition), noise)
        return super()._drawn(noise, condition)

    def _symbolic_shape(self, symbolic):
        return {"shape": symbolic["shape"]}

    def _wire(self, use):
        if use != "transfer":
            return super()._wire(use)
        symbolic = symbolic_inputs(self.config)
        inputs = {key: symbolic[key] for key in ("appearance", "shape")}
        made = self._decoded(self._mean(inputs["appearance"]), self._condition(inputs))
        return keras.Model(inputs, made["image"], name=use)


def manifold_grid(steps: int, code_size: int, dimensions: Sequence[int] = (0, 1)) -> np.ndarray:
    """A grid of z over two numbers of a standard normal latent; the others are 0: [steps, steps, code_size] float32.

    Between neighbours there is equal probability: they are the quantiles (i + 1/2) / steps of N(0, 1) (Kingma and
    Welling 2014, Appendix A). The first number rises from left to right, the second from bottom to top.
    """
    for number in dimensions:
        if not 0 <= number < code_size:
            raise InputError(f"--dimensions={','.join(map(str, dimensions))}: z has numbers 0 to {code_size - 1}")
    if dimensions[0] == dimensions[1]:
        raise InputError(f"--dimensions={dimensions[0]},{dimensions[1]}: must be two different numbers of z")
    quantiles = normal_quantiles((np.arange(steps) + 0.5) / steps)
    grid = np.zeros((steps, steps, code_size), np.float32)
    grid[..., dimensions[0]] = quantiles[None, :]
    grid[..., dimensions[1]] = quantiles[::-1, None]
    return grid


def normal_quantiles(probabilities: np.ndarray) -> np.ndarray:
    """The inverse of the standard normal distribution function."""
    return np.sqrt(2) * np.asarray(ops.erfinv(2 * np.asarray(probabilities, np.float32) - 1))
