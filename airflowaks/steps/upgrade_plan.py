"""The plan of upgrades: from which version to which, what that interrupts, how long it takes, and the way back.

What an upgrade interrupts: https://learn.microsoft.com/azure/aks/upgrade-conceptual,
https://learn.microsoft.com/azure/aks/node-image-upgrade,
https://learn.microsoft.com/azure/postgresql/configure-maintain/concepts-major-version-upgrade. The minutes are
believed, but for those that the runbook sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflowaks.azure.node_pools import DRAIN_MINUTES
from airflowaks.engine.resource import MADE_HERE, value_at
from airflowaks.engine.table import Table
from airflowaks.errors import KubernetesError
from airflowaks.kube.client import connect
from airflowaks.kube.deprecations import removed_apis
from airflowaks.steps import airflow as step7
from airflowaks.steps.upgrades import (
    AIRFLOW,
    KUBERNETES,
    NAMES,
    NODE_IMAGE,
    POSTGRESQL,
    Resources,
    images,
    older_schema,
    running_images,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.azure.upgrades import ControlPlane, NodeImage, PoolVersion
    from airflowaks.session import Session

_NODES = "pods move, node by node; a worker finishes its tasks first, for up to an hour"
_POOL_BACK = "for seven days `az aks nodepool rollback`, with the upgrade channels off: see docs/upgrades.md"
_RESTORE = "restore to a time before it, on a new server: `az postgres flexible-server restore`"


class _Row(NamedTuple):
    """What an upgrade changes, what it interrupts, how long it takes, and the way back."""

    what: str
    before: str
    after: str
    interrupts: str = ""
    takes: str = ""
    back: str = ""


def plan(session: Session) -> Table:
    """Return what would be upgraded from and to what, what that interrupts and how long, and the way back.

    What blocks an upgrade stands below it. PostgreSQL's precheck is Azure's own, and looks only.
    """
    step = session.memoize(Resources)
    with session.translated("the upgrades"):
        rows = [
            row
            for rows in (_kubernetes(step), _node_images(step), _postgresql(step), _airflow(session))
            for row in rows
        ]
    columns = ("upgrade", "from", "to", "interrupts", "takes", "way back")
    behind = [name for name in NAMES if any(row.takes and row.what.partition(":")[0] == name for row in rows)]
    makes = f"An apply makes one of them: upgrade={' or '.join(behind)}." if behind else "Nothing is behind."
    return Table(columns, rows, note=makes)


def _kubernetes(step: Resources) -> Iterator[_Row]:
    control_plane = step.control_plane
    if not step.has_cluster:
        yield _Row(f"{KUBERNETES}: control plane", control_plane.version or "(none)", "not made here")
        return
    if control_plane.target:
        interrupts = "Kubernetes' API for moments; no pod"
        yield _Row(
            f"{KUBERNETES}: control plane",
            control_plane.version,
            control_plane.target,
            interrupts,
            "5 to 10 min",
            "none",
        )
        yield from (_note("blocked", reason) for reason in control_plane.blocked())
        yield from _uses(control_plane)
    else:
        yield _Row(f"{KUBERNETES}: control plane", control_plane.version, "up to date")
    for pool in step.pools:
        what, version = f"{KUBERNETES}: pool {pool.name}", pool.fact_of("currentOrchestratorVersion")
        yield (
            _Row(what, version, pool.target, _NODES, _node_time(pool), _POOL_BACK)
            if pool.target
            else _Row(what, version, "up to date")
        )


def _node_images(step: Resources) -> Iterator[_Row]:
    for image in step.images if step.has_cluster else ():
        what, version = f"{NODE_IMAGE}: pool {image.name}", image.fact_of("nodeImageVersion") or "(none)"
        yield (
            _Row(what, version, image.target, _NODES, _node_time(image), _POOL_BACK)
            if image.target
            else _Row(what, version, "up to date")
        )


def _node_time(pool: PoolVersion | NodeImage) -> str:
    """Return how long the pool's nodes take, one after the other."""
    count = pool.fact_of("count") or "none"
    return f"minutes for each node ({count} now), and its pods' end: at most {DRAIN_MINUTES} min"


def _postgresql(step: Resources) -> Iterator[_Row]:
    major = step.major
    if major.origin != MADE_HERE:
        yield _Row(POSTGRESQL, major.version or "(none)", "not made here")
        return
    minor = f"{major.version}.{value_at(major.facts, 'properties.minorVersion')}"
    yield _Row(
        "PostgreSQL, minor", minor, "by Azure", "the database, for a restart", "in its maintenance window", "none"
    )
    if not major.target:
        yield _Row(POSTGRESQL, major.version, "up to date")
        return
    takes = "minutes; longer with many objects or large ones"
    yield _Row(POSTGRESQL, major.version, major.target, "the database, and so all of Airflow", takes, _RESTORE)
    blocked, unknown = list(major.blocked()), ""
    if not blocked:
        blocked, unknown = major.precheck()
    yield from (_note("blocked", reason) for reason in blocked)
    if unknown:
        yield _note("unknown", f"what Azure's precheck finds, which the upgrade makes, too: {unknown}")


def _airflow(session: Session) -> Iterator[_Row]:
    image, running = session.memoize(step7.Resources).rollout.image, running_images(session)
    if not running:
        yield _Row(AIRFLOW, "(none)", "not deployed")
        return
    if running == {str(image.reference)}:
        yield _Row(AIRFLOW, image.name, "up to date")
        return
    tags, old, new = images(session, running)
    stays = bool(old) and old == new
    schema = (
        "the schema stays"
        if stays
        else f"the schema moves: {old or 'an unknown one'} → {new or 'what the image knows'}; pause the DAGs first"
    )
    previous = "the image that runs now, which a failed check brings back"
    back = previous if stays else f"{previous} unless the schema has moved; then {_RESTORE}"
    takes = "5 min; a worker finishes its tasks first, for up to an hour"
    yield _Row(AIRFLOW, ", ".join(tags), image.name, f"components, one after the other; {schema}", takes, back)
    yield from (_note("blocked", reason) for reason in older_schema(session))


def _uses(control_plane: ControlPlane) -> Iterator[_Row]:
    """Yield which APIs were used that the new version no longer serves, or why that is not known."""
    session, version = control_plane.session, control_plane.target
    try:
        for api in removed_apis(session.memoize(connect), version):
            yield _note("in use", f"{api}, which {version} no longer serves: AKS refuses for twelve hours after a use")
    except KubernetesError as error:
        yield _note("unknown", f"which deprecated APIs are in use: {error.message}")


def _note(kind: str, text: str) -> _Row:
    return _Row(f"  {kind}", "", "", text)
