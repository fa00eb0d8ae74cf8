"""`python -m vunet_tf.generate` as a user runs it: its modes, wrong flags, inputs that cannot be read."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vunet_tf.body import keypoints
from vunet_tf.body.skeleton import JOINT_INDEX, OPENPOSE_18
from vunet_tf.data.dataset import read_examples
from vunet_tf.files.pictures import read_picture

# Runs several command lines in one process, as starting TensorFlow and building the model take longest; reports status
# and output of each.
RUN_ALL = """
import contextlib, functools, io, json, sys
from absl import flags
from vunet_tf import generate, runs
from vunet_tf.command_line import startup

runs.load = functools.cache(runs.load)
for arguments in json.load(sys.stdin):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            sys.argv = ["generate", *arguments]
            startup.run({mode: functools.partial(generate._command, mode) for mode in generate.MODES})
        except SystemExit as end:
            code = end.code or 0
            status = code if isinstance(code, int) else 1
            print("" if isinstance(code, int) else code, file=sys.stderr)
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=sys.__stdout__)
"""


def generate(*arguments, **options):
    command = [sys.executable, "-m", "vunet_tf.generate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, figures_dataset):
    """A folder with 40 pictures of people, two of them unreadable and one without keypoints."""
    folder = tmp_path_factory.mktemp("people")
    for i, example in enumerate(read_examples(figures_dataset, "valid", 0, 40)):
        (folder / f"{i:02d}.png").write_bytes(b"no picture" if i in (7, 20) else example.image)
        rows = [
            [*keypoints.fractions_to_pixels(example.joints[JOINT_INDEX[name]], 32, 32), 1]
            if name in JOINT_INDEX
            else [0, 0, 0]
            for name in OPENPOSE_18
        ]
        if i != 30:
            content = {"people": [{"pose_keypoints_2d": np.ravel(rows).tolist()}]}
            (folder / f"{i:02d}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, figures_run, folder):
    """Runs everything below in one process. Gives {name: (status, standard output, standard error)} and the folder."""
    out = tmp_path_factory.mktemp("out")
    (out / "file").write_text("in the way")
    (out / "lost").mkdir()
    for name in ("config.json", "model.weights.h5"):
        (out / "lost" / name).write_bytes((figures_run / name).read_bytes())
    (out / "lost/flags.txt").write_text("--dataset_dir=gone\n")
    run = f"--run_dir={figures_run}"
    commands = {
        "reconstruct": ["reconstruct", run, "--inputs=valid:0-3", f"--out={out}/deep/er/r.png"],
        "transfer": ["transfer", run, "--appearances=valid:0,1", "--shapes=valid:2-4", f"--out={out}/t.png"],
        "sample": ["sample", run, "--shapes=valid:2-3", "--samples=3", f"--out={out}/s", "--separate"],
        "interpolate": ["interpolate", run, "--appearances=valid:2,3", "--steps=4", f"--out={out}/i.gif", "--cell=32"],
        "animate": [
            *("animate", run, "--appearances=valid:2", "--shapes=valid:3,4", "--steps=6", f"--out={out}/a.mp4"),
            "--show_shapes",
        ],
        "folder": [
            *("reconstruct", run, f"--inputs={folder},valid:9000", f"--out={out}/many", "--separate"),
            f"--pose_model={out}/none",  # so that it is the same where the weights are there
        ],
        "one": ["reconstruct", run, "--inputs=valid:0", f"--out={out}/one.png"],
        "nothing": ["reconstruct", run, "--inputs=valid:9000", f"--out={out}/nothing.png"],
        "no run": ["sample", f"--run_dir={out}/many", "--shapes=valid:0", f"--out={out}/x.png"],
        "lost": ["sample", f"--run_dir={out}/lost", "--shapes=valid:0", f"--out={out}/x.png"],
    }
    result = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(list(commands.values())),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("[")]
    return out, dict(zip(commands, map(json.loads, lines), strict=True))


def test_grids(made):
    out, results = made
    assert results["reconstruct"] == [0, f"{out}/deep/er/r.png: a grid of 4 pictures\n", "\n"]
    assert results["one"][:2] == [0, f"{out}/one.png: a grid of 1 picture\n"]
    assert results["transfer"][0] == 0
    assert read_picture(out / "deep/er/r.png").shape[0] > 4 * 96
    assert read_picture(out / "t.png").shape[1] > 4 * 96


def test_separate_pictures(made):
    out, results = made
    assert results["sample"][:2] == [0, f"{out}/s: 6 pictures\n"]
    assert read_picture(out / "s/valid-2__sample-3.png").shape == (32, 32, 3)
    assert len((out / "s/index.csv").read_text().splitlines()) == 7


def test_animations(made):
    out, results = made
    assert results["interpolate"][:2] == [0, f"{out}/i.gif: 4 frames\n"]
    with Image.open(out / "i.gif") as gif:
        assert gif.n_frames == 4 and gif.size == (32, 32)
    assert results["animate"][:2] == [0, f"{out}/a.mp4: 6 frames\n"]
    with av.open(str(out / "a.mp4")) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(512, 256)] * 6


def test_what_cannot_be_read_is_listed_the_rest_made_and_the_status_says_so(made, folder):
    out, (status, output, errors) = made[0], made[1]["folder"]
    assert status == 2 and output == f"{out}/many: 37 pictures\n"
    assert "and 3 more; listed in" in errors and "Traceback" not in errors
    with (out / "many/rejects.csv").open(newline="") as file:
        rejects = list(csv.reader(file))
    assert rejects[0] == ["input", "reason"]
    reasons = {Path(name).name: reason for name, reason in rejects[1:]}
    assert reasons.keys() == {"07.png", "20.png", "30.png", "valid:9000"}
    assert reasons["07.png"].startswith("not a picture in a known format") and "no keypoints" in reasons["30.png"]
    assert {path.name for path in (out / "many").glob("*.png")} == {
        path.name for path in folder.glob("*.png") if path.name not in reasons
    }


def test_nothing_is_left_under_the_name_of_what_failed(made):
    out, results = made
    status, _, errors = results["nothing"]
    assert status == 1 and errors.count("valid:9000") == 1 and errors.endswith("\nerror: no picture was made\n")
    assert not (out / "nothing.png").exists() and not (out / "x.png").exists()
    assert not list(out.rglob(".*")), "temporary files"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no run", "holds no trained model: config.json is missing"),
        ("lost", "the run's dataset gone is not there: give --dataset_dir"),
    ],
)
def test_runs_and_datasets_that_are_none(made, name, message):
    status, _, errors = made[1][name]
    assert status == 1 and message in errors and "Traceback" not in errors
    assert errors.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what to do, one of reconstruct, transfer, sample, parts, interpolate, animate, manifold, attribute"),
        (["smaple"], "'smaple' is nothing to do; name what to do, one of reconstruct"),
        (["sample", "x"], "unexpected argument 'x'"),
        (["sample"], "sample needs --run_dir and --out"),
        (["transfer", "--run_dir=r", "--shapes=a", "--out=o.png"], "transfer needs --appearances"),
        (["sample", "--run_dir=r", "--shapes=a", "--out=o.png"], "--run_dir=r is no run: there is no such folder"),
        (["sample", "--run_dir=.", "--shapes=a", "--out=o.jpg"], "--out=o.jpg: sample writes .png"),
        (["animate", "--run_dir=.", "--shapes=a", "--appearances=b", "--out=o.png"], "animate writes .gif or .mp4"),
        (["sample", "--run_dir=.", "--shapes=a", "--out=file/o.png"], "cannot write file/o.png: File exists"),
        (
            ["sample", "--run_dir=.", "--shapes=a", "--separate", "--out=file"],
            "cannot write file/index.csv: File exists",
        ),
        (
            ["sample", "--run_dir=.", "--shapes=a.png+b.json,c", "--out=o.png"],
            "--shapes=a.png+b.json,c: there is no such",
        ),
        (["sample", "--run_dir=.", "--shapes=a", "--out=o.png", "--fps=3"], "--fps is for animations"),
        (
            ["sample", "--run_dir=.", "--shapes=a", "--out=o.png", "--steps=3"],
            "--steps is for interpolate, animate, man",
        ),
        (["sample", "--samples=0"], "--samples=0: 0 is not a positive integer"),
        (["sample", "--shape=a"], "Unknown command line flag 'shape'"),
    ],
)
def test_wrong_flags_are_one_clear_error(tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    result = generate(*arguments, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_help_teaches():
    result = generate("--help")
    for word in ("reconstruct", "animate", "valid:0-7", "me.jpg+keypoints.json", "--separate", "Exit status"):
        assert word in result.stdout
