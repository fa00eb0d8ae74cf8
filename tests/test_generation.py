"""The modes in Python, compared with the model's own methods on the pipeline's batches."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import vunet_tf
from vunet_tf import ModelConfig, VUNet
from vunet_tf.body import keypoints
from vunet_tf.body.estimation import Estimator
from vunet_tf.body.skeleton import JOINT_INDEX, SCHEMAS
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.data.batches import evaluation_batches, shape_of
from vunet_tf.data.dataset import read_examples
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import read_picture
from vunet_tf.files.pixels import to_uint8
from vunet_tf.generation import Generator
from vunet_tf.generation.inputs import Inputs
from vunet_tf.runs import Run

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def figures(figures_run):
    return vunet_tf.load(figures_run)


@pytest.fixture(scope="module")
def model(figures):
    return figures.model


@pytest.fixture(scope="module")
def generator(figures):
    return Generator(figures, batch_size=3)


@pytest.fixture(scope="module")
def maps_generator(maps_run):
    return Generator(vunet_tf.load(maps_run))


@pytest.fixture(scope="module")
def first(model, figures_dataset):
    """The first 8 examples of the valid split, as the pipeline gives them."""
    batches = evaluation_batches(figures_dataset, 8, crops=model.appearance_input.crops)
    return next(iter(batches))


def part(batch, *rows):
    """Some examples of a batch, only what the model sees."""
    return {key: tf.gather(batch[key], rows) for key in ("image", "shape", "parts")}


def assert_same(made, expected):
    """Compares pictures [..., S, S, 3] as bytes and as floats. Batches of other sizes may round to the next level."""
    expected = to_uint8(expected)
    assert made.shape == expected.shape
    assert np.abs(made.astype(int) - expected).max() <= 1 and len(np.unique(made)) > 50


def test_reconstruct(generator, model, first):
    made = generator.reconstruct("valid:0-7")
    assert len(made) == 8
    assert_same(made.array()[:, 0], model.reconstruct(part(first, *range(8))))


def test_transfer_has_appearances_in_rows_and_shapes_in_columns(generator, model, first):
    made = generator.transfer("valid:0,5", "valid:1-3,valid:7").array()
    for row, appearance in enumerate((0, 5)):
        shapes = part(first, 1, 2, 3, 7)["shape"]
        assert_same(made[row], model.transfer(part(first, appearance), shapes))
    assert np.abs(made[0].astype(int) - made[1]).max() > 20, "the appearance counts"


def test_sample_depends_on_the_seed_and_the_column_alone(generator, model, figures, first):
    made = generator.sample("valid:0-2", samples=4, seed=5).array()
    noise = [tf.concat(scale, 0) for scale in zip(*(model.noise(1, [5, j]) for j in range(4)), strict=True)]
    for row in range(3):
        shape = tf.repeat(first["shape"][row : row + 1], 4, axis=0)
        assert_same(made[row], model.sample(shape, noise=noise)[0])
    again = Generator(figures, batch_size=7).sample("valid:2", samples=6, seed=5).array()
    assert np.abs(again[0, :4].astype(int) - made[2]).max() <= 1
    other = generator.sample("valid:2", samples=4, seed=6).array()
    assert np.abs(other[0].astype(int) - made[2]).max() > 20 and np.abs(made[2, 0].astype(int) - made[2, 1]).max() > 20


def test_interpolate_between_appearances_is_a_straight_line_of_z(generator, model, first):
    made = generator.interpolate("valid:0,5", shapes="valid:1-2", steps=5).array()
    z = [model.encode(part(first, i, i)) for i in (0, 5)]
    assert_same(made, tf.transpose(model.interpolate(part(first, 1, 2)["shape"], *z, steps=5), [1, 0, 2, 3, 4]))
    own_shape = generator.interpolate("valid:0,5,6", steps=3).array()
    assert own_shape.shape == (1, 5, 32, 32, 3)
    assert_same(own_shape[0, 2:3], model.transfer(part(first, 5), part(first, 0)["shape"]))


def test_interpolate_along_poses_moves_the_joints_in_straight_lines(generator, model, first, figures_dataset):
    cells = list(generator.interpolate("valid:0", shapes="valid:1,2,3", steps=5))
    assert [cell.column for cell in cells] == list(range(9))
    examples = list(read_examples(figures_dataset, "valid", 1, 3))
    middle = (examples[0].joints + examples[1].joints) / 2
    np.testing.assert_array_equal(cells[2].shape, to_uint8(draw_stickman(middle[None], 32, 32))[0])
    for column, example in zip((0, 4, 8), (1, 2, 3), strict=True):
        assert_same(cells[column].picture[None], model.transfer(part(first, 0), part(first, example)["shape"]))


def test_animate_goes_frame_by_frame(generator, model, first):
    made = generator.animate("valid:0,4", shapes="valid:1-3")
    assert made.by_column
    array = made.array()
    for row, appearance in enumerate((0, 4)):
        assert_same(array[row], model.transfer(part(first, appearance), part(first, 1, 2, 3)["shape"]))
    frames = list(generator.animate("valid:0,4", shapes="valid:1-3").frames(least=32, with_shapes=True))
    assert [frame.shape for frame in frames] == [(32, 3 * 32, 3)] * 3
    np.testing.assert_array_equal(frames[1][:, 32:64], array[0, 1])
    np.testing.assert_array_equal(frames[1][:, :32], to_uint8(first["shape"][2]))
    assert len(generator.animate("valid:0", shapes="valid:1-3", steps=4).array()[0]) == 7
    with pytest.raises(InputError, match="several shapes"):
        generator.animate("valid:0", shapes="valid:1", steps=4)


def test_shape_maps_are_a_sequence(maps_generator, maps_run):
    made = maps_generator.interpolate("train:0", shapes="train:1-4").array()
    batch = next(iter(evaluation_batches(maps_run.parent / "maps", 5, split="train")))
    one = {key: batch[key][:1] for key in ("image", "shape")}
    assert_same(made[0], maps_generator.model.transfer(one, batch["shape"][1:]))
    with pytest.raises(InputError, match="there are no frames between shape maps"):
        maps_generator.animate("train:0", shapes="train:1-4", steps=4)


def openpose(path, joints, size):
    """Writes canonical joints, fractions of a picture, as OpenPose does."""
    rows = np.zeros((25, 3))
    for i, name in enumerate(SCHEMAS["body25"]):
        if name in JOINT_INDEX and (joints[JOINT_INDEX[name]] >= 0).all():
            rows[i] = [*keypoints.fractions_to_pixels(joints[JOINT_INDEX[name]], size, size), 0.9]
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": rows.ravel().tolist()}]}))


def test_a_picture_with_keypoints_is_as_good_as_the_example_it_came_from(generator, tmp_path, figures_dataset):
    for i, example in enumerate(read_examples(figures_dataset, "valid", 0, 2)):
        (tmp_path / f"{i}.png").write_bytes(example.image)
        openpose(tmp_path / f"{i}.json", example.joints, 32)
    of_files = generator.reconstruct(str(tmp_path)).array()
    assert np.abs(of_files.astype(int) - generator.reconstruct("valid:0-1").array()).max() <= 1
    (tmp_path / "0.json").rename(tmp_path / "else.json")
    named = generator.reconstruct([f"{tmp_path / '0.png'}+{tmp_path / 'else.json'}"]).array()
    np.testing.assert_array_equal(named[0], of_files[0])


@pytest.mark.parametrize("size", [(1, 1), (3000, 5), (33, 70), (640, 480)])
def test_pictures_of_any_size(maps_generator, tmp_path, size):
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(random.integers(0, 256, (size[1], size[0]), np.uint8)).save(tmp_path / "map.png")
    both = f"{tmp_path}/a.png+{tmp_path}/map.png"
    made = maps_generator.transfer(both, f"map:{tmp_path}/map.png,{tmp_path}/map.png")
    assert made.array().shape == (1, 2, 32, 32, 3)


def labels(generator, names):
    return [given.label for given in generator._inputs(names)]


def test_how_examples_are_named(generator, figures_dataset):
    names = [example.name for example in read_examples(figures_dataset, "valid", 3, 1)]
    assert labels(generator, "valid:3-5") == ["valid:3", "valid:4", "valid:5"]
    assert labels(generator, "valid:7,2, 4-5,train:1") == ["valid:7", "valid:2", "valid:4", "valid:5", "train:1"]
    assert labels(generator, [f"valid:{names[0]}"]) == names
    assert len(labels(generator, "train:all")) == 16
    with pytest.raises(InputError, match="no split 'vlid'; it has train, valid"):
        generator.reconstruct("vlid:3")
    with pytest.raises(InputError, match="valid:48: the split 'valid' has 48 examples"):
        generator.reconstruct("valid:48")
    with pytest.raises(InputError, match="ends before it begins"):
        generator.reconstruct("valid:5-3")
    with pytest.raises(InputError, match="no example of this name"):
        generator.reconstruct("valid:look1").array()
    with pytest.raises(InputError, match=r"nowhere\.png: cannot be read: No such file"):
        generator.reconstruct("nowhere.png").array()


def test_of_a_range_that_goes_too_far_the_rest_is_taken(figures):
    rejects = []
    assert labels(Generator(figures, rejects=rejects), "valid:46-60") == ["valid:46", "valid:47"]
    assert [rejected.file for rejected in rejects] == ["valid:46-60"]


class SeesNobody(Estimator):
    def people(self, pictures):
        return ([] for _ in pictures)


def test_what_cannot_be_used_is_listed_and_the_rest_done(figures, figures_dataset, tmp_path):
    examples = list(read_examples(figures_dataset, "valid", 0, 4))
    for i, example in enumerate(examples):
        (tmp_path / f"{i}.png").write_bytes(example.image[: 300 if i == 1 else None])
        openpose(tmp_path / f"{i}.json", example.joints, 32)
    (tmp_path / "2.json").unlink()
    rejects = []
    generator = Generator(figures, rejects=rejects, estimator=SeesNobody)
    made = generator.transfer(f"{tmp_path},valid:900", f"{tmp_path},valid:1")
    assert made.array().shape[:2] == (2, 3)
    assert sorted((Path(name).name, reason.split(":")[0]) for name, reason in rejects) == [
        ("1.png", "broken picture"),
        ("2.png", "no keypoints"),
        ("valid:900", "the split 'valid' has 48 examples, counted from 0"),
    ]
    with pytest.raises(InputError, match="no picture was made"):
        Generator(figures, rejects=[]).reconstruct("valid:900").array()


def test_nothing_is_between_appearances_of_which_one_is_left(figures):
    generator = Generator(figures, rejects=[])
    for names in ("valid:0,900", "valid:900,901"):
        with pytest.raises(InputError, match="of the appearances can be used; two are needed"):
            generator.interpolate(names, shapes="valid:1-3")


def test_a_map_alone_is_no_appearance(maps_generator, tmp_path):
    Image.new("L", (32, 32), 200).save(tmp_path / "map.png")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    with pytest.raises(InputError, match="a shape map alone has no appearance"):
        maps_generator.reconstruct(f"map:{tmp_path}/map.png").array()
    with pytest.raises(InputError, match="a shape map in colour; the run's maps have 1 channel"):
        maps_generator.sample(f"{tmp_path}/red.png").array()
    (tmp_path / "k.json").write_text("{}")
    with pytest.raises(InputError, match="the run needs a shape map, not the keypoints"):
        maps_generator.reconstruct(f"{tmp_path}/red.png+{tmp_path}/k.json").array()


def noise(path, seed=0):
    """A picture without flat areas, as a photograph."""
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(path)


def test_a_photograph_is_no_stickman(generator, figures_dataset, tmp_path):
    noise(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png: not a stickman; the run's shape maps are stickmen on black"):
        generator.sample(f"map:{tmp_path}/photo.png").array()
    Image.new("L", (32, 32), 200).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"grey\.png: not a stickman"):
        generator.sample(f"map:{tmp_path}/grey.png").array()
    (example,) = read_examples(figures_dataset, "valid", 0, 1)
    stickman = to_uint8(shape_of(example, 32))
    Image.fromarray(stickman).save(tmp_path / "stickman.png")
    made = generator.sample(f"map:{tmp_path}/stickman.png,valid:0,valid:1", 1).array().astype(int)
    # The file rounds the shape to 8 bits, and the prior carries that into z: a pixel may differ by a few grey levels.
    assert np.abs(made[0] - made[1]).mean() < 0.5 < np.abs(made[2] - made[1]).mean()


def test_what_does_not_look_like_the_dataset_is_told_once_and_made(
    figures, figures_dataset, maps_run, tmp_path, capsys
):
    (example,) = read_examples(figures_dataset, "valid", 0, 1)
    for i in range(2):
        noise(tmp_path / f"{i}.png", i)
        openpose(tmp_path / f"{i}.json", example.joints, 32)
    assert Generator(figures).reconstruct(str(tmp_path)).array().shape[0] == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"warning: {tmp_path}/0.png: it looks like a photograph")
    (tmp_path / "0.png").write_bytes(example.image)
    Generator(figures).reconstruct(f"{tmp_path}/0.png").array()
    assert capsys.readouterr().err == ""

    maps = Generator(vunet_tf.load(maps_run))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)).save(tmp_path / "photo.png")
    maps.sample(f"{tmp_path}/photo.png,train:0", 1).array()
    assert "photo.png: its shape map looks like a picture" in capsys.readouterr().err


def test_a_tiny_picture_is_told_from_missing_keypoints(generator, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="1 x 1 pixels are too few to show a person"):
        generator.reconstruct(f"{tmp_path}/a.png").array()


def test_batches_of_any_size_are_one_graph(figures, caplog, monkeypatch):
    """TensorFlow warns if a function is traced again and again."""
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    for batch_size in (2, 3):
        Generator(figures, batch_size=batch_size).reconstruct("valid:0-6").array()
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]


def test_a_model_without_latents_draws_shapes_and_has_nothing_to_sample(tmp_path):
    config = ModelConfig(32, 1, "picture", bottleneck_factor=3, width=4, max_width=8, latent_scales=0)
    fitting = Fitting(32, "pad", 0.15, shape_channels=1, stickmen=False, edges=False)
    generator = Generator(Run(tmp_path, VUNet(config), fitting, {}, None))
    with pytest.raises(InputError, match="--latent_scales=0: this model has no appearance latent"):
        generator.sample("map:a.png")
    for name in ("a.png", "map.png"):
        Image.new("L", (32, 32), 200).save(tmp_path / name)
    assert generator.reconstruct(f"{tmp_path}/a.png+{tmp_path}/map.png").array().shape == (1, 1, 32, 32, 3)


def test_a_dataset_that_does_not_fit_the_model(figures_run, maps_run, tmp_path):
    with pytest.raises(InputError, match="has --shape_channels=1, the model 3"):
        Generator(vunet_tf.load(figures_run, maps_run.parent / "maps"))
    with pytest.raises(InputError, match="is not a dataset"):
        Generator(vunet_tf.load(figures_run, maps_run))
    moved = Generator(vunet_tf.load(figures_run, tmp_path / "moved"))
    with pytest.raises(InputError, match="moved is not there: give --dataset_dir"):
        moved.reconstruct("valid:1")


def test_pictures_are_made_batch_by_batch(generator, monkeypatch):
    """Memory is bounded: at most one batch is read before its pictures are made."""
    read = []
    iterate = Inputs.__iter__
    monkeypatch.setattr(Inputs, "__iter__", lambda self: (read.append(given) or given for given in iterate(self)))
    sheet = generator.reconstruct("valid:all")
    assert len(sheet) == 48 and read == []
    next(iter(sheet))
    assert 1 <= len(read) <= 2 * 3


def test_files_have_names_of_their_own_and_an_index(generator, tmp_path):
    names = ["valid:0", "valid:0", "valid:1"]
    assert generator.transfer(names, "valid:2-3").save_pictures(tmp_path / "new/folder") == 6
    rows = (tmp_path / "new/folder/index.csv").read_text().splitlines()
    assert rows[0] == "file,row,column,row_label,column_label"
    assert rows[1] == "valid-0__valid-2.png,0,0,valid:0,valid:2"
    assert rows[3] == "valid-0__valid-2-2.png,1,0,valid:0,valid:2"
    files = {path.name for path in (tmp_path / "new/folder").glob("*.png")}
    assert files == {row.split(",")[0] for row in rows[1:]} and len(files) == 6
    array = generator.transfer(names, "valid:2-3").array()
    np.testing.assert_array_equal(read_picture(tmp_path / "new/folder/valid-1__valid-3.png"), array[2, 1])
    generator.animate("valid:0", "valid:2-3").save_pictures(tmp_path / "frames")
    assert {path.name for path in (tmp_path / "frames").glob("*.png")} == {
        "00000__valid-0.png",
        "00001__valid-0.png",
    }


def test_a_grid_that_would_be_too_large_is_refused_before_it_is_made(generator):
    with pytest.raises(InputError, match="2304 pictures of 512 x 512 pixels are more than one grid should hold"):
        generator.transfer("valid:all", "valid:all").draw(least=512)


def test_the_example_in_readme_runs(figures_run, figures_dataset, tmp_path, monkeypatch, capsys):
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "runs/quickstart" in block
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "runs/quickstart").symlink_to(figures_run)
    (tmp_path / "datasets/figures").symlink_to(figures_dataset)
    names = {}
    exec(code, names)
    assert names["samples"].shape == (1, 4, 32, 32, 3)
    assert read_picture("matrix.png").shape[1] > 5 * 96
    with Image.open("move.gif") as gif:
        assert gif.n_frames > 12
    assert len(capsys.readouterr().out.splitlines()) == 40
