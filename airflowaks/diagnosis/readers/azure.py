"""Reads what Azure and Entra say: the resources of steps 1 to 5, quotas, and writes that failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import rest
from airflowaks.azure.key_vault import SoftDeletedVault
from airflowaks.diagnosis.facts.azure import Operation, Quota
from airflowaks.diagnosis.readers.resource_status import named, standings
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.steps import backend, cluster, key_vault, registry, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session

_STEPS: dict[str, Any] = {
    "cluster": cluster.Resources,
    "registry": registry.Resources,
    "backend": backend.Resources,
    "key_vault": key_vault.Resources,
    "workload_identity": workload_identity.Resources,
}
# What the readers of the backend and of the cluster look at more closely.
_LEFT_OUT = ("database role", "database password")
_USAGES_API = "2024-07-01"
_EVENTS_API = "2015-04-01"


def resources(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read the resources of steps 1 to 5 as a plan does. Raises AirflowAksError where nobody is signed in."""
    step1, step4 = session.memoize(cluster.Resources), session.memoize(key_vault.Resources)
    with session.translated(step1.group):
        step1.group.refresh()
        rules = backend.cluster_rules(session)
    found: dict[Resource, str] = {one: f"backend.firewall.{name}" for name, one in rules.items()}
    for name, one in _all(session):
        found.setdefault(one, name)
    read = standings({name: one for one, name in found.items()})
    power = step1.cluster.fact("properties.powerState.code")
    mode = session.memoize(registry.Resources).registry.fact("properties.roleAssignmentMode")
    gone = read["key_vault.vault"].missing and SoftDeletedVault(step4.vault).read() is not None
    return {
        "resources": read,
        "power": "" if power is AFTER_APPLY else str(power),
        "registry_mode": "" if mode is AFTER_APPLY else str(mode),
        "vault_deleted": gone,
    }


def _all(session: Session) -> Iterator[tuple[str, Resource]]:
    for step, made in _STEPS.items():
        for name, one in named(step, session.memoize(made)):
            # Objects in the cluster have another reader.
            if one.kind not in _LEFT_OUT and not hasattr(one, "manifest"):
                yield name, one


def quotas(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read how much of the region's limits on machines is used."""
    environment = session.environment
    path = f"/subscriptions/{environment.subscription_id}/providers/Microsoft.Compute/locations/{environment.location}"
    found: Any = session.resources.resources.get_by_id(f"{path}/usages", api_version=_USAGES_API, cls=rest)
    used = {one["name"]["localizedValue"]: Quota(one["currentValue"], one["limit"]) for one in found["value"]}
    return {"quotas": used}


def operations(session: Session, scope: Scope) -> dict[str, Any]:
    """Read from the activity log which writes failed, and were neither made good nor given up since."""
    environment = session.environment
    path = f"/subscriptions/{environment.subscription_id}/providers/Microsoft.Insights/eventtypes/management/values"
    query = f"eventTimestamp ge '{scope.start}' and resourceGroupName eq '{environment.resource_group}'"
    found: Any = session.resources.resources.get_by_id(
        path, api_version=_EVENTS_API, params={"$filter": query}, cls=rest
    )
    last: dict[tuple[str, str], Any] = {}
    for one in sorted(found["value"], key=lambda each: str(each["eventTimestamp"])):
        name, resource, status = one["operationName"]["value"], one["resourceId"].lower(), one["status"]["value"]
        if status in ("Failed", "Succeeded"):
            last[name, resource] = one
        if status == "Succeeded" and name.lower().endswith("/delete"):
            # What failed with it before does not matter any more.
            last = {key: each for key, each in last.items() if key[1] != resource}
    failed = [one for one in last.values() if one["status"]["value"] == "Failed"]
    return {"operations": tuple(map(_operation, failed))}


def _operation(one: Any) -> Operation:
    name, resource = one["operationName"]["value"], one["resourceId"].rpartition("/")[2]
    message = one.get("properties", {}).get("statusMessage") or one["status"].get("localizedValue", "")
    return Operation(one["eventTimestamp"], name, resource, _said(message))


def _said(message: str) -> str:
    """Return code and text of what is mostly the body of the answer, as JSON in a string."""
    try:
        error = json.loads(message)["error"]
        return f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return message
