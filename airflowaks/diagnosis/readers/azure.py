"""Reads from Azure and Entra: the resources of steps 1 to 5, quotas and failed writes."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflowaks.azure import region
from airflowaks.azure.arm import listed
from airflowaks.azure.key_vault import SoftDeletedVault
from airflowaks.azure.subscription import ask_subscription, seconds_ahead
from airflowaks.diagnosis.facts.services import Operation, Quota
from airflowaks.diagnosis.readers.resource_status import named, statuses
from airflowaks.engine.resource import value_at
from airflowaks.engine.times import timestamp
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
# The backend's reader checks these in the database itself.
_SKIPPED_KINDS = ("database role", "database privileges", "database password", "maintenance window")
_EVENTS_API = "2015-04-01"
_EVENTS_KEPT = timedelta(days=89)


def resources(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read the resources of steps 1 to 5 as a plan does. Raises AirflowAksError if the sign-in fails."""
    step1, step4 = session.memoize(cluster.Resources), session.memoize(key_vault.Resources)
    with session.translated(step1.group):
        _ = step1.group.facts  # first of all, since a sign-in that fails is no resource's problem
        rules = backend.cluster_rules(session)
    names: dict[Resource, str] = {rule: f"backend.firewall.{name}" for name, rule in rules.items()}
    for name, resource in _all(session):
        names.setdefault(resource, name)
    read = statuses({name: resource for resource, name in names.items()})
    container_registry = session.memoize(registry.Resources).registry
    vault_deleted = read["key_vault.vault"].missing and SoftDeletedVault(step4.vault).read() is not None
    return {
        "resources": read,
        "power": str(value_at(step1.cluster.facts, "properties.powerState.code") or ""),
        "registry_mode": str(value_at(container_registry.facts, "properties.roleAssignmentMode") or ""),
        "vault_deleted": vault_deleted,
    }


def _all(session: Session) -> Iterator[tuple[str, Resource]]:
    for step, resources_of in _STEPS.items():
        for name, resource in named(step, session.memoize(resources_of)):
            # The cluster's reader reads the Kubernetes objects.
            if resource.kind not in _SKIPPED_KINDS and not hasattr(resource, "manifest"):
                yield name, resource


def quotas(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read the usage and limits of the region's compute quotas."""
    return {"quotas": {quota.title: Quota(quota.used, quota.limit) for quota in region.quotas(session).values()}}


def clock(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read how many seconds this machine's clock is ahead of Azure's."""
    with suppress(KeyError):
        return {"ahead": seconds_ahead(ask_subscription(session))}
    return {}


def operations(session: Session, scope: Scope) -> dict[str, Any]:
    """Read the failed writes from the activity log, except those later retried or deleted with success.

    The log keeps 90 days, refuses an earlier start, and requires the times and the group in this form:
    https://learn.microsoft.com/rest/api/monitor/activity-logs/list
    """
    environment = session.environment
    path = f"/subscriptions/{environment.subscription_id}/providers/Microsoft.Insights/eventtypes/management/values"
    now = datetime.now(UTC)
    start, end = timestamp(max(scope.since, now - _EVENTS_KEPT)), f"{now:%Y-%m-%dT%H:%M:%S.%fZ}"
    query = (
        f"eventTimestamp ge '{start}' and eventTimestamp le '{end}'"
        f" and resourceGroupName eq '{environment.resource_group}'"
    )
    events = listed(session, path, **{"api-version": _EVENTS_API, "$filter": query})
    last: dict[tuple[str, str], Any] = {}
    for event in sorted(events, key=lambda each: str(each["eventTimestamp"])):
        name, resource, status = event["operationName"]["value"], event["resourceId"].lower(), event["status"]["value"]
        if status in ("Failed", "Succeeded"):
            last[name, resource] = event
        if status == "Succeeded" and name.lower().endswith("/delete"):
            last = {key: each for key, each in last.items() if key[1] != resource}
    failed = [event for event in last.values() if event["status"]["value"] == "Failed"]
    return {"operations": tuple(map(_operation, failed))}


def _operation(event: Any) -> Operation:
    name, resource = event["operationName"]["value"], event["resourceId"].rpartition("/")[2]
    message = event.get("properties", {}).get("statusMessage") or event["status"].get("localizedValue", "")
    return Operation(event["eventTimestamp"], name, resource, _reason(message))


def _reason(message: str) -> str:
    """Return code and message of an error body in JSON; any other text unchanged."""
    try:
        error = json.loads(message)["error"]
        return f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return message
