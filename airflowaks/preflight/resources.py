"""What exists and what would be created: global names, differences that no update can make, policies that deny."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmChild, ArmResource, rest
from airflowaks.azure.key_vault import SoftDeletedVault
from airflowaks.azure.redis import ExistingRedis
from airflowaks.config.naming import MARK
from airflowaks.engine.assessment import assess
from airflowaks.engine.changes import Action, is_unknown
from airflowaks.engine.resource import ADOPTED
from airflowaks.errors import ImmutableProperty, ProviderNotRegistered, UpgradeRequired
from airflowaks.preflight.rows import Row
from airflowaks.steps import backend, cluster, key_vault, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session

NAME = "name of the {}"
_POLICIES_API = "2024-10-01"
_SECONDS = 15
_TAKEN = "Set another name in the environment file: it must be unique in all of Azure."


def planned(session: Session) -> list[ArmResource]:
    """Return the resources of Resource Manager that steps 1 to 4 create, without those inside of others."""
    step1, step3 = session.memoize(cluster.Resources), session.memoize(backend.Resources)
    made: list[Resource] = [
        step1.group,
        step1.identity,
        step1.cluster,
        session.memoize(registry.Resources).registry,
        step3.server,
        *step3.broker_parts,
        session.memoize(key_vault.Resources).vault,
    ]
    return [each for each in made if isinstance(each, ArmResource) and not isinstance(each, ArmChild)]


def registry_name(session: Session) -> Iterator[Row]:
    """Ask whether the registry's name is free or this environment's own."""
    container_registry = session.memoize(registry.Resources).registry
    yield _name(container_registry, session.registries.registries.check_name_availability)


def server_name(session: Session) -> Iterator[Row]:
    """Ask whether the PostgreSQL server's name is free or this environment's own."""
    server, location = session.memoize(backend.Resources).server, session.environment.location
    yield _name(server, lambda body: session.postgresql.name_availability.check_with_location(location, body))


def vault_name(session: Session) -> Iterator[Row]:
    """Ask whether the vault's name is free, this environment's own, or a soft-deleted vault's."""
    vault = session.memoize(key_vault.Resources).vault
    deleted = _deleted(session) if vault.facts is None else None
    yield deleted or _name(vault, session.vaults.vaults.check_name_availability)


def broker_name(session: Session) -> Iterator[Row]:
    """Look whether the broker exists.

    Only an Azure Cache for Redis has a check of names: https://learn.microsoft.com/rest/api/redis/redis/check-name-availability.
    The sizes of a Managed Redis are listed for an instance that exists, to scale it.
    """
    broker = session.memoize(backend.Resources).broker_parts[0]
    if broker.facts is not None:
        yield Row(NAME.format(broker.kind), "ok", f"{broker.name} exists")
    else:
        size = broker.desired()["sku"]["name"]
        seen = f"{broker.name}, {size}: Azure tells neither whether a name is free nor which sizes a region has"
        yield Row(NAME.format(broker.kind), "unknown", seen)


def _name(resource: ArmResource, check: Callable[[Any], Any]) -> Row:
    if resource.facts is not None:
        return Row(NAME.format(resource.kind), "ok", f"{resource.name} is this environment's")
    answer = check({"name": resource.name, "type": resource.type})
    if answer.name_available:
        return Row(NAME.format(resource.kind), "ok", f"{resource.name} is free")
    return Row(NAME.format(resource.kind), "stops", f"{resource.name}: {answer.message}", _TAKEN)


def _deleted(session: Session) -> Row | None:
    """Return the row of a soft-deleted vault with the name: this environment's, which step 4 recovers, or another."""
    from azure.core.exceptions import ResourceNotFoundError

    vault, location = session.memoize(key_vault.Resources).vault, session.environment.location
    if SoftDeletedVault(vault).read() is not None:
        seen = f"{vault.name} is soft-deleted; step 4 recovers it with its secrets"
        return Row(NAME.format(vault.kind), "ok", seen)
    try:
        deleted: Any = session.vaults.vaults.get_deleted(vault.name, location, cls=rest)
    except ResourceNotFoundError:
        return None
    properties, setting = deleted["properties"], "set another `key_vault.name`"
    seen = f"{vault.name} is soft-deleted ({properties['vaultId']}) until {properties['scheduledPurgeDate']}"
    purge = f"Purge it with `az keyvault purge --name {vault.name}`, or {setting}."
    action = f"Its purge protection is on: {setting}." if properties.get("purgeProtectionEnabled") else purge
    return Row(NAME.format(vault.kind), "stops", seen, action)


def existing(session: Session) -> Iterator[Row]:
    """Compare what exists with the environment file, as a plan does: what no update can change stops an apply.

    What the runbook did not make it leaves as it is.
    """
    present, adopted, conflicts = [], [], []
    for resource in planned(session):
        if resource.facts is None:
            continue
        present.append(str(resource))
        try:
            action, differences = assess(resource)
            if action is Action.KEEP:
                adopted.append(f"{resource} ({', '.join(map(str, differences))})")
        except (ImmutableProperty, UpgradeRequired) as error:
            conflicts.append(error)
    for conflict in conflicts:
        yield Row("existing resources", "stops", conflict.message, conflict.action)
    if adopted:
        advice = f"Change it yourself, or give it the tag {MARK}={session.environment.mark}: then an apply updates it."
        yield Row("adopted resources", "warns", f"they differ and stay so: {'; '.join(adopted)}", advice)
    if not conflicts:
        yield Row("existing resources", "ok", f"an update can change: {', '.join(present)}" if present else "none yet")


def policies(session: Session) -> Iterator[Row]:
    """Ask Azure Policy which assignments deny the resources as they would be created; adopted ones are not written.

    It evaluates the assignments of the management groups, too, and those that only audit on request alone:
    https://learn.microsoft.com/rest/api/policyinsights/policy-restrictions.
    """
    resources = [each for each in planned(session) if not isinstance(each, ExistingRedis) and each.origin != ADOPTED]
    denied: dict[str, list[str]] = {}
    try:
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(_evaluations, resources))
    except ProviderNotRegistered as error:
        # No resource needs it, so step 1 does not: https://github.com/hashicorp/terraform-provider-azurerm/issues/10498
        action = "Run `az provider register --namespace Microsoft.PolicyInsights`, which no step does; then ask again."
        yield Row("policies", "unknown", error.message, action)
        return
    for resource, evaluations in zip(resources, found, strict=True):
        for evaluation in evaluations:
            effect = str((evaluation.get("effectDetails") or {}).get("policyEffect", "deny"))
            if effect.lower().startswith("deny"):
                denied.setdefault(evaluation["policyInfo"]["policyAssignmentId"], []).append(resource.kind)
    if denied:
        seen = "; ".join(f"{assignment} denies {', '.join(kinds)}" for assignment, kinds in denied.items())
        action = "Request an exemption from the owner of the policy, or change the environment."
        yield Row("policies", "stops", seen, action)
    else:
        yield Row("policies", "ok", f"none denies any of {len(resources)} resources")


def _evaluations(resource: ArmResource) -> list[dict[str, Any]]:
    """Return the evaluations with which a resource does not comply, in its group where there is one already."""
    from azure.core.rest import HttpRequest

    session, group = resource.session, resource.session.memoize(cluster.Resources).group
    inside = resource is not group and group.facts is not None
    scope = group.id if inside else f"/subscriptions/{session.environment.subscription_id}"
    path = f"{scope}/providers/Microsoft.PolicyInsights/checkPolicyRestrictions"
    body = {"resourceDetails": {"resourceContent": _content(resource)}}
    request = HttpRequest("POST", path, params={"api-version": _POLICIES_API}, json=body)
    # The interpreter waits for the threads of a pool before it ends.
    response = session.resources.send_request(request, read_timeout=_SECONDS, retry_total=0)
    response.raise_for_status()
    return (response.json().get("contentEvaluationResult") or {}).get("policyEvaluations") or []


def _content(resource: ArmResource) -> dict[str, Any]:
    """Return the resource's content, as far as it is known before it is created."""
    content: dict[str, Any] = json.loads(json.dumps(_without_unknown(resource.desired()), default=str))
    return {"type": resource.type, "name": resource.name, **content}


def _without_unknown(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_unknown(value) if isinstance(value, dict) else value
        for key, value in facts.items()
        if isinstance(value, dict) or not is_unknown(value)
    }
