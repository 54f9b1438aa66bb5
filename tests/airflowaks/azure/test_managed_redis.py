"""An Azure Managed Redis whose creation failed is deleted and created again, and no other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError

from airflowaks.azure.redis import RedisCluster
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.errors import AirflowAksError, MissingDependency, SkuNotAvailable
from airflowaks.session import Session
from airflowaks.steps import backend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.azure.redis import Broker
    from airflowaks.azure.subscription import ResourceGroup
    from tests.support.rehearsal import Rehearsal

FAILURE = {"status": 409, "code": "OperationFailed", "message": "The operation failed."}


@pytest.fixture
def cloud(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """The rehearsal, which has no faults afterwards."""
    yield rehearsal
    rehearsal.control("DELETE")


def opened(group: ResourceGroup, mode: Any = "apply") -> tuple[Session, RedisCluster, Broker]:
    """A session of its own, with its instance and its broker."""
    session = Session(group.session.environment, mode, group.session.connection)
    step = session.memoize(backend.Resources)
    (instance, _) = step.broker_parts
    assert isinstance(instance, RedisCluster)
    return session, instance, step.broker


def fail(cloud: Rehearsal, instance: RedisCluster, method: str = "PUT", **fault: Any) -> None:
    """Let the next write of the instance fail."""
    cloud.control("POST", {"methods": [method], "path": f"/redisEnterprise/{instance.name}$", **FAILURE, **fault})


def fail_to_create(cloud: Rehearsal, group: ResourceGroup, code: str = "OperationFailed") -> None:
    session, instance, _ = opened(group)
    fail(cloud, instance, later=True, code=code)
    with pytest.raises(SkuNotAvailable, match=code) as failed:
        converge(session, instance)
    assert "`broker.high_availability: false`" in failed.value.action


def deletions(cloud: Rehearsal, instance: RedisCluster) -> int:
    """How often the instance was deleted."""
    entries = [entry for entry in cloud.requests() if entry["method"] == "DELETE"]
    return sum(instance.id.lower() in str(entry).lower() for entry in entries)


@pytest.mark.parametrize("code", ["OperationFailed", "InsufficientCapacity", "AllocationFailed"])
def test_an_instance_whose_creation_failed_is_created_again(group: ResourceGroup, cloud: Rehearsal, code: str) -> None:
    fail_to_create(cloud, group, code)
    session, instance, _ = opened(group, "plan")
    (planned,) = plan = converge(session, instance)
    assert (planned.action, planned.applied) == (Action.UPDATE, False)
    assert "creation failed" in str(plan)

    session, instance, broker = opened(group)
    assert not broker.has_host
    changes = converge(session, instance, broker)

    assert [(change.action, change.applied) for change in changes] == [(Action.UPDATE, True), (Action.CREATE, True)]
    assert "an apply deletes it and creates it again" in str(changes)
    assert instance.require("properties.resourceState") == "Running"
    assert broker.has_host
    (again,) = converge(opened(group)[0], opened(group)[1])
    assert (again.action, again.note) == (Action.NONE, "")


def test_a_run_that_ends_after_the_deletion_is_healed_by_the_next(group: ResourceGroup, cloud: Rehearsal) -> None:
    fail_to_create(cloud, group)
    session, instance, _ = opened(group)
    fail(cloud, instance, status=403, code="RequestDisallowedByPolicy")
    with pytest.raises(AirflowAksError, match="RequestDisallowedByPolicy"):
        converge(session, instance)
    assert instance.refresh() is None

    (change,) = converge(*opened(group)[:2])

    assert change.action is Action.CREATE


def test_a_deletion_under_way_is_waited_for(group: ResourceGroup, cloud: Rehearsal) -> None:
    fail_to_create(cloud, group)
    _, instance, _ = opened(group)
    instance.operations.begin_delete(*instance.place)

    converge(*opened(group)[:2])

    assert deletions(cloud, instance) == 1
    assert instance.require("properties.resourceState") == "Running"


def test_an_instance_whose_update_failed_is_not_deleted(group: ResourceGroup, cloud: Rehearsal) -> None:
    session, instance, _ = opened(group)
    converge(session, instance)
    fail(cloud, instance, "PATCH", later=True)
    with pytest.raises(HttpResponseError):
        instance.operations.begin_update(*instance.place, {"tags": {"team": "data"}}).result()

    (change,) = converge(*opened(group)[:2])

    assert (change.action, change.note) == (Action.UPDATE, "")
    assert not deletions(cloud, instance)


def test_an_adopted_instance_whose_creation_failed_is_not_deleted(group: ResourceGroup, cloud: Rehearsal) -> None:
    _, instance, _ = opened(group)
    fail(cloud, instance, later=True)
    with pytest.raises(HttpResponseError):
        instance.put({**instance.desired(), "tags": {}})

    (change,) = converge(*opened(group)[:2])

    assert (change.action, change.applied) == (Action.NONE, False)
    assert not deletions(cloud, instance)


@pytest.mark.parametrize(("tags", "action"), [({}, "Ask the owner of the broker"), (None, "Run step 3")])
def test_who_enables_access_keys(group: ResourceGroup, tags: dict[str, str] | None, action: str) -> None:
    _, instance, broker = opened(group)
    instance.put(instance.desired() if tags is None else {**instance.desired(), "tags": tags})
    instance.refresh()
    keyless = {"accessKeysAuthentication": "Disabled"}
    broker.put({"properties": {**broker.desired()["properties"], **keyless}})
    _, _, found = opened(group)
    with pytest.raises(MissingDependency, match="access keys are disabled") as missing:
        found.keys()
    assert missing.value.action.startswith(action)
