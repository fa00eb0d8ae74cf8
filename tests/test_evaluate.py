"""`python -m vunet_tf.evaluate` and its sections on tiny models and datasets."""

import dataclasses
import json
import subprocess
import sys
from collections import Counter

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from PIL import Image

from vunet_tf import ModelConfig, VUNet, runs
from vunet_tf.body.estimation import Estimate, Estimator, Mask
from vunet_tf.config import SECTIONS, EvaluationConfig
from vunet_tf.data.dataset import read_examples, read_info
from vunet_tf.data.own_pictures import Fitting
from vunet_tf.data.preparation import prepare
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.evaluation import comparison, inception, likelihood, metrics, per_example, pose, references, report
from vunet_tf.evaluation.evaluation import Evaluation
from vunet_tf.evaluation.examples import batches, read_index
from vunet_tf.evaluation.measures import MODEL, Measure, Missing
from vunet_tf.evaluation.sampling import DIVERSITY, SAME_SHAPE
from vunet_tf.evaluation.scoring import QUANTITIES, Scorer
from vunet_tf.evaluation.transfer import TransferTask
from vunet_tf.evaluation.transfer import measure as measure_transfers
from vunet_tf.files.errors import InputError
from vunet_tf.files.pictures import read_picture
from vunet_tf.models.appearance_input import AppearanceInput
from vunet_tf.runs import Run

CONFIG = ModelConfig(image_size=16, bottleneck_factor=2, width=2, max_width=4, latent_scales=1, activation="leaky_relu")
CHANGE = "--learning_rate: 0.001 before, 0.0005 from step 2000 on"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve pictures without joints, masks or anything shared."""
    root = tmp_path_factory.mktemp("folder")
    (root / "pictures").mkdir()
    for i in range(12):
        noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(root / "pictures" / f"{i}.png")
    source = SOURCES["folder"](Options(input=root / "pictures", image_size=16, valid_fraction=0.5))
    prepare(source, root / "dataset", "folder", {}, workers=1)
    return root / "dataset"


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return VUNet(CONFIG)


@pytest.fixture(scope="module")
def run(model, tmp_path_factory, tiny_figures):
    run_dir = tmp_path_factory.mktemp("runs") / "one"
    runs.save(model, run_dir, Fitting.of_dataset(read_info(tiny_figures)))
    (run_dir / "flags.txt").write_text(f"--dataset_dir={tiny_figures}\n--mirror\n--nomirror_appearance\n")
    entry = {"step": 20, "flags": {}, "versions": {}, "changed": [CHANGE]}
    (run_dir / "history.jsonl").write_text(json.dumps(entry))
    (run_dir / "metrics.csv").write_text("step,split,loss,kl\n10,train,5,1\n20,train,4,2\n20,valid,4.5,2\n30,tra")
    return run_dir


def evaluate(*arguments):
    command = [sys.executable, "-m", "vunet_tf.evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def find(found, section, quantity, of=MODEL):
    (measure,) = (
        each
        for each in found
        if isinstance(each, Measure) and (each.section, each.of) == (section, of) and each.quantity.startswith(quantity)
    )
    return measure


def test_the_command_writes_table_json_page_and_pictures(run, tmp_path):
    out = tmp_path / "new" / "metrics.json"
    sections = "reconstruction,transfer,disentanglement"
    made = evaluate(f"--run_dir={run}", "--split=valid", "--max_examples=24", f"--sections={sections}", f"--out={out}")
    assert made.returncode == 0, made.stderr
    assert "nearest training appearance" in made.stdout and "needs --vgg_weights" in made.stdout
    results = report.read(out)
    assert {each.section for each in results.measures} == {"reconstruction", "transfer", "disentanglement"}
    assert results.training["mirror"] == "true" and results.training["mirror_appearance"] == "false"
    page = out.with_suffix(".html").read_text()
    names = {path.name for path in out.parent.glob("*.png")}
    assert {f"metrics_{name}.png" for name in ("curve", "matrix_valid", "transfer_valid", "transfer_error")} <= names
    assert page.count("<img") == len(names) and 'src="data:image/png;base64,' in page
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]

    examples = per_example.read(per_example.path_beside(out))
    of_transfers = examples["transfer", "valid"]
    assert len(of_transfers.examples) == len(set(of_transfers.examples)) == 24
    assert of_transfers.values["error_figure"].mean() == pytest.approx(
        find(results.measures, "transfer", "mean |error| inside").value, rel=1e-5
    )

    table = comparison.as_markdown([results, results], [examples, examples], "the command")
    assert "Difference from one, example by example" in table and "Flags in which the runs differ" not in table
    other = dataclasses.replace(results, run="runs/two", training={**results.training, "seed": "1"})
    without = comparison.as_markdown([results, other], [examples, {}], "the command")
    assert "No differences of two: there is no NAME_examples.csv" in without and "Difference from" not in without
    assert "| `--seed` |  | 1 |" in without
    assert "| transfer: error inside the figure | +0.00 [+0.00, +0.00] |" in table
    assert table.count(f"; {CHANGE}.") == 2
    assert report.number(find(results.measures, "transfer", "mean |error| inside")) in table
    assert "| VU-Net | 3.214 | 0.353 |" in table and "not measured (needs the dataset and GPUs)" in table


def test_scores_of_an_earlier_evaluation_are_not_left_beside_a_new_one(run, tmp_path):
    (tmp_path / "x_examples.csv").write_text("section,split\n")
    made = evaluate(f"--run_dir={run}", "--split=valid", "--sections=distribution", f"--out={tmp_path / 'x.json'}")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "x.json").exists() and not (tmp_path / "x_examples.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out=x.json"], "give --run_dir and --out"),
        (["--run_dir=r", "--out=x.txt"], "--out=x.txt: name a file that ends in .json"),
        (["--run_dir=r", "--out=/proc/none/x.json"], "cannot write /proc/none/x.json"),
        (["--run_dir=r", "--out={tmp}/x.json", "--vgg_weights=none"], "--vgg_weights=none: there is no such file"),
        (["--run_dir=r", "--out={tmp}/x.json", "--split_=valid"], "Unknown command line flag 'split_'"),
        (["--compare=x.json", "--out=x.json"], "--out=x.json: name a file that ends in .md"),
    ],
)
def test_wrong_flags_are_one_clear_error(tmp_path, arguments, message):
    made = evaluate(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert made.returncode == 1 and "Traceback" not in made.stderr
    assert message in made.stderr
    assert list(tmp_path.iterdir()) == []


def scores_of(values, appearances="aabbcc"):
    examples = tuple((str(position), appearance, "s") for position, appearance in enumerate(appearances))
    return per_example.ExampleScores(examples, {"error": np.array(values, float)})


def test_a_difference_of_two_runs_is_surer_than_their_scores():
    random = np.random.default_rng(0)
    hard = random.uniform(0, 50, 200)  # how hard an example is, for both runs
    names = [f"{i // 2}" for i in range(200)]
    noise = random.normal(0, 0.5, 200)
    first, second = scores_of(hard, names), scores_of(hard - 1 + noise - noise.mean(), names)
    value, low, high = per_example.difference(first, second, "error")
    assert value == pytest.approx(-1) and low < -1 < high and high - low < 0.3
    _, least, most = metrics.mean_interval(hard, names)
    assert most - least > 10 * (high - low)
    value, low, high = per_example.difference(first, first, "error")
    assert value == low == high == 0


def test_a_difference_needs_the_same_examples_and_leaves_out_what_has_no_score():
    first = scores_of([1, 2, 3, 4, 5, 6])
    assert per_example.difference(first, scores_of([1, 2, 3, 4, 5], "aabbc"), "error") is None
    assert per_example.difference(first, scores_of([1, 2, 3, 4, 5, 6], "aabbca"), "error") is None
    assert per_example.difference(first, first, "ssim") is None
    value, low, high = per_example.difference(first, scores_of([2, np.nan, 4, 5, np.inf, 7]), "error")
    assert value == low == high == 1
    assert per_example.difference(first, scores_of([np.nan] * 6), "error") is None


@pytest.mark.parametrize("damage", ["section\n1", "section,split,position\na,b,c\n", 'section,"split\na,b', "\0\n1\n"])
def test_a_damaged_table_of_scores_is_told(tmp_path, damage):
    path = tmp_path / "x_examples.csv"
    assert per_example.read(path) == {}
    path.write_text(damage)
    with pytest.raises(InputError, match=r"x_examples.csv is no table of scores of `evaluate`"):
        per_example.read(path)


def run_of(model, dataset):
    """A run of a model that was never saved."""
    return Run(dataset, model, Fitting.of_dataset(read_info(dataset)), {}, dataset)


def test_wrong_settings_are_told(model, tiny_figures):
    with pytest.raises(InputError, match="no split 'test'; it has train, valid"):
        Evaluation(run_of(model, tiny_figures), EvaluationConfig(split=("test",)))
    with pytest.raises(InputError, match="--sections=transfers: must be some of"):
        EvaluationConfig(sections=("transfers",))
    with pytest.raises(InputError, match="--inception_weights=none: there is no such file"):
        Evaluation(run_of(model, tiny_figures), EvaluationConfig(inception_weights="none"))


def test_a_dataset_that_does_not_fit_is_told(model, folder, tiny_figures):
    run = run_of(model, tiny_figures)
    with pytest.raises(InputError, match=r"has --shape_channels=1, the model 3"):
        Evaluation(run._replace(dataset_dir=folder), EvaluationConfig())
    grey = VUNet(dataclasses.replace(CONFIG, shape_channels=1))
    with pytest.raises(InputError, match="has no joints, and the run's shapes are drawn from joints"):
        Evaluation(run._replace(model=grey, dataset_dir=folder), EvaluationConfig())


def test_same_seed_same_numbers(model, tiny_figures):
    options = EvaluationConfig(
        split=("valid",), sections=("transfer", "likelihood"), max_examples=12, samples=1, seed=4
    )
    found = []
    for _ in range(2):
        evaluation = Evaluation(run_of(model, tiny_figures), options)
        evaluation.run()
        found.append(evaluation.found)
    assert found[0] == found[1]
    assert {each.section for each in found[0]} == {"transfer", "likelihood"}


def test_a_model_without_latents_is_measured_without_them(tiny_figures):
    model = VUNet(dataclasses.replace(CONFIG, latent_scales=0))
    config = EvaluationConfig(split=("valid",), max_examples=20, samples=2)
    evaluation = Evaluation(run_of(model, tiny_figures), config)
    evaluation.run()
    missing = {(each.section, each.quantity) for each in evaluation.found if isinstance(each, Missing)}
    assert {("disentanglement", "probes of z"), ("likelihood", "KL")} <= missing
    assert find(evaluation.found, "disentanglement", "diversity").value == 0
    bounds = [find(evaluation.found, "likelihood", name).value for name in ("evidence", "importance", "log p(x")]
    np.testing.assert_allclose(bounds, bounds[0], rtol=1e-6)
    error = find(evaluation.found, "reconstruction", "mean |error|, whole")
    assert error.value > 0


def test_pictures_alone_are_measured_as_far_as_they_go(folder):
    """No joints, no masks, no shared looks: the reasons are listed."""
    config = dataclasses.replace(CONFIG, appearance="picture", shape_channels=1, prior="standard_normal")
    evaluation = Evaluation(
        run_of(VUNet(config), folder), EvaluationConfig(split=("valid",), sections=SECTIONS[:4], samples=2)
    )
    evaluation.run()
    why = {(each.section, each.split): each.why for each in evaluation.found if isinstance(each, Missing)}
    assert "no two pictures share an appearance" in why["transfer", "valid"]
    reasons = " ".join(each.why for each in evaluation.found if isinstance(each, Missing))
    assert "the dataset has no masks" in reasons
    shown = {each.quantity for each in evaluation.found if isinstance(each, Measure)}
    missing = {each.quantity for each in evaluation.found if isinstance(each, Missing)}
    assert f"{DIVERSITY.name} ({SAME_SHAPE})" in missing, "whose, since the model's is there"
    assert DIVERSITY.name in shown and not shown & missing


# Transfer


def test_references_are_chosen_by_attribute_name_or_order(tiny_figures):
    index = read_index(tiny_figures, "valid_appearance")
    first = references.choose(tiny_figures, "valid")
    assert first.split == "valid_appearance" and len(first.positions) == 8
    for appearance, position in first.positions.items():
        assert position == next(i for i, example in enumerate(index) if example.appearance_id == appearance)
    shape = index[0].shape_id
    chosen = references.choose(tiny_figures, "valid", f"shape_id={shape}")
    assert {index[position].shape_id for position in chosen.positions.values()} == {shape}
    action = index[3].attributes["action"]
    by_action = references.choose(tiny_figures, "valid", f"action={action},name={index[3].name}")
    assert list(by_action.positions.values()) == [3]
    with pytest.raises(InputError, match="no example of valid_appearance has that; the first has the keys name"):
        references.choose(tiny_figures, "valid", "action=sleepwalk")
    with pytest.raises(InputError, match="must be first, or key=value"):
        references.choose(tiny_figures, "valid", "dance")


def test_the_truth_as_a_transfer_scores_perfectly_and_baselines_by_hand(model, tiny_figures):
    """The model is replaced by one that knows the truth. Then each baseline is computed again from the examples."""
    task = TransferTask(model, tiny_figures, "valid", limit=12, batch_size=5)
    by_position = dict(enumerate(read_examples(tiny_figures, "valid")))
    truths = iter([decode(by_position[position]) for position in task.positions])
    task.make = lambda appearances, shapes: np.stack([next(truths) for _ in appearances])
    found, tally = measure_transfers(task, Scorer(), seed=0)
    assert find(found, "transfer", "mean |error| inside").value == 0
    assert find(found, "transfer", "SSIM inside").value == pytest.approx(1)
    assert find(found, "transfer", "mean |error|, whole").examples == 12 == len(tally.positions)

    gallery = [each for split in ("train", "valid_shape") for each in read_examples(tiny_figures, split)]
    task.make = lambda appearances, shapes: np.zeros((len(appearances), 16, 16, 3), np.uint8)
    for question in (question for batch in task.questions() for question in batch):
        made = question.made
        np.testing.assert_array_equal(made["copy the reference picture"], decode(question.reference))
        assert question.reference.appearance_id == question.example.appearance_id
        in_shape = [decode(each) for each in gallery if each.shape_id == question.example.shape_id]
        mean = np.rint(np.mean(in_shape, axis=0))
        np.testing.assert_allclose(made["mean training picture of the shape"], mean, atol=1)
        assert any((made["nearest training appearance"] == each).all() for each in in_shape)


def test_the_error_for_each_value_of_an_attribute(model, tiny_figures):
    task = TransferTask(model, tiny_figures, "valid", limit=12, batch_size=5)
    found, _ = measure_transfers(task, Scorer(), seed=0, by="pattern")
    rows = [each for each in found if isinstance(each, Measure) and "pattern" in each.quantity]
    examples = list(read_examples(tiny_figures, "valid"))
    patterns = Counter(examples[position].attributes["pattern"] for position in task.positions)
    assert {each.quantity.rpartition(" ")[2]: each.examples for each in rows} == patterns and len(patterns) > 1
    weighted = sum(each.value * each.examples for each in rows) / 12
    (of_all,) = [each for each in found if each.quantity == QUANTITIES["error_figure"].name and each.of == MODEL]
    assert weighted == pytest.approx(of_all.value)
    with pytest.raises(InputError, match="--by=colour"):
        measure_transfers(task, Scorer(), seed=0, by="colour")


def test_a_seen_appearance_is_not_its_own_baseline(model, tiny_figures):
    """In valid_shape the gallery has the true picture itself, which must be left out."""
    task = TransferTask(model, tiny_figures, "valid_shape", limit=8)
    assert task.references.split == "train"
    for question in (question for batch in task.questions() for question in batch):
        assert (question.made["nearest training appearance"] != question.truth).any()
        others = [
            decode(each)
            for each in read_examples(tiny_figures, "valid_shape")
            if each.shape_id == question.example.shape_id and each.appearance_id != question.example.appearance_id
        ]
        mean = question.made["mean training picture of the shape"]
        np.testing.assert_allclose(mean, np.mean(others, axis=0), atol=1)


def decode(example):
    return tf.io.decode_image(example.image, 3, expand_animations=False).numpy()


# Likelihood


def test_laplace_is_that_of_scipy():
    random = np.random.default_rng(0)
    x, x_hat = (random.uniform(-1, 1, (2, 4, 4, 3)).astype(np.float32) for _ in range(2))
    expected = scipy.stats.laplace(x_hat, 0.2).logpdf(x).sum((1, 2, 3))
    np.testing.assert_allclose(likelihood.log_likelihood(x, x_hat, 0.2), expected, rtol=1e-5)


def test_bounds_agree_with_their_definitions(model, tiny_figures):
    """E[log weight] is the evidence lower bound; log of the mean weight of k samples lies above it."""
    (batch,) = batches(tiny_figures, "valid", range(4), 4, "", AppearanceInput(CONFIG).crops)
    seen = {key: tf.constant(value) for key, value in batch.items() if value.dtype == np.float32}
    draw_once = tf.function(lambda seed: likelihood.terms(model, seen, seed, 0.3))
    draws = [draw_once(tf.constant([0, i])) for i in range(60)]
    weights = np.stack([draw["log_weight"] for draw in draws])
    elbo = np.stack([draw["reconstruction"] - draw["kl_0"] for draw in draws])
    error = np.std(weights - elbo, axis=0) / np.sqrt(60)
    assert (np.abs((weights - elbo).mean(0)) < 4 * error + 1e-3).all()
    assert (np.logaddexp.reduce(weights, axis=0) - np.log(60) >= weights.mean(0)).all()


# Inception


@pytest.mark.slow
def test_inception_weights_of_a_file(tmp_path):
    """Random weights, saved in the usual way."""
    network = keras.applications.InceptionV3(weights=None)
    network.save_weights(tmp_path / "inception.weights.h5")
    loaded = inception.Inception(tmp_path / "inception.weights.h5")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    features, probabilities = loaded(pictures)
    assert features.shape == (2, 2048) and probabilities.shape == (2, 1000)
    expected = network(tf.image.resize(pictures / np.float32(127.5) - 1, (299, 299)), training=False)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    (tmp_path / "other.weights.h5").write_bytes(b"no weights")
    with pytest.raises(InputError, match="no weights of Keras's InceptionV3"):
        inception.Inception(tmp_path / "other.weights.h5")


def test_results_that_are_none_are_told(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match="has format 'other'"):
        report.read(path)
    with pytest.raises(InputError, match="No such file or directory; make it"):
        report.read(tmp_path / "none.json")
    path.write_text("{")
    with pytest.raises(InputError, match="no result of an evaluation"):
        report.read(path)


def test_pose_is_what_an_estimator_finds_again(run, tiny_figures, monkeypatch):
    """The estimator's error on true pictures stands beside the model's, in whose pictures it finds nobody here."""
    examples = list(read_examples(tiny_figures, "valid", 0, 40))
    people = {read_picture(example.image).tobytes(): example.joints for example in examples}
    everywhere = Mask(np.ones((1, 1), np.float32), np.eye(2, 3))

    class KnowsTheTruth(Estimator):
        def people(self, pictures):
            for picture in pictures:
                joints = people.get(picture.tobytes())
                box, sure = (0, 0, 1, 1), np.ones(15)
                moved = None if joints is None else joints + np.float32([0.03, 0.04])
                yield [] if joints is None else [Estimate(moved, sure, 1.0, box, everywhere)]

    monkeypatch.setattr(pose, "open_estimator", KnowsTheTruth)
    found = pose.measure(runs.load(run).model, tiny_figures, "valid", list(range(40)), batch_size=16, seed=0)
    assert find(found, "pose", "joints found again", "true pictures").value == pytest.approx(0.05 * 256, rel=1e-3)
    assert find(found, "pose", "people found again", "true pictures").value == 1
    assert find(found, "pose", "people found again").value == 0
    (missing,) = (each for each in found if isinstance(each, Missing))
    assert missing.quantity == "joints found again, mean distance (model)"
