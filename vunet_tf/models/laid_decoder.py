"""D for --latent=laid: this decoder gets each part's code at the place of the part in the wanted shape."""

from collections.abc import Sequence
from typing import Any

import keras

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.models.configured import ConfiguredModel
from vunet_tf.models.decoder import expanding_layers, skip_inputs
from vunet_tf.models.flow_prior import FlowPrior
from vunet_tf.models.layers import Activation, convolution, rounded
from vunet_tf.models.part_maps import FirstPicture, Lay
from vunet_tf.models.part_prior import PartPrior
from vunet_tf.models.prior import StandardNormalPrior
from vunet_tf.models.texture import COLUMNS, ROWS, CodesToTexture, LayTexture

WHOLE = 256  # channels of the vector that describes the whole appearance


@keras.saving.register_keras_serializable("vunet_tf")
class LaidDecoder(ConfiguredModel):
    """D, the decoder: the features of E (`ShapeEncoder`) and z -> picture, and the parameters of p(z | shape) given z.

    A vector made from all of z completes the codes of parts that the source did not show. It enters every scale. The
    completed codes are laid under the part maps. They enter every scale but the bottom, where the parts cannot be told
    apart. Both are added after the scale's first residual block, each through a 1x1 convolution. The first three
    numbers of a code are a colour; laid under the maps, these colours are a first picture. A texture in the frame of
    the shape (`models.texture`) is added to it. The last codes of z are its longest waves (--texture_codes). A network
    adds to them what it makes from all of z and the features at the bottom of E. The last convolution adds what is
    missing. Everything else is as in `Decoder`.

    Inputs: {"skips": as `ShapeEncoder` gives them, "z": [[B, K + T, c]], K parts and T codes of the texture}.

    Returns:
        dict: {"image": [B, S, S, 3], "prior": [parameters [B, K + T, 2 c]]}, float32. With --prior=flow,
        log p(z | shape) [B] takes the place of the parameters.
    """

    def __init__(self, config: ModelConfig, name: str = "decoder"):
        # Layers
        wn = config.weight_norm
        self.config = config
        widths = config.widths[::-1]
        self.project, self.blocks, self.ups = expanding_layers(config)
        self.activation = Activation(config.activation, name="activation")
        # It starts at 0, so at first the picture is exactly what is laid.
        self.to_picture = keras.layers.Conv2D(
            PICTURE_CHANNELS, 3, padding="same", kernel_initializer="zeros", dtype="float32", name="to_picture"
        )
        if config.latent_shapes:
            codes, channels = config.latent_shapes[0]
            numbers = config.parts * channels
            if config.prior == "standard_normal":
                self.prior = StandardNormalPrior(config.latent_shapes[0], config.variance, name="prior_0")
            elif config.prior == "flow":
                flow: dict[str, Any] = {"activation": config.activation, "weight_norm": wn, "name": "flow_prior"}
                self.prior = FlowPrior(config.latent_shapes[0], config.widths[-1], **flow)
            else:
                self.prior = PartPrior(codes, channels, config.variance, name="part_prior")
            self.as_vector = keras.layers.Reshape((1, 1, codes * channels), name="vector")
            self.whole = convolution(WHOLE, 1, weight_norm=wn, name="whole")
            # It starts at 0, so at first every part has only its own code.
            self.complete = keras.layers.Conv2D(
                numbers, 1, kernel_initializer="zeros", dtype="float32", name="complete"
            )
            self.as_codes = keras.layers.Reshape((config.parts, channels), name="codes")
            self.lay = Lay(name="lay")
            self.first_picture = FirstPicture(2**config.map_factor, name="first_picture")
            self.texture_of_z = keras.layers.Dense(WHOLE, dtype="float32", name="texture_of_z")
            self.waves = None
            if config.texture_codes:
                self.waves = CodesToTexture(config.texture_codes, channels, name="waves")
            self.mean_of_shape = keras.layers.GlobalAveragePooling2D(
                keepdims=True, dtype="float32", name="mean_of_shape"
            )
            self.texture_of_shape = keras.layers.Dense(WHOLE, dtype="float32", name="texture_of_shape")
            self.to_texture = keras.layers.Dense(
                COLUMNS * ROWS * PICTURE_CHANNELS, kernel_initializer="zeros", dtype="float32", name="to_texture"
            )
            self.lay_texture = LayTexture(config.image_size, name="lay_texture")
            self.join_texture = convolution(widths[-1], 1, weight_norm=wn, name="join_texture")
            self.join_whole = [
                convolution(width, 1, weight_norm=wn, name=f"join_whole_{i}") for i, width in enumerate(widths)
            ]
            self.join_laid = [
                convolution(width, 1, weight_norm=wn, name=f"join_laid_{i}") for i, width in enumerate(widths[1:], 1)
            ]

        # Functional model
        size = config.image_size
        skips = skip_inputs(config)
        skips.append(keras.Input((size >> config.map_factor, size >> config.map_factor, config.parts), name="maps"))
        skips += [keras.Input((size * size, ROWS), name="rows"), keras.Input((size * size, COLUMNS), name="columns")]
        z = [keras.Input(shape, name=f"z_{i}") for i, shape in enumerate(config.latent_shapes)]
        image, prior, _ = self._connect(skips, lambda h: self.prior(h, z=z[0]))
        super().__init__({"skips": skips, "z": z}, {"image": image, "prior": prior}, name=name)

    def generate(self, skips: Sequence[keras.KerasTensor], z: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
        """The picture on symbolic tensors, without the prior: this graph has none of the prior's weights."""
        return self._connect(skips, lambda h: (None, z[0]))[0]

    def sample(
        self, skips: Sequence[keras.KerasTensor], noise: Sequence[keras.KerasTensor] | None = None
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """(picture, [z]) on symbolic tensors. z is a sample of the prior by this noise; without noise, its mean."""
        image, _, z = self._connect(skips, lambda h: self.prior(h, noise=None if noise is None else noise[0]))
        return image, z

    def vary(
        self,
        skips: Sequence[keras.KerasTensor],
        noise: Sequence[keras.KerasTensor],
        z: Sequence[keras.KerasTensor],
        keep: keras.KerasTensor,
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """As `sample`, but codes where keep [B, K + T, 1] is 1 are those of z [[B, K + T, c]]."""
        image, _, drawn = self._connect(skips, lambda h: self.prior(h, z=z[0], noise=noise[0], keep=keep))
        return image, drawn

    def _connect(self, skips, latent):
        """D's graph. `latent(h)` gives (the prior's parameters, z) from the features at the bottom of E."""
        *skips, maps, rows, columns = skips
        parameters, latents, entering = [], [], [()] * len(self.blocks)
        if self.config.latent_shapes:
            prior, z = latent(skips[-1])
            parameters, latents = [prior], [z]
            vector = self.as_vector(z)
            whole = self.activation(self.whole(vector))
            completed = keras.layers.Add(dtype="float32", name="completed")(
                [z[:, : self.config.parts], self.as_codes(self.complete(whole))]
            )
            entering = self._entering(self.lay(completed, maps), whole)
            texture = self.lay_texture(self._texture(z, vector, skips[-1]), rows, columns, maps)
            entering[-1].append(rounded(self.join_texture(texture)))
            first_picture = keras.layers.Add(dtype="float32", name="textured")(
                [self.first_picture(completed, maps), texture]
            )
        h = rounded(self.project(skips[-1]))
        for i, (first, *rest) in enumerate(self.blocks):
            if i:
                h = self.ups[i - 1](h)
            h = first(h, skips.pop())
            for more in entering[i]:
                h = rounded(keras.layers.Add()([h, more]))
            for residual in rest:
                h = residual(h, skips.pop())
        picture = rounded(self.to_picture(h))
        if latents:
            picture = keras.layers.Add(dtype="float32", name="picture")([picture, first_picture])
        return picture, parameters, latents

    def _texture(self, z, vector, h):
        """The texels: the waves in z, plus what a network makes of the vector of z and the bottom features h."""
        of_shape = self.texture_of_shape(self.mean_of_shape(h))
        hidden = keras.layers.Add(dtype="float32", name="texture_hidden")([self.texture_of_z(vector), of_shape])
        texture = self.to_texture(self.activation(hidden))
        if self.waves:
            of_codes = self.waves(z[:, self.config.parts :])
            texture = keras.layers.Add(dtype="float32", name="with_waves")([texture, of_codes])
        return texture

    def _side(self, i):
        """The side of the feature map of scale i, in positions. Scales count from the bottom up."""
        return self.config.image_size >> (self.config.scales - 1 - i)

    def _entering(self, laid, whole):
        """[what enters at each scale], from the bottom up. A 1x1 convolution runs at the smaller of the two sides."""
        entering = [[rounded(join_whole(whole))] for join_whole in self.join_whole]
        for i, join_laid in enumerate(self.join_laid, 1):
            side, own = self._side(i), laid.shape[1]
            smaller = laid if side >= own else keras.layers.AveragePooling2D(own // side)(laid)
            joined = rounded(join_laid(smaller))
            if side > own:
                joined = keras.layers.UpSampling2D(side // own, interpolation="bilinear")(joined)
            entering[i].append(joined)
        return entering
