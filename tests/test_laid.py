"""Appearance that is laid on the parts of the body: gathering and laying, the prior part by part, and its uses."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

import vunet_tf
from vunet_tf import VUNet
from vunet_tf.body.body_parts import body_regions, regions_of
from vunet_tf.body.skeleton import JOINT_INDEX
from vunet_tf.config import ModelConfig, TrainingConfig
from vunet_tf.data.batches import shape_of, training_batches
from vunet_tf.data.dataset import read_examples
from vunet_tf.evaluation import parts as agreement
from vunet_tf.files.errors import InputError
from vunet_tf.generation import Generator, parts
from vunet_tf.models.part_maps import Gather, Lay
from vunet_tf.models.part_prior import PartPrior
from vunet_tf.people import sample_pose
from vunet_tf.training.step import TrainingStep

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(laid_run):
    return vunet_tf.load(laid_run)


@pytest.fixture(scope="module")
def batch(figures_dataset):
    return next(iter(training_batches(figures_dataset, 4)))


def normal(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def test_gather_is_the_mean_under_each_map_and_lay_puts_it_back():
    maps, features, z = np.zeros((1, 4, 4, 3), np.float32), normal(1, 4, 4, 5), normal(1, 3, 2)
    maps[0, :2, :, 0] = maps[0, 2:, :2, 1] = maps[0, 2:, 2:, 2] = 1
    gathered = Gather()(features, maps).numpy()
    np.testing.assert_allclose(gathered[0, 0, 0], features[0, :2].sum((0, 1)) / 9, rtol=1e-5)
    np.testing.assert_allclose(gathered[0, 2, 0], features[0, 2:, 2:].sum((0, 1)) / 5, rtol=1e-5)
    laid = Lay()(z, maps).numpy()
    np.testing.assert_allclose(laid[0, 3, 0], z[0, 1], rtol=1e-6)
    np.testing.assert_allclose(laid[0, 0, 3], z[0, 0], rtol=1e-6)


def prior_with_weights():
    prior = PartPrior(5, 3, "learned")
    h = normal(2, 4, 4, 7)
    prior(h, z=normal(2, 5, 3))
    prior.set_weights([normal(*weight.shape) / 10 for weight in prior.get_weights()])
    return prior, h


def test_each_part_of_the_prior_sees_only_the_parts_before_it():
    prior, h = prior_with_weights()
    z = normal(2, 5, 3)
    before = prior(h, z=z)[0].numpy()
    z[:, 2, -2] += 1
    changed = np.abs(prior(h, z=z)[0].numpy() - before).max((0, 2)) > 1e-6
    assert changed.tolist() == [False, False, True, True, True]  # numbers of a code also see those before them in it


def test_numbers_within_a_code_are_drawn_with_a_full_covariance():
    """Samples have the covariance L diag(scale^2) L^T, and the density of one is that of this Gaussian (SciPy)."""
    prior = PartPrior(1, 3, "learned")
    prior(normal(1, 4, 4, 7), z=normal(1, 1, 3))
    weights = [normal(*weight.shape) / 20 for weight in prior.get_weights()]
    weights[-1] = np.float32([[[9, 9, 9], [0.8, 9, 9], [-0.5, 0.6, 9]]])
    weights[-2] = np.float32([0.05, -0.1, 0.02, -2, -2.5, -1.8])
    prior.set_weights(weights)
    count = 20000
    h = np.repeat(normal(1, 4, 4, 7), count, 0)
    parameters, z = prior(h, noise=normal(count, 1, 3))
    below = np.array([[1, 0, 0], [0.8, 1, 0], [-0.5, 0.6, 1]])
    _, scale = prior.latent.mean_and_scale(prior(h[:1])[0])
    covariance = below @ np.diag(np.square(scale[0, 0])) @ below.T
    np.testing.assert_allclose(np.cov(z[:, 0].numpy().T), covariance, rtol=0.05, atol=2e-4)
    expected = multivariate_normal(prior(h[:1])[1][0, 0], covariance).logpdf(z[:5, 0])
    np.testing.assert_allclose(prior.latent.log_prob(prior(h[:5], z=z[:5])[0], z[:5]), expected, rtol=1e-3)
    np.testing.assert_allclose(prior.latent.log_prob(parameters[:5], z[:5]), expected, rtol=1e-3)


def test_masked_weights_change_nothing():
    prior, h = prior_with_weights()
    z = normal(2, 5, 3)
    before = prior(h, z=z)[0].numpy()
    prior.zero_masked()
    np.testing.assert_array_equal(prior(h, z=z)[0], before)
    assert (prior.from_codes.numpy() == 0).mean() > 0.5 and (prior.to_parameters.numpy() == 0).mean() >= 0.4


def test_samples_of_the_prior_have_the_parameters_that_they_were_drawn_with():
    prior, h = prior_with_weights()
    parameters, z = prior(h, noise=normal(2, 5, 3) / 4)
    np.testing.assert_allclose(prior(h, z=z)[0], parameters, atol=1e-5)


def test_samples_stay_where_codes_of_pictures_lie():
    """However strongly each part drives the next one away, as a trained prior did."""
    prior, h = prior_with_weights()
    prior.set_weights([5 * weight for weight in prior.get_weights()])
    z = np.abs(prior(h, noise=normal(2, 5, 3) / 2)[1])
    assert z.max() == 1 and z.min() < 0.9


def test_parts_that_are_kept_keep_their_code_and_the_others_follow_them():
    prior, h = prior_with_weights()
    z, noise = normal(2, 5, 3), normal(2, 5, 3)
    keep = np.zeros((2, 5, 1), np.float32)
    keep[:, 1] = 1
    drawn = prior(h, z=z, noise=noise, keep=keep)[1].numpy()
    np.testing.assert_array_equal(drawn[:, 1], z[:, 1])
    free = prior(h, noise=noise)[1].numpy()
    np.testing.assert_allclose(drawn[:, 0], free[:, 0], atol=1e-6)
    assert np.abs(drawn[:, 2:] - free[:, 2:]).max() > 1e-3


def test_part_maps_add_up_to_one_and_need_only_the_shape(run, batch):
    maps = run.model.wiring("parts")({"shape": batch["shape"]}).numpy()
    assert maps.shape == (4, 16, 16, 6)
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)


def test_transfer_is_encode_and_generate(run, batch):
    model = run.model
    shape = batch["shape"][::-1]
    expected = model.generate(shape, model.encode(batch))
    np.testing.assert_allclose(model.transfer(batch, shape), expected, atol=1e-5)
    assert [z.shape.as_list() for z in model.encode(batch)] == [[4, 8, 4]]


TRAINING = TrainingConfig(steps=4, batch_size=4, reconstruction="l1", kl_schedule="constant")


def pairs_of_pictures(dataset):
    """Batches in which F sees another picture than the one that is to be made."""
    seen = {"appearance_image": "image", "appearance_shape": "shape"}
    batches = training_batches(dataset, 4)
    return batches.map(lambda batch: batch | {new: tf.roll(batch[key], 1, 0) for new, key in seen.items()})


def test_every_weight_is_trained(figures_dataset, run):
    step = TrainingStep(run.model.config, TRAINING)
    batches = pairs_of_pictures(figures_dataset)  # the frame of the texture learns from them
    step.initialise(list(batches.take(1)))
    before = [variable.numpy() for variable in step.model.trainable_variables]
    step.train(iter(batches), tf.constant(4))
    still = [
        variable.path
        for variable, old in zip(step.model.trainable_variables, before, strict=True)
        if not (variable.numpy() != old).any()
    ]
    assert not still


def test_a_model_without_latents_has_no_texture_that_could_agree(figures_dataset, run):
    step = TrainingStep(dataclasses.replace(run.model.config, latent_scales=0), TRAINING)
    terms = step.loss_terms(next(iter(pairs_of_pictures(figures_dataset))), [], training=False)
    assert "texture" not in terms and np.isfinite(terms["loss"])


def test_folded_and_reloaded_models_make_the_same_pictures(run, batch, laid_run):
    expected = run.model.transfer(batch, batch["shape"]).numpy()
    np.testing.assert_allclose(run.model.fold().transfer(batch, batch["shape"]), expected, atol=1e-5)
    again = vunet_tf.load(laid_run).model
    np.testing.assert_array_equal(again.transfer(batch, batch["shape"]), expected)


def test_without_latents_or_with_a_plain_prior(run, batch):
    alone = VUNet(dataclasses.replace(run.model.config, latent_scales=0))
    assert alone.transfer(batch, batch["shape"]).shape == (4, 32, 32, 3)
    plain = VUNet(dataclasses.replace(run.model.config, prior="standard_normal"))
    noise = [normal(4, 8, 4)]
    np.testing.assert_allclose(plain.sample(batch["shape"], noise=noise)[1][0], noise[0])


@pytest.mark.parametrize("wrong", [{"appearance": "parts"}, {"map_factor": 3}])
def test_what_cannot_be_is_named(wrong):
    with pytest.raises(InputError, match=f"--{next(iter(wrong))}="):
        ModelConfig(**{"image_size": 32, "latent": "laid", "appearance": "picture", **wrong})


def test_the_torso_lies_between_shoulders_and_hips():
    joints = sample_pose(0, 0).joints
    regions = body_regions(joints, 64)
    chest = joints[[JOINT_INDEX[name] for name in ("rshoulder", "lshoulder", "rhip", "lhip")]].mean(0)
    x, y = (64 * chest).astype(int)
    assert regions["torso"][y, x]
    x, y = (64 * (joints[JOINT_INDEX["rknee"]] * 0.5 + joints[JOINT_INDEX["rankle"]] * 0.5)).astype(int)
    assert regions["legs"][y, x]
    assert np.sum(list(regions.values()), axis=0).max() == 1


def test_parts_are_named_by_the_region_that_they_cover():
    joints = sample_pose(0, 0).joints
    regions = body_regions(joints, 32)
    maps = np.zeros((1, 32, 32, 3), np.float32)
    maps[0, ..., 0], maps[0, ..., 2] = regions["head"], regions["legs"]
    maps[0, ..., 1] = 1 - maps[0].sum(-1)
    assert regions_of(maps, [joints]) == ["head", "background", "legs"]


def test_parts_are_chosen_by_number_and_region():
    regions = ["torso", "arms", "torso", "background"]
    assert parts.chosen("torso", regions, 4) == [0, 2]
    assert parts.chosen("arms+0+3", regions, 4) == [0, 1, 3]
    for wrong, regions_then in (("shirt", regions), ("4", regions), ("head", regions), ("torso", None)):
        with pytest.raises(InputError, match=wrong):
            parts.chosen(wrong, regions_then, 4)


def test_the_texture_has_a_name_and_goes_with_the_torso():
    regions = ["arms", "torso", "background"]
    assert parts.chosen("texture", None, 3, texture_codes=2) == [3, 4]
    assert parts.chosen("torso", regions, 3, texture_codes=2) == [1, 3, 4]
    assert parts.chosen("arms", regions, 3, texture_codes=2) == [0]
    for wrong, codes in (("texture", 0), ("3", 2)):
        with pytest.raises(InputError, match=wrong):
            parts.chosen(wrong, regions, 3, codes)


def test_single_parts_are_exchanged(run):
    generator = Generator(run)
    every = "+".join([*map(str, range(6)), "texture"])
    other = generator.transfer("valid:1", "valid:2").array()
    np.testing.assert_array_equal(generator.transfer("valid:0", "valid:2", [f"{every}:valid:1"]).array(), other)
    one = generator.transfer("valid:0", "valid:2", ["3:valid:1"]).array()
    assert (one != other).any() and (one != generator.transfer("valid:0", "valid:2").array()).any()


def test_only_the_named_parts_are_drawn(run):
    generator = Generator(run)
    every = "+".join([*map(str, range(6)), "texture"])
    drawn = generator.sample("valid:2", samples=3, seed=1, appearances="valid:0", vary=every).array()
    np.testing.assert_array_equal(drawn, generator.sample("valid:2", samples=3, seed=1).array())
    with pytest.raises(InputError, match="--vary"):
        generator.sample("valid:2", vary="1")


def test_the_picture_of_the_parts_numbers_them(run):
    cells = list(Generator(run).parts("valid:0-1"))
    assert [cell.picture.shape for cell in cells] == [(128, 128, 3)] * 2


class OracleParts:
    """A model whose parts are the regions of the body: it knows the joints of each shape."""

    def __init__(self, people, one_part):
        self.people, self.one_part = people, one_part

    def wiring(self, use):
        assert use == "parts"
        return lambda inputs: tf.numpy_function(self.maps, [inputs["shape"]], tf.float32)

    def maps(self, shapes):
        found = []
        for shape in shapes:
            (joints,) = [person.joints for person in self.people if np.allclose(shape_of(person, 32), shape, atol=1e-3)]
            regions = list(body_regions(joints, 16).values())
            found.append(np.stack([*regions, ~np.any(regions, axis=0)], axis=-1))
        found = np.array(found, np.float32)
        return found.sum(-1, keepdims=True) if self.one_part else found


def test_parts_that_are_those_of_the_body_agree_with_it(figures_dataset):
    people = list(read_examples(figures_dataset, "valid"))
    (right, chance) = agreement.measure(OracleParts(people, False), figures_dataset, "valid", range(20), 8, 0)
    assert right.value == pytest.approx(1) and 0.25 < chance.value < 0.6
    (one, same) = agreement.measure(OracleParts(people, True), figures_dataset, "valid", range(20), 8, 0)
    assert one.value == pytest.approx(same.value) == pytest.approx(chance.value)


def test_a_model_without_parts_says_so(figures_run):
    with pytest.raises(InputError, match="--latent=maps"):
        Generator(vunet_tf.load(figures_run)).parts("valid:0")


def test_tflite_runs_in_one_piece_and_answers_like_keras(laid_run, batch):
    from export import runtime, trained
    from export.tflite import graph, model_file

    model = trained.load(laid_run).model
    content = graph.model_graph(model)
    assert [model_file.signature(content, use).partitions for use in graph.USES] == [1, 1, 1]
    file = runtime.TFLiteFile(content)
    one = {key: batch[key][:1].numpy() for key in ("image", "shape")}
    z = file.call("encode", one)["z_0"]
    np.testing.assert_allclose(z, model.encode(one)[0], atol=1e-4)
    made = file.call("generate", {"shape": one["shape"], "z_0": z})["image"]
    np.testing.assert_allclose(made, np.clip(model.transfer(one, one["shape"]), -1, 1), atol=1e-3)
    noise = normal(1, 8, 4)
    drawn = file.call("sample", {"shape": one["shape"], "noise_0": noise})
    image, (z,) = model.sample(one["shape"], noise=[noise])
    np.testing.assert_allclose(drawn["image"], np.clip(image, -1, 1), atol=1e-3)
    np.testing.assert_allclose(drawn["z_0"], z, atol=1e-4)


def test_what_int8_keeps_in_float_is_found_by_its_name(laid_run):
    """All part maps, and at full resolution the last block, the last convolution and the picture, and no more."""
    from ai_edge_litert.tools import flatbuffer_utils

    from export import trained
    from export.tflite import graph

    model = trained.load(laid_run).model
    content = graph.model_graph(model, ("encode", "generate"))
    read = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    patterns = graph.kept_in_float(content, model.config)
    names = {
        f"{part.tensors[op.outputs[0]].name.decode()};"  # as the quantizer ends them
        for part in read.subgraphs
        for op in part.operators
    }
    convolutions = set()
    for pattern in patterns:
        found = {name for name in names if re.search(pattern, name)}
        assert found, pattern
        convolutions |= {name for name in found if "convolution" in name and "part_maps" not in name}
    last = model.config.scales - 1
    assert {name.split("/")[0].removesuffix("_1") for name in convolutions} == {f"block_{last}_1", "to_picture"}


def test_int8_stays_in_one_piece_and_near_to_keras(laid_run, batch, tmp_path):
    from export import runtime, trained
    from export.tflite import files, graph, model_file

    exported, random = trained.load(laid_run), np.random.default_rng(0)
    # Weights that come from one batch make some channels of an untrained network so large that int8 rounds all others
    # away, and weights of 0, as at the start of a training, would give int8 steps of size 0.
    exported.model.set_weights(VUNet(exported.model.config).get_weights())
    for weight in exported.model.weights:
        if not weight.numpy().any():
            weight.assign(random.normal(size=weight.shape) / 10)
    files.write(exported, tmp_path, ("int8",), count=8)
    content = (tmp_path / files.file_name("int8")).read_bytes()
    assert [model_file.signature(content, use).partitions for use in graph.USES] == [1, 1, 1]
    file = runtime.TFLiteFile(content)
    one = {key: batch[key][:1].numpy() for key in ("image", "shape")}
    z = file.call("encode", one)["z_0"]
    true_z = exported.model.encode(one)[0].numpy()
    assert np.abs(z - true_z).mean() < 0.05 * np.abs(true_z).mean()
    made = file.call("generate", {"shape": one["shape"], "z_0": true_z})["image"]
    true = np.clip(exported.model.generate(one["shape"], [true_z]), -1, 1)
    assert np.abs(made - true).mean() < 0.1
    sampled = file.call("sample", {"shape": one["shape"], "noise_0": np.zeros_like(z)})
    image, (true_z,) = exported.model.sample(one["shape"], noise=[np.zeros_like(z)])
    assert np.abs(sampled["z_0"] - true_z).mean() < 0.05 * np.abs(true_z).mean()
    assert np.abs(sampled["image"] - np.clip(image, -1, 1)).mean() < 0.1
