"""Flags made from dataclasses, and every flagfile of the repository."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vunet_tf
from vunet_tf.command_line.flags import CONFIGS, descriptions, read_flagfile
from vunet_tf.config import ModelConfig, RunConfig, TrainingConfig
from vunet_tf.data.sources.registry import OPTIONS
from vunet_tf.data.sources.source import Options
from vunet_tf.files.errors import InputError
from vunet_tf.models import registry

PACKAGE = Path(vunet_tf.__file__).parent
FLAGFILES = sorted(CONFIGS.rglob("*.flags"))


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_flagfile_builds_its_model(path):
    assert f"--flagfile=configs/{path.relative_to(CONFIGS)}" not in path.read_text().splitlines()  # itself
    config = read_flagfile(path)
    if path.parent == CONFIGS and config.width <= 16:  # the paper's sizes are built in test_models
        assert registry.build(config).config == config


def test_a_flagfile_with_a_misspelt_name_or_a_wrong_value_is_named(tmp_path):
    for line, told in [("--widht=3", "Unknown command line flag 'widht'"), ("--width=wide", "flag --width=wide")]:
        (tmp_path / "a.flags").write_text(f"{line}\n")
        with pytest.raises(InputError, match=rf"a\.flags: {told}"):
            read_flagfile(tmp_path / "a.flags")


@pytest.mark.parametrize("settings", [ModelConfig, TrainingConfig, RunConfig, Options])
def test_every_setting_is_described(settings):
    assert list(descriptions(settings)) == list(settings.__dataclass_fields__)


def test_every_option_of_a_source_is_a_flag():
    assert {name for names in OPTIONS.values() for name in names} < set(Options.__dataclass_fields__)


@pytest.mark.parametrize("command", ["prepare", "train", "generate", "evaluate", "estimate", "benchmark"])
def test_help_is_status_0_also_without_docstrings(command):
    for optimised in ((), ("-OO",)):
        shown = subprocess.run(
            [sys.executable, *optimised, "-m", f"vunet_tf.{command}", "--help"], capture_output=True, text=True
        )
        assert shown.returncode == 0 and "--" in shown.stdout and not shown.stderr


def test_the_package_lists_its_commands():
    """`python -m vunet_tf` names every command with what it does, and tells how a command is written."""

    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "vunet_tf", *arguments], capture_output=True, text=True)

    for shown in (run(), run("--help")):
        assert shown.returncode == 0 and not shown.stderr
        listed = re.findall(r"^  python -m vunet_tf\.(\w+) +(.+)$", shown.stdout, re.MULTILINE)
        sources = {path.stem: path.read_text() for path in PACKAGE.glob("*.py") if path.name[0] != "_"}
        commands = {name: text for name, text in sources.items() if '__name__ == "__main__"' in text}
        assert dict(listed) == {name: text.split('"""')[1].splitlines()[0] for name, text in commands.items()}
    refused = run("train", "--steps=1")
    assert refused.returncode == 1 and refused.stderr == "error: write python -m vunet_tf.train --steps=1\n"
    unknown = run("trian")
    assert unknown.returncode == 1 and "error: trian is no command" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("train --dataset_dir=DATASET --run_dir=RUN --parts=7", "--parts=7: must be 8 or 10 with --appearance=parts"),
        ("train --dataset_dir=DATASET --run_dir=RUN --shift=40", "--shift=40: must be less"),
        ("train --dataset_dir=NONE --run_dir=RUN", "NONE is not a dataset"),
        ("prepare --source=figures --output=DATASET", "DATASET exists; name another --output"),
        ("prepare --preview=DATASET --split=test", "no split 'test'"),
        ("generate sample --run_dir=figures-64 --out=OUT.png --dataset_dir=NONE", "NONE is not a dataset"),
        ("evaluate --run_dir=NONE --out=OUT.json", "--run_dir=NONE is no run"),
    ],
    ids=lambda value: value.split()[0],
)
def test_wrong_flags_are_told_before_tensorflow_is_imported(arguments, told, figures_dataset, tmp_path):
    """The import takes seconds."""
    command, *rest = arguments.replace("DATASET", str(figures_dataset)).split()
    code = (
        f"import runpy, sys; sys.argv = {[command, *rest]!r}\n"
        f"try: runpy.run_module('vunet_tf.{command}', run_name='__main__', alter_sys=True)\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert made.returncode == 1 and made.stderr.startswith("error: "), made.stderr
    assert told.replace("DATASET", str(figures_dataset)) in made.stderr
    assert not any(tmp_path.iterdir())


def test_benchmark_takes_the_shipped_flagfiles():
    command = [sys.executable, "-m", "vunet_tf.benchmark", "model", f"--flagfile={CONFIGS / 'sprites.flags'}"]
    made = subprocess.run(command, capture_output=True, text=True, cwd=CONFIGS.parent)
    assert made.returncode == 0 and "| as given |" in made.stdout, made.stderr
