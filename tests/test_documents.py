"""The documents: every link leads somewhere, every document is in the index, and commands and flags in them exist."""

import ast
import dataclasses
import functools
import importlib.util
import re
from pathlib import Path

import pytest

import vunet_tf
from vunet_tf.config import EvaluationConfig, ModelConfig, RunConfig, TrainingConfig
from vunet_tf.data.sources.source import Options

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
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
    for path in (*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.ipynb")):
        assert path.name == "README.md" or f"]({path.name})" in index, path.name


def test_the_site_has_every_document():
    pages = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(pages)
    for page in pages:
        if page.startswith("api/"):
            module = ROOT / page.removeprefix("api/").removesuffix(".md").replace(".", "/")
            assert module.with_suffix(".py").is_file() or (module / "__init__.py").is_file(), page


def test_docstrings_name_arguments_that_are_there():
    for path in sorted([*(ROOT / "vunet_tf").rglob("*.py"), *(ROOT / "export").rglob("*.py")]):
        for function, docstring in documented_functions(ast.parse(path.read_text())):
            found = re.search(r"^Args:\n((?: .*\n|\n)+)", f"{docstring}\n", re.MULTILINE)
            for names in re.findall(r"^    (\S[^:]*?): ", found[1] if found else "", re.MULTILINE):
                for name in names.split(", "):
                    assert name.lstrip("*") in arguments(function), f"{path}: {function.name} has no {name}"


def test_attributes_are_told_one_by_one():
    """Of "low, high: ..." the site of the documents takes the second name for a type."""
    for path in sorted([*(ROOT / "vunet_tf").rglob("*.py"), *(ROOT / "export").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found = re.search(r"^Attributes:\n((?: .*\n|\n)+)", f"{ast.get_docstring(node) or ''}\n", re.MULTILINE)
                for names in re.findall(r"^    (\S[^:]*?): ", found[1] if found else "", re.MULTILINE):
                    assert names.isidentifier(), f"{path}: {node.name}: {names}"


def documented_functions(tree):
    """Each function with its docstring; a class's own is that of its `__init__`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    yield method, ast.get_docstring(node) or ""


def arguments(function):
    given = function.args
    several = [each for each in (given.vararg, given.kwarg) if each]
    return {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, *several)}


def test_the_citation_and_the_changes_know_the_version():
    assert f"\nversion: {vunet_tf.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## {re.escape(vunet_tf.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


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


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_targets_and_flagfiles_are_there(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)\b", path.read_text(), re.MULTILINE)) <= targets
    for flagfile in re.findall(r"--flagfile=(configs/[\w/]+\.flags)", path.read_text()):
        assert (ROOT / flagfile).is_file(), flagfile
