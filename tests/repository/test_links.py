"""The links of README.md, docs/, runs/README.md and the notebooks: each file and each anchor in it exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.support.notebooks import NOTEBOOKS
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [REPOSITORY / "README.md", REPOSITORY / "runs/README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
DOCUMENTS = [*PAGES, *NOTEBOOKS]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*([^)\s]+)\s*\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text_of(path: Path) -> str:
    """Return a document's Markdown without fenced blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return FENCED.sub("", text)


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document, or JupyterLab those of a notebook.

    https://github.com/jupyterlab/jupyterlab/blob/main/packages/rendermime/src/renderers.ts
    """
    if path.suffix == ".ipynb":
        return {heading.replace(" ", "-") for heading in HEADING.findall(text_of(path))}
    slugs: list[str] = []
    for heading in HEADING.findall(text_of(path)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        times = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", earlier) is not None for earlier in slugs)
        slugs.append(f"{slug}-{times}" if times else slug)
    return set(slugs)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_relative_link_and_its_anchor_resolve(path: Path) -> None:
    broken = []
    for link in LINK.findall(CODE.sub("", text_of(path))):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_links_to_another(path: Path) -> None:
    assert any(link.endswith(".ipynb") for link in LINK.findall(text_of(path)))


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall(text_of(REPOSITORY / "README.md"))}
    assert [path.name for path in (REPOSITORY / "docs").glob("*.md") if f"docs/{path.name}" not in linked] == []
