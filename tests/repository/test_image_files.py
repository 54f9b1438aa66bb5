"""The image's files: linted, and their requirements go together; what of them makes another image."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from airflowaks.azure.image_build import BuildContext
from rehearsal_cloud.kubernetes.images.package_indexes import package_indexes
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = REPOSITORY / "manifests" / "image"
CONSTRAINTS = REPOSITORY / "rehearsal_cloud/kubernetes/images/constraints/apache-airflow-3.3.2.txt"
HADOLINT = Path(sys.executable).parent / "hadolint"


def lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    command = [str(HADOLINT), "--no-color", str(dockerfile)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def resolve(requirements: str) -> subprocess.CompletedProcess[str]:
    """Find the packages for Airflow's version and the requirements, within what its image is constrained to."""
    command = [find_uv_bin(), "pip", "compile", "--quiet", "--constraints", str(CONSTRAINTS), "-"]
    indexes, text = package_indexes(""), f"apache-airflow==3.3.2\n{requirements}"
    command += indexes.options
    return subprocess.run(command, check=False, capture_output=True, text=True, input=text, env=indexes.environment)


def test_the_dockerfile_keeps_hadolints_rules(tmp_path: Path) -> None:
    done = lint(IMAGE / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")

    careless = (IMAGE / "Dockerfile").read_text().replace("--no-cache-dir ", "").replace("USER 50000", "USER root")
    (tmp_path / "Dockerfile").write_text(careless)
    assert {"DL3042", "DL3002"} <= set(lint(tmp_path / "Dockerfile").stdout.replace(":", " ").split())


@pytest.mark.broad
def test_the_requirements_go_together_with_airflows_constraints() -> None:
    done = resolve((IMAGE / "requirements.txt").read_text())
    assert done.returncode == 0, done.stderr
    assert "apache-airflow==3.3.2" in done.stdout.split()

    assert "requirements are unsatisfiable" in " ".join(resolve("celery==5.7.0").stderr.split())


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda folder: (folder / "requirements.txt").write_text("other\n"),
    "a file more": lambda folder: (folder / "dags" / "more.py").write_text(""),
    "a file less": lambda folder: (folder / "dags" / "one.py").unlink(),
    "another name": lambda folder: (folder / "dags" / "one.py").rename(folder / "dags" / "two.py"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "one.py").write_text("print(1)\n")
    (tmp_path / "requirements.txt").write_text("some\n")
    return tmp_path


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_files_changes_the_tag(folder: Path, change: str) -> None:
    before = BuildContext(folder).fingerprint("base")
    CHANGES[change](folder)
    assert BuildContext(folder).fingerprint("base") != before


def test_the_tag_is_the_same_for_the_same_files_on_the_same_base(folder: Path) -> None:
    context = BuildContext(folder)
    before, packed = context.fingerprint("base"), context.archive()
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("")
    (folder / "dags" / "__pycache__").mkdir()
    (folder / "dags" / "__pycache__" / "one.pyc").write_text("")
    (folder / "requirements.txt").touch()
    again = BuildContext(folder)
    assert list(again.files) == ["dags/one.py", "requirements.txt"]
    assert again.fingerprint("base") == before != again.fingerprint("another base")
    assert gzip.decompress(again.archive()) == gzip.decompress(packed)
