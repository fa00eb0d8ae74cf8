"""The VU-Net: published figures, one set of weights in every wiring, true means, initialisation, variants, errors."""

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.command_line.flags import CONFIGS, read_flagfile
from vunet_tf.config import ModelConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models import GroupPrior, VUNet, registry
from vunet_tf.models.generative import USES
from vunet_tf.models.layers import WeightNormConv2D, convolutions
from vunet_tf.models.sizes import model_page, parts_of, sizes_of, sizes_table
from vunet_tf.objective import losses

ROOT = Path(__file__).parent.parent
PRESETS = {name: read_flagfile(CONFIGS / f"{name}.flags") for name in ("coco", "deepfashion", "market")}
SMALL = ModelConfig(image_size=16, width=4, max_width=8, bottleneck_factor=1)


def batch(config, size=3, seed=0):
    """Random inputs of every kind that `config` can ask for."""
    rng = np.random.default_rng(seed)
    side, crops = config.image_size, config.image_size >> config.box_factor

    def uniform(*shape):
        return rng.uniform(-1, 1, (size, *shape)).astype("float32")

    return {
        "image": uniform(side, side, 3),
        "shape": uniform(side, side, config.shape_channels),
        "parts": uniform(crops, crops, 3 * config.parts),
    }


@functools.cache
def initialised(config):
    keras.utils.set_random_seed(0)
    model = VUNet(config)
    model.initialise([batch(config, 8, seed=7)])
    return model


def assert_close(a, b, atol=1e-5):
    for x, y in zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True):
        np.testing.assert_allclose(x, y, atol=atol)


# Published figures


@pytest.mark.parametrize(
    ("preset", "trainable", "f", "macs"),
    [("coco", 46_042_118, 3.92, (1.9, 16.6, 0.35)), ("market", 46_188_422, 4.07, None)],
)
def test_published_parameter_counts_and_macs(preset, trainable, f, macs):
    found = sizes_of(PRESETS[preset])
    assert found["trainable"] == trainable
    assert round(found["folded"]["F"] / 1e6, 2) == f
    assert round(found["folded"]["G"] / 1e6, 2) == 8.38
    assert round(found["folded"]["prior"] / 1e6, 2) == 33.73
    if macs:
        assert round(found["macs"]["F"] / 1e9, 1) == macs[0]
        assert round(found["macs"]["G"] / 1e9, 1) == macs[1]
        assert round(found["macs"]["prior"] / 1e9, 2) == macs[2]
    else:
        assert round(2 * found["macs"]["G"] / 1e9, 1) == 8.3


def test_deepfashion_differs_from_coco_by_dropout_alone():
    assert dataclasses.replace(PRESETS["deepfashion"], dropout=0.0) == PRESETS["coco"]


def test_folded_sizes_are_those_of_the_folded_model():
    folded = initialised(SMALL).fold()
    assert sizes_of(SMALL)["folded"] == {
        name: sum(layer.count_params() for layer in layers) for name, layers in parts_of(folded).items()
    }


def test_the_page_of_sizes_is_up_to_date():
    page = (ROOT / "docs/model_tables.md").read_text()
    assert sizes_table({"market": PRESETS["market"]}).splitlines()[-1] in page
    command = "python -m vunet_tf.benchmark model --out=docs/model_tables.md"
    table = "## Functional models of the market configuration"
    assert page.split(table)[1] == model_page(command, {"market": PRESETS["market"]}).split(table)[1]


# Wirings


def test_every_weight_is_trained():
    """No parameter is dead: each gets a gradient that is not zero (in the released program, 1.2 M get none)."""
    model, data = initialised(SMALL), batch(SMALL)
    with tf.GradientTape() as tape:
        out = model(model.training_inputs(data, seed=1), training=True)
        kl = losses.kl_terms(model.kl, out["posterior"], out["prior"], out["z"])
        loss = losses.negative_elbo(losses.l1(data["image"], out["image"]), kl, 1.0)
    gradients = tape.gradient(loss, model.trainable_variables)
    dead = [v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None or not np.any(g)]
    assert not dead


def test_reconstruct_and_transfer_do_not_contain_the_prior():
    model = initialised(SMALL)
    prior = {id(w) for layer in model.decoder.priors for w in layer.weights}
    assert prior
    for use in ("encode", "generate", "transfer"):
        assert not prior & {id(w) for w in model.wiring(use).weights}
    assert prior <= {id(w) for w in model.wiring("sample").weights}


def test_every_wiring_has_the_weights_of_the_model():
    model = initialised(SMALL)
    ours = {id(w) for w in model.weights}
    for use in ("encode", "generate", "transfer", "sample"):
        assert {id(w) for w in model.wiring(use).weights} <= ours
    with pytest.raises(ValueError, match="unknown wiring"):
        model.wiring("dream")


def test_training_pass_at_noise_0_is_reconstruct():
    model, data = initialised(SMALL), batch(SMALL)
    out = model(model.training_inputs(data))
    assert_close(out["image"], model.reconstruct(data))
    assert_close(out["z"], model.encode(data))
    assert_close(out["z"], out["posterior"])  # unit variance: the parameters are the means
    assert_close(model.generate(data["shape"], model.encode(data)), model.reconstruct(data))


def test_transfer_takes_the_appearance_of_one_and_the_shape_of_the_other():
    model, a, b = initialised(SMALL), batch(SMALL, seed=1), batch(SMALL, seed=2)
    assert_close(model.transfer(a, b["shape"]), model.generate(b["shape"], model.encode(a)))
    assert np.abs(model.transfer(a, b["shape"]) - model.reconstruct(b)).max() > 0.01
    assert np.abs(model.transfer(a, b["shape"]) - model.reconstruct(a)).max() > 0.01


def test_the_second_latent_depends_on_the_first_sample_in_training_only():
    """The released program's defect 1: its "mean" of the second scale came from a random first scale."""
    model, data = initialised(SMALL), batch(SMALL)
    first_noise = model.training_inputs(data)
    first_noise["noise"][0] = model.noise(3, seed=5)[0]
    moved = model(first_noise)
    mean = model.encode(data)
    assert np.abs(moved["posterior"][1] - mean[1]).max() > 0.01
    assert_close(model.encode(data), mean, atol=0)


def test_sampling_is_the_training_pass_run_from_the_prior():
    """If a sampled z is fed back by teacher forcing, the prior's parameters differ from it by exactly the noise."""
    model, data = initialised(SMALL), batch(SMALL)
    noise = model.noise(3, seed=11)
    image, z = model.sample(data["shape"], noise=noise)
    forced = model.decoder({"skips": model.shape_encoder(data["shape"]), "z": z})
    assert_close(forced["image"], image, atol=1e-4)
    for drawn, mean, added in zip(z, forced["prior"], noise, strict=True):
        np.testing.assert_allclose(drawn - mean, added, atol=1e-4)


def test_prior_groups_see_only_the_groups_before_them():
    prior = GroupPrior(6)
    rng = np.random.default_rng(0)
    h, z = (tf.constant(rng.normal(size=(1, 4, 4, 6)), tf.float32) for _ in range(2))
    before = prior(h, z=z)[0].numpy()
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    for g, (row, column) in enumerate(places):
        changed = z.numpy()
        changed[:, row::2, column::2] += 1
        after = prior(h, z=tf.constant(changed))[0].numpy()
        for other, (i, j) in enumerate(places):
            difference = np.abs(after - before)[:, i::2, j::2].max()
            assert (difference > 1e-3) == (other > g), (g, other)


def test_outputs_are_the_same_over_calls_and_batch_sizes():
    model, data = initialised(SMALL), batch(SMALL, 5)

    def prior_mean(some):
        zeros = [np.zeros((len(some["shape"]), *shape), "float32") for shape in SMALL.latent_shapes]
        return model.sample(some["shape"], noise=zeros)

    first = {key: values[:1] for key, values in data.items()}
    for call in (model.reconstruct, model.encode, prior_mean):
        assert_close(call(data), call(data), atol=0)
        assert_close(keras.tree.map_structure(lambda x: x[:1], call(data)), call(first))


def test_samples_are_a_function_of_the_seed():
    model, shape = initialised(SMALL), batch(SMALL)["shape"]
    assert_close(model.sample(shape, seed=1), model.sample(shape, seed=1), atol=0)
    assert np.abs(model.sample(shape, seed=1)[0] - model.sample(shape, seed=2)[0]).max() > 0.01
    noise = model.noise(2000, seed=0)
    assert abs(np.corrcoef(noise[0].numpy().ravel()[:16000], noise[1].numpy().ravel()[:16000])[0, 1]) < 0.05
    np.testing.assert_allclose([noise[0].numpy().mean(), noise[0].numpy().std()], [0, 1], atol=0.02)
    with pytest.raises(ValueError, match="either a seed or noise"):
        model.sample(shape)


def random_ops(function, *signature):
    graph = tf.function(function).get_concrete_function(*signature).graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    return [node.op for node in nodes if "Random" in node.op or "Rng" in node.op]


def test_no_random_op_on_the_mean_path():
    config = dataclasses.replace(SMALL, dropout=0.5)
    model = VUNet(config)
    data = batch(config)
    assert not random_ops(lambda: model.encode(data))
    assert not random_ops(lambda: model.reconstruct(data))
    assert not random_ops(lambda: model.sample(data["shape"], noise=model.training_inputs(data)["noise"]))
    assert random_ops(lambda: model.sample(data["shape"], seed=1))  # the inspection finds what there is
    assert random_ops(lambda: model(model.training_inputs(data), training=True))


def test_interpolation_goes_from_one_appearance_to_the_other():
    model, a, b = initialised(SMALL), batch(SMALL, seed=1), batch(SMALL, seed=2)
    path = model.interpolate(a["shape"], model.encode(a), model.encode(b), steps=3)
    assert path.shape == (3, 3, 16, 16, 3)
    assert_close(path[0], model.reconstruct(a))
    assert_close(path[2], model.transfer(b, a["shape"]))
    middle = [(x + y) / 2 for x, y in zip(model.encode(a), model.encode(b), strict=True)]
    assert_close(path[1], model.generate(a["shape"], middle))


# Weights


def test_data_dependent_initialisation_gives_mean_0_and_variance_1(monkeypatch):
    """Every convolution of the training pass, on the batches of its initialisation (no dropout, to repeat them)."""
    config = dataclasses.replace(SMALL, appearance="picture")
    model = VUNet(config)
    batches = [batch(config, 4, seed) for seed in range(4)]
    model.initialise(batches, seed=3)
    outputs = []
    convolve = WeightNormConv2D.call

    def listening(self, x, **gain):
        outputs.append(convolve(self, x, **gain))
        return outputs[-1]

    monkeypatch.setattr(WeightNormConv2D, "call", listening)
    together = {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}
    model(model.training_inputs(together, seed=3), training=True)
    assert len(outputs) == len(convolutions(model))
    for y in outputs:
        mean, variance = tf.nn.moments(y, axes=(0, 1, 2))
        np.testing.assert_allclose(mean, 0, atol=1e-4)
        np.testing.assert_allclose(variance, 1, atol=1e-3)


def test_initialisation_leaves_the_rest_of_a_batch_alone():
    data = batch(SMALL)
    once, again = VUNet(SMALL), VUNet(SMALL)
    again.set_weights(once.get_weights())
    once.initialise([data, data])
    again.initialise([{**data, "name": np.array(["a", "b", "c"])}] * 2)
    assert_close(once.weights, again.weights, atol=0)


REPLICAS = """
import numpy as np, tensorflow as tf, keras
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
from vunet_tf.config import ModelConfig
from vunet_tf.models import VUNet
config = ModelConfig(image_size=8, appearance="picture", width=2, max_width=4, dropout=0.1, latent_scales=1)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    keras.utils.set_random_seed(0)
    model = VUNet(config)
    data = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype("float32")
    before = [w.numpy() for w in model.trainable_variables]
    model.initialise([{"image": data, "shape": data}])
changed = 0
for old, variable in zip(before, model.trainable_variables):
    values = [component.numpy() for component in variable.value.values]
    assert len(values) == 2
    np.testing.assert_array_equal(*values)
    changed += not np.array_equal(old, values[0])
print("changed", changed, "of", len(before))
"""


def test_initialisation_is_equal_on_two_replicas():
    done = subprocess.run([sys.executable, "-c", REPLICAS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    changed, total = map(int, done.stdout.split()[1::2])
    assert changed == total * 2 // 3  # g and b of every v, g, b


def test_keras_save_and_from_config_round_trip(tmp_path):
    model, data = initialised(SMALL), batch(SMALL)
    assert VUNet.from_config(model.get_config()).config == SMALL
    model.wiring("transfer")  # a wiring in use is no part of the file
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded) is VUNet
    assert_close(loaded.reconstruct(data), model.reconstruct(data), atol=0)
    assert_close(loaded.weights, model.weights, atol=0)
    with pytest.raises(ValueError, match="unknown model settings: lambda"):
        VUNet.from_config({**model.get_config(), "lambda": "os.system"})


def test_fold_keeps_the_outputs_and_has_plain_convolutions():
    model, data = initialised(SMALL), batch(SMALL)
    folded = model.fold()
    assert not any(isinstance(layer, WeightNormConv2D) for layer in convolutions(folded))
    assert_close(folded(folded.training_inputs(data, seed=1)), model(model.training_inputs(data, seed=1)))
    assert_close(folded.sample(data["shape"], seed=1), model.sample(data["shape"], seed=1))


def test_mixed_precision_is_close_and_float32_at_the_border():
    exact, data = initialised(SMALL), batch(SMALL)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = VUNet(SMALL)
    finally:
        keras.config.set_dtype_policy(policy)
    model.set_weights(exact.get_weights())
    out = model(model.training_inputs(data, seed=1))
    assert {x.dtype for x in keras.tree.flatten(out)} == {tf.float32}
    assert model.decoder.blocks[-1][0].compute_dtype == "bfloat16"
    reference = exact(exact.training_inputs(data, seed=1))
    assert 0 < np.abs(out["image"] - reference["image"]).mean() < 0.05


# Variants


@pytest.mark.parametrize(
    "variant",
    [
        {"appearance": "picture", "shape_channels": 1},
        {"appearance": "parts", "parts": 10},
        {"latent_scales": 1, "bottleneck_factor": 0, "activation": "leaky_relu"},
        {"latent_scales": 3, "variance": "learned"},
        {"latent_scales": 0},
        {"prior": "standard_normal", "variance": "learned"},
        {"blocks_per_scale": 3, "width": 3},
        {"weight_norm": False, "box_factor": 2},
    ],
    ids=lambda variant: ",".join(f"{k}={v}" for k, v in variant.items()),
)
def test_variant(variant):
    """Shapes are right, all weights get gradients, and the wirings agree."""
    config = dataclasses.replace(SMALL, **variant)
    model, data = initialised(config), batch(config)
    with tf.GradientTape() as tape:
        out = model(model.training_inputs(data, seed=1), training=True)
        kl = losses.kl_terms(model.kl, out["posterior"], out["prior"], out["z"])
        loss = losses.negative_elbo(losses.l1(data["image"], out["image"]), kl, 1.0)
    assert all(g is not None for g in tape.gradient(loss, model.trainable_variables))
    assert out["image"].shape == (3, 16, 16, 3)
    assert [z.shape[1:] for z in out["z"]] == config.latent_shapes
    assert len(kl) == config.latent_scales
    assert all(float(term) > 0 for term in kl.values())
    image, z = model.sample(data["shape"], seed=1)
    assert_close(model.generate(data["shape"], z), image, atol=1e-4)
    assert_close(model(model.training_inputs(data))["image"], model.reconstruct(data))


def test_without_latents_the_picture_is_a_function_of_the_shape():
    config = dataclasses.replace(SMALL, latent_scales=0)
    model, a, b = initialised(config), batch(config, seed=1), batch(config, seed=2)
    assert_close(model.transfer(a, b["shape"]), model.reconstruct(b), atol=0)
    with pytest.raises(ValueError, match="--latent_scales"):
        model.encode(a)


def test_one_appearance_for_many_shapes():
    model, data = initialised(SMALL), batch(SMALL)
    first = {key: value[:1] for key, value in data.items()}
    same = {key: np.repeat(value[:1], 3, axis=0) for key, value in data.items()}
    assert_close(model.transfer(first, data["shape"]), model.transfer(same, data["shape"]), atol=1e-5)
    two = {key: value[:2] for key, value in data.items()}
    with pytest.raises(ValueError, match="batches of one size"):
        model.transfer(two, data["shape"])


def test_standard_normal_prior_is_standard_normal():
    config = dataclasses.replace(SMALL, prior="standard_normal")
    model, data = initialised(config), batch(config)
    _, z = model.sample(data["shape"], seed=4)
    assert_close(z, model.noise(3, seed=4), atol=0)
    out = model(model.training_inputs(data))
    assert not any(np.any(p) for p in out["prior"])


# Errors


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"image_size": 100}, "image_size"),
        ({"image_size": "128"}, "image_size"),
        ({"appearance": "crops"}, "appearance"),
        ({"variance": "full"}, "variance"),
        ({"prior": "gaussian"}, "prior"),
        ({"activation": "sin"}, "activation"),
        ({"latent_scales": 4}, "latent_scales"),
        ({"latent_scales": -1}, "latent_scales"),
        ({"image_size": 16, "bottleneck_factor": 3, "latent_scales": 2}, "latent_scales"),
        ({"bottleneck_factor": 7}, "bottleneck_factor"),
        ({"box_factor": -1}, "box_factor"),
        ({"parts": 0}, "parts"),
        ({"parts": 7}, "parts=7: must be 8 or 10 with --appearance=parts"),
        ({"shape_channels": 0}, "shape_channels"),
        ({"max_width": 16}, "max_width"),
        ({"blocks_per_scale": 1}, "blocks_per_scale"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_impossible_configurations_name_the_flag(settings, flag):
    with pytest.raises(ValueError, match=f"--{flag}"):
        ModelConfig(**settings)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="unknown model settings: widht"):
        ModelConfig.from_dict({"widht": 3})


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (lambda b: {**b, "shape": b["shape"][:, :8, :8]}, "--image_size"),
        (lambda b: {**b, "shape": b["shape"][..., :1]}, "--shape_channels"),
        (lambda b: {**b, "parts": b["parts"][..., :3]}, "--parts"),
        (lambda b: {**b, "parts": b["parts"][:, ::2, ::2]}, "--box_factor"),
        (lambda b: {k: v for k, v in b.items() if k != "parts"}, "--appearance=picture"),
        (lambda b: {**b, "shape": b["shape"][0]}, "batch"),
        (lambda b: {**b, "shape": (127 * b["shape"]).astype("uint8")}, "floats in"),
    ],
)
def test_batches_that_do_not_fit_name_the_flag(change, flag):
    with pytest.raises(ValueError, match=flag):
        initialised(SMALL).reconstruct(change(batch(SMALL)))


# The models of the field


def test_every_choice_of_model_is_registered_and_says_what_it_can_do():
    (field,) = (field for field in dataclasses.fields(ModelConfig) if field.name == "model")
    assert set(registry.MODELS) == set(field.metadata["choices"])
    for name in registry.MODELS:
        model = registry.build(ModelConfig(image_size=16, width=4, max_width=8, appearance="picture", model=name))
        assert type(model) is registry.class_of(name) and model.config.model == name
        assert model.uses and set(model.refusals()) == set(USES) - model.uses
        for use in model.refusals():
            with pytest.raises(InputError, match=r"--\w+=\w+: \w+"):  # the flag, and why
                model.require(use)
