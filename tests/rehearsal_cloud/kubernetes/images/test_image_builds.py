"""Building images: where packages come from, what a killed build leaves, and that nothing is built twice."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.home import Home
from rehearsal_cloud.kubernetes.images.builds import BuildFailed
from rehearsal_cloud.kubernetes.images.recipes import Recipe
from rehearsal_cloud.resource_manager.cloud import Cloud
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Fill = Callable[[], None]

pytestmark = pytest.mark.broad

PACKAGE = "rehearsed"
RECIPE = Recipe("small", requirements=(PACKAGE,), programs={"entrypoint": '#!/bin/sh\nexec echo "$@"\n'})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no package index but what the test names."""
    for name in [one for one in os.environ if one.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AIRFLOWAKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return tmp_path / "cache"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one package, which pip is told to find packages in."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    return folder


def wheel(folder: Path) -> Path:
    """Make the smallest wheel there can be (PEP 427)."""
    path = folder / f"{PACKAGE}-1.0-py3-none-any.whl"
    files = {
        f"{PACKAGE}.py": "ANSWER = 42\n",
        f"{PACKAGE}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{PACKAGE}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={urlsafe(content)},{len(content)}" for name, content in files.items()]
    files[f"{PACKAGE}-1.0.dist-info/RECORD"] = "\n".join([*record, f"{PACKAGE}-1.0.dist-info/RECORD,,"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def urlsafe(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")


@contextmanager
def cloud_in(folder: Path) -> Iterator[Cloud]:
    home = Home(folder)
    with home.locked():
        cloud = Cloud(home, home.prepare())
    yield cloud
    cloud.store.close()


def build(folder: Path, recipe: Recipe = RECIPE) -> tuple[Path, list[str]]:
    """Build as one rehearsal does, and return the environment and what was told of it."""
    told: list[str] = []

    async def built(cloud: Cloud) -> Path:
        try:
            return await cloud.image_builds.built(recipe, told.append)
        finally:
            await cloud.image_builds.stop()

    with cloud_in(folder) as cloud:
        return asyncio.run(built(cloud)), told


def answer(environment: Path) -> str:
    command = [environment / "bin" / "python", "-c", f"import {PACKAGE}; print({PACKAGE}.ANSWER)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.usefixtures("wheels")
def test_an_environment_is_made_once_and_serves_every_rehearsal(tmp_path: Path) -> None:
    first, told = build(tmp_path / "one")
    assert any(one.startswith("Installed 1 package") for one in told)
    assert answer(first) == "42"
    assert list((first / "lib").rglob(f"__pycache__/{PACKAGE}.*.pyc")), "the byte code is there before the first run"
    assert subprocess.run([first / "bin" / "entrypoint", "hello"], check=True, capture_output=True).stdout == b"hello\n"
    second, told = build(tmp_path / "two")
    assert second == first
    assert not any("Installed" in one for one in told)


@pytest.mark.usefixtures("wheels")
def test_another_recipe_is_another_environment(tmp_path: Path) -> None:
    first, _ = build(tmp_path / "one")
    pinned, _ = build(tmp_path / "one", Recipe("small", requirements=(PACKAGE,), constraints=f"{PACKAGE}==1.0\n"))
    assert pinned != first


@pytest.mark.usefixtures("wheels")
def test_two_rehearsals_at_once_build_it_once(tmp_path: Path) -> None:
    told: dict[str, list[str]] = {"one": [], "two": []}

    async def both() -> list[Path]:
        with cloud_in(tmp_path / "one") as one, cloud_in(tmp_path / "two") as two:
            return await asyncio.gather(
                one.image_builds.built(RECIPE, told["one"].append), two.image_builds.built(RECIPE, told["two"].append)
            )

    first, second = asyncio.run(both())
    assert first == second
    installed = [name for name, lines in told.items() if any("Installed" in one for one in lines)]
    waited = [name for name, lines in told.items() if "another rehearsal is building it: waiting" in lines]
    assert sorted(installed + waited) == ["one", "two"]


def test_what_cannot_be_installed_says_why_and_is_tried_again(tmp_path: Path, wheels: Path) -> None:
    (wheels / f"{PACKAGE}-1.0-py3-none-any.whl").unlink()
    with pytest.raises(BuildFailed, match=PACKAGE):
        build(tmp_path / "one")
    wheel(wheels)
    assert answer(build(tmp_path / "one")[0]) == "42"


def test_a_killed_build_leaves_nothing_that_is_used(tmp_path: Path, cache: Path, index: Index) -> None:
    """The index never answers for the package, so the build stands when its rehearsal is killed."""
    program = (
        "from pathlib import Path; from tests.rehearsal_cloud.kubernetes.images import test_image_builds\n"
        f"test_image_builds.build(Path({str(tmp_path / 'one')!r}))"
    )
    builder = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
    try:
        assert index.asked.wait(30)
    finally:
        builder.send_signal(signal.SIGKILL)
        builder.wait()
    (left,) = (one for one in (cache / "images").iterdir() if one.is_dir())
    assert not (left / "complete").exists()
    index.let_go.set()  # the killed rehearsal's installer goes on, and who comes next must not meet it
    folder, _ = build(tmp_path / "two")
    assert folder == left
    assert answer(folder) == "42"


class Index:
    """A package index (PEP 503) on loopback that asks for a password."""

    def __init__(self, package: Path) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()
        self.authorizations: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(package))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://reader:sesame@127.0.0.1:{self._server.server_port}/simple/"

    def stop(self) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self, package: Path) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.authorizations.add(self.headers.get("Authorization", ""))
                index.asked.set()
                index.let_go.wait(60)
                if self.path == f"/simple/{PACKAGE}/":
                    self._send("text/html", f'<a href="/{package.name}">{package.name}</a>'.encode())
                elif self.path == f"/{package.name}":
                    self._send("application/zip", package.read_bytes())
                else:
                    self.send_error(404)

            def do_HEAD(self) -> None:
                self.send_error(404)

            def _send(self, kind: str, body: bytes) -> None:
                with suppress(BrokenPipeError):
                    self.send_response(200)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    (tmp_path / "served").mkdir()
    serving = Index(wheel(tmp_path / "served"))
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[global]\nindex-url = {serving.url}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    yield serving
    serving.stop()


def test_the_index_that_pip_is_told_of_is_asked_with_its_password(tmp_path: Path, index: Index) -> None:
    index.let_go.set()
    folder, _ = build(tmp_path / "one")
    assert answer(folder) == "42"
    assert f"Basic {base64.b64encode(b'reader:sesame').decode()}" in index.authorizations


def test_a_password_of_an_index_is_in_no_message(tmp_path: Path, index: Index) -> None:
    index.let_go.set()
    with pytest.raises(BuildFailed) as caught:
        build(tmp_path / "one", Recipe("unknown", requirements=("no-such-package-anywhere",)))
    assert "no-such-package-anywhere" in str(caught.value)
    assert "sesame" not in str(caught.value)
