"""The wheel in an environment of its own, without the repository: every command tells its flags, and one works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vunet_tf
from vunet_tf.files.pictures import read_picture

ROOT = Path(__file__).parent.parent
TRANSFER = {"appearances": "valid:14", "shapes": "valid:0-1"}


def commands():
    """Every module that is run with `python -m`."""
    for room in ("vunet_tf", "export"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text():
                yield re.sub(r"\.__main__$", "", ".".join(path.relative_to(ROOT).with_suffix("").parts))


@pytest.mark.slow
def test_an_installed_wheel_needs_no_repository(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}"
        return done.stdout

    (tmp_path / "elsewhere").mkdir()
    for name in ("vunet_tf", "export"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "source")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", f"--wheel-dir={tmp_path}", tmp_path / "source")
    (wheel,) = tmp_path.glob("*.whl")
    shutil.rmtree(tmp_path / "source")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, *pip[1:], "install", "--quiet", f"{wheel}[export]")
    for command in commands():
        assert "--" in run(python, "-m", command, "--help"), command
    flags = [f"--{name}={value}" for name, value in TRANSFER.items()]
    run(python, "-m", "vunet_tf.generate", "transfer", "--run_dir=figures-64", *flags, "--separate", "--out=made")
    ours = vunet_tf.Generator(vunet_tf.load("figures-64")).transfer(**TRANSFER).array()[0]
    theirs = [read_picture(path) for path in sorted((tmp_path / "elsewhere/made").glob("*.png"))]
    assert np.abs(np.subtract(ours, theirs, dtype=int)).max() <= 1
    shutil.rmtree(tmp_path / "venv")  # pytest would keep its hundreds of megabytes
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
