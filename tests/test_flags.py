"""Flags made from dataclasses, and every flagfile of the repository."""

import subprocess
import sys

import pytest

from vunet_tf.command_line.flags import CONFIGS, descriptions, read_flagfile
from vunet_tf.config import ModelConfig, RunConfig, TrainingConfig
from vunet_tf.data.sources.registry import OPTIONS
from vunet_tf.data.sources.source import Options
from vunet_tf.files.errors import InputError
from vunet_tf.models import registry

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


def test_benchmark_takes_the_shipped_flagfiles():
    command = [sys.executable, "-m", "vunet_tf.benchmark", "model", f"--flagfile={CONFIGS / 'sprites.flags'}"]
    made = subprocess.run(command, capture_output=True, text=True, cwd=CONFIGS.parent)
    assert made.returncode == 0 and "| as given |" in made.stdout, made.stderr
