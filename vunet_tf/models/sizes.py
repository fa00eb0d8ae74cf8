"""Parameters, multiply-accumulates and shapes of a configuration, for comparison with the published ones."""

import math
from collections.abc import Mapping
from typing import Any

import keras

from vunet_tf.config import ModelConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models import registry
from vunet_tf.models.generative import GenerativeModel
from vunet_tf.models.layers import CONVOLUTIONS, with_weights
from vunet_tf.models.vunet import WIRINGS


def _sizes(convolution):
    """(output positions, kernel positions * input channels, output channels) of one convolution layer."""
    _, height, width, channels = convolution.get_build_config()["input_shape"]
    kernel, stride = (
        size if isinstance(size, int) else size[0] for size in (convolution.kernel_size, convolution.strides)
    )
    return math.ceil(height / stride) * math.ceil(width / stride), kernel**2 * channels, convolution.filters


def multiply_accumulates(layer: keras.layers.Layer) -> int:
    """Multiply-accumulates of one layer on one picture. In the prior of parts each weight is used once."""
    return math.prod(_sizes(layer)) if isinstance(layer, CONVOLUTIONS) else layer.count_params()


def folded_parameters(layer: keras.layers.Layer) -> int:
    """Parameters of a convolution with folded weight normalisation (kernel and bias), or of another layer."""
    if not isinstance(layer, CONVOLUTIONS):
        return layer.count_params()
    _, fan_in, filters = _sizes(layer)
    return (fan_in + 1) * filters


def parts_of(model: GenerativeModel) -> dict[str, list[keras.layers.Layer]]:
    """The layers with weights of F (needed by `encode`), of G (by `generate`), and of the prior (only by `sample`)."""
    generator = with_weights(model.wiring("generate"))
    known = {id(layer) for layer in generator}
    sampling = with_weights(model.wiring("sample")) if "sample" in model.uses else []
    return {
        "F": with_weights(model.wiring("encode")),
        "G": generator,
        "prior": [layer for layer in sampling if id(layer) not in known],
    }


def sizes_of(config: ModelConfig) -> dict[str, Any]:
    """Parameters and multiply-accumulates of a configuration with a latent.

    Returns:
        dict: {"trainable": parameters of the training graph,
         "folded": {"F", "G", "prior"}: parameters with weight normalisation folded,
         "macs": {"F", "G", "prior"}: multiply-accumulates per picture}
    """
    model = registry.build(config)
    parts = parts_of(model)
    return {
        "trainable": sum(math.prod(v.shape) for v in model.trainable_variables),
        "folded": {name: sum(map(folded_parameters, layers)) for name, layers in parts.items()},
        "macs": {name: sum(map(multiply_accumulates, layers)) for name, layers in parts.items()},
    }


def sizes_table(configs: Mapping[str, ModelConfig]) -> str:
    """A Markdown table of `sizes_of` for {name: configuration}."""
    lines = [
        "| configuration | trainable | folded: F | G | transfer (F + G) | prior | MACs: F | G | prior |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, config in configs.items():
        found = sizes_of(config)
        f, g, prior = (found["folded"][part] for part in ("F", "G", "prior"))
        macs = " | ".join(f"{found['macs'][part] / 1e9:.2f} G" for part in ("F", "G", "prior"))
        lines.append(f"| {name} | {found['trainable']:,} | {f:,} | {g:,} | {f + g:,} | {prior:,} | {macs} |")
    return "\n".join(lines)


def _shapes(tensors):
    """The shapes of nested symbolic tensors as text. Equal shapes in a row are shortened."""
    texts = [str(list(t.shape)).replace("None", "B") for t in keras.tree.flatten(tensors)]
    runs: list[list[Any]] = []  # of a text and how often it comes
    for text in texts:
        if runs and runs[-1][0] == text:
            runs[-1][1] += 1
        else:
            runs.append([text, 1])
    return ", ".join(text if count == 1 else f"{count} x {text}" for text, count in runs)


def _named_shapes(structure):
    if isinstance(structure, dict):
        return "; ".join(f"{key}: {_shapes(value) or 'none'}" for key, value in structure.items())
    return _shapes(structure)


def _layer_table(model):
    """One row per layer with weights, in the order of the computation."""
    layers = []
    for layer in model.layers:
        layers += layer.layers if isinstance(layer, keras.Model) else [layer]
    rows = [
        f"| {layer.name} | {type(layer).__name__} | {_shapes(layer.output)} | {layer.count_params():,} |"
        for layer in layers
        if layer.count_params()
    ]
    return "\n".join(["| layer | kind | output | parameters |", "|---|---|---|--:|", *rows])


def model_page(command: str, configs: Mapping[str, ModelConfig]) -> str:
    """The page docs/model_tables.md: sizes of configurations, and shapes of the functional models of the last one.

    Args:
        command: the command that makes this page again.
        configs: {name: configuration}.
    """
    *_, (last, config) = configs.items()
    model = registry.build(config)
    if config.model != "vunet":
        raise InputError(f"--model={config.model}: the page of --out is that of a VU-Net; leave out --out")
    models = {
        "F, appearance encoder": model.appearance_encoder,
        "E, shape encoder": model.shape_encoder,
        "D, decoder with the prior": model.decoder,
        "VUNet, training pass": model,
        **{f'wiring "{use}"': model.wiring(use) for use in WIRINGS},
    }
    rows = [
        f"| {name} | {_named_shapes(m._inputs_struct)} | {_named_shapes(m._outputs_struct)} | {m.count_params():,} |"
        for name, m in models.items()
    ]
    layers = [f"### {name}\n\n{_layer_table(m)}" for name, m in list(models.items())[:3]]
    return "\n".join(
        [
            "# Sizes of the model",
            "",
            f"Made by `{command}`; do not edit. B is the batch size.",
            "",
            "## Parameters and multiply-accumulates",
            "",
            sizes_table(configs),
            "",
            "MACs: multiply-accumulates of the convolutions, per picture. F is what `encode` needs, G = D(E(shape), z)",
            "what `generate` needs, the prior what `sample` needs beyond G.",
            "",
            f"## Functional models of the {last} configuration",
            "",
            "| model | inputs | outputs | parameters |",
            "|---|---|---|--:|",
            *rows,
            "",
            "## F, E and D, layer by layer",
            "",
            "\n\n".join(layers),
            "",
        ]
    )
