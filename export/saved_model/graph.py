"""The graph that answers a server's requests: pictures and joints in, pictures out, every check inside.

Whatever is wrong with a request ends as INVALID_ARGUMENT with a message that names the input. The checks look at the
tensors as they arrive (`tf.raw_ops`): Python's own knowledge of their shapes is only what the signature promises.
"""

import tensorflow as tf

from vunet_tf.body.skeleton import JOINTS
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.files.pixels import to_float, to_uint8_tensor
from vunet_tf.models import VUNet

MAX_SIDE = 8192  # pixels of a picture that is sent
MAX_PIXELS = 2**24  # of one that is sent compressed: 64 MiB when decoded


class Graph:
    """Functions of one model for `tf.function`, and their signatures.

    Pictures are uint8 [B, H, W, 3] of any size, resized to the model's (bilinear, antialiased, not keeping the ratio
    of the sides). A shape is what its dataset has: joints float32 [B, 15, 2], fractions of the picture, NaN or outside
    [0, 1] where unseen; or a shape map uint8 [B, H, W, C]. Latents are float32 [B, h, w, c], named z_0, z_1, ... from
    the bottom up; noise likewise. What comes back as a picture is uint8 [B, S, S, 3].

    Args:
        model: a folded `VUNet`.
        keypoints: whether shapes come as joints.
    """

    def __init__(self, model: VUNet, keypoints: bool):
        self.model, self.keypoints, self.config = model, keypoints, model.config
        self.size = model.config.image_size
        self.shape_key = "joints" if keypoints else "shape"

    # Signatures

    def functions(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """{signature: function}; each takes and returns dictionaries of tensors."""
        picture = {"image": _spec(tf.uint8, None, None, 3)}
        encoded = {"image_bytes": _spec(tf.string)}
        shape = {self.shape_key: self._shape_spec()}
        target = {f"target_{self.shape_key}": self._shape_spec()}
        z = {f"z_{i}": _spec(tf.float32, *latent) for i, latent in enumerate(self.config.latent_shapes)}
        noise = {key.replace("z", "noise"): spec for key, spec in z.items()}
        wanted = {
            "transfer": (self.transfer, picture | shape | target),
            "transfer_bytes": (self.transfer_bytes, encoded | shape | target),
            "encode": (self.encode, picture | shape),
            "generate": (self.generate, shape | z),
            "sample": (self.sample, shape | {"seed": _spec(tf.int32)}),
            "sample_noise": (self.sample_noise, shape | noise),
        }
        return {name: _traced(name, function, specs) for name, (function, specs) in wanted.items()}

    def _shape_spec(self):
        if self.keypoints:
            return _spec(tf.float32, len(JOINTS), 2)
        return _spec(tf.uint8, None, None, self.config.shape_channels)

    # Uses

    def transfer(self, inputs):
        """The target's shape with the looks of the picture: "image"."""
        inputs = self._checked(inputs)
        z = self._encode(self._picture(inputs["image"]), inputs)
        return {"image": self._generate(self._shape(inputs[f"target_{self.shape_key}"]), z)}

    def transfer_bytes(self, inputs):
        """`transfer` of PNG or JPEG files; the answer is a PNG file, "image_bytes" [B]."""
        inputs = self._checked(inputs)
        pictures = tf.map_fn(self._decoded, inputs["image_bytes"], fn_output_signature=tf.uint8)
        z = self._encode(to_float(tf.ensure_shape(pictures, [None, self.size, self.size, 3])), inputs)
        made = self._generate(self._shape(inputs[f"target_{self.shape_key}"]), z)
        return {"image_bytes": tf.map_fn(tf.io.encode_png, made, fn_output_signature=tf.string)}

    def encode(self, inputs):
        """The looks of the picture: "z_0", ..., the posterior's mean."""
        inputs = self._checked(inputs)
        return self._named(self._encode(self._picture(inputs["image"]), inputs))

    def generate(self, inputs):
        """The shape with these looks: "image"."""
        inputs = self._checked(inputs)
        z = [inputs[f"z_{i}"] for i in range(self.config.latent_scales)]
        return {"image": self._generate(self._shape(inputs[self.shape_key]), z)}

    def sample(self, inputs):
        """The shape with looks from the prior, a function of each example's own "seed": "image" and "z_0", ..."""
        inputs = self._checked(inputs)

        def noise(seed):  # one by one: an answer must not depend on what else is in the batch
            return tuple(x[0] for x in self.model.noise(1, tf.stack([0, seed])))

        kinds = tuple(tf.TensorSpec(latent, tf.float32) for latent in self.config.latent_shapes)
        return self._sample(inputs, tf.map_fn(noise, inputs["seed"], fn_output_signature=kinds))

    def sample_noise(self, inputs):
        """`sample` by standard normal noise that is sent; noise 0 gives the prior's mean."""
        inputs = self._checked(inputs)
        return self._sample(inputs, [inputs[f"noise_{i}"] for i in range(self.config.latent_scales)])

    # What they are made of

    def _sample(self, inputs, noise):
        shape = self._shape(inputs[self.shape_key])
        drawn = self.model.wiring("sample")({"shape": shape, "noise": list(noise)}, training=False)
        return {"image": to_uint8_tensor(drawn["image"]), **self._named(drawn["z"])}

    def _encode(self, picture, inputs):
        shape = self._shape(inputs[self.shape_key])
        seen = self.model.appearance_input.of_pictures(picture, shape, inputs.get("joints"))
        return self.model.wiring("encode")({"appearance": self.model.seen_by_f(seen)}, training=False)["z"]

    def _generate(self, shape, z):
        return to_uint8_tensor(self.model.wiring("generate")({"shape": shape, "z": list(z)}, training=False))

    def _picture(self, image):
        return to_float(self._resized(image))

    def _shape(self, shape):
        """The model's shape map, float32 in [-1, 1]."""
        return draw_stickman(shape, self.size, self.size) if self.keypoints else self._picture(shape)

    def _resized(self, image):
        resized = tf.image.resize(image, [self.size, self.size], antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)

    def _decoded(self, content):
        """One PNG or JPEG file as uint8 [S, S, 3], transparent pixels laid on white."""
        start = tf.strings.substr(content, 0, 8)
        is_png = tf.equal(start, b"\x89PNG\r\n\x1a\n")
        is_jpeg = tf.equal(tf.strings.substr(content, 0, 3), b"\xff\xd8\xff")
        known = _assert(is_png | is_jpeg, ["image_bytes must be a PNG or JPEG file"])
        with tf.control_dependencies([known]):
            size = tf.cond(is_png, lambda: _png_size(content), lambda: _jpeg_size(content))
        # Before it is decoded: a file of a few kilobytes can ask for gigabytes.
        pixels = tf.reduce_prod(tf.cast(size, tf.int64))
        small = (pixels <= MAX_PIXELS) & tf.reduce_all((size > 0) & (size <= MAX_SIDE))
        fits = _assert(
            small, [f"image_bytes must be at most {MAX_SIDE} pixels a side, {MAX_PIXELS} in all; height, width:", size]
        )
        with tf.control_dependencies([fits]):
            content = tf.identity(content)
        picture = tf.cond(
            is_png, lambda: _on_white(tf.io.decode_png(content, 4)), lambda: tf.io.decode_jpeg(content, 3)
        )
        return self._resized(tf.ensure_shape(picture, [None, None, 3])[None])[0]

    @staticmethod
    def _named(z):
        return {f"z_{i}": value for i, value in enumerate(z)}

    # Checks

    def _checked(self, inputs):
        """The inputs, each passed on only after it was found to be right."""
        checked = {}
        for name, value in inputs.items():
            with tf.control_dependencies(self._demands(name, value)):
                checked[name] = tf.identity(value)
        sizes = tf.stack([tf.raw_ops.Shape(input=value)[0] for value in checked.values()])
        told = [f"{', '.join(checked)} must be of one batch size, they have:", sizes]
        with tf.control_dependencies([_assert(tf.reduce_all(sizes == sizes[0]), told)]):
            return {name: tf.identity(value) for name, value in checked.items()}

    def _demands(self, name, value):
        wanted = {"image_bytes": [None], "seed": [None]}.get(name)
        if wanted is None:
            wanted = value.shape.as_list()
        shape = tf.raw_ops.Shape(input=value)
        told = [
            f"{name} must have the shape [{', '.join('any' if n is None else str(n) for n in wanted)}], it has:",
            shape,
        ]
        rank = _assert(tf.equal(tf.raw_ops.Size(input=shape), len(wanted)), told)
        with tf.control_dependencies([rank]):
            shape = tf.identity(shape)
        fits = [tf.equal(shape[i], side) for i, side in enumerate(wanted) if side is not None]
        if name.endswith(("image", "shape")):
            fits += [(shape[i] >= 1) & (shape[i] <= MAX_SIDE) for i in (1, 2)]
        right = [_assert(tf.reduce_all(fits), told)]
        with tf.control_dependencies([rank, *right]):
            value = tf.identity(value)
        if name.startswith(("z_", "noise_")):
            finite = tf.reduce_all(tf.math.is_finite(value))
            right.append(_assert(finite, [f"{name} must be finite numbers"]))
        if name.endswith("joints"):
            seen = tf.reduce_any(tf.reduce_all((value >= 0.0) & (value <= 1.0), axis=-1), axis=-1)
            told = (
                f"{name} must have a joint inside the picture: they are fractions of its width and height, not pixels"
            )
            right.append(_assert(tf.reduce_all(seen), [told]))
        return [rank, *right]


def _assert(condition, told):
    return tf.debugging.Assert(condition, told, summarize=8)


def _spec(dtype, *shape):
    return tf.TensorSpec([None, *shape], dtype)


def _traced(name, function, specs):
    """The concrete function of a signature, its arguments named."""
    named = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in specs.items()}

    def call(**inputs):
        return function(inputs)

    call.__name__ = name
    return tf.function(call, autograph=False).get_concrete_function(**named)


def _png_size(content):
    """Height and width that a PNG file's header tells, int32 [2]; 0 where it is cut off."""
    header = tf.strings.substr(tf.strings.join([content, b"\0" * 24]), 16, 8)
    numbers = tf.cast(tf.reshape(tf.io.decode_raw(header, tf.uint8), [2, 4]), tf.int64)
    width, height = tf.unstack(tf.reduce_sum(numbers * [2**24, 2**16, 2**8, 1], axis=1))
    return tf.cast(tf.minimum(tf.stack([height, width]), tf.int32.max), tf.int32)


def _jpeg_size(content):
    """Height and width that a JPEG file's header tells, int32 [2]."""
    return tf.io.extract_jpeg_shape(content)[:2]


def _on_white(rgba):
    """uint8 [H, W, 4] laid on white: [H, W, 3]."""
    colour, opacity = tf.cast(rgba[..., :3], tf.float32), tf.cast(rgba[..., 3:], tf.float32) / 255.0
    return tf.cast(tf.round(255.0 + (colour - 255.0) * opacity), tf.uint8)
