"""All facts of one diagnosis, and everything in them that is written in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from airflowaks.diagnosis.facts.airflow import Airflow
from airflowaks.diagnosis.facts.azure import Azure
from airflowaks.diagnosis.facts.backend import Backend
from airflowaks.diagnosis.facts.kubernetes import Container, Event, Kubernetes
from airflowaks.diagnosis.facts.reading import Reading

# Errors are passed on from layer to layer: who speaks stands first, and what it is about somewhere behind it.
_FIRST, _BEFORE, _BEHIND = 80, 60, 240
# What a pod's events say about the time before its containers run, which is over once they have: first it gets a node
# and volumes, then images.
_BEFORE_IMAGES = ("FailedMount", "FailedAttachVolume", "FailedScheduling", "FailedCreatePodSandBox")
_BEFORE_START = (*_BEFORE_IMAGES, "Failed")
_NO_VOLUMES_YET = ("", "ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class LogLine:
    """A line that somebody said: `source` is event, container, log, operation, resource, reading or task."""

    source: str
    where: str
    text: str
    component: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"

    def around(self, words: tuple[str, ...]) -> "LogLine":
        """Return the quote with what is around the first of `words` alone, where it is long."""
        text = " ".join(self.text.split())
        if len(text) <= _FIRST + _BEFORE + _BEHIND:
            return replace(self, text=text)
        at = max(_FIRST, text.lower().index(words[0].lower()) - _BEFORE)
        end = at + _BEFORE + _BEHIND
        cut = f"{text[:_FIRST]}{' … ' if at > _FIRST else ''}{text[at:end]}{' …' if end < len(text) else ''}"
        return replace(self, text=cut)

    def says(self, words: tuple[str, ...]) -> bool:
        """Tell whether all of `words` are in it, whatever their case."""
        text = self.text.lower()
        return all(word.lower() in text for word in words)


@dataclass(frozen=True)
class Snapshot:
    """What was seen, by source; `readings` say of each part when, and whether it could be read."""

    azure: Azure = field(default_factory=Azure)
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    airflow: Airflow = field(default_factory=Airflow)
    backend: Backend = field(default_factory=Backend)
    readings: Mapping[str, Reading] = field(default_factory=dict)

    @cached_property
    def log_lines(self) -> tuple[LogLine, ...]:
        """Return every line that may tell a cause; what is well now is left out, whatever it said before."""
        return (*self._of_azure(), *self._of_pods(), *self._of_events(), *self._of_airflow(), *self._of_readings())

    def unread(self, part: str) -> str:
        """Return why a part could not be read; empty where it could, or was not asked."""
        return self.readings.get(part, Reading()).problem

    def _of_azure(self) -> Iterator[LogLine]:
        for one in self.azure.operations:
            yield LogLine("operation", f"{one.name} of {one.resource} at {one.at}", one.message)
        for standing in (*self.azure.resources.values(), *self.kubernetes.objects.values()):
            if standing.problem:
                yield LogLine("resource", standing.title, standing.problem)

    def _of_pods(self) -> Iterator[LogLine]:
        for name, pod in self.kubernetes.pods.items():
            if not pod.healthy and pod.message:
                yield LogLine("container", f"pod {name}", f"{pod.reason}: {pod.message}", pod.component)
            for container, one in pod.containers.items():
                yield from _of_container(f"pod {name}, container {container}", one, pod.component, ill=not pod.healthy)

    def _of_events(self) -> Iterator[LogLine]:
        for one in self.kubernetes.events:
            if one.warning and self._still_matters(one):
                pod = self.kubernetes.pods.get(one.name)
                component = pod.component if pod and one.kind == "Pod" else ""
                yield LogLine("event", f"event of {one.kind} {one.name}", f"{one.reason}: {one.message}", component)

    def _still_matters(self, event: Event) -> bool:
        kubernetes = self.kubernetes
        if event.kind == "Pod":
            pod = kubernetes.pods.get(event.name)
            if pod is None or pod.healthy:
                return False
            containers = pod.containers.values()
            if event.reason in _BEFORE_IMAGES:
                return not any(one.started or one.waiting not in _NO_VOLUMES_YET for one in containers)
            return event.reason not in _BEFORE_START or not all(one.started for one in containers)
        if event.kind == "PersistentVolumeClaim":
            return event.name in kubernetes.claims and kubernetes.claims[event.name].phase != "Bound"
        if event.kind == "Job":
            return event.name in kubernetes.jobs and not kubernetes.jobs[event.name].complete
        return event.kind in ("ReplicaSet", "ScaledObject") and any(
            one.available < one.wanted for one in kubernetes.deployments.values()
        )

    def _of_airflow(self) -> Iterator[LogLine]:
        for one in self.airflow.failed:
            for line in one.log.splitlines():
                yield LogLine("task", f"task {one.task} of DAG {one.dag} at {one.at}", line)

    def _of_readings(self) -> Iterator[LogLine]:
        for part, one in self.readings.items():
            if one.problem:
                yield LogLine("reading", part, one.problem)


def _of_container(where: str, container: Container, component: str, *, ill: bool) -> Iterator[LogLine]:
    if ill and (container.waiting or container.message):
        yield LogLine("container", where, f"{container.waiting}: {container.message}", component)
    for log, title in ((container.log, "log"), (container.previous, "log before its restart")):
        for line in log.splitlines():
            if line.strip():
                yield LogLine("log", f"{where}, {title}", line, component)
