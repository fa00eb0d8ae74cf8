"""Smaller numbers: a float32 TFLite file in the other precisions, by ai-edge-quantizer.

| precision | weights | activations |
|---|---|---|
| float32 | float32 | float32 |
| float16 | float16, made float32 when the file is loaded | float32 |
| dynamic | int8 per output channel | float32 between ops, int8 inside a convolution by each call's own range |
| int8 | int8 per output channel | int8, ranges from calibration; some layers may be as in float16 |

Inputs and outputs are float32 in all of them.
"""

import contextlib
import io
import warnings
from collections.abc import Sequence

import numpy as np
from absl import logging
from ai_edge_quantizer import algorithm_manager, calibrator, qtyping, quantizer, recipe_manager

from export.tflite.integer_ops import finish_int8, own_biases

_EVERY = ".*"
# Layers of vunet_tf.models.laid_encoder and laid_decoder, by their names; E, a model of its own, puts its name before.
_LAID = (
    "(^concat|(^|/)(texels|gather_texture|gather|shrink|colours|part_embedding|with_texture|hidden|posterior_0|codes|"
    "with_colour|parameters|part_prior|vector|completed|first_picture|lay_texture|texture_hidden|textured|picture)_)"
)
_TO_WIDEST = 1 / 3
_OPS = qtyping.TFLOperationName
_ALGORITHMS = algorithm_manager.AlgorithmName
_HALF_WEIGHTS = qtyping.OpQuantizationConfig(
    weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
    explicit_dequantize=True,
)


def quantised(content: bytes, precision: str, ranges: dict | None = None, float_layers: Sequence[str] = ()) -> bytes:
    """The file in another precision.

    Args:
        content: a float32 TFLite file with signatures.
        precision: one of `export.tflite.PRECISIONS`.
        ranges: for int8: what `ranges_of` found.
        float_layers: for int8: regular expressions; an op whose result has such a name is as in float16.
    """
    if precision == "float32":
        return content
    work = quantizer.Quantizer(own_biases(content) if precision == "int8" else content)
    if precision == "float16":
        work.update_quantization_recipe(_EVERY, _OPS.CONV_2D, _HALF_WEIGHTS, _ALGORITHMS.FLOAT_CASTING)
    elif precision == "dynamic":
        work.add_dynamic_config(_EVERY, _OPS.CONV_2D, num_bits=8)
    else:
        work.load_quantization_recipe(_static_recipe(content, float_layers).get_quantization_recipe())
    with _quiet():
        made = bytes(work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)
    return finish_int8(made) if precision == "int8" else made


def ranges_of(content: bytes, examples: dict) -> dict:
    """The range of every activation in int8: {tensor: {"min", "max": arrays}}.

    Both ends lie between the mean of those of the examples and the widest (`_TO_WIDEST`): the widest alone makes every
    step coarse for one rare value, and with the mean alone such a value is cut off.

    Args:
        content: a float32 TFLite file.
        examples: {signature: iterable of {input: array}}, for every signature.
    """
    with _quiet():
        run = calibrator.Calibrator(own_biases(content), num_threads=2, qsv_update_func=_with)
        run.calibrate(examples, _static_recipe(content))
    return {tensor: _between(found) for tensor, found in run.get_model_qsvs().items()}


def _static_recipe(content, float_layers=()):
    recipe = recipe_manager.RecipeManager()
    recipe.add_static_config(_EVERY, _OPS.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for layers in float_layers:
        recipe.add_quantization_config(layers, _OPS.ALL_SUPPORTED, algorithm_key=_ALGORITHMS.NO_QUANTIZE)
        recipe.add_quantization_config(layers, _OPS.CONV_2D, _HALF_WEIGHTS, _ALGORITHMS.FLOAT_CASTING)
    # Of appearance that is laid: colours are numbers of the codes, and the widest code would set their scale. Maps
    # must add up to 1. The frame of the texture comes from sums over the whole shape map, where a rounded background
    # would count as a body. All of it is small work.
    laid = b"gather_texture" in content
    if laid:
        recipe.add_quantization_config(_LAID, _OPS.ALL_SUPPORTED, algorithm_key=_ALGORITHMS.NO_QUANTIZE)
    # Inputs and outputs stay float, and so does the maximum between them by which "sample" gives z (graph.py).
    # XNNPACK has no integer average.
    kinds = (_OPS.INPUT, _OPS.OUTPUT, _OPS.MAXIMUM, _OPS.AVERAGE_POOL_2D, _OPS.SOFTMAX, _OPS.BATCH_MATMUL)
    for kind in (*kinds, _OPS.FULLY_CONNECTED, *([_OPS.STRIDED_SLICE] if laid else [])):
        recipe.add_quantization_config(_EVERY, kind, algorithm_key=_ALGORITHMS.NO_QUANTIZE)
    return recipe


def _with(found, new):
    """What is known of a tensor's range with one more example: the widest, the sums and the number of examples."""
    low, high, count = found.get("sums", (found["min"], found["max"], 1))
    return {
        "min": np.minimum(found["min"], new["min"]),
        "max": np.maximum(found["max"], new["max"]),
        "sums": (low + new["min"], high + new["max"], count + 1),
    }


def _between(found):
    low, high, count = found.get("sums", (found["min"], found["max"], 1))
    means = {"min": low / count, "max": high / count}
    return {end: mean + _TO_WIDEST * (found[end] - mean) for end, mean in means.items()}


@contextlib.contextmanager
def _quiet():
    """Holds back the quantizer's bars, which it draws into files too, and its warning for every shared weight."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
