"""What several tests share: real data where it is there, and small things made on the spot."""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from vunet_tf.data import keypoints
from vunet_tf.data.figures import draw, sample_look, sample_pose

# Real pictures with ground truth. They lie beside the project and are never copied into it.
DATA = Path(__file__).parent.parent.parent / "shared/data"


@pytest.fixture(scope="session")
def photos_dir():
    """The folder of photographs with COCO keypoints; tests that need it are skipped where it is absent."""
    if not (DATA / "photos").is_dir():
        pytest.skip(f"needs the photographs in {DATA}")
    return DATA / "photos"


@pytest.fixture(scope="session")
def sprites_dir():
    """The folder of sprite sheets; tests that need it are skipped where it is absent."""
    if not (DATA / "sprites").is_dir():
        pytest.skip(f"needs the sprites in {DATA}")
    return DATA / "sprites"


@pytest.fixture(scope="session")
def photo_people(photos_dir):
    """80 photographs [80, 256, 256, 3] uint8 and their joints [80, 15, 2]."""
    from vunet_tf.data.pictures import read_picture

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
    """Both of the above, one after the other."""
    return request.getfixturevalue({"figures": "figure_people", "photos": "photo_people"}[request.param])


@pytest.fixture(scope="session")
def tiny_figures(tmp_path_factory):
    """A dataset of drawn people, 16 pixels, with joints and masks."""
    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.registry import SOURCES
    from vunet_tf.data.sources.source import Options

    directory = tmp_path_factory.mktemp("datasets") / "figures"
    source = SOURCES["figures"](Options(looks=24, poses=24, examples=100, image_size=16))
    prepare(source, directory, "figures", {}, workers=1)
    return directory


@pytest.fixture(scope="session")
def parts_run(tiny_figures, tmp_path_factory):
    """A run directory: body parts and stickmen at 16 pixels, weights initialised on `tiny_figures`."""
    import keras

    from vunet_tf import ModelConfig, VUNet, runs
    from vunet_tf.data.pipeline import training_batches

    keras.utils.set_random_seed(1)
    config = ModelConfig(image_size=16, bottleneck_factor=2, width=4, max_width=8, activation="leaky_relu")
    model = VUNet(config)
    model.initialise(training_batches(tiny_figures, 8, part_size=config.appearance_size).take(2))
    run_dir = tmp_path_factory.mktemp("runs") / "parts"
    runs.save(model, run_dir, keypoints=True)
    (run_dir / runs.FLAGS).write_text(f"--dataset_dir={tiny_figures}\n")
    return run_dir


@pytest.fixture(scope="session")
def maps_run(tmp_path_factory):
    """A run directory: picture and shape map of one channel at 16 pixels, ELU, one latent, a learned variance."""
    import keras

    from vunet_tf import ModelConfig, VUNet, runs

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
    runs.save(model, run_dir, keypoints=False)
    return run_dir


@pytest.fixture(scope="session")
def parts_version(parts_run, tmp_path_factory):
    """`parts_run` as version 1 of a SavedModel."""
    from export import servable, trained

    return servable.write(trained.load(parts_run), tmp_path_factory.mktemp("served") / "vunet")


@pytest.fixture(scope="session")
def maps_version(maps_run, tmp_path_factory):
    """`maps_run` as version 1 of a SavedModel."""
    from export import servable, trained

    return servable.write(trained.load(maps_run), tmp_path_factory.mktemp("served") / "vunet")
