"""Rolling out another image, in the order that Airflow advises, and back to the previous one where it does not work.

The migration runs first, so that the schema is there before a component of the new image asks for it; then the
Deployments that run no task; then the workers, each of which finishes its tasks before it ends; then the scheduler.
https://airflow.apache.org/docs/apache-airflow/3.3.2/administration-and-deployment/production-deployment.html, at
"Live-upgrading Airflow".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflowaks.engine.changes import Changes, show
from airflowaks.engine.checks import Check
from airflowaks.engine.converge import converge
from airflowaks.engine.results import Results
from airflowaks.engine.table import Table
from airflowaks.errors import RolloutFailed
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.kubelet import read_log
from airflowaks.kube.objects import KubeObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.azure.registry import RegistryImage

_WORKER = "airflow-worker"
ORDER = (
    ("airflow-api-server", "airflow-dag-processor", "airflow-triggerer"),
    (_WORKER,),
    ("airflow-scheduler",),
)
"""The Deployments in groups: each is rolled out when the one before it is ready, workers of all queues at once."""

COMPONENTS = tuple(name.removeprefix("airflow-") for group in ORDER for name in group)
"""The components of Airflow, as their Deployments and labels call them."""

IMAGE = "IMAGE"
"""The placeholder of the image in the manifests."""

# What migrate.py prints.
_NOTHING = "nothing to migrate"


class ImageRollout:
    """The roll-out of `image`, which the manifests of `migration` and `deployments` name, in place of another."""

    def __init__(self, image: RegistryImage, migration: KubeObject, deployments: Sequence[KubeObject]) -> None:
        self.image, self.migration, self.deployments = image, migration, deployments
        self._session, self._results = image.session, image.session.memoize(Results)
        self._previous = ""
        queues = [name for each in deployments if (name := each.name).startswith(f"{_WORKER}-")]
        self._order = [[*group, *queues] if _WORKER in group else [*group] for group in ORDER]

    def running(self) -> dict[str, str]:
        """Read the image of each Deployment that exists, by the Deployment's name."""
        documents = {deployment.name: deployment.refresh() for deployment in self.deployments}
        return {
            name: str(document["spec"]["template"]["spec"]["containers"][0]["image"])
            for name, document in documents.items()
            if document is not None
        }

    def table(self) -> Table:
        """Return the image that each component runs now, and the image to run."""
        running = self.running()
        rows = [(name, running.get(name, "(none)")) for group in self._order for name in group]
        return Table(("component", "runs now"), rows, note=f"To run: {show(self.image.reference)}")

    def replaces(self) -> bool:
        """Tell whether a Deployment runs another image."""
        return any(image != self.image.reference for image in self.running().values())

    @property
    def can_roll_back(self) -> bool:
        """Tell whether this session has rolled out the image in place of another, and not rolled back since."""
        return bool(self._previous)

    def roll_out(self) -> Changes:
        """Roll out the image, and back where a Deployment does not become ready; return the changes of both.

        Raises RolloutFailed where the migration fails, which leaves the Deployments as they are, or rolling back fails.
        """
        running, begun = self.running(), len(self._results.changes)
        # After an interruption some Deployments run the image already; the scheduler, which is last, runs the previous.
        images = [running[name] for group in reversed(self._order) for name in group if name in running]
        self._previous = next(image for image in images if image != self.image.reference)
        converge(self._session, self.migration)
        try:
            for group in self._order:
                converge(self._session, *(deployment for deployment in self.deployments if deployment.name in group))
        except RolloutFailed as error:
            self.roll_back(error.message, error.action)
        return Changes(self._results.changes[begun:])

    def roll_back(self, reason: str, action: str) -> Changes:
        """Roll out the previous image, and keep the reason as a failed check.

        Raises RolloutFailed where that fails, or where the database was migrated to a schema of the new image.
        """
        if self.has_migrated():
            message = f"{reason} The schema was migrated for this image, so {self._previous} was not rolled back to."
            raise RolloutFailed(message, f"{action} Or restore the database, and run step 7 with the previous image.")
        previous, self._previous = self._previous, ""
        try:
            changes = converge(self._session, *(with_image(deployment, previous) for deployment in self.deployments))
        except RolloutFailed as error:
            message = f"{reason} Rolling back to {previous} failed too: {error.message}"
            raise RolloutFailed(message, error.action) from error
        seen = f"rolled back from {self.image.reference} to {previous}, because: {reason}"
        self._results.checks.append(Check(name="the image works", passed=False, seen=seen, action=action))
        return changes

    def has_migrated(self) -> bool:
        """Tell whether the last migration changed the schema."""
        kube, job = self._session.memoize(connect), self.migration.reference
        pods = kube.each("v1", "Pod", job.namespace, labels="app.kubernetes.io/component=migration")
        return not any(_NOTHING in read_log(kube, Reference.of(pod), "migration") for pod in pods)


def with_image(deployment: KubeObject, image: str) -> KubeObject:
    """Return the Deployment as its manifest describes it, but for the image."""
    manifest = replace(deployment.manifest, values={**deployment.manifest.values, IMAGE: image})
    changed = KubeObject(manifest, parent=deployment.parent)  # type: ignore[arg-type]  # every KubeObject has a parent
    changed.is_awaited = deployment.is_awaited
    return changed
