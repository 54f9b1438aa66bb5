"""What was there before the runbook is used as it is: no step changes it, no teardown removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.core.rest import HttpRequest

from airflowaks.azure.entra import Group
from airflowaks.engine.changes import Action, Changes
from airflowaks.engine.converge import converge
from airflowaks.errors import AzureError
from airflowaks.session import open_session
from airflowaks.steps import cluster, key_vault, registry, teardown
from tests.support.deployment import describe_environment, is_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.session import Session
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad


@pytest.fixture
def open_here(
    rehearsal: Rehearsal, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, group_name: str
) -> Callable[..., Session]:
    """Opens sessions on an environment of the test's own."""
    describe_environment(tmp_path, group_name)
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(rehearsal.home))
    monkeypatch.chdir(tmp_path)
    return lambda mode="apply": open_session(group_name, mode)


def deploy(session: Session) -> Changes:
    """The parts of three steps that take no time."""
    step = session.memoize(cluster.Resources)
    parts = (cluster.providers, cluster.resource_group, cluster.groups, cluster.identity, registry.registry)
    changes = sum((part(session) for part in parts), start=Changes())
    return changes + converge(session, session.memoize(key_vault.Resources).vault, step.developers)


def actions(changes: Changes) -> dict[str, tuple[str, str]]:
    """Action and origin of the changes, by kind and name."""
    kinds = ("resource group", "Entra group", "managed identity", "container registry", "key vault")
    return {f"{one.kind} {one.name}": (one.action.value, one.origin) for one in changes if one.kind in kinds}


def make_by_hand(session: Session, *, tags: dict[str, str]) -> None:
    """Make a resource group, a vault in it and the administrators' group, as a company's platform team would."""
    environment = session.environment
    cluster.providers(session)
    body: Any = {"location": environment.location, "tags": tags}
    session.resources.resource_groups.create_or_update(environment.resource_group, body)
    vault = session.memoize(key_vault.Resources).vault
    vault.put({**vault.desired(), "tags": tags})
    theirs = Group(session, environment.entra.admin_group, "The platform team")
    theirs.write(None)
    session.graph.send_request(_patch(session, theirs, "The platform team")).raise_for_status()


def _patch(session: Session, group: Group, description: str) -> Any:
    from azure.core.rest import HttpRequest

    group.refresh()
    url = session.graph.format_url(f"/groups/{group.require('id')}")
    return HttpRequest("PATCH", url, json={"description": description})


def test_what_was_there_before_stays_as_it_was(open_here: Callable[..., Session], rehearsal: Rehearsal) -> None:
    session = open_here()
    environment = session.environment
    make_by_hand(session, tags={"team": "platform"})
    before = {"vault": session.memoize(key_vault.Resources).vault.read(), "group": _group(open_here())}

    assert actions(deploy(open_here())) == {
        f"resource group {environment.resource_group}": ("none", "adopted"),
        f"Entra group {environment.entra.admin_group}": ("none", "adopted"),
        f"Entra group {environment.entra.developer_group}": ("none", "made here"),
        f"Entra group {environment.entra.viewer_group}": ("create", "made here"),
        f"managed identity {environment.identities.cluster}": ("create", "made here"),
        f"container registry {environment.registry.name}": ("create", "made here"),
        f"key vault {environment.key_vault.name}": ("none", "adopted"),
    }
    rerun = len(rehearsal.requests())
    assert not [change for change in deploy(open_here()) if change.applied]
    assert not [entry for entry in rehearsal.requests()[rerun:] if is_write(entry)]

    planned = teardown.everything(open_here("plan"), confirm="")
    assert actions(planned) == {
        f"container registry {environment.registry.name}": ("delete", "made here"),
        f"key vault {environment.key_vault.name}": ("keep", "adopted"),
        f"managed identity {environment.identities.cluster}": ("delete", "made here"),
        f"managed identity {environment.identities.pods}": ("none", ""),
        f"resource group {environment.resource_group}": ("keep", "adopted"),
        f"Entra group {environment.entra.admin_group}": ("keep", "adopted"),
        f"Entra group {environment.entra.developer_group}": ("delete", "made here"),
        f"Entra group {environment.entra.viewer_group}": ("delete", "made here"),
    }
    assert "to delete (made here)" in str(planned)
    assert "stays (adopted)" in str(planned)
    listed = str(teardown.contents(open_here("plan")))
    assert "made here" in listed
    assert f"it has no tag airflowaks={environment.mark}" in " ".join(listed.split())

    gone = teardown.everything(open_here(), confirm=environment.name, purge=True)
    assert {change.name for change in gone if change.applied} == {
        environment.registry.name,
        environment.identities.cluster,
        environment.entra.developer_group,
        environment.entra.viewer_group,
    }
    after = open_here()
    checks = teardown.checks(after)
    assert not checks.failed
    assert f"key vault {environment.key_vault.name}" in checks[0].seen
    assert {"vault": after.memoize(key_vault.Resources).vault.read(), "group": _group(after)} == before
    assert {change.action for change in teardown.everything(open_here(), confirm=environment.name)} <= {
        Action.NONE,
        Action.KEEP,
    }


def _group(session: Session) -> Any:
    return session.memoize(cluster.Resources).admins.read()


def test_two_groups_of_one_name_are_told_apart(open_here: Callable[..., Session], group_name: str) -> None:
    session, name = open_here(), f"{group_name}-twins"
    group = Group(session, name, "Twins")
    described = ["Somebody's", *[group.desired()["description"]] * 2]
    stranger, twin = (_create_group(session, name, text) for text in described[:2])
    with pytest.raises(AzureError) as caught:
        group.refresh()
    assert caught.value.message.count(" not made for this environment") == 1
    assert caught.value.action.startswith("Set another name under `entra`")
    twins = (twin, _create_group(session, name, described[2]))
    with pytest.raises(AzureError, match="3 groups have this display name") as caught:
        group.refresh()
    assert caught.value.message.count(" made for this environment") == 3
    assert any(f"`az ad group delete --group {one}`" in caught.value.action for one in twins)
    assert stranger not in caught.value.action


def _create_group(session: Session, name: str, description: str) -> str:
    body = {"displayName": name, "description": description, "securityEnabled": True, "mailEnabled": False}
    url = session.graph.format_url("/groups")
    answer = session.graph.send_request(HttpRequest("POST", url, json={**body, "mailNickname": "twins"}))
    answer.raise_for_status()
    return str(answer.json()["id"])


def test_a_resource_group_stays_with_what_others_put_into_it(open_here: Callable[..., Session]) -> None:
    session = open_here()
    deploy(session)
    group, place = session.environment.resource_group, session.environment.location
    session.identities.user_assigned_identities.create_or_update(group, "another-teams", {"location": place})  # type: ignore[call-overload]

    teardown.everything(open_here(), confirm=session.environment.name)
    left = [one.name for one in open_here().resources.resources.list_by_resource_group(group)]
    assert left == ["another-teams"]
    checks = teardown.checks(open_here())
    assert not checks.failed
    assert f"resource group {group}, which holds another-teams" in checks[0].seen


def test_what_is_adopted_can_be_claimed_by_hand(open_here: Callable[..., Session]) -> None:
    session = open_here()
    environment = session.environment
    make_by_hand(session, tags={"airflowaks": environment.mark})
    group = session.memoize(cluster.Resources).admins
    description = f"Administrators of Airflow ({environment.name}) (airflowaks {environment.mark})"
    session.graph.send_request(_patch(session, group, description)).raise_for_status()

    changes = deploy(open_here())
    assert {change.origin for change in changes if change.kind in ("resource group", "Entra group")} == {"made here"}
    gone = teardown.everything(open_here(), confirm=environment.name)
    assert [change.name for change in gone if change.applied] == [
        environment.resource_group,
        environment.entra.admin_group,
        environment.entra.developer_group,
        environment.entra.viewer_group,
    ]
