"""The texture in the frame of the shape: where its texels lie, and that colours come back where they were."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.fft import idctn

from vunet_tf.body.stickman import draw_stickman
from vunet_tf.files.errors import InputError
from vunet_tf.models.texture import (
    ALONG,
    COLUMNS,
    ROWS,
    CodesToTexture,
    GatherTexture,
    LayTexture,
    Texels,
    TextureToCodes,
    disagreement,
    waves,
)
from vunet_tf.people import draw, sample_look, sample_pose

SIDE = 64
Y, X = np.mgrid[0:SIDE, 0:SIDE] + 0.5


def trunk(centre, degrees, length=24, width=14):
    """A shape [1, S, S, 3] whose last channel is a rectangle, and places (along, across) [S, S] in its lengths."""
    angle = np.radians(degrees)
    right, down = X - centre[0], Y - centre[1]
    along = right * np.sin(angle) + down * np.cos(angle)
    across = right * np.cos(angle) - down * np.sin(angle)
    inside = (abs(along) < length / 2) & (abs(across) < width / 2)
    shape = np.full((1, SIDE, SIDE, 3), -1, np.float32)
    shape[0, ..., 2] = np.where(inside, 1, -1)
    return shape, along / length, across / length, inside


@pytest.mark.parametrize(("centre", "degrees"), [((32, 32), 0), ((20, 40), 0), ((30, 34), 25), ((30, 34), -60)])
def test_texels_follow_the_trunk(centre, degrees):
    shape, along, _, inside = trunk(centre, degrees)
    rows, columns = (weights.numpy().reshape(SIDE, SIDE, -1) for weights in Texels()(shape))
    np.testing.assert_allclose(rows[inside].sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(columns[inside].sum(-1), 1, atol=1e-5)
    found = rows[inside] @ np.arange(ROWS)
    np.testing.assert_allclose(found, (along[inside] / ALONG + 0.5) * (ROWS - 1), atol=0.25)


def test_a_shape_without_a_trunk_has_some_frame():
    rows, columns = Texels()(np.full((1, SIDE, SIDE, 3), -1, np.float32))
    assert np.isfinite(rows).all() and np.isfinite(columns).all()


def test_stripes_follow_the_trunk_into_another_shape():
    """Stripes from an upright trunk are laid on a smaller one that leans: the same stripes, minus their mean."""
    shape, along, _, _ = trunk((32, 32), 0)

    def stripes(along):
        return np.stack([np.sin(2 * np.pi * 2 * along), along, 0 * along], -1)

    picture = stripes(along)[None].astype(np.float32)
    gathered = GatherTexture()(picture, shape, *Texels()(shape)).numpy().reshape(COLUMNS, ROWS, 4)
    wanted, along, _, inside = trunk((36, 30), 35, 20, 11)
    lay = LayTexture(SIDE)
    texture = gathered[..., :3].reshape(1, -1)
    laid = lay(texture, *Texels()(wanted), np.ones((1, 8, 8, 1), np.float32)).numpy()[0]
    inner = inside & (abs(along) < 0.4)
    for channel in (0, 1):
        truth = stripes(along)[..., channel][inner]
        assert np.corrcoef(laid[..., channel][inner], truth)[0, 1] > 0.95
        assert np.abs(laid[..., channel][inner] - truth).mean() < 0.2 * np.abs(truth).mean() + 0.05
    assert np.abs(laid[..., 2]).max() < 1e-5


def test_hidden_texels_are_nothing():
    shape, *_ = trunk((32, 32), 0)
    shape[0, :32, :, 2] = -1  # the upper half is not there, so the frame is that of the lower half
    gathered = GatherTexture()(np.ones((1, SIDE, SIDE, 3), np.float32), shape, *Texels()(shape)).numpy()
    seen = gathered.reshape(COLUMNS, ROWS, 4)[..., 3]
    assert seen.max() > 0.9 and seen.min() == 0
    # One colour: nothing differs from the mean.
    np.testing.assert_allclose(gathered.reshape(-1, 4)[:, :3], 0, atol=0.05)


def test_parts_may_hide_the_texture():
    shape, *_ = trunk((32, 32), 0)
    maps = np.zeros((1, 8, 8, 2), np.float32)
    maps[..., :4, 0] = maps[..., 4:, 1] = 1
    lay = LayTexture(SIDE)
    texture = np.ones((1, COLUMNS * ROWS * 3), np.float32)
    rows, columns = Texels()(shape)
    lay(texture, rows, columns, maps)
    lay.set_weights([np.array([[1], [0]], np.float32)])
    laid = lay(texture, rows, columns, maps).numpy()[0]
    np.testing.assert_allclose(laid[32, 26:28], 1, atol=1e-5)
    np.testing.assert_allclose(laid[32, 37:], 0, atol=1e-5)


def test_waves_are_those_of_the_cosine_transform_the_longest_first():
    every = waves(COLUMNS * ROWS)
    np.testing.assert_allclose(every @ every.T, np.eye(COLUMNS * ROWS), atol=1e-5)
    of_scipy = []
    for place in np.ndindex(COLUMNS, ROWS):
        spectrum = np.zeros((COLUMNS, ROWS))
        spectrum[place] = 1
        of_scipy.append(idctn(spectrum, norm="ortho").ravel())
    found = np.abs(np.array(of_scipy) @ every.T).argmax(0)  # which wave of SciPy each of ours is
    np.testing.assert_allclose(np.array(of_scipy)[found], every, atol=1e-5)
    across, along = np.divmod(found[:30], ROWS)
    assert (across[0], along[0]) == (0, 0) and across.max() < 6 and along.max() < 8
    with pytest.raises(InputError, match="--texture_codes"):
        waves(COLUMNS * ROWS + 1)


def test_a_texture_of_long_waves_passes_through_the_codes():
    codes, channels = 5, 7  # 11 waves of three colours, and two numbers that are left
    texture = np.random.default_rng(0).normal(size=(2, 3, 11)) @ waves(11)
    gathered = np.ones((2, COLUMNS * ROWS, 4), np.float32)
    gathered[..., :3] = texture.transpose(0, 2, 1)
    z = TextureToCodes(codes, channels)(gathered.reshape(2, -1))
    assert z.shape == (2, codes, channels) and not np.any(np.reshape(z, (2, -1))[:, 33:])
    back = CodesToTexture(codes, channels)(z).numpy().reshape(2, -1, 3)
    np.testing.assert_allclose(back, gathered[..., :3], atol=1e-5)


def test_the_frame_follows_the_nose_of_someone_who_turns():
    shape, _, _, inside = trunk((32, 36), 0)
    turned = shape.copy()
    line = (abs(X - 34 - (24 - Y) / 4) < 1) & (Y < 23) & (Y > 14)  # from the neck up and to the right
    turned[0, line, :2] = 0

    def columns(shape, turning):
        return Texels(turning)(shape)[1].numpy().reshape(SIDE, SIDE, -1)[inside] @ np.arange(COLUMNS)

    np.testing.assert_array_equal(columns(turned, False), columns(shape, False))
    np.testing.assert_array_equal(columns(shape, True), columns(shape, False))
    moved = columns(shape, True) - columns(turned, True)
    assert moved.min() > 0.5 and moved.max() < 4


def turning_texels():
    """With other weights than at first, when the network adds nothing."""
    texels = Texels(turning=True)
    texels(np.full((1, SIDE, SIDE, 3), -1, np.float32))
    random = np.random.default_rng(0)
    texels.set_weights([random.normal(size=weight.shape) / 8 for weight in texels.get_weights()])
    return texels


def test_the_frame_of_a_mirrored_person_moves_to_the_other_side():
    texels, joints = turning_texels(), np.stack([sample_pose(0, i).joints for i in range(8)])
    shape = draw_stickman(tf.constant(joints), SIDE, SIDE).numpy()
    mirrored = shape[:, :, ::-1][..., [1, 0, 2]]
    rows, columns, added = texels.learning(shape)
    rows_there, columns_there, added_there = texels.learning(mirrored)
    assert np.abs(added).max() > 0.01
    np.testing.assert_allclose(added_there, -added, atol=1e-4)

    def flipped(weights):
        return weights.numpy().reshape(8, SIDE, SIDE, -1)[:, :, ::-1]

    np.testing.assert_allclose(flipped(rows_there), rows.numpy().reshape(8, SIDE, SIDE, -1), atol=2e-3)
    np.testing.assert_allclose(flipped(columns_there)[..., ::-1], columns.numpy().reshape(8, SIDE, SIDE, -1), atol=2e-3)


def test_textures_disagree_where_both_are_seen_and_their_colours_differ():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 3, COLUMNS * ROWS, 4)).astype(np.float32)
    a[..., 3] = b[..., 3] = 1
    b[:, :90, :3] = a[:, :90, :3] + 0.5  # another mean colour alone does not count
    a[:, 90:, 3] = 0  # hidden
    assert float(disagreement(a.reshape(3, -1), b.reshape(3, -1))) < 1e-5
    a[:, 90:, 3] = 1
    assert 0.4 < float(disagreement(a.reshape(3, -1), b.reshape(3, -1))) < 0.6  # a half of them has nothing in common


def test_the_frame_learns_from_pairs_of_pictures_and_not_from_what_is_laid():
    """Emblems agree better if the frame follows the nose, and a frame that follows too little is told so."""
    texels, gather = Texels(turning=True), GatherTexture()
    texels(np.full((1, SIDE, SIDE, 3), -1, np.float32))
    looks = [look for look in (sample_look(0, i) for i in range(200)) if look.pattern == "emblem"][:24]
    facing = [pose for pose in (sample_pose(0, i) for i in range(100)) if pose.forward[1] > 0.3]
    both = []
    for poses in (facing[: len(looks)], facing[len(looks) :]):
        pictures = np.stack([draw(*pair, SIDE).image for pair in zip(looks, poses, strict=False)]) / 127.5 - 1
        shapes = draw_stickman(tf.constant(np.stack([pose.joints for pose in poses[: len(looks)]])), SIDE, SIDE)
        both.append((tf.constant(pictures, tf.float32), shapes))

    def apart(nose):
        texels.nose.assign(nose)
        return disagreement(*(gather(x, y, *texels.learning(y)[:2]) for x, y in both))

    assert apart(1.4) < apart(0.0) - 0.1
    with tf.GradientTape(persistent=True) as tape:
        loss = apart(0.7)
        laid = [tf.reduce_sum(weights**2) for weights in texels(both[0][1])]
    nose, *network = (tape.gradient(loss, weight.value) for weight in texels.trainable_variables)
    assert nose < 0 and np.abs(network[-1]).max() > 0
    assert [tape.gradient(laid, weight.value) for weight in texels.trainable_variables] == [None] * 6
