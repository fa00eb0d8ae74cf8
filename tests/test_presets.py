"""Presets: they are small and complete, are used like runs, and can be made from a run."""

import json
import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import vunet_tf
from export import trained
from export.preset import folder
from vunet_tf import pretrained
from vunet_tf.body.body_parts import body_regions
from vunet_tf.body.keypoints import to_canonical
from vunet_tf.body.skeleton import MEDIAPIPE_33, REQUIRED_JOINTS, SCHEMAS
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.data.dataset import read_examples
from vunet_tf.data.sources.source import square_around
from vunet_tf.files.errors import InputError
from vunet_tf.models import texture
from vunet_tf.people import draw, sample_look, sample_pose


@pytest.fixture(scope="module")
def made(laid_run, tmp_path_factory):
    """A preset of an untrained run."""
    out = tmp_path_factory.mktemp("presets") / "small"
    folder.write(vunet_tf.load(laid_run), out, "for tests", "Apache-2.0", count=5)
    return out


def test_packed_weights_are_within_half_a_step_of_their_channel():
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.1, (3, 3, 50, 60)) * np.geomspace(1e-3, 10, 60), random.normal(0, 1, 60)]
    weights = [weight.astype(np.float32) for weight in weights]
    weights[0][..., 7] = 0  # a channel that is nothing has no scale
    content = pretrained.pack(weights)
    assert len(content) < 1.1 * weights[0].size
    large, small = pretrained.unpack(content)
    step = np.abs(weights[0]).max(axis=(0, 1, 2)) / 127
    assert large.dtype == np.float32 and (np.abs(large - weights[0]) <= 0.501 * step).all()
    np.testing.assert_array_equal(small, weights[1].astype(np.float16))


def test_a_preset_of_a_run_is_that_run(laid_run, made, figures_dataset):
    run, small = vunet_tf.load(laid_run), vunet_tf.load(made)
    assert (small.model.config, small.fitting) == (run.model.config, run.fitting)
    run.model.decoder.prior.zero_masked()
    stored = pretrained.unpack(pretrained.pack([weight.numpy() for weight in run.model.weights]))
    for ours, theirs in zip(stored, small.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not {"run_dir", "dataset_dir"} & set(small.flags)
    there = {example.name: example.image for example in read_examples(figures_dataset, "valid")}
    examples = list(read_examples(small.dataset(), "valid"))
    assert len(examples) == 5 and all(there[example.name] == example.image for example in examples)


def test_a_damaged_preset_is_refused(made, tmp_path):
    damaged = shutil.copytree(made, tmp_path / "damaged")
    weights = damaged / pretrained.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.npz is damaged: its hash is not that of preset\.json; install"):
        vunet_tf.load(damaged)
    (damaged / pretrained.INFO).write_text("{}")
    with pytest.raises(InputError, match=r"preset .*damaged is damaged: .*; install the package again"):
        vunet_tf.load(damaged)


def test_what_needs_the_whole_dataset_says_how_to_make_it(made):
    with pytest.raises(
        InputError, match=r"no split 'train'.*`python -m vunet_tf\.prepare .*--output=DIR`.*--dataset_dir"
    ):
        list(read_examples(vunet_tf.load(made).dataset(), "train"))


def test_the_presets_that_come_along_are_small_and_described():
    found = vunet_tf.presets()
    assert "figures-64" in found
    for name, info in found.items():
        folder = pretrained.folder_of(name)
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 6e6
        assert (
            info["description"] and info["licence"] and (folder / pretrained.CARD).read_text().startswith(f"# {name}\n")
        )
        config = vunet_tf.load(name).model.config
        assert json.loads((folder / "config.json").read_text())["config"]["width"] == config.width


def test_a_transfer_of_the_preset_is_near_the_truth():
    run = vunet_tf.load("figures-64")
    numbers = [map(int, re.findall(r"\d+", example.name)) for example in read_examples(run.dataset(), "valid", count=8)]
    looks, poses = zip(*numbers, strict=True)
    errors = []
    for cell in vunet_tf.Generator(run).transfer(appearances="valid:0-3", shapes="valid:4-7"):
        truth = draw(sample_look(0, looks[cell.row]), sample_pose(0, poses[4 + cell.column]), 64).image.astype(float)
        (reference,) = cell.row_header.pictures
        errors.append([np.abs(shown - truth).mean() for shown in (cell.picture, reference)])
    model, copied = np.mean(errors, axis=0)
    assert model < 8 < copied


@pytest.mark.parametrize("schema", ["mediapipe33", "coco17", "openpose18", "body25"])
def test_an_app_finds_square_and_joints_from_landmarks_as_this_package_does(schema):
    """The code of docs/export.md, with what the export of a preset says."""
    document = (Path(__file__).parent.parent / "docs/export.md").read_text()
    (code,) = re.findall(r"^### From a camera\n.*?^```python\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    names = {}
    exec(code, names)
    about = json.loads(json.dumps(trained.describe(vunet_tf.load("figures-64"))))
    points = np.random.default_rng(0).uniform(50, 400, (len(SCHEMAS[schema]), 2))
    points[5] = np.nan
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    box = square_around([*low, *(high - low)], about["photographs"]["margin"])
    square = names["square_around"](points, about)
    np.testing.assert_allclose(square, [box.left, box.top, box.width], atol=1)  # of a picture: whole pixels
    made = names["joints_in"](square, points, about, schema)
    expected = (to_canonical(points, schema) - square[:2]) / square[2]
    assert made.shape == (1, 15, 2) and 0 < np.isnan(made).sum() < 6
    np.testing.assert_allclose(made[0], expected, rtol=1e-5)
    marks = [SimpleNamespace(x=0.5, y=0.25, visibility=0.2 if i % 2 else 0.9) for i in range(33)]
    read = names["points_of"](marks, 640, 480)
    unsure = {int(i) for i in np.flatnonzero(np.isnan(read).all(1))}
    assert unsure == {*range(1, 33, 2)} - {MEDIAPIPE_33.index(joint) for joint in REQUIRED_JOINTS}
    np.testing.assert_array_equal(read[0], [320, 120])


def test_an_export_says_which_weights_it_has():
    run = vunet_tf.load("figures-64")
    told = trained.describe(run)["weights_id"]
    assert (
        told
        == trained.describe(trained.load("figures-64"))["weights_id"]
        != trained.describe(vunet_tf.load("figures-128"))["weights_id"]
    )
    bias = run.model.weights[-1]
    bias.assign(bias + 1e-3)
    assert trained.describe(run)["weights_id"] != told


def test_an_app_can_exchange_the_trousers_by_what_the_export_says():
    """The rows of z that its description names for the legs change the legs, and hardly anything else."""
    run = vunet_tf.load("figures-64")
    told = trained.describe(run)
    assert told["licence"] == "Apache-2.0 (program and weights)"
    assert set(told["regions"]) <= {"head", "torso", "arms", "legs", "background"}
    rows = [row for numbers in told["regions"].values() for row in numbers]
    assert sorted(rows) == list(range(told["latents"][0][0]))  # each row is in one region
    generator = vunet_tf.Generator(run)
    (_, _, z), (_, _, other) = generator.appearances("valid:0,1")
    mixed = np.array(z[0])
    mixed[told["regions"]["legs"]] = np.asarray(other[0])[told["regions"]["legs"]]
    changes = {True: [], False: []}
    for example in read_examples(run.dataset(), "valid", count=8):
        shape = draw_stickman(example.joints[None], 64, 64)
        pictures = [run.model.generate(shape, [codes[None]])[0].numpy() for codes in (np.array(z[0]), mixed)]
        legs = body_regions(example.joints, 64)["legs"]
        for inside in changes:
            changes[inside].append(np.abs(pictures[0] - pictures[1])[legs == inside].mean())
    assert np.mean(changes[True]) > 5 * np.mean(changes[False])


def test_the_frame_of_the_preset_turns_with_people_who_face_the_viewer():
    """Nobody told it the turn. With the network it is nearer to the true one than with the nose alone."""
    texels = vunet_tf.load("figures-64").model.shape_encoder.texels
    poses = [pose for pose in (sample_pose(0, i) for i in range(60_000, 60_600)) if pose.forward[1] > 0]
    lengths = np.array([np.linalg.norm(pose.points["pelvis"] - pose.points["neck"]) for pose in poses])
    true = np.array([0.95 * pose.head_radius * pose.girth * pose.forward[0] for pose in poses]) / lengths
    shape = draw_stickman(np.stack([pose.joints for pose in poses]), 64, 64)

    def deviation(added):
        """Of the true movement of the front of the trunk from the best multiple of what was found, in lengths."""
        moved = texels.nose * texture.face(shape, *texture.frame(shape))[:, 2] + added
        line = np.polyfit(moved, true, 1)
        return np.std(true - np.polyval(line, moved))

    of_nose, of_face = deviation(0.0), deviation(texels.learning(shape)[2][:, 0])
    print(f"{len(poses)} people: {of_nose:.4f} with the nose, {of_face:.4f} with the face, of {np.std(true):.4f}")
    assert of_face < 0.045 and of_face < 0.75 * of_nose


def test_samples_of_the_preset_differ_as_people_do():
    """In one pose, samples are about as far apart as people with other looks are, and so are their mean colours."""
    pose = sample_pose(0, 60_000)
    people = np.stack([draw(sample_look(0, 60_000 + i), pose, 64).image for i in range(40)]) / 127.5 - 1
    shape = draw_stickman(np.stack([pose.joints] * 40), 64, 64)
    sampled = vunet_tf.load("figures-64").model.sample(shape, seed=0)[0].numpy()

    def spread(pictures):
        return np.abs(pictures[:, None] - pictures).mean()

    assert 0.7 < spread(sampled) / spread(people) < 1.3
    assert 0.7 < spread(sampled.mean((1, 2))) / spread(people.mean((1, 2))) < 1.3


def test_an_unknown_name_is_told_with_the_presets():
    with pytest.raises(InputError, match=r"--run_dir=figures-65 is no run: .*the presets are .*figures-64"):
        vunet_tf.load("figures-65")


def test_the_package_has_every_file_that_is_beside_its_modules(monkeypatch):
    """An installed package works without the repository: setup.py lists each module's package, and all data."""
    root, given = Path(__file__).parent.parent, {}
    monkeypatch.chdir(root)
    monkeypatch.setattr("setuptools.setup", lambda **metadata: given.update(metadata))
    runpy.run_path("setup.py")
    data = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, patterns in given["package_data"].items()
        for pattern in patterns
    ]
    modules = [f"{package.replace('.', '/')}/*.py" for package in given["packages"]]
    kept = {path for pattern in (*modules, *data) for path in Path().glob(pattern)}
    there = {path for room in ("vunet_tf", "export") for path in Path(room).rglob("*")}
    lost = [str(path) for path in there - kept if path.is_file() and path.suffix != ".pyc"]
    assert not lost
    assert {Path("export/web/page/index.html"), Path("vunet_tf/pretrained/figures-64/weights.npz")} <= kept
