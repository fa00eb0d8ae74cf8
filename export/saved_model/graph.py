"""The graph that answers a server's requests: pictures and joints in, pictures out. All checks are in the graph.

Any wrong request is answered by INVALID_ARGUMENT, with a message that names the input.
"""

import tensorflow as tf

from export.serving.checks import FAR, MAX_PIXELS, MAX_SIDE
from vunet_tf.body.skeleton import JOINTS
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.files.pixels import to_float, to_uint8_tensor
from vunet_tf.models import GenerativeModel


class Graph:
    """Functions of one model for `tf.function`, and their signatures.

    Pictures are uint8 [B, H, W, 3] of any size. They are resized to the model's size (bilinear, antialiased, and not
    keeping the ratio of the sides). A shape is what the dataset has: joints float32 [B, 15, 2], fractions of the
    picture, NaN or outside [0, 1] where unseen; or a shape map uint8 [B, H, W, C]. Latents are float32 [B, h, w, c],
    named z_0, z_1, ... from the bottom up; noise has the same form. Pictures in answers are uint8 [B, S, S, 3].

    A model without shapes takes none. It has "reconstruct" instead of the transfers.

    Args:
        model: a folded `GenerativeModel`.
        keypoints: whether shapes come as joints.
    """

    def __init__(self, model: GenerativeModel, keypoints: bool):
        self.model, self.keypoints, self.config = model, keypoints, model.config
        self.size = model.config.image_size
        self.shape_key = "joints" if keypoints else "shape"

    # Signatures

    def functions(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """{signature: function}. Each function takes and returns dictionaries of tensors."""
        picture = {"image": _spec(tf.uint8, None, None, 3)}
        encoded = {"image_bytes": _spec(tf.string)}
        shape = {self.shape_key: self._shape_spec()} if self.config.draws_shapes else {}
        target = {f"target_{self.shape_key}": self._shape_spec()}
        z = {f"z_{i}": _spec(tf.float32, *latent) for i, latent in enumerate(self.config.latent_shapes)}
        noise = {key.replace("z", "noise"): spec for key, spec in z.items()}
        wanted = {
            "transfer": (self.transfer, picture | shape | target),
            "transfer_bytes": (self.transfer_bytes, encoded | shape | target),
            "encode": (self.encode, picture | shape),
            "encode_bytes": (self.encode, encoded | shape),
            "generate": (self.generate, shape | z),
            "generate_bytes": (self.generate_bytes, shape | z),
            "sample": (self.sample, shape | {"seed": _spec(tf.int32)}),
            "sample_noise": (self.sample_noise, shape | noise),
        }
        if not self.config.draws_shapes:
            del wanted["transfer"], wanted["transfer_bytes"]
            wanted["reconstruct"] = (self.reconstruct, picture)
        if "sample" not in self.model.uses:
            del wanted["sample"], wanted["sample_noise"]
        return {name: _traced(name, function, specs) for name, (function, specs) in wanted.items()}

    def _shape_spec(self):
        if self.keypoints:
            return _spec(tf.float32, len(JOINTS), 2)
        return _spec(tf.uint8, None, None, self.config.shape_channels)

    # Uses

    def transfer(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The target's shape with the appearance of the picture: "image"."""
        return {"image": self._transferred(inputs)}

    def transfer_bytes(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`transfer` for PNG or JPEG files. The answer is a PNG file, "image_bytes" [B]."""
        return _as_files(self._transferred(inputs))

    def encode(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The appearance of the picture, or of a PNG or JPEG file: "z_0", ..., the posterior's mean."""
        return self._named(self._encode(_checked(inputs)))

    def reconstruct(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The picture made again from its own z: "image"."""
        return {"image": self._generate(None, self._encode(_checked(inputs)))}

    def generate(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The shape with this appearance; for a model without shapes, the picture of z: "image"."""
        return {"image": self._generated(inputs)}

    def generate_bytes(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`generate` with PNG files as the answer: "image_bytes" [B]."""
        return _as_files(self._generated(inputs))

    def sample(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The shape with an appearance from the prior, by each example's own "seed": "image" and "z_0", ..."""
        inputs = _checked(inputs)

        def noise(seed):  # one by one, since an answer must not depend on the other examples in the batch
            return tuple(x[0] for x in self.model.noise(1, tf.stack([0, seed])))

        kinds = tuple(tf.TensorSpec(latent, tf.float32) for latent in self.config.latent_shapes)
        return self._sample(inputs, tf.map_fn(noise, inputs["seed"], fn_output_signature=kinds))

    def sample_noise(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`sample` with standard normal noise that the client sends. Noise 0 gives the prior's mean."""
        inputs = _checked(inputs)
        return self._sample(inputs, [inputs[f"noise_{i}"] for i in range(len(self.config.latent_shapes))])

    # What they are made of

    def _sample(self, inputs, noise):
        shape = self._given_shape(inputs)
        given = {} if shape is None else {"shape": shape}
        drawn = self.model.wiring("sample")({**given, "noise": list(noise)}, training=False)
        return {"image": to_uint8_tensor(drawn["image"]), **self._named(drawn["z"])}

    def _encode(self, inputs):
        if "image" in inputs:
            picture = self._picture(inputs["image"])
        else:
            picture = to_float(self._decoded(inputs["image_bytes"]))
        shape = self._given_shape(inputs)
        seen = self.model.appearance_input.of_pictures(picture, shape, inputs.get("joints"))
        return self.model.wiring("encode")({"appearance": self.model.seen_by_f(seen)}, training=False)["z"]

    def _generate(self, shape, z):
        given = {} if shape is None else {"shape": shape}
        return to_uint8_tensor(self.model.wiring("generate")({**given, "z": list(z)}, training=False))

    def _transferred(self, inputs):
        inputs = _checked(inputs)
        return self._generate(self._shape(inputs[f"target_{self.shape_key}"]), self._encode(inputs))

    def _generated(self, inputs):
        inputs = _checked(inputs)
        z = [inputs[f"z_{i}"] for i in range(len(self.config.latent_shapes))]
        return self._generate(self._given_shape(inputs), z)

    def _picture(self, image):
        return to_float(self._resized(image))

    def _given_shape(self, inputs):
        """The shape of a request; None for a model without shapes."""
        return self._shape(inputs[self.shape_key]) if self.config.draws_shapes else None

    def _shape(self, shape):
        """The model's shape map, float32 in [-1, 1]."""
        return draw_stickman(shape, self.size, self.size) if self.keypoints else self._picture(shape)

    def _resized(self, image):
        resized = tf.image.resize(image, [self.size, self.size], antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)

    def _decoded(self, files):
        """PNG and JPEG files [B] as uint8 [B, S, S, 3], transparent pixels laid on white."""
        known = _is_png(files) | tf.equal(tf.strings.substr(files, 0, 3), b"\xff\xd8\xff")
        files = _if_each(known, "image_bytes must be PNG or JPEG files", files)
        sizes = _of_whole(files, _size)
        # This is checked before decoding: a file of a few kilobytes can ask for gigabytes.
        small = (sizes >= 1) & (sizes <= MAX_SIDE) & (tf.reduce_prod(sizes, axis=1, keepdims=True) <= MAX_PIXELS)
        told = f"image_bytes must have 1 to {MAX_SIDE} pixels a side, {MAX_PIXELS} at most in all; height, width:"
        files = _only_if(tf.reduce_all(small), [told, sizes], files)
        return _of_whole(files, lambda file: self._resized(_rgb(file)[None])[0])

    @staticmethod
    def _named(z):
        return {f"z_{i}": value for i, value in enumerate(z)}


# Checks


def _checked(inputs):
    """The inputs. Each is passed on only after it was checked."""
    checked = {name: _of_right_values(name, _of_right_shape(name, value)) for name, value in inputs.items()}
    sizes = tf.stack([tf.shape(value)[0] for value in checked.values()])
    told = [f"{', '.join(checked)} must be of one batch size, they have:", sizes]
    return {name: _only_if(tf.reduce_all(sizes == sizes[0]), told, value) for name, value in checked.items()}


def _of_right_shape(name, value):
    """An input, if it has the shape that its signature promises: any batch size except 0, sides up to 8192."""
    wanted, rank = value.shape, value.shape.rank
    # TensorFlow's optimiser relies on what the signature promises, and would remove every check.
    value = tf.compat.v1.placeholder_with_default(value, None)
    shape = tf.shape(value)
    sides = tf.concat([shape, tf.zeros([rank], tf.int32)], 0)[:rank]  # so many numbers, whatever was sent
    lowest = [side or 1 for side in wanted]
    highest = [tf.int32.max, *(side or MAX_SIDE for side in wanted[1:])]
    right = tf.equal(tf.size(shape), rank) & tf.reduce_all((sides >= lowest) & (sides <= highest))
    promised = ["1 or more", *(str(side or f"1 to {MAX_SIDE}") for side in wanted[1:])]
    told = [f"{name} must have the shape [{', '.join(promised)}], it has:", shape]
    return tf.ensure_shape(_only_if(right, told, value), wanted)


def _of_right_values(name, value):
    """An input, if its numbers can be used."""
    if name.startswith(("z_", "noise_")):
        finite = tf.reduce_all(tf.math.is_finite(value), axis=range(1, value.shape.rank))
        return _if_each(finite, f"{name} must be finite numbers", value)
    if name.endswith("joints"):
        seen = tf.reduce_any(tf.reduce_all((value >= 0.0) & (value <= 1.0), axis=-1), axis=-1)
        told = f"{name} must have a joint inside the picture: they are fractions of its width and height, not pixels"
        value = _if_each(seen, told, value)
        near = ~tf.reduce_any(value > FAR, axis=(1, 2))  # not so with pixels, also where an unseen joint is (0, 0)
        return _if_each(near, f"{name} must be fractions of the picture, not pixels: no number is above {FAR}", value)
    return value


def _if_each(right, told, value):
    """The value, if `right` [B] is true for each example. Otherwise an error with the text and the wrong ones."""
    return _only_if(tf.reduce_all(right), [f"{told}; wrong examples, from 0:", tf.where(~right)[:, 0]], value)


def _only_if(condition, told, value):
    """The value, if the condition holds. Otherwise an error with the text `told`."""
    with tf.control_dependencies([tf.debugging.Assert(condition, told, summarize=8)]):
        return tf.identity(value)


def _of_whole(files, function):
    """function(file) for each of the files, [B, ...]. An error names the input; TensorFlow's own would not."""
    made = tf.data.Dataset.from_tensor_slices(files).map(function)
    count, spec = tf.size(files), made.element_spec
    end = tf.data.Dataset.from_tensors(tf.zeros(spec.shape, spec.dtype))  # a batch cannot be empty
    made = made.ignore_errors().concatenate(end).batch(tf.cast(count, tf.int64) + 1).get_single_element()[:-1]
    told = "image_bytes must be whole PNG or JPEG files, one is cut or damaged"
    return _only_if(tf.equal(tf.shape(made)[0], count), [told], made)


# Signatures


def _spec(dtype, *shape):
    return tf.TensorSpec([None, *shape], dtype)


def _traced(name, function, specs):
    """The concrete function of a signature, with named arguments."""
    named = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in specs.items()}

    def call(**inputs):
        return function(inputs)

    call.__name__ = name
    return tf.function(call, autograph=False).get_concrete_function(**named)


# Files


def _as_files(pictures):
    """An answer with pictures, uint8 [B, S, S, 3], as PNG files."""
    return {"image_bytes": tf.map_fn(tf.io.encode_png, pictures, fn_output_signature=tf.string)}


def _is_png(file):
    return tf.equal(tf.strings.substr(file, 0, 8), b"\x89PNG\r\n\x1a\n")


def _size(file):
    """Height and width in the header of a PNG or JPEG file, int64 [2]."""
    return tf.cond(_is_png(file), lambda: _png_size(file), lambda: _jpeg_size(file))


def _png_size(file):
    numbers = tf.cast(tf.reshape(tf.io.decode_raw(tf.strings.substr(file, 16, 8), tf.uint8), [2, 4]), tf.int64)
    return tf.reduce_sum(numbers * [2**24, 2**16, 2**8, 1], axis=1)[::-1]


def _jpeg_size(file):
    return tf.io.extract_jpeg_shape(file, tf.int64)[:2]


def _rgb(file):
    """The picture of a PNG or JPEG file, uint8 [H, W, 3]."""
    return tf.cond(_is_png(file), lambda: _png(file), lambda: tf.io.decode_jpeg(file, 3))


def _png(file):
    """The picture of a PNG file laid on white, uint8 [H, W, 3].

    A file of 1, 2 or 4 bits per pixel that says nothing of transparency is opaque, but `decode_png` gives its pixels an
    opacity of 2^bits - 1 and not of 255.
    """
    rgba = tf.io.decode_png(file, 4)
    bits = tf.cast(tf.io.decode_raw(tf.strings.substr(file, 24, 1), tf.uint8)[0], tf.int32)
    opaque = tf.reduce_all(tf.equal(tf.cast(rgba[..., 3], tf.int32), 2**bits - 1))
    return tf.cond(opaque, lambda: rgba[..., :3], lambda: _on_white(rgba))


def _on_white(rgba):
    """uint8 [H, W, 4] laid on white: [H, W, 3]."""
    colour, opacity = tf.cast(rgba[..., :3], tf.float32), tf.cast(rgba[..., 3:], tf.float32) / 255.0
    return tf.cast(tf.round(255.0 + (colour - 255.0) * opacity), tf.uint8)
