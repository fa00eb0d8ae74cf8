"""The Makefile removes nothing of the user's."""

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
