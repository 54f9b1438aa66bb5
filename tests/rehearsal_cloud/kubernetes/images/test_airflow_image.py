"""The image of Airflow: built once, in the cache that AIRFLOWAKS_CACHE names, and found there by every later run."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.backends.image_store import public_image
from rehearsal_cloud.home import Home
from rehearsal_cloud.kubernetes.images.recipes import recipe_of
from rehearsal_cloud.resource_manager.cloud import Cloud

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.kubernetes.images.recipes import Recipe

pytestmark = pytest.mark.broad

VERSION = "3.3.2"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    image = public_image("docker.io", "apache/airflow", VERSION)
    assert image is not None
    return recipe_of(image.configuration)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> Path:
    async def built() -> Path:
        home = Home(tmp_path_factory.mktemp("home"))
        cloud = Cloud(home, home.prepare())
        try:
            return await cloud.image_builds.built(recipe, print)
        finally:
            await cloud.image_builds.stop()
            cloud.store.close()

    return asyncio.run(built())


def run(environment: Path, tmp_path: Path, *command: str) -> str:
    """Run a program of the image as a container does: with the image's folder first on the path."""
    path = f"{environment / 'bin'}{os.pathsep}{os.defpath}"
    variables = {"PATH": path, "AIRFLOW_HOME": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=variables, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_airflow_runs(environment: Path, tmp_path: Path) -> None:
    assert run(environment, tmp_path, "airflow", "version") == VERSION


def test_the_entry_point_takes_what_the_official_one_takes(environment: Path, tmp_path: Path) -> None:
    assert run(environment, tmp_path, "entrypoint", "python", "-c", "print(6 * 7)") == "42"
    assert run(environment, tmp_path, "entrypoint", "version") == VERSION


def test_the_celery_executor_can_be_imported(environment: Path, tmp_path: Path) -> None:
    """Not with the newest celery: the provider's import fails, and the scheduler dies of it."""
    program = (
        "import psycopg, psycopg2\n"
        "from airflow.providers.celery.executors.celery_executor import CeleryExecutor\n"
        "from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager\n"
        "print(CeleryExecutor.__name__)"
    )
    assert run(environment, tmp_path, "python", "-W", "ignore", "-c", program).endswith("CeleryExecutor")


def test_people_can_sign_in_with_another_provider(environment: Path, tmp_path: Path) -> None:
    program = "from authlib.integrations.flask_client import OAuth; print(OAuth.__name__)"
    assert run(environment, tmp_path, "python", "-W", "ignore", "-c", program) == "OAuth"


def test_every_package_is_pinned(environment: Path, recipe: Recipe) -> None:
    lines = (line.partition(" ;")[0] for line in recipe.constraints.splitlines() if not line.startswith("#"))
    pins = {tuple(line.split("==")) for line in lines}
    (site_packages,) = environment.glob("lib/python*/site-packages")
    names = [one.name.removesuffix(".dist-info").rsplit("-", 1) for one in site_packages.glob("*.dist-info")]
    held = {(name.lower().replace("_", "-").replace(".", "-"), version) for name, version in names}
    assert held <= pins
    assert ("apache-airflow", VERSION) in held
