"""Features of the VGG19 classifier, for the perceptual loss (paper; layers as in the released program)."""

import keras
import tensorflow as tf
from keras import ops

from vunet_tf.config import SMALLEST_VGG19_SIDE
from vunet_tf.files.errors import InputError

FEATURES = ("input", "block1_conv2", "block2_conv2", "block3_conv2", "block4_conv2", "block5_conv2")
# Means of ImageNet in the order blue, green, red on the 0-255 scale, as the published weights were trained with.
BGR_MEANS = (103.939, 116.779, 123.68)


class VGG19Features:
    """Six feature maps of a picture. The weights are fixed, and everything is float32, whatever the global policy is.

    Args:
        weights: "imagenet" (Keras downloads and checks them on first use), or a file of VGG19 weights without the
            classifier, as `keras.applications.VGG19(include_top=False).save_weights` makes it; None for random ones.

    Raises:
        InputError: weights that cannot be downloaded, or a file that does not hold them; it names --vgg_weights.
    """

    def __init__(self, weights: str | None = "imagenet"):
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")  # the application's layers take their dtype from the global policy
        try:
            vgg = keras.applications.VGG19(include_top=False, weights=None if weights != "imagenet" else weights)
        except Exception as error:  # Keras raises it if there is no network
            raise InputError(f"--vgg_weights={weights}: {error}; download it elsewhere and name the file") from error
        finally:
            keras.config.set_dtype_policy(policy)
        if weights not in (None, "imagenet"):
            try:
                vgg.load_weights(weights)
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"--vgg_weights={weights}: no VGG19 weights without classifier: {error}") from error
        self.network = keras.Model(vgg.input, [vgg.get_layer(name).output for name in FEATURES[1:]])
        self.network.trainable = False

    def __call__(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Feature maps of `images` [B, H, W, 3] in [-1, 1], in the order of FEATURES, [B, h, w, c] each.

        "input" is the picture as the network takes it: BGR, 0-255, mean subtracted. Raises InputError under 16 pixels.
        """
        if min(images.shape[1:3]) < SMALLEST_VGG19_SIDE:
            raise InputError(f"VGG19 features need pictures of at least {SMALLEST_VGG19_SIDE} px: change --image_size")
        bgr = ops.flip((ops.cast(images, "float32") + 1) * 127.5, axis=-1) - ops.array(BGR_MEANS, "float32")
        return [bgr, *self.network(bgr, training=False)]

    def distance(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """sum_k mean |Phi_k(a) - Phi_k(b)| of each pair of pictures [B, H, W, 3] in [-1, 1]: [B] (paper's loss)."""
        both = ops.concatenate([ops.cast(x, "float32") for x in (a, b)])
        pairs = (ops.split(phi, 2) for phi in self(both))
        return sum(ops.mean(ops.abs(phi_a - phi_b), axis=(1, 2, 3)) for phi_a, phi_b in pairs)
