"""Symptoms: effects of other causes; a symptom is a finding of its own only if no cause was found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules import failed_tasks
from airflowaks.diagnosis.rules.placement import awaiting_a_node
from airflowaks.diagnosis.rules.rule import NOTE, WARNING, Cause, Section
from airflowaks.diagnosis.waiting.answer import grouped
from airflowaks.diagnosis.waiting.reason import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.kubernetes import Container, Pod
    from airflowaks.diagnosis.facts.snapshot import Snapshot

_PODS = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/"
_DOCS = "https://airflow.apache.org/docs/apache-airflow/stable/"
_LONG_QUEUED_SECONDS = 300.0
_BY_SIGNAL = (137, 143)
SYMPTOMS = Section("event")


@SYMPTOMS.rule("AKA-901", effects=("AKA-9", "AKA-003", "AKA-005"), link=_PODS)
def _container_crashes(facts: Snapshot) -> Iterable[Cause]:
    probed = {event.name for event in facts.kubernetes.events if event.reason == "Unhealthy"}
    crashed: dict[tuple[str, str], list[tuple[str, Pod, Container]]] = {}
    for name, pod in facts.kubernetes.pods.items():
        for title, container in pod.containers.items():
            if container.exit_code in _BY_SIGNAL and name in probed:
                continue  # the kubelet stops a container that fails its probe
            ended = container.ended in ("Error", "StartError") or bool(container.ended and container.restarts)
            failed = ended and not container.ready and not pod.healthy
            if container.waiting == "CrashLoopBackOff" or failed:
                crashed.setdefault((pod.component or name, title), []).append((name, pod, container))
    for (component, title), containers in crashed.items():
        # Containers with a log come first: they have the most to tell.
        containers.sort(key=lambda item: not (item[2].previous or item[2].log))
        yield Cause(
            f"The container {title} of the component {component} exits repeatedly.",
            "Fix what its last log lines name; the container then starts automatically.",
            [line for name, _, container in containers for line in _last_lines(name, container)],
            frozenset({containers[0][1].component} - {""}),
        )


def _last_lines(name: str, container: Container) -> list[str]:
    last = [line for line in (container.previous or container.log).splitlines() if line.strip()][-2:]
    return [f"pod {name}: {container.waiting or container.ended}, exit code {container.exit_code}", *last]


SYMPTOMS.text_rules("AKA-902")


@SYMPTOMS.rule("AKA-903", effects=("AKA-9", "AKA-003", "AKA-005"), link=_PODS)
def _too_few_pods(facts: Snapshot) -> Iterable[Cause]:
    awaiting = Counter(facts.kubernetes.pods[name].component for name in awaiting_a_node(facts))
    for name, deployment in facts.kubernetes.deployments.items():
        if deployment.available + deployment.settling + awaiting[deployment.component] < deployment.wanted:
            counts = f"{deployment.available} of {deployment.wanted}"
            yield Cause(
                f"The Deployment {name} has {counts} pods available.",
                "Check its pods with `kubectl.describe` and `kubectl.logs` below.",
                [f"Deployment {name}: {counts}", *([deployment.stalled] if deployment.stalled else [])],
                frozenset({deployment.component}),
            )


@SYMPTOMS.rule(
    "AKA-904",
    effects=("AKA-905", "AKA-906"),
    link=f"{_DOCS}administration-and-deployment/logging-monitoring/check-health.html",
)
def _component_is_not_healthy(facts: Snapshot) -> Iterable[Cause]:
    for name, state in facts.airflow.health.items():
        if state != "healthy":
            yield Cause(
                f"Airflow reports its {name} as unhealthy.",
                "Check the log of its pod with `kubectl.logs`.",
                [f"{name}: {state or 'unknown'}"],
                frozenset({name.replace("_", "-")}) - {"metadatabase"},
            )


@SYMPTOMS.rule("AKA-905", link=f"{_DOCS}troubleshooting.html")
def _tasks_stay_queued(facts: Snapshot) -> Iterable[Cause]:
    causes = _waits(facts, Kind.PLATFORM)
    yield from causes
    if not causes and facts.unread("airflow.waiting") and facts.airflow.queued_seconds >= _LONG_QUEUED_SECONDS:
        yield Cause(
            "Tasks stay queued.",
            "Check that workers run and consume the queue, and that `airflow.workers.max_count` is high enough.",
            [f"{facts.airflow.queued} queued, the oldest for {facts.airflow.queued_seconds / 60:.0f} minutes"],
        )


@SYMPTOMS.rule("AKA-907", WARNING, automatic=True, link=f"{_DOCS}administration-and-deployment/pools.html")
def _tasks_wait_at_a_limit(facts: Snapshot) -> Iterable[Cause]:
    return _waits(facts, Kind.LIMIT)


@SYMPTOMS.rule("AKA-908", NOTE, automatic=True, link=f"{_DOCS}core-concepts/dag-run.html")
def _runs_wait_while_paused(facts: Snapshot) -> Iterable[Cause]:
    return _waits(facts, Kind.CHOICE)


def _waits(facts: Snapshot, kind: Kind) -> list[Cause]:
    groups = [group for group in grouped(facts).groups if group.reason.kind is kind]
    return [
        Cause(group.reason.holds, group.reason.action, [group.summary, *group.reason.by], remedy=group.reason.remedy)
        for group in groups
    ]


failed_tasks.rules_of(
    SYMPTOMS, "AKA-921", "AKA-922", "AKA-924", "AKA-925", "AKA-923", "AKA-906", link=f"{_DOCS}troubleshooting.html"
)
