"""Code of the documents runs: the notebook, whose pictures are compared with those stored in it, and Python blocks."""

import ast
import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vunet_tf import pretrained

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
PYTHON = [
    pytest.param(code, id=f"{path.relative_to(ROOT)}:{i}")
    for path in sorted(DOCUMENTS)
    for i, code in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL))
]
# Only the reader has these: a photograph, joints, a network, a dataset named on the command line, exported files, some
# other run. Such code is only compiled.
OWN = ("me.jpg", "clothes.json", "my_network", "sys.argv", "exports/phone", "digits_bigan")


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """A folder with what the README makes: a run and a dataset, here a preset and a small one of the same kind."""
    from vunet_tf.data.preparation import prepare
    from vunet_tf.data.sources.registry import SOURCES
    from vunet_tf.data.sources.source import Options

    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/quickstart").symlink_to(pretrained.folder_of("figures-64"))
    monkeypatch.setattr("vunet_tf.data.sources.figures.GRID", 2)
    source = SOURCES["figures"](Options(looks=8, poses=8, examples=32, image_size=64))
    prepare(source, tmp_path / "datasets/figures", "figures", {}, workers=1)
    return tmp_path


def test_the_notebook_makes_the_pictures_that_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, compared = {}, 0
    for cell in json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        *before, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(before, []), "tour", "exec"), names)
        if not isinstance(last, ast.Expr):
            exec(compile(ast.Module([last], []), "tour", "exec"), names)
            continue
        value = eval(compile(ast.Expression(last.value), "tour", "eval"), names)
        (shown,) = (output["data"] for output in cell["outputs"])
        if "image/png" in shown:
            stored, made = pixels(base64.b64decode(shown["image/png"])), pixels(value._repr_png_())
            assert stored.shape == made.shape and np.abs(stored - made).mean() < 1
            compared += 1
        else:
            assert "".join(shown["text/plain"]) == repr(value)
    assert compared >= 5
    with Image.open(ROOT / "docs/tour.gif") as stored, Image.open(tmp_path / "tour.gif") as made:
        assert (stored.size, stored.n_frames) == (made.size, made.n_frames)


@pytest.mark.parametrize("code", PYTHON)
def test_python_of_the_documents_runs(code, request, capsys):
    compiled = compile(code, "block", "exec")
    if any(name in code for name in OWN):
        return
    request.getfixturevalue("newcomer")
    exec(compiled, {})
