"""A deployment of which nothing but the cluster is there, with pods that talk; and a page to look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.kube.client import Kube, Reference, connect
from airflowaks.session import open_session
from airflowaks.steps import cluster
from tests.console.page import Page
from tests.deployment import describe_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflowaks.kube.client import Document
    from tests.conftest import Rehearsal

TALKS = "import itertools, time; [(print('tick', n), time.sleep(0.1)) for n in itertools.count()]"
FAILS = "import time; print('about to fail, as of old-password'); time.sleep(0.5); raise SystemExit(3)"
NAMESPACE = "airflow"


def pod(name: str, component: str, script: str) -> Document:
    labels = {"app.kubernetes.io/name": "airflow", "app.kubernetes.io/component": component}
    command = ["python", "-u", "-c", script]
    container: Document = {"name": "main", "image": "docker.io/library/python:3.13", "command": command}
    if script == FAILS:
        # So that it is not taken for well in the moments in which it runs.
        container["readinessProbe"] = {"exec": {"command": ["false"]}, "initialDelaySeconds": 3600}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


@pytest.fixture(scope="module")
def checkout(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the environment `desk`, whose cluster has a pod that talks and one that fails."""
    del rehearsal
    folder = tmp_path_factory.mktemp("desk")
    describe_environment(folder, "desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        session = open_session("desk")
        cluster.everything(session)
        kube = session.once(connect)
        for one in (pod("talks", "scheduler", TALKS), pod("fails", "worker", FAILS)):
            kube.create(one)
        _await_restarts(kube)
        yield folder


def _await_restarts(kube: Kube) -> None:
    for one in kube.follow(Reference("v1", "Pod", "fails", NAMESPACE), 60):
        if one and any(each["restartCount"] for each in one["status"].get("containerStatuses", ())):
            return


@pytest.fixture(scope="module")
def page(checkout: Path) -> Iterator[Page]:
    """A page of JupyterLab on which the first cells of the notebook have run."""
    opened = Page(checkout)
    opened.run(START)
    yield opened
    opened.close()


START = """
env, mode = "desk", "plan"
from airflowaks.notebook import start
run = start("08_troubleshooting", env=env, mode=mode)
from airflowaks.console.board import Board
board = Board(run)
"""
