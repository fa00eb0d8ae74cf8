"""The graphs of the TFLite files: pictures as floats, batches of one, only built-in ops, weights as constants.

There are two files. The model has "encode", "generate" and "sample", with the same inputs and outputs in every
precision. The drawing is for data with joints. It has "stickman" and "parts", which make the model's inputs from a
picture and joints.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from export.tflite import model_file
from vunet_tf.body.body_parts import MISSING_PART, crop_transforms, part_corners
from vunet_tf.body.skeleton import BODY_PARTS, JOINTS
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.config import ModelConfig
from vunet_tf.models import GenerativeModel
from vunet_tf.models.appearance_input import AppearanceInput

USES = ("encode", "generate", "sample")


def model_graph(model: GenerativeModel, uses: Sequence[str] = USES) -> bytes:
    """The model as a float32 TFLite file.

    All tensors are float32 [1, ...]. Pictures, shape maps and parts are in [-1, 1], also in outputs.

    | signature | inputs | outputs |
    |---|---|---|
    | encode | image [1, S, S, 3] and shape; or parts [1, s, s, 3 P] | z_0, z_1, ... |
    | generate | shape [1, S, S, C], z_0, z_1, ... | image [1, S, S, 3] |
    | sample | shape, noise_0, noise_1, ... (standard normal; 0 is the prior's mean) | image, z_0, z_1, ... |

    A model without shapes has no input shape.

    Args:
        model: a folded `GenerativeModel`.
        uses: the signatures, out of those that the model has.
    """
    config = model.config
    appearance = model.appearance_input.shapes
    size = config.image_size
    shape = {"shape": (size, size, config.shape_channels)} if config.draws_shapes else {}
    z = {f"z_{i}": latent for i, latent in enumerate(config.latent_shapes)}
    noise = {f"noise_{i}": latent for i, latent in enumerate(config.latent_shapes)}

    run = {use: _constant(model.wiring(use)) for use in uses}

    def encode(**inputs):
        seen = tf.concat([inputs[key] for key in appearance], axis=-1)
        return _named(run["encode"]({"appearance": seen})["z"])

    def generate(**inputs):
        picture = run["generate"]({**_only(shape, inputs), "z": [inputs[key] for key in z]})
        return {"image": _clipped(picture)}

    def sample(**inputs):
        drawn = run["sample"]({**_only(shape, inputs), "noise": [inputs[key] for key in noise]})
        # With a standard normal prior, z is the noise itself.
        is_noise = config.model != "vunet" or config.prior == "standard_normal"
        own_z = [_computed(value) for value in drawn["z"]] if is_noise else drawn["z"]
        return {"image": _clipped(drawn["image"]), **_named(own_z)}

    signatures = {"encode": (encode, appearance), "generate": (generate, shape | z), "sample": (sample, shape | noise)}
    return _converted({use: signatures[use] for use in uses})


def kept_in_float(content: bytes, config: ModelConfig) -> tuple[str, ...]:
    """Regular expressions for the names of what would lose most by int8 (`quantise.quantised`, float_layers).

    With --latent=maps, all that the decoder computes at full resolution. With --latent=laid, only the last of its
    blocks, and the part maps, which come from a softmax of large numbers. docs/export.md has measurements.

    The op that makes the picture of a signature has the name of that tensor: it is the last convolution, or with laid
    codes the addition after it. The quantizer ends every name with a semicolon.
    """
    pictures = [f"^{re.escape(name)};" for name in model_file.result_names(content, "image")]
    scale = config.scales - 1
    if config.model == "vunet" and config.latent == "laid":
        return (f"^block_{scale}_{config.blocks_per_scale - 1}_", "(^|/)part_maps_", "^to_picture_", *pictures)
    return (f"^block_{scale}_", "^to_picture_", *pictures)


def feeding(config: ModelConfig, keypoints: bool, uses: Sequence[str] = USES) -> dict:
    """How to feed the files, as JSON values: for every signature its inputs and outputs with shapes and meanings."""
    size, seen = config.image_size, AppearanceInput(config)
    side = seen.size
    picture = {"shape": [1, size, size, 3], "is": "picture, [-1, 1]: byte / 127.5 - 1"}
    shape_map = {
        "shape": [1, size, size, config.shape_channels],
        "is": "stickman, [-1, 1], as drawing.tflite draws it" if keypoints else "shape map, [-1, 1]: byte / 127.5 - 1",
    }
    joints = {"shape": [1, len(JOINTS), 2], "is": "x, y as fractions of the picture; NaN or outside [0, 1]: unseen"}
    parts = {"shape": [1, side, side, 3 * config.parts], "is": "body parts, [-1, 1], as drawing.tflite cuts them"}
    latents = {f"z_{i}": {"shape": [1, *shape], "is": "looks"} for i, shape in enumerate(config.latent_shapes)}
    noise = {
        f"noise_{i}": {"shape": [1, *shape], "is": "standard normal noise; 0 for the prior's mean"}
        for i, shape in enumerate(config.latent_shapes)
    }
    whats = {"image": picture, "shape": shape_map, "parts": parts}
    result = {**picture, "is": "picture, clipped to [-1, 1]: byte = round((value + 1) * 127.5)"}
    shape_map = {"shape": shape_map} if config.draws_shapes else {}
    signatures = {
        "encode": {"inputs": {key: whats[key] for key in seen.shapes}, "outputs": latents},
        "generate": {"inputs": {**shape_map, **latents}, "outputs": {"image": result}},
        "sample": {"inputs": {**shape_map, **noise}, "outputs": {"image": result, **latents}},
    }
    told: dict[str, Any] = {"types": "float32 in and out, in every precision", **{use: signatures[use] for use in uses}}
    if keypoints and config.draws_shapes:
        told["drawing.tflite"] = {"stickman": {"inputs": {"joints": joints}, "outputs": shape_map}}
        if "parts" in config.seen:
            cut = {"inputs": {"image": picture, "joints": joints}, "outputs": {"parts": parts}}
            told["drawing.tflite"]["parts"] = cut
    return told


def drawing_graph(config: ModelConfig) -> bytes:
    """Stickman and body parts as a TFLite file without weights.

    | signature | inputs | outputs |
    |---|---|---|
    | stickman | joints [1, 15, 2] | shape [1, S, S, 3] |
    | parts (unless F sees the whole picture) | image [1, S, S, 3], joints | parts [1, s, s, 3 P] |

    Joints are fractions of the picture, NaN or outside [0, 1] where unseen.
    """
    size, side = config.image_size, AppearanceInput(config).size
    joints = {"joints": (len(JOINTS), 2)}
    signatures: dict[str, tuple[Callable, dict]] = {
        "stickman": (lambda joints: {"shape": draw_stickman(joints, size, size)}, joints)
    }
    if "parts" in config.seen:

        def parts(image, joints):
            return {"parts": crop_parts(image, joints, side, config.parts)}

        signatures["parts"] = (parts, {"image": (size, size, 3), **joints})
    return _converted(signatures)


def crop_parts(image: tf.Tensor, joints: tf.Tensor, side: int, num_parts: int) -> tf.Tensor:
    """`crop_body_parts` of one picture [1, S, S, 3] in built-in ops: TFLite has no projective transform."""
    _, height, width, _ = image.shape
    corners, found = part_corners(joints, height, width, BODY_PARTS[num_parts])
    whole = tf.constant([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    transforms = crop_transforms(tf.where(found[..., None, None], corners, whole), side, side)
    a, b, c, d, e, f, g, h = (number[..., None, None] for number in tf.unstack(transforms[0], axis=-1))
    x, y = tf.range(side, dtype=tf.float32)[None, None, :], tf.range(side, dtype=tf.float32)[None, :, None]
    w = g * x + h * y + 1.0
    u = tf.clip_by_value((a * x + b * y + c) / w, 0.0, width - 1.0)
    v = tf.clip_by_value((d * x + e * y + f) / w, 0.0, height - 1.0)
    left, top = tf.floor(u), tf.floor(v)
    pixels = tf.reshape(image, [height * width, 3])

    def pixel(row, column):
        row, column = tf.minimum(row, height - 1.0), tf.minimum(column, width - 1.0)
        return tf.gather(pixels, tf.cast(row * width + column, tf.int32))

    right_share, bottom_share = (u - left)[..., None], (v - top)[..., None]
    upper = pixel(top, left) * (1 - right_share) + pixel(top, left + 1) * right_share
    lower = pixel(top + 1, left) * (1 - right_share) + pixel(top + 1, left + 1) * right_share
    crops = upper * (1 - bottom_share) + lower * bottom_share
    crops = tf.where(found[0, :, None, None, None], crops, MISSING_PART)
    return tf.reshape(tf.transpose(crops, [1, 2, 0, 3]), [1, side, side, 3 * num_parts])


def _constant(model):
    """A functional model with its weights as constants of the graph, so that the graph reads no variables."""
    weights = [[v.numpy() for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)]
    return lambda inputs: model.stateless_call(*weights, inputs, training=False)[0]


def available(model: GenerativeModel) -> tuple[str, ...]:
    """The signatures that a model can have."""
    return tuple(use for use in USES if use in model.uses)


def _only(names, inputs):
    return {name: inputs[name] for name in names}


def _clipped(picture):
    """Clips to [-1, 1]. In the file this is a part of the last convolution and costs nothing."""
    return tf.minimum(tf.maximum(picture, -1.0), 1.0)


def _computed(value):
    """The value from an op that the converter keeps. An output must not be an input (`model_file.with_description`)."""
    return tf.maximum(value, tf.float32.min)


def _named(z):
    return {f"z_{i}": value for i, value in enumerate(z)}


def _converted(signatures: dict[str, tuple[Callable, dict]]) -> bytes:
    """{signature: (function, {input: shape without the batch})} as a TFLite file. Equal constants are stored once."""
    functions = {}
    for name, (function, inputs) in signatures.items():
        specs = {key: tf.TensorSpec((1, *shape), tf.float32, name=key) for key, shape in inputs.items()}
        functions[name] = tf.function(function, autograph=False).get_concrete_function(**specs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        return converter.convert()
