"""The terms of the objective, each recomputed in NumPy; VGG19 with a file of random weights."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.config import TrainingConfig
from vunet_tf.files.errors import InputError
from vunet_tf.models.distributions import DiagonalGaussian
from vunet_tf.objective import losses
from vunet_tf.objective.perceptual import FEATURES, VGG19Features


def picture(seed, side=32):
    return np.random.default_rng(seed).uniform(-1, 1, (2, side, side, 3)).astype("float32")


@pytest.fixture(scope="module")
def vgg_weights(tmp_path_factory):
    """A file of random VGG19 weights without classifier, in the layout of the published one."""
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg19_notop.weights.h5"
    keras.applications.VGG19(include_top=False, weights=None).save_weights(path)
    return path


def test_l1_is_five_times_the_mean_difference_on_the_0_255_scale():
    x, y = picture(0), picture(1)
    np.testing.assert_allclose(losses.l1(x, y)["l1"], 5 * np.abs(x - y).mean() * 127.5, rtol=1e-5)


def test_structural_similarity_equals_numpy():
    a, b = (picture(seed, 9).astype("float64") for seed in (0, 1))
    values = []
    for i in range(3):
        for j in range(3):
            p, q = (x[:, i : i + 7, j : j + 7] for x in (a, b))
            mean_p, mean_q = p.mean((1, 2)), q.mean((1, 2))
            covariance = (p * q).mean((1, 2)) - mean_p * mean_q
            c1, c2 = 0.02**2, 0.06**2
            numerator = (2 * mean_p * mean_q + c1) * (2 * covariance + c2)
            values.append(numerator / ((mean_p**2 + mean_q**2 + c1) * (p.var((1, 2)) + q.var((1, 2)) + c2)))
    np.testing.assert_allclose(losses.structural_similarity(a, b), np.mean(values), rtol=1e-4)


def test_l1_ssim_is_zero_on_the_truth_and_the_sum_of_both():
    x, y = picture(0), picture(1)
    np.testing.assert_allclose([float(term) for term in losses.l1_ssim(x, x).values()], 0, atol=1e-3)
    terms = losses.l1_ssim(x, y)
    np.testing.assert_allclose(terms["l1"], 5 * 127.5 * np.abs(x - y).mean(), rtol=1e-5)
    ssim = float(losses.structural_similarity(x, y))
    np.testing.assert_allclose(terms["ssim"], 5 * losses.STRUCTURE * 255 * (1 - ssim) / 2, rtol=1e-5)


def test_gram_equals_numpy():
    phi = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    expected = np.einsum("bhwc,bhwd->bcd", phi, phi) / (4 * 3 * 4)
    np.testing.assert_allclose(losses.gram(tf.constant(phi)), expected, rtol=1e-4, atol=1e-6)


def test_vgg_input_is_bgr_on_the_0_255_scale_without_its_mean():
    red = np.full((1, 16, 16, 3), -1, "float32")
    red[..., 0] = 1
    features = VGG19Features(None)(tf.constant(red))
    assert len(features) == len(FEATURES)
    np.testing.assert_allclose(features[0][0, 0, 0], [0 - 103.939, 0 - 116.779, 255 - 123.68], atol=1e-3)


def test_perceptual_terms_equal_their_formula(vgg_weights):
    w, v = (1, 0.5, 0, 1, 2, 1), (0, 0.1, 0, 0, 0, 0.2)
    loss = losses.Perceptual(str(vgg_weights), w, v)
    x, x_hat = tf.constant(picture(0)), tf.constant(picture(1))
    terms = loss(x, x_hat)
    assert set(terms) == {f"vgg_{n}" for n, k in zip(FEATURES, w, strict=True) if k} | {
        "gram_block1_conv2",
        "gram_block5_conv2",
    }
    reference = keras.applications.VGG19(include_top=False, weights=None)
    reference.load_weights(vgg_weights)
    outputs = keras.Model(reference.input, [reference.get_layer(name).output for name in FEATURES[1:]])
    bgr = [keras.applications.vgg19.preprocess_input((a.numpy() + 1) * 127.5) for a in (x, x_hat)]
    phis = [[a, *(phi.numpy() for phi in outputs(a))] for a in bgr]
    for name, w_k, phi, phi_hat in zip(FEATURES, w, *phis, strict=True):
        if w_k:
            np.testing.assert_allclose(terms[f"vgg_{name}"], 5 * w_k * np.abs(phi - phi_hat).mean(), rtol=1e-3)
    grams = [losses.gram(tf.constant(phi[5])).numpy() for phi in phis]
    np.testing.assert_allclose(terms["gram_block5_conv2"], 5 * 0.2 * np.abs(grams[0] - grams[1]).mean(), rtol=1e-3)


def test_the_published_file_layout_is_read(vgg_weights, tmp_path):
    """Keras publishes these weights in its older layout: a group per layer, named in attributes."""
    vgg = keras.applications.VGG19(include_top=False, weights=None)
    vgg.load_weights(vgg_weights)
    path = tmp_path / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in vgg.layers]
        for layer in vgg.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{kind}" for kind in "Wb"][: len(layer.weights)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group[name] = weight
    new, old = (VGG19Features(str(p))(picture(0)) for p in (vgg_weights, path))
    for a, b in zip(new, old, strict=True):
        np.testing.assert_array_equal(a, b)


def test_perceptual_gives_gradient_to_the_reconstruction_alone(vgg_weights):
    loss = losses.Perceptual(str(vgg_weights), gram_weights=(0.1,) * 6)
    x, x_hat = tf.Variable(picture(0)), tf.Variable(picture(1))
    with tf.GradientTape() as tape:
        value = sum(loss(x, x_hat).values())
    to_x, to_x_hat = tape.gradient(value, [x, x_hat])
    assert to_x is None or not np.any(to_x)
    assert np.all(np.isfinite(to_x_hat))
    assert np.any(to_x_hat)
    assert not loss.features.network.trainable_variables


def test_perceptual_is_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        terms = losses.Perceptual(None)(tf.cast(picture(0), tf.bfloat16), tf.cast(picture(1), tf.bfloat16))
        assert {term.dtype for term in terms.values()} == {tf.float32}
        assert keras.config.dtype_policy().name == "mixed_bfloat16"  # put back
    finally:
        keras.config.set_dtype_policy(policy)


def test_weights_that_cannot_be_downloaded_are_one_clear_error(monkeypatch):
    def vgg19(**arguments):
        raise Exception("URL fetch failure")  # what Keras raises

    monkeypatch.setattr(keras.applications, "VGG19", vgg19)
    with pytest.raises(InputError, match=r"--vgg_weights=imagenet: URL fetch failure; .* name the file"):
        VGG19Features()
    assert keras.config.dtype_policy().name == "float32"


def test_wrong_weights_and_sizes_name_their_flag(tmp_path):
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(other)
    for path in (other, tmp_path / "missing.weights.h5"):
        with pytest.raises(ValueError, match="--vgg_weights"):
            VGG19Features(str(path))
    with pytest.raises(ValueError, match="--image_size"):
        VGG19Features(None)(picture(0, side=8))


def test_negative_elbo_is_reconstruction_plus_beta_kl():
    latent = DiagonalGaussian()
    q, p = (np.random.default_rng(seed).normal(size=(2, 4, 4, 3)).astype("float32") for seed in (0, 1))
    kl = losses.kl_terms(lambda q, p, z: latent.kl(q, p), [q, p], [p, p], [q, p])
    np.testing.assert_allclose(kl["kl_0"], 0.5 * ((q - p) ** 2).sum((1, 2, 3)).mean(), rtol=1e-5)
    np.testing.assert_allclose(kl["kl_1"], 0)
    reconstruction = losses.reconstruction_loss(TrainingConfig(reconstruction="l1"))(picture(0), picture(1))
    total = losses.negative_elbo(reconstruction, kl, kl_weight=0.25)
    np.testing.assert_allclose(total, reconstruction["l1"] + 0.25 * kl["kl_0"], rtol=1e-6)
