"""Reads the status of the steps' resources in parallel and compares them as a plan does, without writing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflowaks.azure.arm import ArmResource
from airflowaks.diagnosis.facts.resource_status import ResourceStatus
from airflowaks.engine.resource import Resource, value_at
from airflowaks.errors import AirflowAksError

if TYPE_CHECKING:
    from collections.abc import Iterator

_THREADS = 8


def statuses(resources: Mapping[str, Resource]) -> dict[str, ResourceStatus]:
    """Return the status of each resource under the same name."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(resources, pool.map(_status, resources.values()), strict=True))


def named(step: str, resources: object) -> Iterator[tuple[str, Resource]]:
    """Yield the resources of a step, named by step and attribute, and those of a collection also by their name."""
    for attribute, value in vars(resources).items():
        if isinstance(value, Resource):
            yield f"{step}.{attribute}", value
        elif isinstance(value, (list, Mapping)):
            for item in value.values() if isinstance(value, Mapping) else value:
                if isinstance(item, Resource):
                    yield f"{step}.{attribute}.{item.name}", item


def _status(resource: Resource) -> ResourceStatus:
    try:
        with resource.session.translated(resource):
            facts = resource.facts
            differences = () if facts is None else resource.differences()
    except AirflowAksError as error:
        problem = error.message.removeprefix(f"{resource.kind} {resource.name}: ")
        return ResourceStatus(resource.kind, resource.name, problem=problem)
    orphaned = facts is None and resource.parent is not None and resource.parent.facts is None
    holders = [resource.holder(difference.path) for difference in differences]
    state = value_at(facts, resource.state_path) if isinstance(resource, ArmResource) else None
    return ResourceStatus(
        resource.kind,
        resource.name,
        exists=facts is not None,
        orphaned=orphaned,
        state=str(state or ""),
        differences=tuple(
            f"{difference} (set by {holder})" if holder else str(difference)
            for difference, holder in zip(differences, holders, strict=True)
        ),
        held=any(holders),
    )
