"""The results of `python -m export.verify`: each number is compared with an independent one; and errors of users."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export import runtime
from export.verify import measurements, transfers
from vunet_tf.evaluation.measures import MODEL, mean
from vunet_tf.evaluation.scoring import QUANTITIES, Scorer
from vunet_tf.files.errors import InputError


def test_closeness_of_known_differences():
    random = np.random.default_rng(0)
    keras = random.integers(10, 200, (3, 32, 32, 3), np.uint8)
    masks = np.zeros((3, 32, 32), bool)
    masks[0, :16], masks[1, :2] = True, True  # the third figure is unknown
    exact = measurements.closeness(keras, keras, keras, masks)
    assert (exact["largest"], exact["psnr"], exact["error"]) == (0, None, 0)
    assert exact["ssim"] == exact["ssim_to_keras"] == 1
    brighter = keras + np.array([10, 1, 0], np.uint8)[:, None, None, None]
    found = measurements.closeness(brighter, keras, keras, masks)
    assert found["largest"] == 10 and found["psnr_worst"] == pytest.approx(20 * np.log10(255 / 10))
    assert found["psnr"] == pytest.approx(np.mean([20 * np.log10(255 / d) for d in (10, 1)]), rel=1e-5)
    outside = keras.copy()
    outside[:, 16:] = 0
    found = measurements.closeness(outside, keras, keras, masks)
    assert found["error"] == 0 and found["ssim"] < 0.9


def test_an_error_inside_the_figure_is_the_one_that_evaluate_tells():
    """A large figure counts as much as a small one: the error is the mean over pictures of each picture's mean."""
    truth = np.random.default_rng(0).integers(0, 200, (3, 32, 32, 3), np.uint8)
    made = truth + np.array([10, 1, 7], np.uint8)[:, None, None, None]
    masks = np.zeros((3, 32, 32), bool)
    masks[0, :16], masks[1, :2] = True, True
    told = measurements.closeness(made, truth, truth, masks)["error"]
    scores = Scorer()(truth, made, masks)["error_figure"]
    of_evaluate = mean("transfer", "valid", QUANTITIES["error_figure"], MODEL, scores, ["a", "b", "c"], seed=0)
    assert told == of_evaluate.value == pytest.approx((10 + 1) / 2)


@pytest.fixture(scope="module")
def given(parts_export):
    return transfers.load(parts_export, "train", 10)


def test_transfers_have_their_truth(given):
    assert len(given.truth) == 10 and given.seen["parts"].shape == (10, 8, 8, 24)
    names = given.batch.keys()
    assert {"image", "shape", "parts", "joints"} <= names
    other = [not np.array_equal(a, b) for a, b in zip(given.sent["image"], given.truth, strict=True)]
    assert sum(other) >= 5, "looks come from another picture where there is one"
    assert given.masks.shape == given.truth.shape[:3] and 0 < given.masks.mean() < 1


@pytest.fixture(scope="module")
def exported(parts_version, parts_phone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    (folder / "vunet").symlink_to(parts_version.parent)
    (folder / "phone").symlink_to(parts_phone[0].parent)
    return folder


def test_every_artefact_is_measured_against_keras(parts_export, exported):
    paths = measurements.artefacts([exported / "vunet", exported / "phone"])
    given, made, results = measurements.measured(parts_export, "train", 6, paths, seconds=0)
    assert list(results) == list(made) == ["keras", "SavedModel 1", "float32", "int8"]
    assert results["SavedModel 1"]["largest"] <= 1 and results["float32"]["largest"] <= 1
    assert results["int8"]["largest"] > 1 and results["int8"]["psnr"] > 20
    assert results["int8"]["partitions"] == 1 and not results["int8"]["outside"]
    assert results["int8"]["mb"] < results["float32"]["mb"]
    table = measurements.table(results)
    assert "exact" in table and "1, outside: none" in table
    two_rows = measurements.strip(given, made, 2)
    assert two_rows.shape[1] > 7 * 128 and 2 * 128 < two_rows.shape[0] < 3 * 128


def test_speed_has_its_units_and_is_that_of_a_signature(exported):
    file = exported / "phone/vunet_int8.tflite"
    for signature in ("generate", "encode"):
        speed = runtime.measure(file, signature, threads=1, seconds=0.01)
        assert 0 < speed.median_ms <= speed.p90_ms and speed.load_ms > 0
    with pytest.raises(LookupError, match=r"vunet_int8.tflite has the signatures encode, generate"):
        runtime.measure(file, "transfer", threads=1)


def test_an_artefact_without_the_signature_has_no_speeds(parts_export, exported, monkeypatch):
    monkeypatch.setattr(measurements, "THREADS", (2,))
    paths = measurements.artefacts([exported / "vunet", exported / "phone/vunet_int8.tflite"])
    _, _, results = measurements.measured(parts_export, "train", 2, paths, 0.01, "transfer_bytes")
    assert results["SavedModel 1"]["speed"]["2"]["median_ms"] > 0
    assert "speed" not in results["int8"]
    assert measurements.table(results).count(" /") == 1
    with pytest.raises(InputError, match=r"--signature=dress: nothing to verify has it; .*int8.tflite has the"):
        measurements.measured(parts_export, "train", 2, paths[1:], 0.01, "dress")


def test_memory_is_that_of_the_process_alone():
    """The memory is not that of the process which started it; that of the tests is larger."""
    code = """
import numpy as np
from export import runtime
before = runtime._peak_mib()
kept = np.ones(8 * 2**20)
print(runtime._peak_mib() - before)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 60 < float(told) < 70


def test_what_is_no_artefact_is_named(exported, tmp_path):
    with pytest.raises(InputError, match="is no SavedModel, no TFLite file"):
        measurements.artefacts([tmp_path])
    with pytest.raises(InputError, match="none is no SavedModel"):
        measurements.artefacts([tmp_path / "none"])
    found = measurements.artefacts([exported / "vunet", exported / "vunet/1", exported / "phone"])
    names = [path.name for path in found]
    assert names == ["1", "1", "vunet_float32.tflite", "vunet_int8.tflite"], "the drawing is no model"


def test_what_cannot_be_run_is_named(exported, given, parts_version, tmp_path):
    """Files and versions that are damaged or incomplete, lack a signature, or belong to a run of another size."""
    whole = (exported / "phone/vunet_int8.tflite").read_bytes()
    for name, content in (("rubbish", b"rubbish"), ("empty", b""), ("half", whole[: len(whole) // 2])):
        (tmp_path / f"{name}.tflite").write_bytes(content)
    without = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
    for i, name in enumerate(without):
        shutil.copytree(parts_version, tmp_path / f"versions{i}/1")
        (tmp_path / f"versions{i}/1" / name).unlink()
    damaged = [*tmp_path.glob("*.tflite"), *(tmp_path / f"versions{i}/1" for i in range(len(without)))]
    for path in damaged:
        with pytest.raises(InputError, match=f"{path.name} is damaged or not whole: .+; export it again"):
            measurements.transferred(path, None)

    larger = given._replace(
        seen={name: value.repeat(2, axis=1) for name, value in given.seen.items()}, truth=given.truth.repeat(2, axis=1)
    )
    others = {
        exported / "phone/vunet_int8.tflite": r"encode takes \{'parts': \(1, 8, 8, 24\)\}",
        exported / "phone/drawing.tflite": "no signature encode",
        parts_version: "its pictures have 16 pixels a side, the run's 32",
    }
    for path, why in others.items():
        with pytest.raises(InputError, match=rf"{path.name} is not of this run; .*{why}"):
            measurements.transferred(path, larger)


def test_the_command_only_prints_unless_told_to_write(exported, parts_run, tmp_path):
    """And LiteRT's own messages are not among what it prints."""
    file = exported / "phone/vunet_float32.tflite"
    options = [f"--run_dir={parts_run}", "--split=train", "--examples=2", "--seconds=0", file]
    told = subprocess.run(
        [sys.executable, "-m", "export.verify", *options],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(runtime.__file__).parent.parent)},
    )
    assert told.stdout.startswith("2 transfers on ") and told.stdout.splitlines()[-1].startswith("float32 ")
    assert not list(tmp_path.iterdir())
    assert "LiteRT" not in told.stderr and "XNNPACK" not in told.stderr and "Accelerator" not in told.stderr
