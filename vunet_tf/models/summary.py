"""Parameters, multiply-accumulates and shapes of a configuration: the figures to hold against the published ones."""

import contextlib
import io
import math

import keras

from vunet_tf.config import PRESETS
from vunet_tf.layers import convolutions
from vunet_tf.models.vunet import WIRINGS, VUNet


def multiply_accumulates(convolution):
    """Of one convolution layer on one picture: output positions * kernel positions * input * output channels."""
    _, height, width, channels = convolution.get_build_config()["input_shape"]
    kernel, stride = (
        size if isinstance(size, int) else size[0] for size in (convolution.kernel_size, convolution.strides)
    )
    return math.ceil(height / stride) * math.ceil(width / stride) * kernel**2 * channels * convolution.filters


def parts_of(model):
    """The convolutions of F (what `encode` needs), G (what `generate` needs) and the prior (what `sample` adds to G)."""
    generator = convolutions(model.wiring("generate"))
    known = {id(layer) for layer in generator}
    return {
        "F": convolutions(model.wiring("encode")),
        "G": generator,
        "prior": [layer for layer in convolutions(model.wiring("sample")) if id(layer) not in known],
    }


def figures(config):
    """Parameters and multiply-accumulates of a configuration with a latent.

    Returns:
        {"trainable": parameters of the training graph,
         "folded": {"F", "G", "prior"}: parameters with weight normalisation folded,
         "macs": {"F", "G", "prior"}: multiply-accumulates per picture}
    """
    model = VUNet(config)
    folded = {name: sum(c.count_params() for c in cs) for name, cs in parts_of(model.fold()).items()}
    macs = {name: sum(multiply_accumulates(c) for c in cs) for name, cs in parts_of(model).items()}
    return {"trainable": sum(math.prod(v.shape) for v in model.trainable_variables), "folded": folded, "macs": macs}


def figures_table(configs):
    """A Markdown table of `figures` for {name: configuration}."""
    lines = [
        "| configuration | trainable | folded: F | G | transfer (F + G) | prior | MACs: F | G | prior |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, config in configs.items():
        found = figures(config)
        f, g, prior = (found["folded"][part] for part in ("F", "G", "prior"))
        macs = " | ".join(f"{found['macs'][part] / 1e9:.2f} G" for part in ("F", "G", "prior"))
        lines.append(f"| {name} | {found['trainable']:,} | {f:,} | {g:,} | {f + g:,} | {prior:,} | {macs} |")
    return "\n".join(lines)


def _shapes(tensors):
    """The shapes of nested symbolic tensors as text, runs of equal shapes shortened."""
    texts = [str(list(t.shape)).replace("None", "B") for t in keras.tree.flatten(tensors)]
    runs = []
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
    """Keras' own summary, one row a layer."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        model.summary(line_length=110, show_trainable=False, print_fn=lambda line, **_: text.write(line + "\n"))
    return text.getvalue().strip()


def model_page(command):
    """The page docs/model.md: figures of all presets, and the functional models of the market one with their shapes.

    Args:
        command: what the reader types to make this page again.
    """
    model = VUNet(PRESETS["market"])
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
    layers = [f"### {name}\n\n```\n{_layer_table(m)}\n```" for name, m in models.items()]
    return "\n".join(
        [
            "# The model in figures",
            "",
            f"Made by `{command}`; do not edit. B is the batch size.",
            "",
            "## Parameters and multiply-accumulates",
            "",
            figures_table(PRESETS),
            "",
            "MACs are per picture, of the convolutions; F, G and the prior are counted as in the README.",
            "",
            "## Functional models of the market configuration",
            "",
            "| model | inputs | outputs | parameters |",
            "|---|---|---|--:|",
            *rows,
            "",
            "## Layer by layer",
            "",
            "\n\n".join(layers),
            "",
        ]
    )
