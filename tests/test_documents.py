"""The documents: every link leads somewhere, every document is in the index, and commands and flags in them exist."""

import dataclasses
import functools
import importlib.util
import re
from pathlib import Path

import pytest

from vunet_tf.config import EvaluationConfig, ModelConfig, RunConfig, TrainingConfig
from vunet_tf.data.sources.source import Options

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "BUILD.md", *(ROOT / "docs").glob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def heading_id(heading):
    """The anchor of this heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def headings(path):
    return {heading_id(line) for line in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, place = target.partition("#")
        found = path.parent / name if name else path
        assert found.exists(), f"{path.name}: {target}"
        assert not place or place in headings(found), f"{path.name}: {target}"


def test_the_index_has_every_document():
    index = (ROOT / "docs/README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"]({path.name})" in index, path.name


@functools.cache
def known_flags():
    """Names of all flags of all commands: those that are defined one by one, and the fields of the settings."""
    settings = (ModelConfig, TrainingConfig, RunConfig, EvaluationConfig, Options)
    names = {field.name for one in settings for field in dataclasses.fields(one)} | {"flagfile", "help"}
    for folder in ("vunet_tf", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            names |= set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', path.read_text()))
    return names


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_commands_and_their_flags_are_known(path):
    known = known_flags()
    for module, rest in re.findall(r"python -m ((?:vunet_tf|export)[\w.]*)((?:[^`\n#|\\]|\\\n)*)", path.read_text()):
        assert importlib.util.find_spec(module.rstrip(".")), f"{path.name}: {module}"
        for name in re.findall(r"--(\w+)", rest):
            assert name in known or name.removeprefix("no") in known, f"{path.name}: {module} --{name}"
