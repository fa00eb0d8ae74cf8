"""The networks: shape encoder E, appearance encoder F, decoder D with p(z | shape), and `VUNet` joining them."""

from vunet_tf.models.appearance_encoder import AppearanceEncoder
from vunet_tf.models.decoder import Decoder
from vunet_tf.models.prior import GroupPrior
from vunet_tf.models.shape_encoder import ShapeEncoder
from vunet_tf.models.vunet import VUNet

__all__ = ["AppearanceEncoder", "Decoder", "GroupPrior", "ShapeEncoder", "VUNet"]
