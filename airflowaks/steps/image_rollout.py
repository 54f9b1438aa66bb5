"""Rolling out another image: in the order that Airflow asks for, and back to the one before where it does not work.

First the migration, so that a schema that the image needs is there before anything asks for it; then what holds no
task; then the workers, each of which finishes its tasks before it ends; then the scheduler.
https://airflow.apache.org/docs/apache-airflow/3.3.2/administration-and-deployment/production-deployment.html, at
"Live-upgrading Airflow".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import Changes, show
from airflowaks.engine.checks import Check
from airflowaks.engine.converge import converge
from airflowaks.engine.results import Results
from airflowaks.engine.table import Table
from airflowaks.errors import RolloutFailed
from airflowaks.kube.client import Reference, connect
from airflowaks.steps import registry

if TYPE_CHECKING:
    from airflowaks.kube.objects import KubeObject
    from airflowaks.steps.airflow import Resources

ORDER = (
    ("airflow-api-server", "airflow-dag-processor", "airflow-triggerer"),
    ("airflow-worker",),
    ("airflow-scheduler",),
)
"""Deployments that are rolled out side by side, each group when the one before it runs."""

# What migrate.py says.
_NOTHING = "nothing to migrate"


class ImageRollout:
    """The roll-out of an image in place of another; the manifests of `step` ask `image` what is to run."""

    def __init__(self, step: Resources) -> None:
        self._step, self._session = step, step.session
        self._before = ""
        self._failed = False

    def image(self) -> Any:
        """Return what is to run: the image of step 2, or the one before once that has failed; or AFTER_APPLY."""
        return self._before if self._failed else self._session.memoize(registry.Resources).image.reference

    def running(self) -> dict[str, str]:
        """Return the image of each Deployment that there is, by its name."""
        return {one.name: _image(one) for one in self._step.deployments if one.facts is not None}

    def table(self) -> Table:
        """Return what runs now, component by component, and what is to run."""
        running = self.running()
        rows = [(name, running.get(name, "(none)")) for group in ORDER for name in group]
        return Table(("component", "runs now"), rows, note=f"To run: {show(self.image())}")

    @property
    def replaces(self) -> bool:
        """Tell whether something runs, and not all of it the image that is wanted."""
        return any(image != self.image() for image in self.running().values())

    @property
    def can_go_back(self) -> bool:
        """Tell whether this session has rolled out an image in place of another, and not gone back."""
        return bool(self._before) and not self._failed

    def forward(self) -> Changes:
        """Roll out the image, or go back; the changes are both.

        Raises RolloutFailed where the migration fails, before anything else is touched, or going back does.
        """
        running, begun = self.running(), len(self._session.memoize(Results).changes)
        # What was interrupted goes on: the scheduler is last, so it still runs the one before.
        names = [name for group in reversed(ORDER) for name in group]
        self._before = next(running[name] for name in names if running.get(name, self.image()) != self.image())
        converge(self._session, self._step.migration)
        try:
            for group in ORDER:
                converge(self._session, *(one for one in self._step.deployments if one.name in group))
        except RolloutFailed as error:
            self.back(error.message, error.action)
        return Changes(tuple(self._session.memoize(Results).changes[begun:]))

    def back(self, why: str, action: str) -> None:
        """Roll out the image before, and note as a failed check why.

        Raises RolloutFailed where that fails, or the image before does not know the schema any more.
        """
        if self.has_migrated():
            message = f"{why} The schema was migrated for this image, so {self._before} was not gone back to."
            raise RolloutFailed(message, f"{action} Or restore the database as it was, and give step 7 that image.")
        failed, self._failed = self.image(), True
        try:
            converge(self._session, *self._step.deployments)
        except RolloutFailed as error:
            message = f"{why} Going back to {self._before} failed too: {error.message}"
            raise RolloutFailed(message, error.action) from error
        seen = f"went back from {failed} to {self._before}, because: {why}"
        self._session.memoize(Results).checks.append(
            Check(name="the image works", passed=False, seen=seen, action=action)
        )

    def has_migrated(self) -> bool:
        """Tell whether the last migration had something to do."""
        kube, job = self._session.memoize(connect), self._step.migration.reference
        pods = kube.list("v1", "Pod", job.namespace, labels="app.kubernetes.io/component=migration")
        return not any(_NOTHING in kube.logs(Reference.of(one), "migration") for one in pods)


def _image(deployment: KubeObject) -> str:
    facts = deployment.facts or {}
    return str(facts["spec"]["template"]["spec"]["containers"][0]["image"])
