"""The models. `VUNet` joins shape encoder E, appearance encoder F, and decoder D with p(z | shape).

`registry` lists all models by name. `GenerativeModel` is what they share.
"""

from vunet_tf.models.appearance_encoder import AppearanceEncoder
from vunet_tf.models.decoder import Decoder
from vunet_tf.models.generative import GenerativeModel
from vunet_tf.models.prior import GroupPrior
from vunet_tf.models.shape_encoder import ShapeEncoder
from vunet_tf.models.vunet import VUNet

__all__ = ["AppearanceEncoder", "Decoder", "GenerativeModel", "GroupPrior", "ShapeEncoder", "VUNet"]
