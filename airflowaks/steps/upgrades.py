"""Upgrades: Kubernetes, the nodes' image, PostgreSQL's major version, Airflow's image with its schema.

Which version is wanted says the environment file, and of the nodes' image AKS. The steps refuse to change a version:
an upgrade interrupts, and most have no way back, so each is asked for by its name. What one interrupts and how long:
https://learn.microsoft.com/azure/aks/upgrade-conceptual, https://learn.microsoft.com/azure/aks/node-image-upgrade,
https://learn.microsoft.com/azure/postgresql/configure-maintain/concepts-major-version-upgrade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflowaks.azure.node_pools import DRAIN_MINUTES
from airflowaks.azure.upgrades import ControlPlane, MajorVersion, NodeImage, PoolVersion
from airflowaks.engine.changes import Changes, show
from airflowaks.engine.checks import Checks
from airflowaks.engine.converge import converge
from airflowaks.engine.resource import MADE_HERE, value_at
from airflowaks.engine.table import Table
from airflowaks.errors import CheckFailed, NotConfirmed, UpgradeBlocked
from airflowaks.steps import airflow as step7
from airflowaks.steps import backend, cluster, key_vault, registry, schemas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflowaks.session import Session

KUBERNETES, NODE_IMAGE, POSTGRESQL, AIRFLOW = NAMES = ("kubernetes", "node-image", "postgresql", "airflow")
"""The names by which an apply is told which upgrade to make."""

_NO_WAY_BACK = "none"
_NODES = "pods move, node by node; a worker finishes its tasks first, for up to an hour"
_NODE_TIME = f"minutes for each node, and its pods' end: at most {DRAIN_MINUTES} min"
_POOL_BACK = "`az aks nodepool rollback`, to a recently used version"
_RESTORE = "restore to a time before it, on a new server: `az postgres flexible-server restore`"


class Resources:
    """What can be upgraded."""

    def __init__(self, session: Session) -> None:
        step1, step3 = session.memoize(cluster.Resources), session.memoize(backend.Resources)
        self.control_plane = ControlPlane(session, identity=step1.identity, admins=step1.admins)
        names = self.control_plane.own_pools
        self.pools = [PoolVersion(self.control_plane, name) for name in names]
        self.images = [NodeImage(self.control_plane, name) for name in names]
        self.major = MajorVersion(session, parent=step1.group, route=step3.route)

    @property
    def has_cluster(self) -> bool:
        """Tell whether there is a cluster that the runbook made: the versions of an adopted one are its owner's."""
        return self.control_plane.origin == MADE_HERE


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
    return Table(columns, rows, note=f"An apply makes one of them: {', '.join(NAMES)}.")


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
            _NO_WAY_BACK,
        )
        yield from (_blocked(reason) for reason in control_plane.blocked())
    else:
        yield _Row(f"{KUBERNETES}: control plane", control_plane.version, "up to date")
    for pool in step.pools:
        what, version = f"{KUBERNETES}: pool {pool.name}", pool.fact_of("currentOrchestratorVersion")
        yield (
            _Row(what, version, pool.target, _NODES, _NODE_TIME, _POOL_BACK)
            if pool.target
            else _Row(what, version, "up to date")
        )


def _node_images(step: Resources) -> Iterator[_Row]:
    for image in step.images if step.has_cluster else ():
        what, version = f"{NODE_IMAGE}: pool {image.name}", image.fact_of("nodeImageVersion") or "(none)"
        yield (
            _Row(what, version, image.target, _NODES, _NODE_TIME, _POOL_BACK)
            if image.target
            else _Row(what, version, "up to date")
        )


def _postgresql(step: Resources) -> Iterator[_Row]:
    major = step.major
    if major.origin != MADE_HERE:
        yield _Row(POSTGRESQL, major.version or "(none)", "not made here")
        return
    minor = f"{major.version}.{value_at(major.facts, 'properties.minorVersion')}"
    yield _Row(
        "PostgreSQL, minor", minor, "by Azure", "the database, for a restart", "in its maintenance window", _NO_WAY_BACK
    )
    if not major.target:
        yield _Row(POSTGRESQL, major.version, "up to date")
        return
    takes = "minutes; longer with many objects or large ones"
    yield _Row(POSTGRESQL, major.version, major.target, "the database, and so all of Airflow", takes, _RESTORE)
    yield from (_blocked(reason) for reason in major.blocked())


def _airflow(session: Session) -> Iterator[_Row]:
    image = session.memoize(step7.Resources).rollout.image
    running = _running(session)
    if not running:
        yield _Row(AIRFLOW, "(none)", "not deployed")
        return
    if running == {str(image.reference)}:
        yield _Row(AIRFLOW, image.name, "up to date")
        return
    before = ", ".join(sorted(tag for reference in running for tag in _tags(session, reference)))
    old, new = schemas.of_version(f":{before}"), schemas.of_version(image.name)
    moves = f"{old or 'its schema'} → {new or 'its own'}"
    same = bool(old) and old == new
    schema = "the schema stays" if same else f"the schema moves: {moves}"
    yield _Row(
        AIRFLOW,
        before,
        show(image.name),
        f"components, one after the other; {schema}",
        "5 min; a worker finishes its tasks first, for up to an hour",
        "the image that runs now, by itself where a check fails"
        if same
        else f"{_RESTORE}, then step 7 with the image that runs now",
    )


def _running(session: Session) -> set[str]:
    step = session.memoize(step7.Resources)
    return set(step.rollout.running().values()) if step.migration.parent and step.migration.parent.facts else set()


def _tags(session: Session, reference: str) -> list[str]:
    """Return the tags of an image that runs, or its reference where the registry has none for it."""
    from azure.core.exceptions import ResourceNotFoundError

    step2 = session.memoize(registry.Resources)
    repository, _, digest = reference.rpartition("/")[2].partition("@")
    try:
        properties = step2.registry.images.get_manifest_properties(repository, digest)
    except ResourceNotFoundError:
        return [reference]
    return properties.tags or [reference]


def _blocked(reason: str) -> _Row:
    return _Row("  blocked", "", "", reason)


def _begin(session: Session, own: str, chosen: str, blockers: Iterable[str] = ()) -> bool:
    """Tell whether an upgrade is the chosen one of an apply, or this is no apply. Raises UpgradeBlocked."""
    if session.applies and chosen != own:
        return False
    with session.translated(own):
        reasons = list(blockers) if session.applies else []
    if reasons:
        raise UpgradeBlocked(f"{own}: {'; '.join(reasons)}.", "Remove what blocks it, then run 10_upgrade again.")
    return True


def check_chosen(chosen: str) -> None:
    """Check that an apply is told which upgrade to make. Raises NotConfirmed."""
    if chosen not in NAMES:
        message = f'upgrade must name the upgrade to make; got "{chosen}". Nothing was changed.'
        raise NotConfirmed(message, f"Pass -p upgrade with one of: {', '.join(NAMES)}; mode=plan shows each.")


def kubernetes(session: Session, chosen: str = KUBERNETES) -> Changes:
    """Upgrade the control plane, check it, then the environment's node pools, one after the other.

    Raises:
        UpgradeBlocked: the version is more than a step away.
        CheckFailed: the control plane is not well afterwards, so that the pools stay as they are.

    """
    step = session.memoize(Resources)
    if not step.has_cluster or not _begin(session, KUBERNETES, chosen, step.control_plane.blocked()):
        return Changes()
    changes = converge(session, step.control_plane)
    if any(change.applied for change in changes):
        _require(cluster.checks(session))
    for pool in step.pools:
        changes += converge(session, pool)
    return changes


def node_image(session: Session, chosen: str = NODE_IMAGE) -> Changes:
    """Upgrade the nodes of the environment's pools to AKS's newest image, one pool after the other."""
    step = session.memoize(Resources)
    if not step.has_cluster or not _begin(session, NODE_IMAGE, chosen):
        return Changes()
    return sum((converge(session, image) for image in step.images), start=Changes())


def postgresql(session: Session, chosen: str = POSTGRESQL) -> Changes:
    """Upgrade PostgreSQL to the environment's major version.

    Raises:
        UpgradeBlocked: the version is none that it can be upgraded to, or Azure's precheck has failed.

    """
    step = session.memoize(Resources)
    if step.major.origin != MADE_HERE or not _begin(session, POSTGRESQL, chosen, step.major.blocked()):
        return Changes()
    return converge(session, step.major)


def airflow(session: Session, chosen: str = AIRFLOW) -> Changes:
    """Bring the environment's image into the registry, migrate the schema, and roll the image out.

    Where a component does not become ready, all go back to the image that runs now, unless the schema has moved.
    """
    if not _running(session) or not _begin(session, AIRFLOW, chosen):
        return Changes()
    return registry.image(session) + step7.components(session)


def checks(session: Session, chosen: str) -> Checks:
    """Make the checks of the steps that an upgrade may have broken."""
    of_upgrade = {
        KUBERNETES: (cluster.checks, step7.checks),
        NODE_IMAGE: (cluster.checks, step7.checks),
        POSTGRESQL: (backend.checks, key_vault.checks, step7.checks),
        AIRFLOW: (registry.checks, step7.checks),
    }
    return Checks(check for make in of_upgrade.get(chosen, ()) for check in make(session))


def roll_back(session: Session, results: Checks, chosen: str) -> Changes:
    """Roll back Airflow's image where this session has upgraded it and checks failed; see step 7's."""
    return step7.roll_back(session, results) if chosen == AIRFLOW else Changes()


def _require(results: Checks) -> None:
    if failed := results.failed:
        message = f"The control plane was upgraded, and the node pools were not: {failed[0].name}: {failed[0].seen}."
        raise CheckFailed(message, failed[0].action or "Fix what the check names, then run 10_upgrade again.")
