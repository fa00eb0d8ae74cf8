"""The Makefile: what the demo makes and in which order; `clean` removes nothing of the user's."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_clean_removes_the_environment_and_what_the_demo_made(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    mine = ["datasets/mine", "runs/mine", "exports/mine", "results/mine", "runs/quickstart"]
    for folder in (*mine, ".venv", "datasets/figures", "exports/phone"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".demo").write_text("datasets/figures\nexports/phone\n")  # runs/quickstart was there before the demo
    made = subprocess.run(
        ["make", "--no-print-directory", "clean"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    removed = (".venv", "datasets/figures", "exports/phone", ".demo")
    assert made.stdout.splitlines() == [f"removing {path}" for path in removed]
    assert all((tmp_path / folder).is_dir() for folder in mine)
    assert not (tmp_path / "datasets/figures").exists() and not (tmp_path / ".venv").exists()


def test_the_demo_shows_a_picture_before_it_trains_and_knows_all_that_it_makes(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    told = subprocess.run(
        ["make", "--dry-run", "--assume-old=.venv/.installed", "demo"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout.replace("\\\n", " ")  # fmt: skip
    (listed,) = re.findall(r"for path in (.+?);", told)
    commands = [line for line in told.splitlines() if "/python -m" in line and "echo" not in line]
    assert "generate transfer --run_dir=figures-64" in commands[0]
    assert any("vunet_tf.train" in command for command in commands[1:])
    made = re.findall(r"--(?:out|output)=(\S+)", "\n".join(commands))
    made += re.findall(r"^--run_dir=(\S+)", (ROOT / "configs/quickstart.flags").read_text(), re.MULTILINE)
    endings = {"exports/demo": (".json", ".png")}  # `verify` writes two files of that name
    assert set(listed.split()) == {path + ending for path in made for ending in endings.get(path, ("",))}
