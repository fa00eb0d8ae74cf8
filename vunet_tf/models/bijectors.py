"""The bijections of RealNVP (Dinh, Sohl-Dickstein, Bengio 2017, "Density estimation using Real NVP"), as TFP bijectors.

All go forward from data x to noise z, as f in the paper. So with a standard normal p(z) (Eq. 3)

    log p(x) = log p(f(x)) + log |det df / dx|

and `tfb.Invert` of one makes data from noise. Their events are maps [H, W, C], or at the end a vector [D]. The batch
shape is [B], and all is float32. They hold no weights: they get what they need when they are made. They are made again
for every pass, because a bijector remembers what it has computed.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

LEVELS = 256  # number of levels of a colour value
ALPHA = 0.05  # the paper's value; it keeps the logit away from 0 and 1


def checkerboard(height: int, width: int, first: bool) -> np.ndarray:
    """[H, W, 1] of 0 and 1: the mask of Fig. 3 (left), 1 where row + column is even if `first`, else where odd."""
    rows, columns = np.indices((height, width))
    return ((rows + columns + (not first)) % 2 == 0).astype(np.float32)[..., None]


def channel_halves(channels: int, first: bool) -> np.ndarray:
    """[1, 1, C] of 0 and 1: the mask of Fig. 3 (right), 1 in the first half of the channels, or in the second."""
    return ((np.arange(channels) < (channels + 1) // 2) == first).astype(np.float32)[None, None]


def every_second_channel(channels: int, first: bool) -> np.ndarray:
    """[1, 1, C] of 0 and 1 in turn: other halves than those of `channel_halves`."""
    return (np.arange(channels) % 2 == (not first)).astype(np.float32)[None, None]


class AffineCoupling(tfb.Bijector):
    """Affine coupling (Eq. 7-9): x stays where the mask b is 1. The rest is scaled and shifted, as what stays decides.

        y = b x + (1 - b) (x exp(s(b x)) + t(b x)),        log |det dy / dx| = sum (1 - b) s(b x)

    Args:
        mask: b, [H, W, C] or a shape that broadcasts to it.
        shift_and_log_scale: a network, [B, H, W, C] -> (t, s), each [B, H, W, C].
    """

    def __init__(
        self,
        mask: np.ndarray,
        shift_and_log_scale: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        name: str = "affine_coupling",
    ):
        self._mask, self._network = mask, shift_and_log_scale
        self._seen: tf.Tensor | None = None
        self._made: tuple[tf.Tensor, tf.Tensor] | None = None
        super().__init__(forward_min_event_ndims=3, dtype=tf.float32, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    def _shift_and_log_scale(self, x):
        # The map and its log-determinant are computed one after the other. The network runs once for both.
        if self._seen is not x:
            shift, log_scale = self._network(self._mask * x)
            self._seen, self._made = x, ((1 - self._mask) * shift, (1 - self._mask) * log_scale)
        return self._made

    def _forward(self, x):
        shift, log_scale = self._shift_and_log_scale(x)
        return x * tf.exp(log_scale) + shift

    def _inverse(self, y):
        shift, log_scale = self._shift_and_log_scale(y)
        return (y - shift) * tf.exp(-log_scale)

    def _forward_log_det_jacobian(self, x):
        return tf.reduce_sum(self._shift_and_log_scale(x)[1], axis=(-3, -2, -1))

    def _inverse_log_det_jacobian(self, y):
        return -tf.reduce_sum(self._shift_and_log_scale(y)[1], axis=(-3, -2, -1))


class ActNorm(tfb.Bijector):
    """Normalisation of every channel by numbers that do not depend on the batch (Kingma & Dhariwal 2018, Sec. 3.1).

        y = (x + shift) exp(log_scale),        log |det dy / dx| = H W sum log_scale

    It replaces the batch normalisation of the paper (Sec. 3.7), with which every density would depend on the other
    examples of its batch.

    Args:
        shift_and_log_scale: gives (shift [C], log_scale [C]). It is called with x, or without x if that is not known.
    """

    def __init__(self, shift_and_log_scale: Callable[..., tuple[tf.Tensor, tf.Tensor]], name: str = "act_norm"):
        self._shift_and_log_scale = shift_and_log_scale
        super().__init__(forward_min_event_ndims=3, is_constant_jacobian=True, dtype=tf.float32, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    def _forward(self, x):
        shift, log_scale = self._shift_and_log_scale(x)
        return (x + shift) * tf.exp(log_scale)

    def _inverse(self, y):
        shift, log_scale = self._shift_and_log_scale()
        return y * tf.exp(-log_scale) - shift

    def _forward_log_det_jacobian(self, x):
        return x.shape[-3] * x.shape[-2] * tf.reduce_sum(self._shift_and_log_scale(x)[1])


class Squeeze(tfb.Bijector):
    """[H, W, C] -> [H / 2, W / 2, 4 C]: squares of 2x2 positions become channels (Sec. 3.6). Volumes stay."""

    def __init__(self, name: str = "squeeze"):
        super().__init__(forward_min_event_ndims=3, is_constant_jacobian=True, dtype=tf.float32, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    def _forward(self, x):
        return tf.nn.space_to_depth(x, 2)

    def _inverse(self, y):
        return tf.nn.depth_to_space(y, 2)

    def _forward_log_det_jacobian(self, x):
        return tf.zeros((), x.dtype)

    def _forward_event_shape(self, shape):
        height, width, channels = shape
        return tf.TensorShape((height // 2, width // 2, 4 * channels))

    def _inverse_event_shape(self, shape):
        height, width, channels = shape
        return tf.TensorShape((2 * height, 2 * width, channels // 4))

    def _forward_event_shape_tensor(self, shape):
        return tf.convert_to_tensor(shape) * [1, 1, 4] // [2, 2, 1]

    def _inverse_event_shape_tensor(self, shape):
        return tf.convert_to_tensor(shape) * [2, 2, 1] // [1, 1, 4]


class FactorOut(tfb.Bijector):
    """[H, W, C] -> [H W C]: half of the channels becomes noise here, and the other half goes on (Eq. 13-16).

    Args:
        rest: the bijector of the half that goes on, [H, W, C / 2] -> [H W C / 2].
        shape: (H, W, C), C even.

    The result has the second half of the channels first, then what `rest` makes of the first half. So z begins with the
    finest scale.
    """

    def __init__(self, rest: tfb.Bijector, shape: Sequence[int], name: str = "factor_out"):
        self._rest, self._shape = rest, tuple(shape)
        super().__init__(forward_min_event_ndims=3, inverse_min_event_ndims=1, dtype=tf.float32, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    @property
    def _half(self):
        return self._shape[-1] // 2

    def _forward(self, x):
        noise = tf.reshape(x[..., self._half :], (-1, int(np.prod(self._shape)) // 2))
        return tf.concat([noise, self._rest.forward(x[..., : self._half])], axis=-1)

    def _inverse(self, y):
        height, width, _ = self._shape
        count = int(np.prod(self._shape)) // 2
        noise = tf.reshape(y[..., :count], (-1, height, width, self._half))
        return tf.concat([self._rest.inverse(y[..., count:]), noise], axis=-1)

    def _forward_log_det_jacobian(self, x):
        return self._rest.forward_log_det_jacobian(x[..., : self._half], event_ndims=3)

    def _inverse_log_det_jacobian(self, y):
        return self._rest.inverse_log_det_jacobian(y[..., int(np.prod(self._shape)) // 2 :], event_ndims=1)

    def _forward_event_shape(self, shape):
        return tf.TensorShape((np.prod(self._shape),))

    def _inverse_event_shape(self, shape):
        return tf.TensorShape(self._shape)

    def _forward_event_shape_tensor(self, shape):
        return tf.constant([int(np.prod(self._shape))])

    def _inverse_event_shape_tensor(self, shape):
        return tf.constant(self._shape)


def flatten(shape: Sequence[int]) -> tfb.Bijector:
    """[H, W, C] -> [H W C]."""
    return tfb.Reshape(event_shape_out=[int(np.prod(shape))], event_shape_in=list(shape))


def logit() -> tfb.Bijector:
    """Values in (0, 1) -> (-inf, inf): logit(alpha + (1 - 2 alpha) v), elementwise.

    The paper's (Sec. 4.1) is logit(alpha + (1 - alpha) v); this one treats dark and light alike (Papamakarios et al.
    2017, "Masked autoregressive flow", Appendix D).
    """
    return tfb.Chain([tfb.Invert(tfb.Sigmoid()), tfb.Shift(ALPHA), tfb.Scale(1 - 2 * ALPHA)])


def in_order(bijectors: Iterable[tfb.Bijector]) -> tfb.Bijector:
    """The bijector that applies `bijectors` one after another, beginning with the first."""
    return tfb.Chain(list(bijectors)[::-1])


def with_standard_normal(bijector: tfb.Bijector, size: int) -> tfd.Distribution:
    """The `tfd.Distribution` of x = f^-1(z), where z is a standard normal vector [size] and `bijector` is f."""
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(size), tf.ones(size)), tfb.Invert(bijector))


def standard_normal_log_prob(z: tf.Tensor) -> tf.Tensor:
    """Log-density of vectors [B, D] in nats, [B]."""
    return -0.5 * tf.reduce_sum(z**2 + np.log(2 * np.pi).astype(np.float32), axis=-1)
