"""The Airflow that the notebooks deployed, and what tests look at and change in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflowaks.kube.client import Reference, connect
from airflowaks.kube.kubelet import read_log
from airflowaks.kube.pods import is_ready
from airflowaks.session import open_session
from tests.support.deployment import is_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflowaks.kube.client import Document, Kube
    from tests.support.rehearsal import Rehearsal

NAMESPACE = "airflow"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
MERGE = "application/strategic-merge-patch+json"
PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Deployed:
    """A cloud in which all seven steps are done, and the records of the notebooks that did them."""

    cloud: Rehearsal
    records: Path

    @property
    def kube(self) -> Kube:
        return open_session("local", "plan").memoize(connect)

    def pods(self, component: str) -> dict[str, Document]:
        """The pods of a component by their UIDs, those that are about to end too."""
        labels = f"app.kubernetes.io/name=airflow,app.kubernetes.io/component={component}"
        return {one["metadata"]["uid"]: one for one in self.kube.each("v1", "Pod", NAMESPACE, labels=labels)}

    def deployment(self, component: str) -> Document:
        document = self.kube.get(Reference("apps/v1", "Deployment", f"airflow-{component}", NAMESPACE))
        assert document
        return document

    def set_variable(self, component: str, **variable: str) -> None:
        """Change a variable of a component's container behind the runbook's back, and wait until that alone runs."""
        reference = Reference("apps/v1", "Deployment", f"airflow-{component}", NAMESPACE)
        template = {"spec": {"containers": [{"name": component, "env": [variable]}]}}
        before, path = set(self.pods(component)), self.kube.path(reference)
        self.kube.request("PATCH", path, {}, {"spec": {"template": template}}, MERGE)
        until(lambda: not before & set(now := self.pods(component)) and all(map(is_ready, now.values())))

    def log(self, component: str) -> str:
        (pod,) = self.pods(component).values()
        return read_log(self.kube, Reference.of({"apiVersion": "v1", "kind": "Pod", **pod}), component)


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def written(airflow: Deployed, since: float) -> list[str]:
    """What was written since then, but for the short-lived pods of checks and of the way to the backend."""
    entries = [one for one in airflow.cloud.requests() if one["time"] > since and is_write(one)]
    short_lived = tuple(f"/namespaces/{NAMESPACE}/{kind}" for kind in ("pods", "jobs/airflow-tunnel-"))
    paths = [one["path"] for one in entries]
    return [path for path in paths if not any(kind in path for kind in short_lived) and not path.endswith("/jobs")]
