"""How long an apply takes: the longest chain of what does not exist, by the typical durations of `durations.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflowaks.engine.resource import Resource, resources_of
from airflowaks.engine.times import duration
from airflowaks.steps import airflow, backend, cluster, key_vault, registry, volumes, workload_identity

if TYPE_CHECKING:
    from airflowaks.session import Session

_SECONDS = {
    kind: float(typical["seconds"])
    for kind, typical in tomllib.loads(Path(__file__).with_name("durations.toml").read_text(encoding="utf-8")).items()
}
_SHORT = 1.0
_WORTH_NAMING = 20.0
_STEPS = (cluster, registry, backend, key_vault, workload_identity, volumes, airflow)


@dataclass(frozen=True)
class Estimate:
    """The chain that takes longest: its resources, and how many seconds all of them take."""

    chain: tuple[Resource, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        named = [(resource, _SECONDS.get(resource.kind, _SHORT)) for resource in self.chain]
        links = [f"{resource} ({duration(seconds)})" for resource, seconds in named if seconds >= _WORTH_NAMING]
        return f"about {duration(self.seconds)}, by Azure's typical durations: {', '.join(links)}"


def estimate(session: Session) -> Estimate:
    """Return the longest chain of the resources that were read, as a preflight reads them, and do not exist."""
    ends: dict[Resource, Estimate] = {}

    def end(resource: Resource) -> Estimate:
        if resource not in ends:
            before = max(
                map(end, (*resource.depends_on, *resource.needs)), key=lambda each: each.seconds, default=_NONE
            )
            if resource.absent:
                seconds = before.seconds + _SECONDS.get(resource.kind, _SHORT)
                before = Estimate((*before.chain, resource), seconds)
            ends[resource] = before
        return ends[resource]

    resources = (resource for step in _STEPS for resource in resources_of(session.memoize(step.Resources)))
    return max(map(end, resources), key=lambda each: each.seconds, default=_NONE)


_NONE = Estimate()
