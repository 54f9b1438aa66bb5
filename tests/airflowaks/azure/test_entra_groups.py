"""Entra groups are made once: by operators at the same time, after a lost answer, and after a removal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.rest import HttpRequest

from airflowaks.azure.entra import Group, GroupMembers
from airflowaks.cloud.connection import Connection
from airflowaks.config.environment import load_environment
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.engine.results import Results
from airflowaks.errors import AirflowAksError
from airflowaks.session import Session
from tests.support.principals import principal_of
from tests.support.rehearsal import run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.rehearsal import Rehearsal

RIGHTS = ("Group.Create", "GroupMember.Read.All")
ROUNDS = 8
DELAY_SECONDS = 0.2


@pytest.fixture(scope="module")
def replicating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rehearsal whose Graph takes as long to replicate as the one of `airflowaks rehearsal up` does."""
    home = tmp_path_factory.mktemp("replicating")
    yield start_rehearsal(home, "--time-scale", "0.00005", "--replication-seconds", str(DELAY_SECONDS / 0.00005))
    run_rehearsal(home, "down")


@pytest.fixture
def operator(replicating: Rehearsal) -> Iterator[Callable[[], Session]]:
    """Opens sessions; each is as one of another machine."""
    reach = {
        "proxy": replicating.connection["HTTPS_PROXY"],
        "ca_bundle": replicating.connection["REQUESTS_CA_BUNDLE"],
    }
    with closing(replicating.credential()) as credential:
        yield lambda: Session(load_environment("local"), "apply", Connection(credential=credential, **reach))
    replicating.control("DELETE")


def converge_at_once(sessions: list[Session], name: str, *, members: bool = True) -> set[str]:
    """Let each session create the group, with itself as a member or none; return the IDs that they know it by."""

    def create(session: Session) -> str:
        group = Group(session, name, "a test's")
        converge(session, group, *([GroupMembers(group, [session.operator.object_id])] if members else []))
        return str(group.id)

    for session in sessions:  # so that the first requests of all are those for the group
        _ = session.operator, session.graph
    with ThreadPoolExecutor(len(sessions)) as pool:
        return set(pool.map(create, sessions))


def groups_called(session: Session, name: str) -> list[dict[str, Any]]:
    """The groups of this name, as Graph has them when everything is replicated."""
    time.sleep(DELAY_SECONDS)
    query = {"$filter": f"displayName eq '{name}'", "$select": "id,uniqueName"}
    url = session.graph.format_url("/groups")
    response = session.graph.send_request(HttpRequest("GET", url, params=query))
    response.raise_for_status()
    groups: list[dict[str, Any]] = response.json()["value"]
    return groups


@contextmanager
def lost_creation(rehearsal: Rehearsal, session: Session, name: str, fault: dict[str, Any]) -> Iterator[None]:
    """Create a group whose creator gets no answer: it was cut, or is held as long as the context lasts."""
    rehearsal.control("POST", {"methods": ["POST", "PATCH"], "host": "graph", "path": "/groups", **fault})
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(converge, session, Group(session, name, "a test's"))
        if "hold" in fault:
            while not any(each["holding"] for each in rehearsal.control("GET")):
                time.sleep(0.01)
        else:
            with pytest.raises(AirflowAksError, match="ended in the middle of the answer"):
                lost.result()
        try:
            yield
        finally:
            rehearsal.control("DELETE")


@pytest.mark.broad
def test_two_operators_at_once_make_one_group(operator: Callable[[], Session], group_name: str) -> None:
    for number in range(ROUNDS):
        name = f"{group_name} {number}"
        ids = converge_at_once([operator(), operator()], name)
        assert [{group["id"]} for group in groups_called(operator(), name)] == [ids]


@pytest.mark.broad
@pytest.mark.parametrize("fault", [{"cut": True}, {"hold": True, "after": True}])
def test_after_a_lost_answer_the_group_is_not_made_again(
    replicating: Rehearsal, operator: Callable[[], Session], group_name: str, fault: dict[str, Any]
) -> None:
    second = operator()
    with lost_creation(replicating, operator(), group_name, fault):
        converge(second, Group(second, group_name, "a test's"))
    assert len(groups_called(second, group_name)) == 1


@pytest.mark.broad
def test_a_group_is_made_again_where_a_deleted_one_keeps_its_key(
    operator: Callable[[], Session], group_name: str
) -> None:
    keys = set()
    for _ in range(3):
        (made,) = converge_at_once([operator(), operator()], group_name)
        (group,) = groups_called(operator(), group_name)
        assert group["id"] == made
        keys.add(group["uniqueName"])
        doomed = Group(operator(), group_name, "a test's")
        doomed.delete()
        assert groups_called(operator(), group_name) == []
    assert len(keys) == 3


@pytest.mark.broad
def test_who_may_only_create_groups_makes_them_without_a_key(
    replicating: Rehearsal, operator: Callable[[], Session], group_name: str
) -> None:
    session = principal_of(replicating, operator(), [], RIGHTS, mode="apply")
    group = Group(session, group_name, "a test's")
    members = GroupMembers(group, [session.operator.object_id])
    assert [change.action for change in converge(session, group, members)] == [Action.CREATE, Action.UPDATE]
    (made,) = groups_called(operator(), group_name)
    assert (made["id"], "uniqueName" in made) == (group.id, False)
    assert [change.action for change in converge(session, group, members)] == [Action.NONE, Action.NONE]


@pytest.mark.broad
@pytest.mark.parametrize("principals", [1, 2])
def test_two_runs_that_may_only_create_groups_keep_the_older_one(
    replicating: Rehearsal, operator: Callable[[], Session], group_name: str, principals: int
) -> None:
    connections = [
        principal_of(replicating, operator(), [], RIGHTS, mode="apply").connection for _ in range(principals)
    ]
    for number in range(ROUNDS):
        name = f"{group_name} {number}"
        sessions = [Session(operator().environment, "apply", connections[turn % principals]) for turn in range(2)]
        # Only a group's owner may add members to it.
        ids = converge_at_once(sessions, name, members=principals == 1)
        assert [{group["id"]} for group in groups_called(operator(), name)] == [ids]


@pytest.mark.broad
@pytest.mark.parametrize("fault", [{"cut": True}, {"hold": True, "after": True}])
def test_who_may_only_create_groups_repeats_a_lost_creation(
    replicating: Rehearsal, operator: Callable[[], Session], group_name: str, fault: dict[str, Any]
) -> None:
    connection = principal_of(replicating, operator(), [], RIGHTS, mode="apply").connection
    first, second = (Session(operator().environment, "apply", connection) for _ in range(2))
    again = Group(second, group_name, "a test's")
    with lost_creation(replicating, first, group_name, {"methods": ["POST"], **fault}):
        converge(second, again)
    assert [group["id"] for group in groups_called(operator(), group_name)] == [again.id]


@pytest.mark.broad
def test_where_the_newer_group_cannot_be_deleted_the_older_one_is_taken(
    replicating: Rehearsal, operator: Callable[[], Session], group_name: str
) -> None:
    connection = principal_of(replicating, operator(), [], RIGHTS, mode="apply").connection
    replicating.control(
        "POST", {"methods": ["DELETE"], "host": "graph", "path": "/groups/", "status": 403, "times": 100}
    )
    sessions = [Session(operator().environment, "apply", connection) for _ in range(2)]
    (stays,) = converge_at_once(sessions, group_name)
    replicating.control("DELETE")
    (left,) = {group["id"] for group in groups_called(operator(), group_name)} - {stays}
    notes = {change.note for session in sessions for change in session.memoize(Results).changes} - {""}
    (note,) = notes
    assert note.endswith(f"may not delete it: run `az ad group delete --group {left}`.")
