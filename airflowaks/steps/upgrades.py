"""Upgrades: Kubernetes, the nodes' image, PostgreSQL's major version, Airflow's image with its schema.

Which version is wanted says the environment file, and of the nodes' image AKS. The steps refuse to change a version:
an upgrade interrupts, and most have no way back, so each is asked for by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.registry import RegistryImage
from airflowaks.azure.upgrades import ControlPlane, MajorVersion, NodeImage, PoolVersion
from airflowaks.engine.changes import Changes
from airflowaks.engine.checks import Checks
from airflowaks.engine.converge import converge
from airflowaks.engine.resource import MADE_HERE
from airflowaks.errors import CheckFailed, NotConfirmed, UpgradeBlocked
from airflowaks.steps import airflow as step7
from airflowaks.steps import backend, cluster, key_vault, registry, schemas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflowaks.session import Session

KUBERNETES, NODE_IMAGE, POSTGRESQL, AIRFLOW = NAMES = ("kubernetes", "node-image", "postgresql", "airflow")
"""The names by which an apply is told which upgrade to make."""


class Resources:
    """What can be upgraded."""

    def __init__(self, session: Session) -> None:
        step1, step3 = session.memoize(cluster.Resources), session.memoize(backend.Resources)
        self.control_plane = ControlPlane(session, identity=step1.identity, admins=step1.admins)
        self._pools = [PoolVersion(self.control_plane, name) for name in self.control_plane.own_pools]
        self._images = [NodeImage(self.control_plane, name) for name in self.control_plane.own_pools]
        self.major = MajorVersion(session, parent=step1.group, route=step3.route)

    @property
    def pools(self) -> list[PoolVersion]:
        """Return the versions of the environment's pools that exist: step 1 creates the others."""
        return [pool for pool in self._pools if pool.facts is not None]

    @property
    def images(self) -> list[NodeImage]:
        """Return the images of these pools' nodes."""
        return [image for image in self._images if image.facts is not None]

    @property
    def has_cluster(self) -> bool:
        """Tell whether there is a cluster that the runbook made: the versions of an adopted one are its owner's."""
        return self.control_plane.origin == MADE_HERE


def running_images(session: Session) -> set[str]:
    """Return the images that Airflow's Deployments run; none where there is no cluster or no Airflow."""
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


def images(session: Session, running: set[str]) -> tuple[list[str], str, str]:
    """Return the tags of what runs, and the schemas of that and of the image to run, where a version tells them."""
    image, settings = session.memoize(step7.Resources).rollout.image, session.environment.registry
    tags = sorted(tag for reference in running for tag in _tags(session, reference))
    name = image.name if type(image) is RegistryImage else f":{settings.source_tag}"
    return tags, schemas.of_version(" ".join(f":{tag}" for tag in tags)), schemas.of_version(name)


def older_schema(session: Session) -> Iterator[str]:
    """Yield why the image cannot run: it knows an older schema than that of the database, and none migrates back."""
    _, old, new = images(session, running_images(session))
    if old and new and schemas.is_newer(old, than=new):
        yield f"the image has {schemas.described(new)}, and the database {schemas.described(old)}"


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
        RolloutFailed: a component of Airflow is not ready again after its nodes were replaced.

    """
    step = session.memoize(Resources)
    if not step.has_cluster or not _begin(session, KUBERNETES, chosen, step.control_plane.blocked()):
        return Changes()
    changes = converge(session, step.control_plane)
    if any(change.applied for change in changes):
        _require(cluster.checks(session))
    for pool in step.pools:
        changes += converge(session, pool)
    return _with_pods(session, changes)


def node_image(session: Session, chosen: str = NODE_IMAGE) -> Changes:
    """Upgrade the nodes of the environment's pools to AKS's newest image, one pool after the other.

    Raises RolloutFailed where a component of Airflow is not ready again afterwards.
    """
    step = session.memoize(Resources)
    if not step.has_cluster or not _begin(session, NODE_IMAGE, chosen):
        return Changes()
    return _with_pods(session, sum((converge(session, image) for image in step.images), start=Changes()))


def postgresql(session: Session, chosen: str = POSTGRESQL) -> Changes:
    """Upgrade PostgreSQL to the environment's major version, and analyze the databases: it has no statistics then.

    Raises:
        UpgradeBlocked: the version is none that it can be upgraded to, or Azure's precheck has failed.
        RolloutFailed: a component of Airflow is not ready again after the database was down.

    """
    step = session.memoize(Resources)
    if step.major.origin != MADE_HERE or not _begin(session, POSTGRESQL, chosen, _postgresql_blockers(step.major)):
        return Changes()
    changes = converge(session, step.major)
    if session.applies:
        step4 = session.memoize(key_vault.Resources)
        for password in (step4.password, step4.celery_password):
            with session.translated(password):
                if password.secret.facts is not None:
                    password.analyze()
    return _with_pods(session, changes)


def _postgresql_blockers(major: MajorVersion) -> Iterator[str]:
    """Yield what blocks the upgrade. Without its precheck it goes on: Azure makes that in the upgrade, too."""
    reasons = list(major.blocked())
    if major.target and not reasons:
        reasons, _ = major.precheck()
    yield from reasons


def airflow(session: Session, chosen: str = AIRFLOW) -> Changes:
    """Bring the environment's image into the registry, migrate the schema, and roll the image out.

    Where a component does not become ready, all go back to the image that runs now, unless the schema has moved.
    """
    if not running_images(session) or not _begin(session, AIRFLOW, chosen, older_schema(session)):
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


def _with_pods(session: Session, changes: Changes) -> Changes:
    """Return the changes once Airflow is ready again, whose nodes or database they took. Raises RolloutFailed."""
    if any(change.applied for change in changes) and running_images(session):
        for deployment in session.memoize(step7.Resources).deployments:
            with session.translated(deployment):
                deployment.await_ready()
    return changes


def _require(results: Checks) -> None:
    if failed := results.failed:
        message = f"The control plane was upgraded, and the node pools were not: {failed[0].name}: {failed[0].seen}."
        raise CheckFailed(message, failed[0].action or "Fix what the check names, then run 10_upgrade again.")
