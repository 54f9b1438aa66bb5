"""The az commands that errors, notebooks, docs and manifests print have their required options.

A command without any option only names what to use: `az aks nodepool rollback`.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUIRED = {
    "account list-locations": "",
    "account show": "",
    "acr import": "--name --source",
    "acr login": "--name",
    "acr task logs": "--registry",
    "acr update": "--name",
    "acr delete": "--name",
    "ad app create": "--display-name",
    "ad app delete": "--id",
    "ad app federated-credential create": "--id --parameters",
    "ad app list": "",
    "ad app permission grant": "--id --api --scope",
    "ad app update": "--id",
    "ad group delete": "--group",
    "ad group show": "--group",
    "ad sp create": "--id",
    "ad sp update": "--id",
    "ad user show": "--id",
    "aks nodepool delete": "--cluster-name --name --resource-group",
    "aks nodepool rollback": "--cluster-name --name --resource-group",
    "aks nodepool upgrade": "--cluster-name --name --resource-group",
    "aks show": "--name --resource-group",
    "aks start": "--name --resource-group",
    "aks update": "--name --resource-group",
    "group delete": "--name",
    "group update": "--name",
    "identity delete": "--name --resource-group",
    "keyvault delete": "--name",
    "keyvault purge": "--name",
    "keyvault recover": "--name",
    "keyvault secret set": "--vault-name --name",
    "keyvault secret set-attributes": "--vault-name --name",
    "keyvault secret show": "--vault-name --name",
    "lock list": "",
    "login": "",
    "postgres flexible-server list-skus": "--location",
    "postgres flexible-server start": "--name --resource-group",
    "provider register": "--namespace",
    "provider show": "--namespace",
    "redis list": "",
    "resource list": "",
    "rest": "--url",
    "role assignment create": "--role --scope --assignee",
    "tag update": "--operation --tags --resource-id",
    "vm list-skus": "",
}
"""What each printed command requires: `az … --help` of azure-cli 2.91.0, and what else says which object is meant."""

QUOTED = re.compile(r"`(az [^`]+)`")
BARE = re.compile(r"\baz [a-z][^`|)\n]*")
FOLDERS = ("airflowaks", "docs", "manifests", "notebooks")
FILES = [
    REPOSITORY / "README.md",
    *(
        path
        for folder in FOLDERS
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.suffix in (".ipynb", ".md", ".py", ".toml", ".yaml")
    ),
]


def texts(path: Path) -> Iterator[str]:
    """Yield a file's text; of a module its strings, with {} for what is filled in."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"\\\\?n?\n\s*", " ", source) if path.suffix == ".md" else source
        return
    tree = ast.parse(source)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def commands(text: str) -> Iterator[str]:
    """Yield the commands with options in a text."""
    yield from (" ".join(command.split()) for command in QUOTED.findall(text) if " --" in command)
    yield from (command for command in BARE.findall(QUOTED.sub("", text)) if " --" in command)


PRINTED = sorted(
    {(str(path.relative_to(REPOSITORY)), one) for path in FILES for text in texts(path) for one in commands(text)}
)


def test_there_are_commands_of_each_kind() -> None:
    assert {path.partition("/")[0] for path, _ in PRINTED} >= set(FOLDERS)


@pytest.mark.parametrize(("path", "command"), PRINTED)
def test_a_command_has_its_required_options(path: str, command: str) -> None:
    words = command.partition(" --")[0].removeprefix("az ")
    name = max((name for name in REQUIRED if f"{words} ".startswith(f"{name} ")), key=len, default="")
    assert name, f"{path}: add `az {words}` to REQUIRED"
    missing = set(REQUIRED[name].split()) - set(re.findall(r"--[a-z-]+", command))
    assert not missing, f"{path}: az {words} lacks {missing}"
