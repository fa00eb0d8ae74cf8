"""wip"""
import tempfile
import keras
import numpy as np
import tensorflow as tf

def _constant(model):
    """A functional model with its weights as constants of the graph, so that no variable is left to be read."""
    trainable = [tf.constant(v.numpy()) for v in model.trainable_variables]
    others = [tf.constant(v.numpy()) for v in model.non_trainable_variables]
    return lambda inputs: model.stateless_call(trainable, others, inputs, training=False)[0]

def functions(model):
    config = model.config
    latents = {f"z_{i}": shape for i, shape in enumerate(config.latent_shapes)}
    shape = {"shape": (config.image_size, config.image_size, config.shape_channels)}
    side = config.appearance_size
    appearance = {
        "parts": {"parts": (side, side, 3 * config.parts)},
        "picture": {"image": (side, side, 3), **shape},
        "both": {"parts": (side, side, 3 * config.parts), "shape_parts": (side, side, config.shape_channels * config.parts)},
    }[config.appearance]
    encode_, generate_, sample_ = (_constant(model.wiring(use)) for use in ("encode", "generate", "sample"))

    def encode(**inputs):
        z = encode_({"appearance": tf.concat([inputs[k] for k in appearance], -1)})["z"]
        return {f"z_{i}": v for i, v in enumerate(z)}
    def clip(x): return tf.minimum(tf.maximum(x, -1.0), 1.0)
    def generate(shape, **z):
        return {"image": clip(generate_({"shape": shape, "z": [z[k] for k in latents]}))}
    def sample(shape, **noise):
        out = sample_({"shape": shape, "noise": [noise[k.replace("z", "noise")] for k in latents]})
        return {"image": clip(out["image"]), **{f"z_{i}": v for i, v in enumerate(out["z"])}}
    noise = {k.replace("z", "noise"): v for k, v in latents.items()}
    return {"encode": (encode, appearance), "generate": (generate, shape | latents), "sample": (sample, shape | noise)}

def convert(trained, uses):
    module = tf.Module()
    sigs = {}
    fs = functions(trained.model)
    for name in uses:
        f, inputs = fs[name]
        sigs[name] = tf.function(f, autograph=False).get_concrete_function(**{k: tf.TensorSpec((1, *s), tf.float32, name=k) for k, s in inputs.items()})
    with tempfile.TemporaryDirectory() as d:
        tf.saved_model.save(module, d, sigs)
        conv = tf.lite.TFLiteConverter.from_saved_model(d, signature_keys=list(uses))
        return conv.convert()
