"""All facts of one diagnosis, how each part of them was read, and every line of text in them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from airflowaks.diagnosis.facts.kubernetes import Container, Event, Kubernetes, Pod
from airflowaks.diagnosis.facts.services import Airflow, Azure, Backend
from airflowaks.engine.times import parse_time

# Layers wrap errors: an excerpt has the start of the line, which names the reporter, and the text around the match.
_START, _BEFORE, _AFTER = 80, 60, 240
# Reasons of events before a pod's containers run. They no longer count once the pod is past that phase: first it gets a
# node and volumes, then images.
_BEFORE_IMAGES = ("FailedMount", "FailedAttachVolume", "FailedScheduling", "FailedCreatePodSandBox")
_BEFORE_START = (*_BEFORE_IMAGES, "Failed")
_OVER = timedelta(minutes=10)
_TIME = re.compile(r"\[?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)")
_NO_VOLUMES_YET = ("", "ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Reading:
    """The reading of a part of a source, such as `kubernetes.pods`; `at` is ISO 8601, `problem` is empty on success."""

    at: str = ""
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class LogLine:
    """A line of text; `source` is event, container, log, operation, resource, reading or task.

    `at` (ISO 8601) is when it was written, if it tells; `over` means that a task which began long after that succeeded.
    """

    source: str
    where: str
    text: str
    component: str = ""
    at: str = ""
    over: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"

    def excerpt(self, words: tuple[str, ...]) -> "LogLine":
        """Return the line, a long one cut to its start and the text around the first of `words`."""
        text = " ".join(self.text.split())
        if len(text) > _START + _BEFORE + _AFTER:
            at = max(_START, text.lower().index(words[0].lower()) - _BEFORE)
            end = at + _BEFORE + _AFTER
            text = f"{text[:_START]}{' … ' if at > _START else ''}{text[at:end]}{' …' if end < len(text) else ''}"
        return replace(self, text=text)

    def contains(self, words: tuple[str, ...]) -> bool:
        """Tell whether the line contains all of `words`, in any case."""
        text = self.text.lower()
        return all(word.lower() in text for word in words)


@dataclass(frozen=True)
class Snapshot:
    """All facts by source; `readings` tells for each part when it was read, or why not."""

    azure: Azure = field(default_factory=Azure)
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    airflow: Airflow = field(default_factory=Airflow)
    backend: Backend = field(default_factory=Backend)
    readings: Mapping[str, Reading] = field(default_factory=dict)

    @cached_property
    def log_lines(self) -> tuple[LogLine, ...]:
        """Return every line that may name a cause; events and states of objects that are healthy now are left out."""
        return (*self._of_azure(), *self._of_pods(), *self._of_events(), *self._of_airflow(), *self._of_readings())

    def unread(self, part: str) -> str:
        """Return why a part could not be read; empty if it was read or not requested."""
        return self.readings.get(part, Reading()).problem

    def _of_azure(self) -> Iterator[LogLine]:
        for operation in self.azure.operations:
            where = f"{operation.name} of {operation.resource} at {operation.at}"
            yield LogLine("operation", where, operation.message)
        for status in (*self.azure.resources.values(), *self.kubernetes.objects.values()):
            if status.problem:
                yield LogLine("resource", status.title, status.problem)

    def _of_pods(self) -> Iterator[LogLine]:
        for name, pod in self.kubernetes.pods.items():
            if not pod.healthy and pod.message:
                yield LogLine("container", f"pod {name}", f"{pod.reason}: {pod.message}", pod.component)
            for title, container in pod.containers.items():
                for line in _of_container(f"pod {name}, container {title}", container, pod):
                    yield replace(line, over=pod.healthy and self._is_over(line.at))

    def _of_events(self) -> Iterator[LogLine]:
        for event in self.kubernetes.events:
            if event.warning and self._is_current(event):
                pod = self.kubernetes.pods.get(event.name)
                component = pod.component if pod and event.kind == "Pod" else ""
                where = f"event of {event.kind} {event.name}"
                yield LogLine("event", where, f"{event.reason}: {event.message}", component)
        # It holds also while old pods serve, and ends with its cause; the events of ReplicaSets do neither.
        for name, deployment in self.kubernetes.deployments.items():
            if deployment.refused:
                yield LogLine("event", f"Deployment {name}", deployment.refused, deployment.component)

    def _is_current(self, event: Event) -> bool:
        kubernetes = self.kubernetes
        if event.kind == "Pod":
            pod = kubernetes.pods.get(event.name)
            if pod is None or pod.healthy:
                return False
            containers = pod.containers.values()
            if event.reason in _BEFORE_IMAGES:
                return not any(each.started or each.waiting not in _NO_VOLUMES_YET for each in containers)
            return event.reason not in _BEFORE_START or not all(each.started for each in containers)
        if event.kind == "PersistentVolumeClaim":
            return event.name in kubernetes.claims and kubernetes.claims[event.name].phase != "Bound"
        if event.kind == "Job":
            return event.name in kubernetes.jobs and not kubernetes.jobs[event.name].complete
        return event.kind == "ScaledObject" and any(
            each.problem for each in kubernetes.autoscalers if (each.kind, each.name) == (event.kind, event.name)
        )

    def _of_airflow(self) -> Iterator[LogLine]:
        for task in self.airflow.failed:
            for line in task.log.splitlines():
                where = f"task {task.task} of DAG {task.dag} at {task.at}"
                yield LogLine("task", where, line, at=task.at, over=self._is_over(task.at))

    def _is_over(self, at: str) -> bool:
        """Tell whether a line is about the past: what it names would have kept a later task from succeeding."""
        succeeded = self.airflow.succeeded
        return bool(at and succeeded) and parse_time(succeeded) - parse_time(at) > _OVER

    def _of_readings(self) -> Iterator[LogLine]:
        for part, reading in self.readings.items():
            if reading.problem:
                yield LogLine("reading", part, reading.problem)


def _of_container(where: str, container: Container, pod: Pod) -> Iterator[LogLine]:
    if not pod.healthy and (container.waiting or container.message):
        yield LogLine("container", where, f"{container.waiting}: {container.message}", pod.component)
    for log, title in ((container.log, "log"), (container.previous, "log before its restart")):
        at = ""
        for line in log.splitlines():
            if line.strip():
                at = _written_at(line) or at
                yield LogLine("log", f"{where}, {title}", line, pod.component, at)


def _written_at(line: str) -> str:
    """Return the time with which a line of Airflow's or Celery's begins, in UTC, as containers have it."""
    match = _TIME.match(line)
    return f"{match[1]}T{match[2]}Z" if match else ""
