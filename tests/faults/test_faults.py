"""Writers are killed at each of their steps, and the campaign must see the faults that it looks for.

The tests of `prepare`, `train` and an export also have one kill each.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from . import kills, report
from .kills import Command, Tally, campaign

ROOT = Path(__file__).parent.parent.parent
MEMORY = Path("/dev/shm")  # a disk takes milliseconds for each of a thousand files


def test_a_writer_that_is_killed_at_any_step_leaves_the_old_or_the_new(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    if MEMORY.is_dir():
        folder = MEMORY / f"vunet_{folder.parent.name}_steps"
    command = ["-m", "tests.faults.steps", folder]
    try:
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    finally:
        subprocess.run(["rm", "-r", folder], check=False)
    assert done.returncode == 0, done.stderr
    steps = {name: int(count) for name, count in map(str.split, done.stdout.splitlines())}
    assert steps.keys() == {"file", "folder", "checkpoint"} and min(steps.values()) > 5


BEGINNING = "import os, sys, time, subprocess; out = sys.argv[1]; time.sleep(0.05)\n"
HALVES = "file.write('a' * 50); file.flush(); time.sleep(0.4); file.write('b' * 50); file.close()\n"
WHOLE = f"file = open(f'{{out}}/.x', 'w'); {HALVES}os.replace(f'{{out}}/.x', f'{{out}}/x')\n"
COMMANDS = {
    "good": (WHOLE, set()),
    "half a file": (f"file = open(f'{{out}}/x', 'w'); {HALVES}", {"a file that is not whole: x"}),
    "another result": (
        f"again = os.path.exists(f'{{out}}/.again'); open(f'{{out}}/.again', 'w').close(); {WHOLE}"
        "os.remove(f'{out}/.again')\nif again: open(f'{out}/x', 'a').write('c')",
        {"another result: x"},
    ),
    "an error": (f"os.mkdir(f'{{out}}/.lock'); {WHOLE}os.rmdir(f'{{out}}/.lock')", {"status 1: "}),
    "something left": (
        f"import random; name = f'{{out}}/.{{random.random()}}'; open(name, 'w').close(); {WHOLE}os.remove(name)",
        {"left for ever: "},
    ),
    "a process": (
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9)']); {WHOLE}child.kill()",
        {"processes outlive it"},
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_campaign_sees(name, tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "_ORPHANS", 0.3)
    code, expected = COMMANDS[name]
    command = Command(name, lambda out: ["-c", BEGINNING + code, str(out)])
    kept = []
    tally = campaign(command, tmp_path, 2, 0, tell=lambda line: None, keep=lambda tally: kept.append(tally.kills))
    assert kept == [1, 2] and tally.kills == 2 == tally.fell.total() and tally.writing < tally.seconds
    assert all(any(found.startswith(text) for found in tally.findings) for text in expected), tally.findings
    assert bool(tally.findings) == bool(expected), tally.findings
    assert Tally.from_json(tally.as_json()) == tally


def test_a_command_that_fails_unkilled_is_no_measurement(tmp_path):
    with pytest.raises(RuntimeError, match="fails without being killed"):
        campaign(Command("fails", lambda out: ["-c", "raise SystemExit(3)"]), tmp_path, 1, seed=0)


def test_the_report_has_a_row_for_each_command(tmp_path):
    document = tmp_path / "trust.md"
    document.write_text(f"# Title\n{report.BEGIN}\nold\n<!-- end -->\nafter\n")
    tally = Tally("train", "numbers", 4, Counter(before=1, within=2, after=1), 3.0, 1.0, Counter({"a | b": 2}))
    report.write(document, [tally], seed=3)
    text = document.read_text()
    assert "old" not in text and text.endswith("<!-- end -->\nafter\n")
    assert "| train | 4 | 1 | 2 | 1 | 2 | numbers |" in text
    assert "4 kills (25% before, 50% within, 25% after; seed 3" in text and "- train: a   b (2 times)" in text
