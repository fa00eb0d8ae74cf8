"""Shared by several tests: real data, if it is there, and small data that is made here."""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from vunet_tf.body import keypoints
from vunet_tf.people import draw, sample_look, sample_pose

# Real pictures with ground truth. They lie beside the project and are never copied into it.
DATA = Path(__file__).parent.parent.parent / "shared/data"


# Test files that take a minute or more. They begin first, so that no process waits for another at the end.
LONG = ("test_train", "test_saved_model", "test_evaluate", "test_models", "test_laid", "test_tflite", "test_verify")


# Test files that need the same exported models. They run in one process, which makes these once (--dist=loadgroup).
EXPORTS = ("test_saved_model", "test_serving_clients", "test_tflite", "test_verify", "test_load")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xdist_group("exports" if item.path.stem in EXPORTS else item.path.stem))
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session")
def photos_dir():
    """The folder of photographs with COCO keypoints. Tests that need it are skipped if it is absent."""
    if not (DATA / "photos").is_dir():
        pytest.skip(f"needs the photographs in {DATA}")
    return DATA / "photos"


@pytest.fixture(scope="session")
def blazepose():
    """The pose estimator. Tests that need its weights are skipped if they are absent."""
    from vunet_tf.body.estimation import open_estimator
    from vunet_tf.files.errors import InputError

    try:
        return open_estimator(workers=2)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sprites_dir():
    """The folder of sprite sheets. Tests that need it are skipped if it is absent."""
    if not (DATA / "sprites").is_dir():
        pytest.skip(f"needs the sprites in {DATA}")
    return DATA / "sprites"


@pytest.fixture(scope="session")
def photo_people(photos_dir):
    """80 photographs [80, 256, 256, 3] uint8 and their joints [80, 15, 2]."""
    from vunet_tf.files.pictures import read_picture

    content = json.loads((photos_dir / "person_keypoints_train.json").read_bytes())
    files = {image["id"]: image["file_name"] for image in content["images"]}
    people = content["annotations"][:: len(content["annotations"]) // 80][:80]
    pictures, joints = [], []
    for person in people:
        values = np.array(person["keypoints"], np.float32).reshape(-1, 3)
        canonical = keypoints.to_canonical(values[:, :2], "coco17", visible=values[:, 2] > 0)
        joints.append(keypoints.mark_unseen(keypoints.pixels_to_fractions(canonical, 256, 256)))
        pictures.append(read_picture(photos_dir / "images" / files[person["image_id"]]))
    return np.stack(pictures), np.stack(joints)


@pytest.fixture(scope="session")
def figure_people():
    """60 drawn people [60, 128, 128, 3] uint8 and their joints [60, 15, 2]."""
    poses = [sample_pose(7, i) for i in range(60)]
    pictures = [draw(sample_look(7, i), pose, 128).image for i, pose in enumerate(poses)]
    return np.stack(pictures), np.stack([pose.joints for pose in poses])


@pytest.fixture(params=["figures", "photos"])
def people(request):
    """Both kinds of people above, one after the other."""
    return request.getfixturevalue({"figures": "figure_people", "photos": "photo_people"}[request.param])


@pytest.fixture
def ours(traced):
    """A training step before its first step. The module's fixture `traced` gives it and its first state, once."""
    made, state = traced
    made.restore(state)
    return made


def saved_run(directory, dataset, **config):
    """An untrained run on a dataset, as `train` would write it. It is initialised by a batch of the dataset."""
    import keras

    from vunet_tf import ModelConfig, runs
    from vunet_tf.data.batches import batch_of
    from vunet_tf.data.dataset import read_examples, read_info
    from vunet_tf.data.own_pictures import Fitting
    from vunet_tf.models import registry

    info = read_info(dataset)
    small = {"image_size": info.image_size, "bottleneck_factor": 3, "width": 4, "max_width": 8, "latent_scales": 1}
    keras.utils.set_random_seed(0)
    model = registry.build(ModelConfig(**{**small, **config}))
    first = list(read_examples(dataset, "train", 0, 8))
    model.initialise([batch_of(first, crops=model.appearance_input.crops)])  # a pipeline would cost seconds
    runs.save(model, directory, Fitting.of_dataset(info))
    (directory / "flags.txt").write_text(f"--dataset_dir={dataset}\n--run_dir={directory}\n")
    return directory


def write_figures(directory):
    """A dataset of drawn people of 32 pixels: 16 to train on, 48 in the split valid."""
    from vunet_tf.body.skeleton import JOINTS
    from vunet_tf.data.dataset import write_dataset
    from vunet_tf.data.example import Example
    from vunet_tf.files import pictures

    made_with = {"flags": {}, "how": {}}
    with write_dataset(directory) as writer:
        for i in range(64):
            look, pose = sample_look(0, i), sample_pose(0, i)
            image = pictures.encode(draw(look, pose, 32).image, "png")
            split = "train" if i < 16 else "valid"
            writer.add(Example(split, f"person{i}", f"look{i}", f"pose{i}", image, pose.joints))
        writer.finish(source="figures", made_with=made_with, image_size=32, joints=JOINTS, shape_channels=3)
    return directory


@pytest.fixture(scope="session")
def figures_dataset(tmp_path_factory):
    """Drawn people of 32 pixels: 16 to train on, 48 in the split valid."""
    return write_figures(tmp_path_factory.mktemp("datasets") / "figures")


@pytest.fixture(scope="session")
def digits_dataset(tmp_path_factory):
    """Scikit-learn's digits, 8 pixels."""
    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.registry import SOURCES
    from vunet_tf.data.sources.source import Options

    directory = tmp_path_factory.mktemp("datasets") / "digits"
    prepare(SOURCES["digits"](Options()), directory, "digits", {}, workers=1)
    return directory


@pytest.fixture(scope="session")
def vae_run(digits_dataset, tmp_path_factory):
    """An untrained VAE of digits."""
    config = {"model": "vae", "bottleneck_factor": 1, "shape_channels": 1, "code_size": 4, "activation": "leaky_relu"}
    return saved_run(tmp_path_factory.mktemp("runs") / "vae", digits_dataset, **config)


@pytest.fixture(scope="session")
def figures_run(figures_dataset, tmp_path_factory):
    """An untrained run on drawn people, in which F sees body parts."""
    return saved_run(tmp_path_factory.mktemp("runs") / "figures", figures_dataset)


@pytest.fixture(scope="session")
def laid_run(figures_dataset, tmp_path_factory):
    """An untrained run on drawn people, with one code for each of six parts, and two codes of a texture."""
    config = {"appearance": "picture", "latent": "laid", "parts": 6, "code_channels": 4, "variance": "learned"}
    config |= {"texture_codes": 2, "pose_free": True, "activation": "leaky_relu"}
    return saved_run(tmp_path_factory.mktemp("runs") / "laid", figures_dataset, **config)


@pytest.fixture(scope="session")
def maps_run(tmp_path_factory):
    """An untrained run on 12 pictures with grey shape maps; the dataset lies beside it as `maps`."""
    from PIL import Image

    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.registry import SOURCES
    from vunet_tf.data.sources.source import Options

    directory = tmp_path_factory.mktemp("runs")
    (directory / "pairs/train").mkdir(parents=True)
    for i in range(12):
        figure = draw(sample_look(0, i), sample_pose(0, i), 32)
        both = np.concatenate([figure.mask.reshape(32, 32, 1).repeat(3, -1), figure.image], axis=1)
        Image.fromarray(both).save(directory / f"pairs/train/{i:02d}.png")
    prepare(
        SOURCES["pairs"](Options(input=directory / "pairs", image_size=32, encoding="png")),
        directory / "maps",
        "pairs",
        {},
        workers=1,
    )
    return saved_run(directory / "run", directory / "maps", appearance="picture", shape_channels=1)


@pytest.fixture(scope="session")
def tiny_figures(tmp_path_factory):
    """A dataset of drawn people, 16 pixels, with joints and masks: 8 looks and poses in each validation grid."""
    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.registry import SOURCES
    from vunet_tf.data.sources.source import Options

    directory = tmp_path_factory.mktemp("datasets") / "figures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vunet_tf.data.sources.figures.GRID", 8)  # not 24: nine times as many to draw
        source = SOURCES["figures"](Options(looks=24, poses=24, examples=100, image_size=16))
    prepare(source, directory, "figures", {}, workers=1)
    return directory


@pytest.fixture(scope="session")
def parts_run(tiny_figures, tmp_path_factory):
    """A run directory: body parts and stickmen at 16 pixels, weights initialised on `tiny_figures`."""
    config = {"bottleneck_factor": 2, "latent_scales": 2, "activation": "leaky_relu"}
    return saved_run(tmp_path_factory.mktemp("runs") / "parts", tiny_figures, **config)


@pytest.fixture(scope="session")
def grey_maps_run(tmp_path_factory):
    """A run directory: picture and shape map of one channel at 16 pixels, ELU, one latent, a learned variance."""
    import keras

    from vunet_tf import ModelConfig, VUNet, runs
    from vunet_tf.data.own_pictures import Fitting

    keras.utils.set_random_seed(2)
    config = ModelConfig(
        image_size=16,
        bottleneck_factor=2,
        width=4,
        max_width=8,
        appearance="picture",
        shape_channels=1,
        latent_scales=1,
        variance="learned",
    )
    model, random = VUNet(config), np.random.default_rng(2)
    model.initialise(
        [{key: random.uniform(-1, 1, (8, 16, 16, n)).astype(np.float32) for key, n in (("image", 3), ("shape", 1))}]
    )
    run_dir = tmp_path_factory.mktemp("runs") / "maps"
    runs.save(model, run_dir, Fitting(16, "pad", 0.15, shape_channels=1, stickmen=False, edges=False))
    return run_dir


@pytest.fixture(scope="session")
def parts_export(parts_run):
    """`parts_run`, ready for export."""
    from export import trained

    return trained.load(parts_run)


@pytest.fixture(scope="session")
def grey_maps_export(grey_maps_run):
    """`grey_maps_run`, ready for export."""
    from export import trained

    return trained.load(grey_maps_run)


@pytest.fixture(scope="session")
def parts_version(parts_export, tmp_path_factory):
    """`parts_run` as version 1 of a SavedModel."""
    from export.saved_model import versions

    return versions.write(parts_export, tmp_path_factory.mktemp("served") / "vunet")


@pytest.fixture(scope="session")
def grey_maps_version(grey_maps_export, tmp_path_factory):
    """`grey_maps_run` as version 1 of a SavedModel."""
    from export.saved_model import versions

    return versions.write(grey_maps_export, tmp_path_factory.mktemp("served") / "vunet")


@pytest.fixture(scope="session")
def parts_phone(parts_export, tmp_path_factory):
    """`parts_run` as TFLite files, with float32 and int8 weights, in the order in which they were written."""
    from export.tflite import files

    return files.write(parts_export, tmp_path_factory.mktemp("phones") / "phone", ("float32", "int8"), count=8)
