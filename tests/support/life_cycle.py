"""The life of an environment's Azure resources, as a program: all that the library asks of Azure, without an Airflow.

It asks Azure beforehand, deploys, changes and drifts every resource, rotates, diagnoses, checks, tears down, recovers
the vault and purges it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource, merge
from airflowaks.azure.database import Database
from airflowaks.azure.redis import ExistingRedis
from airflowaks.diagnosis.diagnose import diagnose
from airflowaks.diagnosis.readers.resource_status import named
from airflowaks.engine.changes import Action, Changes
from airflowaks.engine.converge import converge
from airflowaks.preflight.run import preflight
from airflowaks.session import Session, open_session
from airflowaks.steps import backend, cluster, key_vault, registry, teardown, workload_identity
from tests.support.deployment import describe_environment

if TYPE_CHECKING:
    from airflowaks.azure.arm import ArmChild

NAME = "captured"
STEPS: Any = (cluster, registry, backend, key_vault, workload_identity)
# Python's image has no packages to install.
DESCRIBED = """
access: direct
registry: {image: build, source: "docker.io/library/python:3.13"}
postgresql: {firewall: {this-machine: {start: 127.0.0.1}}}
"""
CHANGED = """
access: direct
tags: {environment: captured, managed-by: airflowaks, cost-center: "4711"}
cluster: {tier: Premium, node_pool: {max_count: 7}, maintenance: {day: Saturday, start_hour: 22, utc_offset: "+01:00"}}
registry: {image: build, source: "docker.io/library/python:3.13", sku: Premium}
broker: {sku: Balanced_B1}
postgresql:
  storage_gb: 128
  backup_days: 14
  sku: Standard_D4ds_v5
  firewall: {this-machine: {start: 127.0.0.1, end: 127.0.0.7}}
"""


def deploy(folder: Path) -> None:
    image = folder / "manifests" / "image"
    image.mkdir(parents=True)
    (image / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    describe_environment(folder, NAME, DESCRIBED)
    session = open_session(NAME)
    preflight(open_session(NAME)).raise_stopped()
    everything(session)
    for step in (cluster, registry, backend, key_vault):  # the checks of step 5 are made by pods
        passed(step.checks(session))


def everything(session: Session) -> Changes:
    return sum((step.everything(session) for step in STEPS), start=Changes())


def passed(checks: Any) -> None:
    assert not checks.failed, checks


def update(folder: Path) -> None:
    """Change what the environment's file can change, and behind the runbook's back what it cannot."""
    describe_environment(folder, NAME, CHANGED)
    preflight(open_session(NAME)).raise_stopped()
    drift(open_session(NAME))
    session = open_session(NAME)
    changed = everything(session)
    converged = everything(open_session(NAME))
    assert {change.action for change in converged} == {Action.NONE}, converged
    updated = {change.kind for change in changed if change.action is Action.UPDATE}
    resources = {
        resource.kind
        for step in STEPS
        for _, resource in named("", session.memoize(step.Resources))
        if isinstance(resource, ArmResource) and not isinstance(resource, Database)  # it is changed in SQL
    }
    assert not resources - updated, f"not updated: {resources - updated}"


def drift(session: Session) -> None:
    """Change and delete what no environment's file changes."""
    database: ArmChild = session.memoize(backend.Resources).broker_parts[-1]  # type: ignore[assignment]
    administrator = session.memoize(backend.Resources).administrator
    credential = session.memoize(workload_identity.Resources).credentials[0]
    for resource, properties in (
        (database, {"evictionPolicy": "VolatileLRU"}),
        (administrator, {"principalType": "Unknown"}),
        (credential, {"subject": "system:serviceaccount:elsewhere:airflow"}),
    ):
        resource.put(merge(resource.kept(resource.facts), merge(resource.desired(), {"properties": properties})))
    pull_access = session.memoize(registry.Resources).pull_access
    session.authorization.role_assignments.delete(pull_access.scope.id, pull_access.assignment_name)
    secrets = session.memoize(key_vault.Resources).vault.secrets
    secrets.begin_delete_secret(key_vault.JWT_SECRET).wait()


def use_existing_cache() -> None:
    """Read the keys of an Azure Cache for Redis, the broker of another team, which regenerates one of them."""
    session, sku = open_session(NAME), {"name": "Standard", "family": "C", "capacity": 1}
    session.resources.resource_groups.create_or_update("shared-caches", {"location": session.environment.location})
    cache = ExistingRedis(session, "somebodys-cache", group="shared-caches")
    wanted: Any = {"location": session.environment.location, "properties": {"sku": sku}}
    session.redis.redis.begin_create(cache.group, cache.name, wanted).result()
    assert cache.facts
    before = cache.keys()
    session.redis.redis.regenerate_key(cache.group, cache.name, {"keyType": "Secondary"})
    cache.forget_keys()
    assert cache.keys() != before


def operate() -> None:
    """Import the image again, rotate, diagnose and check."""
    session = open_session(NAME)
    registry.image(session, force=True)
    for secret in (key_vault.SQL_CONNECTION, key_vault.BROKER_URL, key_vault.FERNET_KEY):
        key_vault.rotate(open_session(NAME), secret)
    readings = diagnose(open_session(NAME)).facts.readings
    problems = {name: reading.problem for name, reading in readings.items() if reading.problem}
    assert not [name for name in problems if name.startswith(("azure.", "backend."))], problems
    pending = [change for change in everything(open_session(NAME, "check")) if change.action is not Action.NONE]
    assert not pending, pending


def remove() -> None:
    """Tear down around another team's resource, then make the vault again, which recovers it, and purge all."""
    session = open_session(NAME)
    group, identities = session.environment.resource_group, session.identities.user_assigned_identities
    identities.create_or_update(group, "somebodys", {"location": session.environment.location})  # type: ignore[arg-type]
    print(teardown.contents(open_session(NAME, "plan")))
    teardown.everything(open_session(NAME), confirm=NAME)
    identities.delete(group, "somebodys")
    converge(session, session.memoize(cluster.Resources).group, session.memoize(key_vault.Resources).vault)
    teardown.everything(open_session(NAME), confirm=NAME, purge=True)
    passed(teardown.checks(open_session(NAME)))


def main(folder: Path) -> None:
    deploy(folder)
    update(folder)
    use_existing_cache()
    operate()
    remove()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
