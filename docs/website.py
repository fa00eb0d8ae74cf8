"""Builds the site of `make docs` in build/site: the documents, and the API from the docstrings, which are read only.

First build/documents is filled. Documents of docs/ lie there as they are, notebooks as Markdown. Files outside docs/ to
which they lead, such as ../BUILD.md, lie in its folder project/, and links between all of them are rewritten. The page
api/MODULE.md of the navigation (mkdocs.yml) is the API of that module. Then Zensical makes pages of them.

Exit status 1 where a link or a name of the API leads nowhere, or a docstring names an argument that is not there.
"""

import json
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SETTINGS, DOCUMENTS = ROOT / "mkdocs.yml", ROOT / "build/documents"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")  # without the heading at its end


def in_site(path: str) -> str:
    """Where a file of the repository lies in the site."""
    path = path.removeprefix("docs/") if path.startswith("docs/") else f"project/{path}"
    return re.sub(r"\.ipynb$", ".md", path)


def read(path: Path) -> str:
    """A document as Markdown; a notebook with its code and its pictures."""
    if path.suffix == ".md":
        return path.read_text()
    texts = []
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        texts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        pictures = [output["data"].get("image/png") for output in cell.get("outputs", [])]
        texts += [f"![](data:image/png;base64,{picture.strip()})" for picture in pictures if picture]
    return "\n\n".join(texts)


def rewritten(source: str, markdown: str) -> tuple[str, list[str]]:
    """A document of the repository with the links that hold in the site, and the files to which they lead."""
    targets = []

    def in_place(link):
        targets.append(posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1])))
        return posixpath.relpath(in_site(targets[-1]), posixpath.dirname(in_site(source)))

    return LINK.sub(in_place, markdown), targets


def lay_out() -> None:
    """Fills build/documents."""
    shutil.rmtree(DOCUMENTS, ignore_errors=True)
    waiting = [str(path.relative_to(ROOT)) for kind in ("*.md", "*.ipynb") for path in (ROOT / "docs").glob(kind)]
    known = set(waiting)
    while waiting:
        source = waiting.pop()
        if not (ROOT / source).is_file():
            continue  # Zensical tells where that link is
        path = DOCUMENTS / in_site(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not source.endswith((".md", ".ipynb")):
            shutil.copyfile(ROOT / source, path)
            continue
        markdown, targets = rewritten(source, read(ROOT / source))
        path.write_text(markdown)
        waiting += set(targets) - known
        known |= set(targets)
    (DOCUMENTS / "api").mkdir()
    for module in re.findall(r" api/([\w.]+)\.md", SETTINGS.read_text()):
        (DOCUMENTS / f"api/{module}.md").write_text(f"# {module}\n\n::: {module}\n")


if __name__ == "__main__":
    lay_out()
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", f"--config-file={SETTINGS}"]
    made = subprocess.run(build, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    print(made.stderr, file=sys.stderr)
    sys.exit(made.returncode != 0 or "griffe:" in made.stderr)  # it warns of docstrings, which is no fault to Zensical
