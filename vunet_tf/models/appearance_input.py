"""The one place that decides what the appearance encoder F sees, and makes it."""

from collections.abc import Mapping

import tensorflow as tf

from vunet_tf.body.body_parts import Crops, crop_body_parts
from vunet_tf.config import PICTURE_CHANNELS, ModelConfig
from vunet_tf.files.errors import InputError


class AppearanceInput:
    """F's input for a `ModelConfig`. Its `appearance` chooses between two kinds.

    "parts": crops of the body parts, each turned upright (released program). "picture": picture and shape map side by
    side (paper). Models without a shape see only the picture (`ModelConfig.seen`).

    Args:
        config: configuration of the model.

    Attributes:
        shapes: {key of a batch: its shape (height, width, channels)}, in the order in which F takes them.
        size: side of F's input in pixels.
        channels: number of its channels, for all keys together.
        crops: the crops that a batch must have for F, as `data.batches` takes them; None if it needs none.
    """

    def __init__(self, config: ModelConfig):
        self._config = config
        self.size = config.image_size >> config.appearance_factor
        self.crops = None
        if config.seen == ("parts",):
            self.shapes = {"parts": (self.size, self.size, PICTURE_CHANNELS * config.parts)}
            if config.latent_shapes:
                self.crops = Crops(config.parts, self.size)
        else:
            channels = {"image": PICTURE_CHANNELS, "shape": config.shape_channels}
            self.shapes = {key: (self.size, self.size, channels[key]) for key in config.seen}
        self.channels = sum(channels for *_, channels in self.shapes.values())

    def of_batch(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The tensors of a batch that F sees: {key: [B, height, width, channels]}, with the keys of `shapes`.

        Raises:
            InputError: the batch lacks one of them. The message names the flag.
        """
        for key in self.shapes:
            if key not in batch:
                raise InputError(
                    f"--appearance={self._config.appearance} needs {key!r}, which this batch does not have"
                    + (": data without keypoints needs --appearance=picture" if key == "parts" else "")
                )
        return {key: batch[key] for key in self.shapes}

    def of_pictures(self, image: tf.Tensor, shape: tf.Tensor, joints: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """As `of_batch`, but from pictures [B, S, S, 3], shape maps [B, S, S, C] in [-1, 1] and joints [B, 15, 2]."""
        if self._config.seen == ("parts",):
            return {"parts": crop_body_parts(image, joints, self.size, self.size, self._config.parts)}
        return {key: {"image": image, "shape": shape}[key] for key in self._config.seen}
