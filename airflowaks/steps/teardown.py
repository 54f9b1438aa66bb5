"""Teardown: what exists of an environment, and its removal.

Everything is in one resource group, but for the Entra groups and the soft-deleted vault. Azure deletes the cluster's
node resource group, which has the shares of DAGs and logs, with the cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.key_vault import SoftDeletedVault
from airflowaks.engine.observation import observe
from airflowaks.engine.removal import remove
from airflowaks.engine.table import Table
from airflowaks.errors import CheckFailed, InvalidParameter, NotConfirmed
from airflowaks.steps import cluster, key_vault

if TYPE_CHECKING:
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.session import Session


class Resources:
    """The resources to remove, in order: the resource group first, because its cluster refers to the Entra groups."""

    def __init__(self, session: Session) -> None:
        step1, step4 = session.memoize(cluster.Resources), session.memoize(key_vault.Resources)
        self.group, self.admins, self.developers = step1.group, step1.admins, step1.developers
        self.cluster, self.vault = step1.cluster, step4.vault
        self.deleted_vault = SoftDeletedVault(self.vault)


def contents(session: Session) -> Table:
    """Return a table of the present contents of the resource group and of the cluster's node resource group."""
    step = session.memoize(Resources)
    groups = [step.group.name] if step.group.facts else []
    if groups and step.cluster.facts:
        groups.append(str(step.cluster.require("properties.nodeResourceGroup")))
    rows = [
        (str(resource.type), str(resource.name), group)
        for group in groups
        for resource in session.resources.resources.list_by_resource_group(group)
    ]
    note = f"{len(rows)} resources in {' and '.join(groups)}." if groups else f"There is no group {step.group.name}."
    return Table(("type", "name", "resource group"), rows, note=note)


def check_parameters(session: Session, confirm: str, *, purge: bool) -> None:
    """Check the parameters before anything is removed.

    Raises:
        NotConfirmed: `confirm` is not the environment's name.
        InvalidParameter: the vault is protected from being purged.

    """
    environment = session.environment
    if session.applies and confirm != environment.name:
        message = f'Environment {environment.name}: confirm must be its name; got "{confirm}". Nothing was removed.'
        raise NotConfirmed(message, f"Pass -p confirm {environment.name}; mode=plan lists what would be removed.")
    vault = session.memoize(Resources).vault
    if purge and vault.facts is not None and vault.fact("properties.enablePurgeProtection") is True:
        message = f"Key vault {vault.name} has purge protection, so it cannot be purged; nothing was removed."
        raise InvalidParameter(message, "Leave out purge: a later deployment recovers the vault.")


def everything(session: Session, confirm: str, *, purge: bool = False) -> Changes:
    """Remove the environment; with `purge` also the soft-deleted vault, for good.

    Raises what `check_parameters` raises.
    """
    check_parameters(session, confirm, purge=purge)
    step = session.memoize(Resources)
    changes = remove(session, step.group, step.admins, step.developers)
    return changes + remove(session, step.deleted_vault) if purge else changes


def checks(session: Session) -> Checks:
    """Check that nothing of the environment is left, and say until when the vault can be recovered."""
    step = session.memoize(Resources)

    def nothing_left() -> str:
        resources = (step.group, step.admins, step.developers)
        left = [f"{resource.kind} {resource.name}" for resource in resources if resource.refresh()]
        if left:
            raise CheckFailed(f"Not removed: {', '.join(left)}.", "Run the teardown again with mode=apply.")
        return f"no {step.group.name}, no {step.admins.name}, no {step.developers.name}"

    def vault_kept() -> str:
        kept = step.deleted_vault.refresh()
        if kept is None:
            return f"{step.vault.name} is purged, and its name free"
        until = kept["properties"]["scheduledPurgeDate"]
        return f"{step.vault.name} can be recovered until {until}; deploying again does"

    return observe(session, {"nothing is left": nothing_left, "the vault's secrets": vault_kept})
