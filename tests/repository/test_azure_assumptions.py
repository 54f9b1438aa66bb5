"""The tables of docs/azure.md: each assumption has a source or says that it has none, and every name in them exists."""

from __future__ import annotations

import ast
import re
from pkgutil import resolve_name

import pytest

from airflowaks import errors
from tests.support.repository import REPOSITORY

PAGE = (REPOSITORY / "docs/azure.md").read_text(encoding="utf-8").partition("## Traces")[0]
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| we assume")
]
CODE = re.compile(r"`([^`]+)`")
CAMEL = re.compile(r"(?:[A-Z][a-z]+){2,}")
PACKAGES = ("rehearsal_cloud", "airflowaks")
"""Of the third and the fourth column."""


def functions_of_tests() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (REPOSITORY / "tests").rglob("test_*.py")]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, functions)}


FUNCTIONS = functions_of_tests()


def test_there_are_assumptions_of_each_service() -> None:
    assert len(ROWS) > 40
    assert [len(row) for row in ROWS if len(row) != 4] == []
    services = set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE))
    assert {"AKS", "PostgreSQL", "Redis", "Key Vault", "Entra and Microsoft Graph", "Azure Files"} <= services


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_name_exists(row: tuple[str, ...]) -> None:
    for package, cell in zip(PACKAGES, row[2:], strict=True):
        for name in CODE.findall(cell):
            if name.startswith("test_"):
                assert name in FUNCTIONS
            elif "." in name:
                resolve_name(f"{package}.{name}")
    named = [word for word in re.findall(r"\w+", CODE.sub("", row[3])) if CAMEL.fullmatch(word)]
    assert [name for name in named if not hasattr(errors, name)] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_has_a_source_or_is_believed(row: tuple[str, ...]) -> None:
    sources = ("](https://", "OpenAPI files", "measured", "users' reports", "**believed**")
    assert any(source in row[1] for source in sources)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_is_rehearsed_or_noticed_by_code(row: tuple[str, ...]) -> None:
    assert CODE.findall(row[3]) or any(hasattr(errors, word) for word in re.findall(r"\w+", row[3]))
