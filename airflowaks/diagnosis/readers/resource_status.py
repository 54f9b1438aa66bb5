"""How the resources of the steps stand, read side by side and compared as a plan would, without writing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflowaks.azure.arm import ArmResource
from airflowaks.diagnosis.facts.resource_status import ResourceStatus
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.resource import Resource
from airflowaks.errors import AirflowAksError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIDE_BY_SIDE = 8


def standings(resources: Mapping[str, Resource]) -> dict[str, ResourceStatus]:
    """Return how each resource stands, under the same names."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return dict(zip(resources, pool.map(_stand, resources.values()), strict=True))


def named(step: str, resources: object) -> Iterator[tuple[str, Resource]]:
    """Yield the resources of a step by step and attribute, and by name where there are several."""
    for attribute, value in vars(resources).items():
        if isinstance(value, Resource):
            yield f"{step}.{attribute}", value
        elif isinstance(value, (list, Mapping)):
            for one in value.values() if isinstance(value, Mapping) else value:
                if isinstance(one, Resource):
                    yield f"{step}.{attribute}.{one.name}", one


def _stand(resource: Resource) -> ResourceStatus:
    try:
        with resource.session.translated(resource):
            known = resource.facts
            differences = () if known is None else tuple(map(str, resource.differences()))
    except AirflowAksError as error:
        problem = error.message.removeprefix(f"{resource.kind} {resource.name}: ")
        return ResourceStatus(resource.kind, resource.name, problem=problem)
    orphaned = known is None and resource.parent is not None and resource.parent.facts is None
    state = resource.fact(resource.state_path) if isinstance(resource, ArmResource) else AFTER_APPLY
    return ResourceStatus(
        resource.kind,
        resource.name,
        exists=known is not None,
        orphaned=orphaned,
        state="" if state is AFTER_APPLY else str(state),
        differences=differences,
    )
