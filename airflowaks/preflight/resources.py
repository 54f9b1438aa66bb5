"""What exists and what would be created: global names, differences that no update can make, policies that deny."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import MARK, ArmChild, ArmResource, rest
from airflowaks.azure.key_vault import SoftDeletedVault
from airflowaks.engine.changes import Action, is_unknown
from airflowaks.engine.converge import assess
from airflowaks.errors import ImmutableProperty
from airflowaks.preflight.rows import Row
from airflowaks.steps import backend, cluster, key_vault, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session

_POLICIES_API = "2024-10-01"
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


def names(session: Session) -> Iterator[Row]:
    """Ask whether each name that is unique in all of Azure is free or this environment's own."""
    step3 = session.memoize(backend.Resources)
    container_registry = session.memoize(registry.Resources).registry
    vault, broker = session.memoize(key_vault.Resources).vault, step3.broker_parts[0]
    location = session.environment.location
    checks: tuple[tuple[ArmResource, Callable[[Any], Any]], ...] = (
        (container_registry, session.registries.registries.check_name_availability),
        (step3.server, lambda body: session.postgresql.name_availability.check_with_location(location, body)),
        (vault, session.vaults.vaults.check_name_availability),
    )
    for resource, check in checks:
        if resource.facts is not None:
            yield Row(f"name of the {resource.kind}", "ok", f"{resource.name} is this environment's")
            continue
        if resource is vault and (row := _deleted(session)):
            yield row
            continue
        answer = check({"name": resource.name, "type": resource.type})
        if answer.name_available:
            yield Row(f"name of the {resource.kind}", "ok", f"{resource.name} is free")
        else:
            yield Row(f"name of the {resource.kind}", "stops", f"{resource.name}: {answer.message}", _TAKEN)
    if broker.facts is not None:
        yield Row("name of the broker", "ok", f"{broker.name} exists")
    else:
        # Only an Azure Cache for Redis has a check: https://learn.microsoft.com/rest/api/redis/redis/check-name-availability
        yield Row("name of the broker", "unknown", f"{broker.name}: Azure has no check of a Managed Redis's name")


def _deleted(session: Session) -> Row | None:
    """Return the row of a soft-deleted vault with the name: this environment's, which step 4 recovers, or another."""
    from azure.core.exceptions import ResourceNotFoundError

    vault, location = session.memoize(key_vault.Resources).vault, session.environment.location
    if SoftDeletedVault(vault).read() is not None:
        seen = f"{vault.name} is soft-deleted; step 4 recovers it with its secrets"
        return Row(f"name of the {vault.kind}", "ok", seen)
    try:
        deleted: Any = session.vaults.vaults.get_deleted(vault.name, location, cls=rest)
    except ResourceNotFoundError:
        return None
    properties = deleted["properties"]
    seen = f"{vault.name} is soft-deleted ({properties['vaultId']}) until {properties['scheduledPurgeDate']}"
    purge = f"purge it with `az keyvault purge --name {vault.name}`, or set another `key_vault.name`."
    action = (
        "Set another `key_vault.name`: its purge protection is on." if properties.get("purgeProtectionEnabled") else ""
    )
    return Row(f"name of the {vault.kind}", "stops", seen, action or purge.capitalize())


def existing(session: Session) -> Iterator[Row]:
    """Compare what exists with the environment file, as a plan does: what no update can change stops an apply.

    What the runbook did not make it leaves as it is.
    """
    found, adopted, conflicts = [], [], []
    for resource in planned(session):
        if resource.facts is None:
            continue
        found.append(str(resource))
        try:
            action, differences = assess(resource)
            if action is Action.KEEP:
                adopted.append(f"{resource} ({', '.join(map(str, differences))})")
        except ImmutableProperty as error:
            conflicts.append(error)
    for conflict in conflicts:
        yield Row("existing resources", "stops", conflict.message, conflict.action)
    if adopted:
        advice = f"Change it yourself, or give it the tag {MARK}={session.environment.mark}: then an apply updates it."
        yield Row("adopted resources", "warns", f"they differ and stay so: {'; '.join(adopted)}", advice)
    if not conflicts:
        yield Row("existing resources", "ok", f"an update can change: {', '.join(found)}" if found else "none yet")


def policies(session: Session) -> Iterator[Row]:
    """Ask Azure Policy which assignments deny the resources as they would be created.

    It evaluates the assignments of the management groups, too, and those with an audit effect only on request:
    https://learn.microsoft.com/rest/api/policyinsights/policy-restrictions.
    """
    from azure.core.rest import HttpRequest

    group, resources = session.memoize(cluster.Resources).group, planned(session)
    subscription = f"/subscriptions/{session.environment.subscription_id}"
    denied: dict[str, list[str]] = {}
    for resource in resources:
        scope = group.id if group.facts is not None and resource is not group else subscription
        path = f"{scope}/providers/Microsoft.PolicyInsights/checkPolicyRestrictions"
        details = {"resourceContent": _content(resource), "scope": scope}
        request = HttpRequest("POST", path, params={"api-version": _POLICIES_API}, json={"resourceDetails": details})
        response = session.resources.send_request(request)
        response.raise_for_status()
        evaluations = (response.json().get("contentEvaluationResult") or {}).get("policyEvaluations") or ()
        for evaluation in evaluations:
            effect = str((evaluation.get("effectDetails") or {}).get("policyEffect", "deny"))
            if effect.lower().startswith("deny"):
                assignment = evaluation["policyInfo"]["policyAssignmentId"]
                denied.setdefault(assignment, []).append(resource.kind)
    if denied:
        seen = "; ".join(f"{assignment} denies {', '.join(kinds)}" for assignment, kinds in denied.items())
        action = "Request an exemption from the owner of the policy, or change the environment."
        yield Row("policies", "stops", seen, action)
    else:
        yield Row("policies", "ok", f"none denies any of {len(resources)} resources")


def _content(resource: ArmResource) -> dict[str, Any]:
    """Return the resource's content, as far as it is known before it is created."""
    content: dict[str, Any] = json.loads(json.dumps(_known(resource.desired()), default=str))
    return {"type": resource.type, "name": resource.name, **content}


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _known(value) if isinstance(value, dict) else value
        for key, value in facts.items()
        if isinstance(value, dict) or not is_unknown(value)
    }
