"""An answer that is lost after the service began: the repetition meets the operation, and waits until it has ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.engine.results import Results
from airflowaks.notebook.progress import NotebookDisplay
from airflowaks.session import Session, open_session
from airflowaks.steps import backend, cluster, key_vault, registry
from tests.support.deployment import describe_environment
from tests.support.rehearsal import Rehearsal, reset_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflowaks.engine.table import Table

pytestmark = pytest.mark.broad


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rehearsal in which a cluster takes three seconds, and a registry a seventh of one."""
    home, folder = tmp_path_factory.mktemp("cloud"), tmp_path_factory.mktemp("checkout")
    describe_environment(folder, "lost")
    started = start_rehearsal(home, "--time-scale", "0.01")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(home))
        patch.chdir(folder)
        session = open_session("lost")
        step = session.memoize(cluster.Resources)
        converge(session, step.group, *step.providers)
        yield started
        reset_rehearsal(home)


def registry_and_vault(session: Session) -> None:
    converge(session, session.memoize(registry.Resources).registry)
    key_vault.vault(session)


def lose(cloud: Rehearsal, session: Session, step: Callable[[Session], Any], paths: list[str]) -> None:
    """Run a step whose writes to these paths are carried out and answered with 503, and prove that it converged."""
    for path in paths:
        cloud.control("POST", {"methods": ["PUT"], "path": path, "edit": {}, "status": 503})

    step(session)

    cloud.control("DELETE")
    for path in paths:
        writes = [entry for entry in cloud.requests() if entry["method"] == "PUT" and re.search(path, entry["path"])]
        lost, refused, *_, done = [entry["status"] for entry in writes if entry["path"] == writes[0]["path"]]
        assert (lost, refused, done < 300) == (503, 409, True), path
    checking = open_session("lost", "check")
    step(checking)
    assert {change.action for change in checking.memoize(Results).changes} == {Action.NONE}


def test_a_cluster_is_waited_for_and_that_is_shown(cloud: Rehearsal) -> None:
    session, shown = open_session("lost"), []

    def show(line: Table) -> Callable[[Table], None]:
        shown.append(line.note)
        return lambda later: shown.append(later.note)

    session.memoize(Results).display = NotebookDisplay(show)
    lose(cloud, session, cluster.everything, [r"/managedClusters/[\w-]+$"])
    assert "AKS cluster airflow-lost: waiting for another operation on it to end (" in "".join(shown)


def test_servers_with_their_children_are_waited_for(cloud: Rehearsal) -> None:
    paths = [
        r"/flexibleServers/[\w-]+$",
        r"/firewallRules/[\w-]+$",
        r"/redisEnterprise/[\w-]+$",
        r"/databases/default$",
    ]
    lose(cloud, open_session("lost"), backend.servers, paths)


def test_a_registry_and_a_vault_are_waited_for(cloud: Rehearsal) -> None:
    session = open_session("lost")
    lose(cloud, session, registry.registry, [r"/registries/\w+$"])
    lose(cloud, session, key_vault.vault, [r"/vaults/[\w-]+$"])
