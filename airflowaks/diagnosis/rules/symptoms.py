"""Symptoms: what is seen when something else is wrong; findings of their own only where no cause was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import CRITICAL, NOTE, Cause, Section, components, lines, log_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.kubernetes import Container, Pod
    from airflowaks.diagnosis.facts.snapshot import Snapshot

SYMPTOMS = Section()
_PODS = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/"
_DOCS = "https://airflow.apache.org/docs/apache-airflow/stable/"
_LONG_QUEUED_SECONDS = 300.0
_BY_SIGNAL = (137, 143)


@SYMPTOMS.rule("AKA-901", CRITICAL, effects=("AKA-9", "AKA-003", "AKA-005"), link=_PODS)
def container_keeps_ending(facts: Snapshot) -> Iterable[Cause]:
    """Tell of containers that end again and again by themselves, once for all pods of a component."""
    probed = {one.name for one in facts.kubernetes.events if one.reason == "Unhealthy"}
    ending: dict[tuple[str, str], list[tuple[str, Pod, Container]]] = {}
    for name, pod in facts.kubernetes.pods.items():
        for container, one in pod.containers.items():
            if one.exit_code in _BY_SIGNAL and name in probed:
                continue  # the kubelet ends what does not pass its probe
            if one.waiting == "CrashLoopBackOff" or (one.ended in ("Error", "StartError") and not pod.healthy):
                ending.setdefault((pod.component or name, container), []).append((name, pod, one))
    for (component, container), found in ending.items():
        # Those whose logs were read say the most.
        found.sort(key=lambda item: not (item[2].previous or item[2].log))
        yield Cause(
            f"The container {container} of the component {component} ends again and again.",
            "Its last lines say why; once that is put right it comes up by itself.",
            [line for name, _, one in found for line in _last_words(name, one)],
            _about(found[0][1]),
        )


def _last_words(name: str, container: Container) -> list[str]:
    last = [line for line in (container.previous or container.log).splitlines() if line.strip()][-2:]
    return [f"pod {name}: {container.waiting or container.ended}, exit code {container.exit_code}", *last]


def _about(pod: Pod) -> frozenset[str]:
    return frozenset({pod.component} - {""})


@SYMPTOMS.rule("AKA-902", CRITICAL, effects=("AKA-9", "AKA-003", "AKA-005"), link=_PODS)
def probe_fails(facts: Snapshot) -> Iterable[Cause]:
    """Tell of pods that run and whose probes fail."""
    if said := log_lines(facts, ("Unhealthy", "probe failed"), ("Unhealthy", "probe errored"), sources=("event",)):
        yield Cause(
            "A pod runs, and its probe fails.",
            "See the pod's log; an airflow command takes up to 14 s of CPU, so that little CPU makes probes time out.",
            lines(said),
            components(said),
        )


@SYMPTOMS.rule("AKA-903", CRITICAL, effects=("AKA-9", "AKA-003", "AKA-005"), link=_PODS)
def too_few_pods(facts: Snapshot) -> Iterable[Cause]:
    """Tell of Deployments of which fewer pods work than should."""
    for name, one in facts.kubernetes.deployments.items():
        if one.available + one.settling < one.wanted:
            yield Cause(
                f"Of the Deployment {name} {one.available} of {one.wanted} pods are available.",
                "See `service.describe` and `service.logs` for its pods below.",
                [f"Deployment {name}: {one.available} of {one.wanted}", *([one.stalled] if one.stalled else [])],
                frozenset({one.component}),
            )


@SYMPTOMS.rule(
    "AKA-904",
    CRITICAL,
    effects=("AKA-905", "AKA-906"),
    link=f"{_DOCS}administration-and-deployment/logging-monitoring/check-health.html",
)
def component_is_not_healthy(facts: Snapshot) -> Iterable[Cause]:
    """Tell of components that Airflow itself calls unhealthy."""
    for name, state in facts.airflow.health.items():
        if state != "healthy":
            yield Cause(
                f"Airflow says that its {name} is not healthy.",
                "See the log of its pod: service.logs(run.session, component).",
                [f"{name}: {state or 'unknown'}"],
                frozenset({name.replace("_", "-")}) - {"metadatabase"},
            )


@SYMPTOMS.rule("AKA-905", CRITICAL, link=f"{_DOCS}troubleshooting.html")
def tasks_stay_queued(facts: Snapshot) -> Iterable[Cause]:
    """Tell of tasks that nobody takes."""
    if facts.airflow.queued_seconds >= _LONG_QUEUED_SECONDS:
        yield Cause(
            "Tasks stay queued.",
            "See whether workers run and consume the queue, and whether `airflow.workers.max_count` is enough.",
            [f"{facts.airflow.queued} queued, the oldest for {facts.airflow.queued_seconds / 60:.0f} minutes"],
        )


@SYMPTOMS.rule("AKA-906", NOTE, link=f"{_DOCS}troubleshooting.html")
def tasks_failed(facts: Snapshot) -> Iterable[Cause]:
    """Tell of tasks that failed, which is mostly their authors' business."""
    if failed := facts.airflow.failed:
        yield Cause(
            f"{len(failed)} task{'s' if len(failed) > 1 else ''} failed.",
            "See the tasks' logs in Airflow's pages.",
            [f"task {one.task} of DAG {one.dag} at {one.at}" for one in failed],
        )
