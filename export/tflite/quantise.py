"""Turns a float32 TFLite file into the other precisions, with ai-edge-quantizer.

| precision | weights | activations |
|---|---|---|
| float32 | float32 | float32 |
| float16 | float16, turned into float32 when the file is loaded | float32 |
| dynamic | int8 per output channel | float32 between ops; int8 inside a convolution, with the range of each call |
| int8 | int8 per output channel | int8, with ranges from calibration; some layers may be as in float16 |

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
from vunet_tf.models.operations import TO_WIDEST

_EVERY = ".*"
# Names of layers of vunet_tf.models.laid_encoder and laid_decoder. E is a separate model and puts its name before them.
_LAID = (
    "(^concat|(^|/)(texels|gather_texture|gather|shrink|colours|part_embedding|with_texture|hidden|posterior_0|codes|"
    "with_colour|parameters|texture_as_codes|read_waves|from_waves|texture_codes|with_waves|of_texture|all_parameters|"
    "pose_free|part_prior|vector|completed|first_picture|waves|lay_texture|texture_hidden|textured|picture)_)"
)
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
        ranges: for int8: the result of `ranges_of`.
        float_layers: for int8: regular expressions. An op whose result has such a name is made as in float16.
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

    Both ends lie between the mean of the examples' ends and the widest of them (`TO_WIDEST`). With the widest alone,
    one rare value would make every step coarse. With the mean alone, such a value would be cut off.

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
    # For laid appearance: a code holds colours beside other numbers, and the widest number would set their scale. Maps
    # must add up to 1. The frame of the texture comes from sums over the whole shape map, where a rounded background
    # would count as a body. All of this takes little time in float.
    laid = b"gather_texture" in content
    if laid:
        recipe.add_quantization_config(_LAID, _OPS.ALL_SUPPORTED, algorithm_key=_ALGORITHMS.NO_QUANTIZE)
    # Inputs and outputs stay float, and also the maximum that "sample" puts between noise and z (graph.py). XNNPACK has
    # no integer average.
    kinds = (_OPS.INPUT, _OPS.OUTPUT, _OPS.MAXIMUM, _OPS.AVERAGE_POOL_2D, _OPS.SOFTMAX, _OPS.BATCH_MATMUL)
    for kind in (*kinds, _OPS.FULLY_CONNECTED, *([_OPS.STRIDED_SLICE] if laid else [])):
        recipe.add_quantization_config(_EVERY, kind, algorithm_key=_ALGORITHMS.NO_QUANTIZE)
    return recipe


def _with(found, new):
    """Adds an example to what is known of a tensor's range: the widest range, the sums and the number of examples."""
    low, high, count = found.get("sums", (found["min"], found["max"], 1))
    return {
        "min": np.minimum(found["min"], new["min"]),
        "max": np.maximum(found["max"], new["max"]),
        "sums": (low + new["min"], high + new["max"], count + 1),
    }


def _between(found):
    low, high, count = found.get("sums", (found["min"], found["max"], 1))
    means = {"min": low / count, "max": high / count}
    return {end: mean + TO_WIDEST * (found[end] - mean) for end, mean in means.items()}


@contextlib.contextmanager
def _quiet():
    """Hides the quantizer's progress bars, which it also draws into files, and its warning for every shared weight."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
