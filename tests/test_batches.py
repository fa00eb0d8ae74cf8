"""Batches: every example comes once per epoch, and a position always has the same ones."""

import colorsys
import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import tensorflow as tf

from vunet_tf.body import keypoints
from vunet_tf.body.body_parts import Crops, crop_body_parts
from vunet_tf.data.batches import evaluation_batches, shards_in_memory, training_batches
from vunet_tf.data.dataset import read_examples, read_info
from vunet_tf.data.preparation import prepare
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import encode, read_picture
from vunet_tf.files.pixels import to_uint8

EXAMPLES, SIZE = 50, 32
IN_MEMORY, FROM_DISK = 2**31, 0


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """A dataset of 50 training pictures in several shards."""
    directory = tmp_path_factory.mktemp("datasets") / "figures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vunet_tf.data.sources.figures.GRID", 8)
        source = SOURCES["figures"](Options(looks=24, poses=24, examples=EXAMPLES, image_size=SIZE))
        patch.setattr("vunet_tf.data.dataset.SHARD_BYTES", 10_000)
        info = prepare(source, directory, "figures", {}, workers=1)
    assert len(info.splits["train"]) > 3
    return directory


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """A dataset without joints: pictures and their edges."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k in range(12):
        picture = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        (folder / f"{k}.png").write_bytes(encode(picture, "png"))
    source = SOURCES["folder"](Options(input=folder, image_size=SIZE, valid_fraction=0.0, encoding="png"))
    prepare(source, folder / "dataset", "folder", {}, workers=1)
    return folder / "dataset"


def take(directory, count, batch_size=8, **options):
    batches = training_batches(directory, batch_size, **options)
    return [{key: value.numpy() for key, value in batch.items()} for batch in islice(batches, count)]


def fingerprints(batches):
    """A hash of each picture, in order."""
    return [hash(image.tobytes()) for batch in batches for image in batch["image"]]


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].tobytes() == b[key].tobytes(), key


def test_shapes_and_ranges(figures, maps):
    spec = training_batches(figures, 8, crops=Crops(8, 16)).element_spec
    assert {key: tuple(value.shape) for key, value in spec.items()} == {
        "image": (8, SIZE, SIZE, 3),
        "shape": (8, SIZE, SIZE, 3),
        "parts": (8, 16, 16, 24),
    }
    assert {key: tuple(v.shape) for key, v in training_batches(maps, 4).element_spec.items()} == {
        "image": (4, SIZE, SIZE, 3),
        "shape": (4, SIZE, SIZE, 1),
    }
    for directory, options in ((figures, {"crops": Crops(10, 16)}), (maps, {})):
        for batch in take(directory, 2, **options):
            for value in batch.values():
                assert value.dtype == np.float32 and value.min() >= -1 and value.max() <= 1 and value.std() > 0.1


@pytest.mark.parametrize("memory_limit", [IN_MEMORY, FROM_DISK])
def test_every_example_once_an_epoch_in_another_order_each_time(figures, memory_limit):
    batches = take(figures, 3 * EXAMPLES // 10, batch_size=10, memory_limit=memory_limit)
    seen = fingerprints(batches)
    epochs = [seen[k * EXAMPLES : (k + 1) * EXAMPLES] for k in range(3)]
    on_disk = {
        hash((read_picture(e.image).astype(np.float32) / 127.5 - 1).tobytes()) for e in read_examples(figures, "train")
    }
    assert all(set(epoch) == on_disk for epoch in epochs) and len(on_disk) == EXAMPLES
    assert epochs[0] != epochs[1] != epochs[2]
    files = [
        hash(b.tobytes()) for batch in evaluation_batches(figures, 10, split="train") for b in batch["image"].numpy()
    ]
    assert epochs[0] != files


@pytest.mark.parametrize("memory_limit", [IN_MEMORY, FROM_DISK])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(figures, memory_limit):
    options = {"crops": Crops(8, 16), "mirror": True, "memory_limit": memory_limit}
    first = take(figures, 9, seed=5, **options)
    assert_same(first, take(figures, 9, seed=5, **options))
    assert fingerprints(first) != fingerprints(take(figures, 9, seed=6, **options))


@pytest.mark.parametrize("memory_limit", [IN_MEMORY, FROM_DISK])
@pytest.mark.parametrize("first_batch", [1, 6, 7, 20])
def test_a_resumed_run_goes_on_where_it_was(figures, memory_limit, first_batch):
    """With 50 examples in batches of 8, the seventh batch spans the end of an epoch."""
    options = {"seed": 3, "mirror": True, "memory_limit": memory_limit}
    whole = take(figures, first_batch + 3, **options)
    assert_same(take(figures, 3, first_batch=first_batch, **options), whole[first_batch:])


@pytest.mark.parametrize("memory_limit", [IN_MEMORY, FROM_DISK])
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_each_batch(figures, memory_limit, workers):
    options = {"seed": 3, "mirror": True, "memory_limit": memory_limit, "first_batch": 2, "crops": Crops(8, 16)}
    together = take(figures, 8, **options)
    apart = [take(figures, 8, workers=workers, worker=k, **options) for k in range(workers)]
    joined = [
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} for parts in zip(*apart, strict=True)
    ]
    assert_same(together, joined)
    with pytest.raises(InputError, match="--batch_size=8 cannot be shared evenly by 3 workers"):
        training_batches(figures, 8, workers=3)


def test_mirroring_flips_half_of_the_examples_with_their_shapes_and_sides(figures):
    plain, mirrored = (take(figures, 6, seed=1, mirror=mirror, crops=Crops(8, 16)) for mirror in (False, True))
    flipped = 0
    for batch, other in zip(plain, mirrored, strict=True):
        for k in range(8):
            if (batch["image"][k] == other["image"][k]).all():
                np.testing.assert_array_equal(batch["shape"][k], other["shape"][k])
            else:
                flipped += 1
                np.testing.assert_array_equal(batch["image"][k][:, ::-1], other["image"][k])
                swapped = batch["shape"][k][:, ::-1][..., [1, 0, 2]]
                np.testing.assert_allclose(swapped, other["shape"][k], atol=1e-3)
    assert 12 <= flipped <= 36


def appearance_of(directory, split="train"):
    """{bytes of a picture in a batch: its appearance_id}."""
    batches = evaluation_batches(directory, 100, split=split)
    return {
        image.tobytes(): label
        for batch in batches
        for image, label in zip(batch["image"].numpy(), batch["appearance_id"].numpy(), strict=True)
    }


def test_partners_are_other_pictures_of_the_same_appearance(figures):
    """Every other picture is chosen about equally often. If a look has only one picture, this is its own partner."""
    label = appearance_of(figures, "valid")  # 8 looks in 8 poses
    pairs = Counter()
    batches = take(figures, 160, split="valid", appearance_from="other", crops=Crops(8, 16))
    for batch in batches:
        assert batch.keys() == {f"{p}{key}" for p in ("", "appearance_") for key in ("image", "shape", "parts")}
        for target, seen in zip(batch["image"], batch["appearance_image"], strict=True):
            assert label[target.tobytes()] == label[seen.tobytes()] and (target != seen).any()
            pairs[target.tobytes(), seen.tobytes()] += 1
    assert max(pairs.values()) <= 12 and len(pairs) > 400, "20 draws out of 7 partners for each of 64 pictures"
    label = appearance_of(figures)
    singles = {name for name, count in Counter(label.values()).items() if count == 1}
    assert singles
    for batch in take(figures, 10, appearance_from="other"):
        for target, seen in zip(batch["image"], batch["appearance_image"], strict=True):
            assert label[target.tobytes()] == label[seen.tobytes()]
            assert (target == seen).all() == (label[target.tobytes()] in singles)


def shard_of(directory, split):
    """{bytes of a picture in a batch: number of its shard}."""
    info = read_info(directory)
    shards = np.repeat(np.arange(len(info.splits[split])), [shard.examples for shard in info.splits[split]])
    pictures = [image for batch in evaluation_batches(directory, 100, split=split) for image in batch["image"].numpy()]
    return {image.tobytes(): int(shard) for image, shard in zip(pictures, shards, strict=True)}


@pytest.mark.parametrize("group", [1, 2, 4])
def test_partners_from_disk_come_from_the_same_group_of_shards(figures, group):
    """No example is lost or doubled in an epoch; another epoch has other groups; where there is another picture of the
    appearance in the group, it is taken."""
    info, split = read_info(figures), "valid"  # 8 looks in 8 poses
    limit = group * 2 * max(shard.bytes for shard in info.splits[split])
    assert shards_in_memory(info, split, limit) == group < len(info.splits[split])
    label, shard, count = appearance_of(figures, split), shard_of(figures, split), info.examples(split)
    batches = take(figures, 3 * count // 8, split=split, seed=2, appearance_from="other", memory_limit=limit)
    rows = [
        (target.tobytes(), seen.tobytes())
        for batch in batches
        for target, seen in zip(batch["image"], batch["appearance_image"], strict=True)
    ]
    groups = []
    for epoch in (rows[:count], rows[count : 2 * count], rows[2 * count :]):
        assert {target for target, _ in epoch} == label.keys() and len(epoch) == count
        shards = list(dict.fromkeys(shard[target] for target, _ in epoch))
        of_shard = {number: place // group for place, number in enumerate(shards_in_turn(epoch, shard, group))}
        assert sorted(of_shard) == sorted(shards)
        for target, seen in epoch:
            assert label[target] == label[seen] and of_shard[shard[target]] == of_shard[shard[seen]]
            others = [
                other
                for other in label
                if other != target
                and label[other] == label[target]
                and of_shard[shard[other]] == of_shard[shard[target]]
            ]
            assert (target != seen) == bool(others)
        groups.append([target for target, _ in epoch])
    assert groups[0] != groups[1] != groups[2]
    alone = sum(target == seen for target, seen in rows)
    assert alone < 0.7 * len(rows), "many have another one"


def shards_in_turn(epoch, shard, group):
    """The shards of an epoch, group by group: the records of a group come together."""
    found = []
    while len(found) < len(set(shard.values())):
        members = list(dict.fromkeys(shard[target] for target, _ in epoch))[:group]
        records = sum(number in members for number in shard.values())
        assert {shard[target] for target, _ in epoch[:records]} == set(members), "a group is finished before the next"
        found, epoch = found + members, epoch[records:]
    return found


def test_partners_from_disk_depend_on_seed_and_position_alone(figures):
    options = {"seed": 3, "appearance_from": "other", "mirror": True, "memory_limit": FROM_DISK}
    whole = take(figures, 15, **options)
    assert_same(whole, take(figures, 15, **options))
    for first_batch in (6, 7):
        assert_same(take(figures, 3, first_batch=first_batch, **options), whole[first_batch : first_batch + 3])
    for workers in (2, 4):
        apart = [take(figures, 15, workers=workers, worker=k, **options) for k in range(workers)]
        joined = [
            {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            for parts in zip(*apart, strict=True)
        ]
        assert_same(whole, joined)
    assert fingerprints(whole) != fingerprints(take(figures, 15, **{**options, "seed": 4}))


def test_partners_come_with_their_own_shapes(figures):
    shape_of = {
        image.tobytes(): shape.tobytes()
        for batch in take(figures, 10)
        for image, shape in zip(batch["image"], batch["shape"], strict=True)
    }
    for batch in take(figures, 4, appearance_from="other"):
        for image, shape in zip(batch["appearance_image"], batch["appearance_shape"], strict=True):
            assert shape_of[image.tobytes()] == shape.tobytes()


def test_partners_and_flips_depend_on_seed_and_position_alone(figures):
    options = {"seed": 3, "appearance_from": "other", "mirror": True, "mirror_appearance": True, "crops": Crops(8, 16)}
    options |= {"shift": 2, "hue": 0.3}
    whole = take(figures, 9, **options)
    assert_same(take(figures, 3, first_batch=6, **options), whole[6:])
    apart = [take(figures, 9, workers=2, worker=k, **options) for k in range(2)]
    assert_same(whole, [{key: np.concatenate([a[key], b[key]]) for key in a} for a, b in zip(*apart, strict=True)])
    other_seed = take(figures, 9, **{**options, "seed": 4})
    assert fingerprints(whole) != fingerprints(other_seed)


def test_what_the_appearance_encoder_sees_is_flipped_alone(figures):
    plain, mirrored = take(figures, 6, seed=1), take(figures, 6, seed=1, mirror_appearance=True)
    flipped = 0
    for batch, other in zip(plain, mirrored, strict=True):
        np.testing.assert_array_equal(batch["image"], other["image"])
        for k in range(8):
            as_it_was = (other["image"][k] == other["appearance_image"][k]).all()
            flipped += not as_it_was
            step = 1 if as_it_was else -1
            np.testing.assert_array_equal(other["image"][k][:, ::step], other["appearance_image"][k])
            sides = [0, 1, 2] if as_it_was else [1, 0, 2]
            swapped = other["shape"][k][:, ::step][..., sides]
            np.testing.assert_allclose(swapped, other["appearance_shape"][k], atol=1e-3)
    assert 12 <= flipped <= 36


def test_shifted_pictures_take_their_shapes_along(figures, maps):
    """By the pixels: picture and shape map are the same as before but moved, up to the limit and no further."""
    plain, moved = take(maps, 6, seed=1), take(maps, 6, seed=1, shift=3)
    offsets = set()
    for batch, other in zip(plain, moved, strict=True):
        for k in range(8):
            size = batch["image"].shape[1]
            found = []
            for dy in range(-4, 5):
                for dx in range(-4, 5):
                    rows, columns = (np.clip(np.arange(size) - d, 0, size - 1) for d in (dy, dx))
                    if (batch["image"][k][rows][:, columns] == other["image"][k]).all():
                        np.testing.assert_array_equal(batch["shape"][k][rows][:, columns], other["shape"][k])
                        found.append((dy, dx))
            assert len(found) == 1
            offsets.add(found[0])
    assert {dy for dy, _ in offsets} == {dx for _, dx in offsets} == set(range(-3, 4))

    plain, moved = take(figures, 3, seed=1), take(figures, 3, seed=1, shift=3)
    for batch, other in zip(plain, moved, strict=True):
        for key in ("image", "shape"):
            assert not (batch[key] == other[key]).all()
        for k in range(8):  # the stickman is drawn anew from the moved joints, to the pixel it is the moved stickman
            inner = slice(8, -8)
            best = min(
                np.abs(np.roll(batch["image"][k], (dy, dx), (0, 1)) - other["image"][k])[inner, inner].max()
                + np.abs(np.roll(batch["shape"][k], (dy, dx), (0, 1)) - other["shape"][k])[inner, inner].max()
                for dy in range(-3, 4)
                for dx in range(-3, 4)
            )
            assert best < 0.02


def test_a_partner_is_not_shifted(figures):
    plain, moved = (take(figures, 3, appearance_from="other", shift=shift) for shift in (0, 3))
    for batch, other in zip(plain, moved, strict=True):
        np.testing.assert_array_equal(batch["appearance_image"], other["appearance_image"])
        assert not (batch["image"] == other["image"]).all()


def test_hues_turn_by_one_angle_for_picture_and_partner(figures):
    """Value and saturation stay. The hue turns by the same angle wherever there is colour, in both pictures."""
    plain, turned = (take(figures, 3, seed=2, appearance_from="other", hue=hue) for hue in (0, 0.2))
    turns = []
    for batch, other in zip(plain, turned, strict=True):
        np.testing.assert_array_equal(batch["shape"], other["shape"])
        for k in range(8):
            found = []
            for key in ("image", "appearance_image"):
                before, after = ((images[key][k] + 1) / 2 for images in (batch, other))
                np.testing.assert_allclose(before.max(-1), after.max(-1), atol=2 / 255)
                np.testing.assert_allclose(before.min(-1), after.min(-1), atol=2 / 255)
                colourful = np.ptp(before, axis=-1) > 0.3
                hue = [np.array([colorsys.rgb_to_hsv(*rgb)[0] for rgb in x[colourful]]) for x in (before, after)]
                found.append((hue[1] - hue[0] + 0.5) % 1 - 0.5)
            if all(map(len, found)):
                together = np.concatenate(found)
                np.testing.assert_allclose(together, np.median(together), atol=0.02)
                turns.append(np.median(together))
    assert len(turns) > 12 and -0.2 <= min(turns) < -0.05 and 0.05 < max(turns) <= 0.2


def test_mirroring_equals_its_numpy_twin(figures):
    from vunet_tf.data.batches import _mirrored

    for example in read_examples(figures, "valid"):
        ours = _mirrored({"joints": tf.constant(example.joints)})["joints"].numpy()
        np.testing.assert_array_equal(ours, keypoints.mirror(example.joints))


def test_evaluation_has_every_example_once_with_what_is_known_of_it(figures):
    batches = list(evaluation_batches(figures, 25, split="valid", crops=Crops(8, 16)))
    assert [len(batch["image"]) for batch in batches] == [25, 25, 14]
    names = [name.decode() for batch in batches for name in batch["name"].numpy()]
    examples = list(read_examples(figures, "valid"))
    assert names == [example.name for example in examples]
    first = batches[0]
    np.testing.assert_array_equal(to_uint8(first["image"][3]), read_picture(examples[3].image))
    np.testing.assert_allclose(first["mask"][3] * 255, read_picture(examples[3].mask)[..., :1], atol=1e-4)
    np.testing.assert_array_equal(first["joints"][3], examples[3].joints)
    assert json.loads(first["attributes"][3].numpy()) == examples[3].attributes
    assert first["parts"].shape == (25, 16, 16, 24)


def test_evaluation_of_some_positions(figures):
    names = [example.name for example in read_examples(figures, "valid")]
    batches = evaluation_batches(figures, 2, split="valid", positions=[63, 3, 40])
    found = [name.decode() for batch in batches for name in batch["name"].numpy()]
    assert found == [names[3], names[40], names[63]]
    for wrong in (-1, 64):
        with pytest.raises(InputError, match=f"has 64 examples, counted from 0; not {wrong}"):
            evaluation_batches(figures, 2, split="valid", positions=[0, wrong])


@pytest.mark.parametrize("memory_limit", [IN_MEMORY, FROM_DISK])
def test_a_dataset_of_one_example(tmp_path, memory_limit):
    (tmp_path / "0.png").write_bytes(encode(np.full((SIZE, SIZE, 3), 7, np.uint8), "png"))
    source = SOURCES["folder"](Options(input=tmp_path, image_size=SIZE, valid_fraction=0.0))
    prepare(source, tmp_path / "dataset", "folder", {}, workers=1)
    (batch,) = take(tmp_path / "dataset", 1, batch_size=5, memory_limit=memory_limit)
    assert len(set(fingerprints([batch]))) == 1 and len(batch["image"]) == 5


def test_shape_maps_come_from_the_records(maps):
    (batch,) = evaluation_batches(maps, 100, split="train")
    for example, shape in zip(read_examples(maps, "train"), batch["shape"].numpy(), strict=True):
        np.testing.assert_array_equal(to_uint8(shape), read_picture(example.shape)[..., :1])
    assert "joints" not in batch and "mask" not in batch


def test_parts_of_the_stickman_lie_where_the_picture_s_do(figures):
    """The crop of the torso shows the stickman's torso channel, which is filled except at its rim."""
    batch = next(iter(evaluation_batches(figures, 100, split="valid", crops=Crops(8, 16))))
    crops = crop_body_parts(batch["shape"], batch["joints"], 16, 16)
    assert crops.shape == batch["parts"].shape == (64, 16, 16, 24)
    filled = crops.numpy()[:, 6:10, 6:10, 2]
    assert np.median(filled) > 0.99 and filled.mean() > 0.5  # of pictures of 32 pixels, with torsos a few pixels wide


def test_wrong_wishes_are_refused(figures, maps):
    with pytest.raises(InputError, match=r"body parts need joints, which .* 'folder' has not"):
        training_batches(maps, 4, crops=Crops(8, 16))
    with pytest.raises(InputError, match="9 body parts"):
        training_batches(figures, 4, crops=Crops(9, 16))
    with pytest.raises(InputError, match="no split 'test'; it has train, valid"):
        training_batches(figures, 4, split="test")
    with pytest.raises(InputError, match="--appearance_from=twin: must be one of self, other"):
        training_batches(figures, 4, appearance_from="twin")
    with pytest.raises(InputError, match="--shift=32: must be between 0 and 31 pixels"):
        training_batches(figures, 4, shift=32)
    with pytest.raises(InputError, match=r"--hue=0\.6: must be between 0 and 0\.5 turns"):
        training_batches(figures, 4, hue=0.6)
    with pytest.raises(InputError, match="is not a dataset"):
        evaluation_batches(figures / "none", 4)
