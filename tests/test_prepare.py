"""`python -m vunet_tf.prepare` as a user runs it: to the end, killed, on a full disk, with wrong flags."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vunet_tf.data.dataset import read_examples
from vunet_tf.data.preparation import prepare
from vunet_tf.data.sources.registry import SOURCES
from vunet_tf.data.sources.source import Options
from vunet_tf.files.pictures import encode, read_picture


def run(*arguments, **options):
    command = [sys.executable, "-m", "vunet_tf.prepare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def noise(tmp_path):
    """A folder of 40 pictures."""
    (tmp_path / "noise").mkdir()
    for i, picture in enumerate(np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)):
        (tmp_path / "noise" / f"{i}.png").write_bytes(encode(picture, "png"))
    return tmp_path / "noise"


def test_makes_a_dataset_and_shows_it(noise, tmp_path):
    """Two processes make the same bytes as one. The contact sheet shows the dataset."""
    wishes = {"input": noise, "image_size": 16, "valid_fraction": 0.5}
    flags = [f"--{name}={value}" for name, value in wishes.items()]
    made = run("--source=folder", *flags, f"--output={tmp_path / 'two'}", "--workers=2")
    assert made.returncode == 0, made.stderr
    told = {"source": "folder", **wishes, "input": str(noise)}
    info = prepare(SOURCES["folder"](Options(**wishes)), tmp_path / "one", "folder", told, workers=1)
    for split in ("train", "valid"):
        count = info.examples(split)
        assert count > 8
        assert f"{split}: {count} examples, {count} appearances, {count} shapes" in made.stdout
    assert contents(tmp_path / "one") == contents(tmp_path / "two")

    shown = run(f"--preview={tmp_path / 'two'}", f"--out={tmp_path / 'new/sheet.png'}", "--rows=3", "--split=valid")
    assert shown.returncode == 0, shown.stderr
    sheet = read_picture(tmp_path / "new/sheet.png")
    assert sheet.shape[0] > 3 * 16 and sheet.shape[1] > 12 * 16 and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 500


def test_a_part_of_a_source_is_drawn_at_random_and_always_the_same(noise, tmp_path):
    def names(directory):
        return {example.name for split in ("train", "valid") for example in read_examples(tmp_path / directory, split)}

    source = SOURCES["folder"](Options(input=noise, image_size=16, valid_fraction=0.5))
    for count in (10, 20, 1000):
        prepare(source, tmp_path / str(count), "folder", {}, workers=1, max_items=count)
    assert [len(names(directory)) for directory in ("10", "20", "1000")] == [10, 20, 40]
    assert names("10") < names("20")
    assert names("10") != {path.name for path in source.items[:10]}

    made = run(
        "--source=folder",
        f"--input={noise}",
        f"--output={tmp_path / 'by_flag'}",
        "--max_items=10",
        "--image_size=24",
        "--workers=1",
    )
    assert made.returncode == 0, made.stderr
    assert names("by_flag") == names("10")
    assert "train cannot use it: its --image_size must be a power of two" in made.stdout


def test_small_folders_have_a_validation_split_and_one_picture_has_none(tmp_path):
    """If the hash puts no picture into the split valid, one is put there anyway. A broken picture does not count."""
    random = np.random.default_rng(0)
    (tmp_path / "some").mkdir()
    for name in ("0.png", "1.png", "2.png"):
        (tmp_path / "some" / name).write_bytes(encode(random.integers(0, 256, (9, 9, 3), np.uint8), "png"))
    options = Options(input=tmp_path / "some", image_size=8, valid_fraction=1e-6)
    info = prepare(SOURCES["folder"](options), tmp_path / "d", "folder", {}, workers=1)
    assert (info.examples("train"), info.examples("valid")) == (2, 1)
    (valid,) = read_examples(tmp_path / "d", "valid")
    (tmp_path / "some" / valid.name).write_bytes(b"broken")
    info = prepare(SOURCES["folder"](options), tmp_path / "d", "folder", {}, overwrite=True, workers=1)
    assert (info.examples("train"), info.examples("valid"), info.rejected) == (1, 1, 1)

    next(path for path in (tmp_path / "some").iterdir() if path.name != valid.name).unlink()
    made = run("--source=folder", f"--input={tmp_path / 'some'}", f"--output={tmp_path / 'one'}", "--workers=1")
    assert made.stdout.splitlines()[1:3] == [
        "  train: 1 example, 1 appearance, 1 shape",
        "  no split 'valid': training then has no validation, and evaluate needs --split=train",
    ]


def test_a_killed_run_leaves_nothing_under_the_final_name_and_the_next_one_succeeds(noise, tmp_path):
    command = [
        sys.executable,
        "-m",
        "vunet_tf.prepare",
        "--source=figures",
        f"--output={tmp_path / 'd'}",
        "--workers=2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial = tmp_path / ".d.partial"
    deadline = time.monotonic() + 240
    while not list(partial.glob("*.tfrecord")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert partial.is_dir() and not (tmp_path / "d").exists()
    assert len(workers) >= 2
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers)), "workers outlived the killed run"

    assert run("--source=folder", f"--input={noise}", f"--output={tmp_path / 'd'}").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"d", "noise"}


def test_a_stopped_run_leaves_nothing_and_says_so_in_one_line(tmp_path):
    """The signal reaches all processes at once, as from Slurm, while the workers start."""
    command = [sys.executable, "-m", "vunet_tf.prepare", "--source=figures", f"--output={tmp_path / 'd'}"]
    quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    process = subprocess.Popen([*command, "--workers=2"], stderr=-1, text=True, start_new_session=True, env=quiet)
    deadline = time.monotonic() + 240
    while not (tmp_path / ".d.partial").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert told == "stopped; nothing is left under the final name\n" and process.returncode == 143
    assert not list(tmp_path.iterdir())


def children(pid):
    tasks = os.listdir(f"/proc/{pid}/task")
    return [int(c) for t in tasks for c in open(f"/proc/{pid}/task/{t}/children").read().split()]


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_full_disk_is_one_clear_error(noise, tmp_path):
    """No file may grow beyond 10 kB: to the program the same as a disk that is full."""
    code = (
        "import resource, signal, runpy, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000));"
        "sys.argv = ['prepare', *sys.argv[1:]]; runpy.run_module('vunet_tf.prepare', run_name='__main__')"
    )
    arguments = ["--source=folder", f"--input={noise}", f"--output={tmp_path / 'd'}", "--workers=1"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert f"error: cannot write {tmp_path / 'd'}" in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [noise]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --source and --output"),
        (["--source=folder", "--output=d"], "this source needs --input"),
        (["--source=coco", "--output=d", "--images=none", "--annotations=a.json"], "--images=none is not a folder"),
        (["--source=folder", "--input=none", "--output=d"], "--input=none is not a folder"),
        (["--source=figure", "--output=d"], "value should be one of <coco|"),
        (
            ["--source=folder", "--output=d", "--shape_map=body"],
            "--shape_map is not for --source=folder but for --source=sprites; leave it out",
        ),
        (["--source=figures", "--output=d", "--rows=3"], "--rows is not for --source=figures but for --preview"),
        (["--preview=d", "--image_size=64"], "--image_size is not for --preview but for --source"),
        (["--sauce=figures"], "Unknown command line flag 'sauce'"),
        (["figures"], "unexpected argument 'figures'"),
        (
            ["--source=figures", "--output=d", "--image_size=4"],
            "--image_size=4: must be from 8 to 4,096",
        ),
    ],
)
def test_wrong_flags_are_one_clear_error(tmp_path, arguments, message):
    result = run(*arguments, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
