"""A deployment of which nothing but the cluster is there, with pods that talk; and a page to look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.kube.client import connect
from airflowaks.session import open_session
from airflowaks.steps import cluster
from tests.support.deployment import describe_environment
from tests.support.page import Page
from tests.support.talking_pods import FAILS, START, TALKS, await_restarts, pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal


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
        kube = session.memoize(connect)
        for one in (pod("talks", "scheduler", TALKS), pod("fails", "worker", FAILS)):
            kube.create(one)
        await_restarts(kube)
        yield folder


@pytest.fixture(scope="module")
def page(checkout: Path) -> Iterator[Page]:
    """A page of JupyterLab on which the first cells of the notebook have run."""
    opened = Page(checkout)
    opened.run(START)
    yield opened
    opened.close()
