"""F for --latent=laid: the posterior q(z | x, shape) has one code for each part, gathered under the part maps."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.models.configured import ConfiguredModel
from vunet_tf.models.distributions import DiagonalGaussian
from vunet_tf.models.layers import Activation, convolution
from vunet_tf.models.part_maps import Gather, PartEmbedding, PartMaps, hourglass
from vunet_tf.models.pose_free import PoseFree, unexplained
from vunet_tf.models.texture import TURN_COST, GatherTexture, Texels, TextureToCodes, disagreement

TEXTURE_UNITS = 128  # units of each layer that reads the texture
# The raw scale of texture codes at first. It gives a deviation of 0.16; with 1 the noise would cover the texture.
FIRST_SCALE = -2.3


@keras.saving.register_keras_serializable("vunet_tf")
class LaidAppearanceEncoder(ConfiguredModel):
    """F: appearance [B, S, S, 3 + C] (picture and its shape map) in [-1, 1] and noise [[B, K + T, c]] -> posterior.

    Features of the picture are collected under the part maps of its own shape. A small network turns the features
    under a map, and the texture in the frame of the shape (`models.texture`), into the parameters of that part's code.
    The network is the same for all parts, but each part has a learned vector. The part's mean colour is added to the
    first three means. The decoder paints with them (see `LaidDecoder`), so colours are right from the start, and the
    networks learn what differs from them. The codes of the texture follow those of the parts (--texture_codes). In the
    same way their means are the texture's longest waves, to which a network adds what it learns.

    Args:
        config: the model's configuration.
        part_maps, texels: the network of the part maps and the frame of the texture, both shared with E. By default F
            makes its own.

    Returns:
        dict: {"posterior": [parameters [B, K + T, 2 c]], "z": [sample [B, K + T, c]]}, float32. With --pose_free also
        "codes" [B, K + T, c], the means before `PoseFree`.
    """

    def __init__(
        self,
        config: ModelConfig,
        part_maps: PartMaps | None = None,
        texels: Texels | None = None,
        name: str = "appearance_encoder",
    ):
        # Layers
        self.config = config
        wn = config.weight_norm
        self.latent = DiagonalGaussian(config.variance, name="latent")
        self.part_maps = part_maps or PartMaps(config)
        seen = AppearanceInput(config)
        appearance = keras.Input((seen.size, seen.size, seen.channels))
        features = hourglass(appearance, 2 * config.width, config.max_width, config)
        self.features = keras.Model(appearance, features, name="features")
        self.gather, self.embed = Gather(name="gather"), PartEmbedding(dtype="float32", name="part_embedding")
        self.texels = texels or Texels(bool(config.texture_codes), name="texels")
        self.gather_texture = GatherTexture(name="gather_texture")
        self.read_texture = keras.layers.Dense(TEXTURE_UNITS, dtype="float32", name="read_texture")
        self.from_texture = keras.layers.Dense(config.max_width, dtype="float32", name="from_texture")
        self.for_every_part = keras.layers.Reshape((1, 1, config.max_width), name="for_every_part")
        self.activation = Activation(config.activation, name="activation")
        self.hidden = convolution(config.max_width, 1, weight_norm=wn, dtype="float32", name="hidden")
        channels = config.code_channels * self.latent.parameters_per_channel
        self.to_parameters = convolution(channels, 1, weight_norm=wn, dtype="float32", name="posterior_0")
        self.shrink = keras.layers.AveragePooling2D(2**config.map_factor, name="shrink")
        self.as_colours = keras.layers.Reshape((config.parts, PICTURE_CHANNELS), name="colours")
        self.as_codes = keras.layers.Reshape((config.parts, channels), name="codes")

        if config.texture_codes:
            self.texture_as_codes = TextureToCodes(config.texture_codes, config.code_channels, name="texture_as_codes")
            self.read_waves = keras.layers.Dense(TEXTURE_UNITS, dtype="float32", name="read_waves")
            self.from_waves = keras.layers.Dense(
                config.texture_codes * channels, kernel_initializer="zeros", dtype="float32", name="from_waves"
            )
            self.as_texture_codes = keras.layers.Reshape((config.texture_codes, channels), name="texture_codes")
        self.pose_free = PoseFree(name="pose_free") if config.pose_free else None

        # Functional model
        appearance = keras.Input(appearance.shape[1:], name="appearance")
        noise = [keras.Input(shape, name=f"noise_{i}") for i, shape in enumerate(config.latent_shapes)]
        super().__init__({"appearance": appearance, "noise": noise}, self.connect(appearance, noise), name=name)

    def connect(
        self, appearance: keras.KerasTensor, noise: Sequence[keras.KerasTensor] | None = None
    ) -> dict[str, list[keras.KerasTensor]]:
        """The graph of F on symbolic tensors. Without noise z is the mean, and no op is random."""
        parameters, more = self._parameters(appearance), {}
        if self.pose_free:
            codes = parameters[..., : self.config.code_channels]
            parameters = keras.layers.Concatenate(dtype="float32", name="pose_free_parameters")(
                [self.pose_free(codes), parameters[..., self.config.code_channels :]]
            )
            more = {"codes": codes}
        return {"posterior": [parameters], "z": [self.latent(parameters, None if noise is None else noise[0])], **more}

    def _parameters(self, appearance):
        """The parameters of the posterior [B, K + T, 2 c] before `PoseFree`."""
        picture, shape = appearance[..., :PICTURE_CHANNELS], appearance[..., PICTURE_CHANNELS:]
        maps = self.part_maps(shape)
        gathered = self.gather_texture(picture, shape, *self.texels(shape))
        texture = self.read_texture(gathered)
        texture = self.for_every_part(self.from_texture(self.activation(texture)))
        h = self.embed(self.gather(self.features(appearance), maps))
        h = keras.layers.Add(dtype="float32", name="with_texture")([h, texture])
        h = self.hidden(self.activation(h))
        parameters = self.as_codes(self.to_parameters(self.activation(h)))
        colours = self.as_colours(self.gather(self.shrink(picture), maps))
        with_colour = keras.layers.Add(dtype="float32", name="with_colour")(
            [parameters[..., :PICTURE_CHANNELS], colours]
        )
        parameters = keras.layers.Concatenate(dtype="float32", name="parameters")(
            [with_colour, parameters[..., PICTURE_CHANNELS:]]
        )
        if self.config.texture_codes:
            of_texture = self._of_texture(gathered)
            parameters = keras.layers.Concatenate(1, dtype="float32", name="all_parameters")([parameters, of_texture])
        return parameters

    def unexplained(self, codes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        """What `PoseFree` is to make small: how badly it foretells the codes of one picture from those of another.

        Args:
            codes, others: [B, K + T, c], the "codes" of pictures; row i of both is of the same look.

        Returns:
            A scalar over the batch, see `models.pose_free.unexplained`. The gradient reaches only `PoseFree`.
        """
        learning = self.pose_free.learning
        return (unexplained(learning(codes), others) + unexplained(learning(others), codes)) / 2

    def disagreement(self, appearance: tf.Tensor, picture: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """What the frame of the texture is to make small: how far the textures of two pictures of a look are apart.

        See `models.texture.disagreement`. What the network adds to the nose has a cost, since without it the stripes of
        one picture would be laid on the next stripes of the other. The gradient reaches only the frame's weights.

        Args:
            appearance: [B, S, S, 3 + C], as F sees it.
            picture, shape: [B, S, S, 3] and [B, S, S, C], other pictures of the same looks.

        Returns:
            A scalar over the batch.
        """
        seen = keras.ops.cast(appearance, "float32")
        textures, cost = [], 0.0
        for x, y in ((seen[..., :PICTURE_CHANNELS], seen[..., PICTURE_CHANNELS:]), (picture, shape)):
            rows, columns, added = self.texels.learning(y)
            textures.append(self.gather_texture(x, y, rows, columns))
            cost += keras.ops.mean(keras.ops.square(added)) / 2
        return disagreement(*textures) + TURN_COST * cost

    def _of_texture(self, gathered):
        """Computes the parameters of the texture's codes [B, T, 2 c] from the gathered texture."""
        learned = self.as_texture_codes(self.from_waves(self.activation(self.read_waves(gathered))))
        c = self.config.code_channels
        means = keras.layers.Add(dtype="float32", name="with_waves")(
            [learned[..., :c], self.texture_as_codes(gathered)]
        )
        raw_scales = learned[..., c:] + FIRST_SCALE
        return keras.layers.Concatenate(dtype="float32", name="of_texture")([means, raw_scales])
