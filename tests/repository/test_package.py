"""The package as pip installs it: all files of both packages, and a console script that needs no checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broad


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has built and installed the package to; what it depends on is in this environment."""
    folder = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", str(folder)]
    subprocess.run([*install, str(REPOSITORY)], check=True)
    return folder


def test_it_holds_every_file_of_both_packages(installed: Path) -> None:
    packages = ["airflowaks", "rehearsal_cloud"]
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *packages]
    listed = subprocess.run(listing, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout.split()
    files = {name for name in listed if (REPOSITORY / name).exists()}
    assert {"rehearsal_cloud/kubernetes/addons/crds/scaledobjects.yaml", "airflowaks/cli.py"} <= files
    places = [path for package in packages for path in (installed / package).rglob("*") if path.is_file()]
    assert {str(path.relative_to(installed)) for path in places} == files


def test_its_console_script_has_all_commands_without_a_checkout(installed: Path) -> None:
    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(installed), "AIRFLOWAKS_HOME": str(installed / "home")}
        command = [installed / "bin" / "airflowaks", *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=installed, env=environment)
        return done.stdout

    commands = {"check", "image", "preflight", "rehearsal", "runs", "web"}
    assert set(re.findall(r"^  ([a-z]+)  ", run("--help"), re.MULTILINE)) == commands
    assert run("rehearsal", "status").startswith("rehearsal cloud  down")
    assert "0 runs in" in run("runs", "list", ".")
