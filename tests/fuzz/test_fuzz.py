"""A short campaign, the inputs that once were findings, and whether the campaign sees what it is for."""

import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import strategies as st

from vunet_tf.files.errors import InputError

from . import campaign, cases
from .campaign import Reader, Started
from .readers import READERS

LIGHT = (
    "png",
    "jpeg",
    "webp",
    "bmp",
    "gif",
    "tiff",
    "ppm",
    "keypoint_json",
    "flagfile",
    "names",
    "results",
    "scores",
    "server_answer",
    "video",
)


def test_help_for_the_largest_pictures_measures_nothing():
    shown = subprocess.run([sys.executable, "-m", "tests.fuzz.largest", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and "the largest pictures" in shown.stdout and "CMYK (JPEG):" not in shown.stdout


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", LIGHT)
def test_a_short_campaign_finds_nothing(name, tmp_path):
    """In this process: one that dies would end the tests, which is a finding as well."""
    tally = _tried(READERS[name], tmp_path, most=40)
    assert tally.findings == {} and tally.inputs == 40


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in cases.CASES for case in cases.CASES[name]])
def test_what_was_found_stays_mended(name, case, tmp_path):
    given = st.just(cases.CASES[name][case]())
    reader = READERS[name]
    tally = _tried(reader._replace(start=lambda folder: reader.start(folder)._replace(inputs=given)), tmp_path, most=1)
    assert tally.findings == {}, tally


def _tried(reader, folder, most):
    from resource import RLIM_INFINITY, RLIMIT_AS, setrlimit

    given = folder / "given"
    given.mkdir(exist_ok=True)
    try:
        return campaign.run_here(reader, given, seed=0, seconds=60, most=most, kept=folder / "kept")
    finally:
        setrlimit(RLIMIT_AS, (RLIM_INFINITY, RLIM_INFINITY))


def _faulty(value, out):
    kind = value
    if kind == "traceback":
        raise KeyError("x")
    if kind == "long":
        raise InputError("x" * 5000)
    if kind == "write":
        (out.parent.parent / "elsewhere.txt").write_text("x")
    if kind == "beside":
        os.symlink("/etc", out.parent / "link")
    if kind == "run":
        subprocess.run(["true"], check=True)
    if kind == "memory":
        bytes(b"x" * (200 * 2**20))
    if kind == "slow":
        while True:
            pass
    return ["unexpected ValueError: x"] if kind == "reject" else []


FAULTS = {
    "traceback": "KeyError",
    "long": "more than 2,000 characters",
    "write": "open outside",
    "beside": "a file beside",
    "run": "subprocess.Popen was called",
    "memory": "memory: over 100 MiB",
    "slow": "more than 0.5 seconds",
    "reject": "reject: unexpected ValueError",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_the_campaign_sees(kind, tmp_path):
    def start(folder):
        out = folder / "out"
        out.mkdir()
        return Started([""], st.just(kind), lambda value: _faulty(value, out), out)

    tally = _tried(Reader("faulty", start, memory=100, seconds=0.5 if kind == "slow" else 20), tmp_path, most=1)
    (finding,) = tally.findings
    assert FAULTS[kind] in finding
    assert pickle.loads((tmp_path / "kept" / tally.findings[finding]).read_bytes()) == kind


def test_a_process_that_dies_is_a_finding(tmp_path, monkeypatch):
    """The child process is this one's program with a reader that kills it."""
    code = (
        "import os, sys; from tests.fuzz import campaign, readers, __main__\n"
        "from hypothesis import strategies as st\n"
        "def start(folder):\n"
        "    out = readers.out_folder(folder)\n"
        "    return campaign.Started([0], st.integers(1, 9), lambda value: os.abort() if value > 4 else [], out)\n"
        "readers.READERS['dies'] = campaign.Reader('dies', start, 100)\n"
        "sys.exit(__main__.main())\n"
    )
    (tmp_path / "kept").mkdir()
    (tmp_path / "folder").mkdir()
    root = READERS and os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    real = subprocess.Popen

    def popen(command, **options):
        return real([sys.executable, "-c", code, *command[3:]], cwd=root, **options)

    monkeypatch.setattr(campaign.subprocess, "Popen", popen)
    (tally,) = campaign.run_apart(["dies"], tmp_path / "folder", 0, 3, 5, tmp_path / "kept")
    assert "crash: signal 6" in tally.findings and tally.endings["crash"]
    kept = pickle.loads((tmp_path / "kept" / tally.findings["crash: signal 6"]).read_bytes())
    assert kept > 4
