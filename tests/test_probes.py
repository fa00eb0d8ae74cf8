"""Linear probes on artificial encodings, from which it is known what can be read."""

import numpy as np
import pytest

from vunet_tf.evaluation import probes


@pytest.fixture(scope="module")
def made_up():
    """240 examples of 40 appearances: colour is in z, pose is not."""
    random = np.random.default_rng(0)
    appearances = np.repeat(np.arange(40), 6)
    colours = np.arange(40) % 4
    poses = np.tile(np.arange(6), 40)
    z = random.normal(0, 0.3, (240, 30)).astype(np.float32)
    z[:, :4] += 2 * np.eye(4)[colours[appearances]]
    joints = np.repeat(random.random((6, 15, 2)).astype(np.float32)[poses][None], 1, 0)[0]
    known = {
        "appearance_id": [f"a{i}" for i in appearances],
        "shape_id": [f"s{i}" for i in poses],
        "attributes": [{"colour": int(colours[i]), "box": [0, 1]} for i in appearances],
        "joints": list(joints),
    }
    return z, known


def value(found, quantity, of=probes.PROBE):
    (measure,) = (each for each in found if getattr(each, "quantity", "") == quantity and getattr(each, "of", "") == of)
    return measure.value


def test_what_is_in_z_is_read_and_what_is_not_is_not(made_up):
    found = probes.measure(*made_up, "valid", seed=0)
    assert value(found, "attribute read from z: colour") > 0.95
    assert value(found, "attribute read from z: colour", probes.CHANCE) == pytest.approx(0.25)
    assert value(found, "pose read from z: shape_id") < 0.3
    assert value(found, "pose read from z: shape_id", probes.CHANCE) == pytest.approx(1 / 6)
    assert abs(value(found, "joints read from z (chance: 0)")) < 0.1
    assert not any("box" in each.quantity for each in found)


def test_poses_that_are_in_z_are_read(made_up):
    z, known = made_up
    poses = np.eye(6)[[int(shape[1:]) for shape in known["shape_id"]]]
    found = probes.measure(np.concatenate([z, 3 * poses], axis=1), known, "valid", seed=0)
    assert value(found, "pose read from z: shape_id") > 0.95
    assert value(found, "joints read from z (chance: 0)") > 0.9


def test_probes_score_at_chance_on_shuffled_labels(made_up):
    z, known = made_up
    labels = np.array([attributes["colour"] for attributes in known["attributes"]])
    groups = np.array(known["appearance_id"])
    by_appearance = np.random.default_rng(1).permutation(labels[::6])
    asked = np.ones(len(labels), bool)
    features = probes.reduced(z, seed=0)
    rights = [
        probes.accuracy(
            features, np.repeat(np.random.default_rng(i).permutation(by_appearance), 6), groups, asked
        ).mean()
        for i in range(8)
    ]
    assert abs(np.mean(rights) - 0.25) < 0.12
    assert probes.accuracy(features, labels, groups, asked).mean() > 0.95


def test_other_examples_teach_what_a_small_split_cannot(made_up):
    z, known = made_up
    split = z[:48], {key: values[:48] for key, values in known.items()}  # 8 appearances, 2 of each colour
    more = z[48:], {key: values[48:] for key, values in known.items()}
    alone = probes.measure(*split, "valid", seed=0)
    assert "attribute read from z: colour" not in [each.quantity for each in alone]
    found = probes.measure(*split, "valid", seed=0, more=more)
    assert value(found, "attribute read from z: colour") > 0.95
    assert next(each for each in found if each.quantity == "attribute read from z: colour").examples == 48


def test_appearances_of_the_split_do_not_teach(made_up):
    z, known = made_up
    nonsense = {**known, "attributes": [{"colour": 3 - each["colour"]} for each in known["attributes"]]}
    assert probes.measure(z, known, "valid", seed=0, more=(z, nonsense)) == probes.measure(z, known, "valid", seed=0)


def test_same_seed_same_numbers(made_up):
    assert probes.measure(*made_up, "valid", seed=3) == probes.measure(*made_up, "valid", seed=3)


def test_too_few_appearances_are_said_to_be_too_few(made_up):
    z, known = made_up
    few = {key: values[:24] for key, values in known.items()}
    (missing,) = probes.measure(z[:24], few, "valid", seed=0)
    assert "4 appearances; cross-validation takes 5" in missing.why
