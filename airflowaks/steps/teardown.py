"""Teardown: what exists of an environment, and the removal of what the runbook made.

Everything is in one resource group, but for Entra's groups and application, and the soft-deleted vault. Azure deletes
the cluster's node resource group, which has the shares of DAGs and logs, with the cluster. The resource group goes as a
whole where the runbook made it and all that it holds, and otherwise the resources go that the runbook made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.applications import EarlierApplication
from airflowaks.azure.arm import is_marked
from airflowaks.azure.key_vault import PURGE, SoftDeletedVault
from airflowaks.azure.redis import RedisCluster
from airflowaks.config.naming import MARK
from airflowaks.engine.observation import observe
from airflowaks.engine.removal import remove
from airflowaks.engine.resource import ADOPTED, MADE_HERE
from airflowaks.engine.table import Table
from airflowaks.errors import CheckFailed, InvalidParameter, NotConfirmed, PermissionDenied
from airflowaks.steps import backend, cluster, key_vault, registry, workload_identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflowaks.azure.entra import DirectoryObject
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session


class Resources:
    """The resources to remove, in order: the cluster before the Entra groups and the identity that it refers to.

    With an application Entra deletes its service principal, which has the assignments, and its credential.
    """

    def __init__(self, session: Session) -> None:
        step1, step3 = session.memoize(cluster.Resources), session.memoize(backend.Resources)
        self.group, self.cluster = step1.group, step1.cluster
        earlier = EarlierApplication(session, session.environment.entra.application, "", None)
        self.entra: list[DirectoryObject] = [step1.application or earlier, *step1.groups]
        self.vault = session.memoize(key_vault.Resources).vault
        self.contents = [
            self.cluster,
            session.memoize(registry.Resources).registry,
            step3.server,
            *(part for part in step3.broker_parts if isinstance(part, RedisCluster)),
            self.vault,
            step1.identity,
            session.memoize(workload_identity.Resources).identity,
        ]
        self.deleted_vault = SoftDeletedVault(self.vault)

    def addressed(self) -> list[Resource]:
        """Return what a removal addresses: the resource group, or what it holds of this environment; Entra's."""
        if self.group.refresh() is None or (self.group.origin == MADE_HERE and not self.foreign()):
            return [self.group, *self.entra]
        adopted = [self.group] if self.group.origin == ADOPTED else []
        return [*self.contents, *adopted, *self.entra]

    def foreign(self) -> list[str]:
        """Return the names of the resources in the group that have no mark."""
        return [str(resource.name) for resource in self._listed(self.group.name) if self._origin(resource) == ADOPTED]

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield name, type, place and origin of all that exists."""
        for resource in (*self.entra, self.group):
            if resource.facts is not None:
                yield resource.name, resource.kind, "", resource.origin
        if self.group.facts is None:
            return
        for resource in self._listed(self.group.name):
            yield str(resource.name), str(resource.type), self.group.name, self._origin(resource)
        if self.cluster.facts is not None:
            nodes = str(self.cluster.require("properties.nodeResourceGroup"))
            for resource in self._listed(nodes):
                yield str(resource.name), str(resource.type), nodes, f"of {self.cluster.name}"

    def _listed(self, group: str) -> Iterable[Any]:
        return self.group.session.resources.resources.list_by_resource_group(group)

    def _origin(self, resource: Any) -> str:
        """Return a listed resource's origin; a nested one (`provider/type/type`) belongs to its parent."""
        if str(resource.type).count("/") > 1:
            return f"of {str(resource.name).partition('/')[0]}"
        return MADE_HERE if is_marked(self.group.session, resource.tags) else ADOPTED


def contents(session: Session) -> Table:
    """Return a table of what exists, and whether the runbook made it or adopted it."""
    step = session.memoize(Resources)
    rows = list(step.rows())
    mark = f"{MARK}={session.environment.mark}"
    if step.group.facts is None:
        note = f"There is no group {step.group.name}."
    elif step.group in step.addressed() and step.group.origin == MADE_HERE:
        note = f"{len(rows)} resources. The resource group goes with all that it holds, which has the tag {mark}."
    else:
        note = f"{len(rows)} resources. What was made here goes. The rest stays: it has no tag {mark}."
    return Table(("name", "type", "resource group", "origin"), rows, note=note)


def check_confirmed(environment: str, confirm: str) -> None:
    """Check that `confirm` is the environment's name. Raises NotConfirmed."""
    if confirm != environment:
        message = f'Environment {environment}: confirm must be its name; got "{confirm}". Nothing was removed.'
        raise NotConfirmed(message, f"Pass -p confirm {environment}; mode=plan lists what would be removed.")


def check_parameters(session: Session, confirm: str, *, purge: bool) -> None:
    """Check the parameters before anything is removed.

    Raises:
        NotConfirmed: `confirm` is not the environment's name.
        InvalidParameter: the vault is protected from being purged.
        PermissionDenied: the operator of an apply may not purge the vault.

    """
    if session.applies:
        check_confirmed(session.environment.name, confirm)
    vault, deleted = session.memoize(Resources).vault, session.memoize(Resources).deleted_vault
    if purge and vault.origin == MADE_HERE and vault.fact("properties.enablePurgeProtection") is True:
        message = f"Key vault {vault.name} has purge protection, so it cannot be purged; nothing was removed."
        raise InvalidParameter(message, "Leave out purge: a later deployment recovers the vault.")
    with session.translated(deleted):
        to_purge = purge and session.applies and MADE_HERE in (vault.origin, deleted.origin)
        refused = to_purge and not deleted.may_purge()
    if refused:
        message = f"Key vault {vault.name}: the operator lacks the right to purge it; nothing was removed."
        action = "Request the role Key Vault Purge Operator on the subscription, or leave out purge."
        raise PermissionDenied(message, action, needs=PURGE)


def everything(session: Session, confirm: str, *, purge: bool = False) -> Changes:
    """Remove what the runbook made of the environment; with `purge` also the soft-deleted vault, for good.

    Raises what `check_parameters` raises.
    """
    check_parameters(session, confirm, purge=purge)
    step = session.memoize(Resources)
    changes = remove(session, *step.addressed())
    return changes + remove(session, step.deleted_vault) if purge else changes


def checks(session: Session) -> Checks:
    """Check that nothing of the environment is left, and say until when the vault can be recovered."""
    step = session.memoize(Resources)

    def nothing_left() -> str:
        existing = [resource for resource in step.addressed() if resource.refresh() is not None]
        if left := [str(resource) for resource in existing if resource.origin != ADOPTED]:
            raise CheckFailed(f"Not removed: {', '.join(left)}.", "Run the teardown again with mode=apply.")
        if step.group.facts is None and not existing:
            return f"no {', no '.join(resource.name for resource in (step.group, *step.entra))}"
        adopted = ", ".join(map(str, existing)) or f"{step.group}, which holds {', '.join(step.foreign())}"
        return f"nothing that was made here; adopted, and kept: {adopted}"

    def vault_kept() -> str:
        if step.vault.refresh() is not None:
            return f"{step.vault.name} is kept"
        kept = step.deleted_vault.refresh()
        if kept is None:
            return f"{step.vault.name} is purged, and its name free"
        until = kept["properties"]["scheduledPurgeDate"]
        return f"{step.vault.name} can be recovered until {until}; deploying again does"

    return observe(session, {"nothing is left": nothing_left, "the vault's secrets": vault_kept})
