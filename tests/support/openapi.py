"""Microsoft's OpenAPI files: what a program says to Azure is captured and held against them.

The files, the capture and the check are no part of this repository: our CI has them beside it, and others skip.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support.rehearsal import unmeasured
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = REPOSITORY.parent / "shared" / "openapi"


@dataclass(frozen=True)
class Findings:
    """The lines of a check."""

    hard: list[str]
    undescribed: list[str]
    """What no file describes: another api-version, or an operation that the excerpts leave out."""
    soft: list[str]
    operations: int
    """How many operations of the files were exercised."""


def capture(file: Path, folder: Path, *arguments: str) -> None:
    """Run a Python program in a folder and write its exchanges with Azure to a file, as JSON lines."""
    path = os.pathsep.join((str(FOLDER / "capture"), str(REPOSITORY)))
    environment = {**unmeasured(), "OPENAPI_CAPTURE": str(file), "PYTHONPATH": path}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def exchanges(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def operation(exchange: dict[str, Any]) -> str:
    """The method and the types of a path, without names; of a vault and a registry what stands for them."""
    url = urlsplit(exchange["url"])
    host, parts = str(url.hostname), url.path.strip("/").lower().split("/")
    if host.endswith("vault.azure.net"):
        parts = ["vault", *parts[::2]]
    elif host.endswith("azurecr.io"):
        parts = ["registry", *(part for part in parts if part.startswith("_") or parts[0] == "oauth2")]
    elif "providers" in parts:
        provider, *rest = parts[len(parts) - parts[::-1].index("providers") :]
        parts = [provider, *rest[::2]]
    else:
        parts = parts[::2]
    return f"{exchange['method']} {'/'.join(parts)}"


def check(captured: list[dict[str, Any]], folder: Path) -> Findings:
    """Hold exchanges against the files of the api-versions that their requests name; `folder` is for files."""
    file = folder / "checked.jsonl"
    file.write_text("".join(f"{json.dumps(exchange)}\n" for exchange in _first_pages(captured)))
    command = [sys.executable, str(FOLDER / "check.py"), str(file)]
    lines = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()
    counted = re.match(r"operations exercised (\d+), ", lines[-1])
    assert counted, lines
    hard = [line for line in lines if line.startswith("hard ")]
    undescribed = [line for line in hard if line.startswith("hard undescribed ")]
    return Findings(
        hard=[line for line in hard if line not in undescribed],
        undescribed=undescribed,
        soft=[line for line in lines if line.startswith("soft ")],
        operations=int(counted[1]),
    )


def _first_pages(captured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ask for each later page as for the first: a nextLink is the service's, with a `$skiptoken` that no file declares.

    So it is in Azure/azure-cli's recordings, such as test_keyvault_list_deleted.yaml. Docker Hub is left out.
    """
    firsts: dict[str, str] = {}
    asked = []
    for exchange in captured:
        url = firsts.get(exchange["url"], exchange["url"])
        if link := re.search(r'"nextLink": ?"([^"]+)"', exchange["response_body"] or ""):
            firsts[link[1]] = url
        if not str(urlsplit(url).hostname).endswith("docker.io"):
            asked.append({**exchange, "url": url})
    return asked
