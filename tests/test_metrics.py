"""Each metric against an independent computation, on small arrays."""

import cv2
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vunet_tf.baselines.transfer import band_colours
from vunet_tf.evaluation import metrics
from vunet_tf.people import draw, sample_look, sample_pose


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (3, 24, 20, 3), np.uint8)
    noise = random.normal(0, 30, truth.shape)
    return truth, np.clip(truth + noise, 0, 255).astype(np.uint8), random.random((3, 24, 20)) < 0.4


def test_absolute_error_counts_pixel_by_pixel(pair):
    truth, made, mask = pair
    for i in range(3):
        differences = [abs(int(a) - int(b)) for a, b in zip(truth[i].ravel(), made[i].ravel(), strict=True)]
        assert metrics.absolute_error(truth, made)[i] == pytest.approx(np.mean(differences), rel=1e-5)
        inside = np.abs(truth[i].astype(int) - made[i].astype(int))[mask[i]]
        assert metrics.absolute_error(truth, made, mask)[i] == pytest.approx(inside.mean(), rel=1e-5)
    assert np.isnan(metrics.absolute_error(truth, made, np.zeros_like(mask))).all()


def test_psnr_and_ssim_are_those_of_scikit_image(pair):
    truth, made, mask = pair
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    for i in range(3):
        assert metrics.psnr(truth, made)[i] == pytest.approx(peak_signal_noise_ratio(truth[i], made[i]), rel=1e-5)
        _, local = structural_similarity(truth[i], made[i], channel_axis=-1, full=True, **settings)
        local = local[5:-5, 5:-5].mean(-1)  # windows that lie in the picture
        assert metrics.ssim(truth, made)[i] == pytest.approx(local.mean(), abs=1e-4)
        assert metrics.ssim(truth, made, mask)[i] == pytest.approx(local[mask[i, 5:-5, 5:-5]].mean(), abs=1e-4)


def test_the_truth_scores_perfectly(pair):
    truth, _, mask = pair
    assert (metrics.absolute_error(truth, truth, mask) == 0).all()
    assert np.isinf(metrics.psnr(truth, truth)).all()
    np.testing.assert_allclose(metrics.ssim(truth, truth), 1, atol=1e-6)
    np.testing.assert_allclose(metrics.ssim(truth[:, :8, :8], truth[:, :8, :8]), 1, atol=1e-6)


def test_an_interval_of_independent_values_is_that_of_scipy():
    values = np.random.default_rng(1).exponential(2, 80)
    value, low, high = metrics.mean_interval(values, np.arange(80))
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.15)
    assert (value, low, high) == metrics.mean_interval(values, np.arange(80)), "same seed, same numbers"


def test_copies_of_an_appearance_make_no_interval_narrower():
    values = np.random.default_rng(2).normal(0, 1, 20)
    once = metrics.mean_interval(values, np.arange(20))
    np.testing.assert_allclose(metrics.mean_interval(np.repeat(values, 9), np.repeat(np.arange(20), 9)), once)
    assert np.isnan(metrics.mean_interval(values, np.zeros(20))[1:]).all()


def test_a_ratio_of_sums_is_no_mean_of_ratios():
    value, low, high = metrics.ratio_interval([1, 2, 6], [1, 4, 2], ["a", "b", "c"])
    assert value == pytest.approx(9 / 7) and low < value < high


def test_frechet_distance_against_the_matrix_square_root():
    random = np.random.default_rng(3)
    a = random.normal(0, 1, (60, 6)) @ random.normal(0, 1, (6, 6))
    b = random.normal(0.5, 2, (50, 6))
    covariances = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(a[:4], a[:4]) == pytest.approx(0, abs=1e-5), "fewer examples than features"


def test_inception_score_of_sure_and_of_unsure_classifiers():
    assert metrics.inception_score(np.eye(7)[[0, 1, 2, 3, 4, 5, 6] * 3]) == pytest.approx(7)
    assert metrics.inception_score(np.full((9, 4), 0.25)) == pytest.approx(1)
    p = np.random.default_rng(4).dirichlet(np.ones(5), 30)
    divergences = [scipy.stats.entropy(row, p.mean(0)) for row in p]
    assert metrics.inception_score(p) == pytest.approx(np.exp(np.mean(divergences)))


def test_spread_and_differences_by_hand():
    square = np.array([[0, 0], [0, 2], [2, 0], [2, 2]])
    assert metrics.spread(square) == pytest.approx(np.sqrt(2))
    np.testing.assert_allclose(metrics.spread(np.stack([square, 3 * square])), [2**0.5, 3 * 2**0.5])
    pictures = [np.full((2, 2, 3), grey, np.uint8) for grey in (0, 30, 90)]
    assert metrics.mean_pairwise_error(pictures) == pytest.approx((30 + 90 + 60) / 3)
    assert np.isnan(metrics.mean_pairwise_error(pictures[:1]))


def test_shapes_agree_in_other_clothes_and_not_with_noise():
    """From best to worst: the same shape in other clothes, the same spoilt, another shape. Noise is at chance."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (32, 32, 3)).astype(np.float32)
    found = []
    for i in range(40):
        person, dressed = (draw(sample_look(0, look), sample_pose(0, i), 32).image for look in (i, i + 40))
        spoilt = cv2.GaussianBlur(dressed, (0, 0), 1.5) + random.normal(0, 5, dressed.shape)
        posed = draw(sample_look(0, i + 40), sample_pose(0, i + 40), 32).image
        noises = [np.roll(cv2.GaussianBlur(noise, (0, 0), sigma), i, (0, 1)) for sigma in (0.01, 1, 2, 4)]
        assert metrics.shape_agreement(person, person) == pytest.approx(1)
        assert metrics.shape_agreement(person, 255 - person) == pytest.approx(1)
        assert metrics.shape_agreement(person, np.full_like(person, 120)) == 0
        found.append([metrics.shape_agreement(person, other) for other in (dressed, spoilt, posed, *noises)])
    same, spoilt, other, *by_chance = np.mean(found, axis=0)
    assert same > spoilt + 0.05 and spoilt > other + 0.15 and other > max(by_chance) + 0.03
    assert np.abs(by_chance).max() < 0.05


def test_colours_of_a_picture():
    picture = np.zeros((16, 4, 3), np.uint8)
    picture[8:] = [255, 128, 0]
    shares = metrics.colour_histogram(picture)
    assert shares.sum() == pytest.approx(1) and shares[0] == 0.5 and shares[7 * 64 + 4 * 8] == 0.5
    mask = np.zeros((16, 4), bool)
    mask[4:12, 1:3] = True
    np.testing.assert_allclose(band_colours(picture, mask, 2)[:2], [[0, 0, 0], [255, 128, 0]])
    np.testing.assert_allclose(band_colours(picture, mask, 2)[2], [127.5, 64, 0])


def test_colour_errors_are_those_of_known_colours():
    # sRGB primaries in CIELAB, D65, as published (Lindbloom): red 53.24, 80.09, 67.20; green 87.73, -86.18, 83.18.
    red, green = np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    green[:, :2] = red[:, :2]
    lower = np.zeros((1, 4, 4), bool)
    lower[:, 2:] = True
    found = metrics.lab_errors(red, green, lower)
    np.testing.assert_allclose(found["lightness"], 87.73 - 53.24, atol=0.1)
    np.testing.assert_allclose(found["green_magenta"], 80.09 + 86.18, atol=0.2)
    np.testing.assert_allclose(found["blue_yellow"], 83.18 - 67.20, atol=0.2)
    np.testing.assert_allclose(found["delta_e"], 86.6, atol=0.1)  # CIEDE2000 of the two, as published
    np.testing.assert_allclose(metrics.lab_errors(red, green)["lightness"], (87.73 - 53.24) / 2, atol=0.1)
