"""A picture of what happened when: warnings, roll-outs and restarts over the time that was looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflowaks.engine.times import parse_time, timestamp
from airflowaks.notebook.timeline import Bar, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_MOST_ROWS = 25


def history(facts: Snapshot) -> Timeline:
    """Return a bar for each component or other object and each kind of event, from the first to the last time.

    Warnings and deaths are red.
    """
    spans: dict[str, tuple[float, float, bool]] = {}
    for name, at, well in _happened(facts):
        second = parse_time(at).timestamp()
        first, last, _ = spans.get(name, (second, second, well))
        spans[name] = (min(first, second), max(last, second), well)
    newest = dict(sorted(spans.items(), key=lambda item: item[1][1])[-_MOST_ROWS:])
    begin = min((first for first, *_ in newest.values()), default=0.0)
    bars = [Bar(name, first - begin, last - begin, well) for name, (first, last, well) in newest.items()]
    if not bars:
        return Timeline("Nothing happened.", bars)
    since = timestamp(datetime.fromtimestamp(begin, UTC))
    return Timeline(f"What happened since {since}", bars, begin)


def _happened(facts: Snapshot) -> Iterator[tuple[str, str, bool]]:
    pods = facts.kubernetes.pods
    components = {name: pod.component or name for name, pod in pods.items()}
    components |= {name: deployment.component or name for name, deployment in facts.kubernetes.deployments.items()}
    for event in facts.kubernetes.events:
        if event.at:
            yield f"{components.get(event.name, event.name)}: {event.reason}", event.at, not event.warning
    for name, pod in pods.items():
        for container in pod.containers.values():
            if container.ended_at and container.ended != "Completed":
                yield f"{components[name]}: {container.ended}", container.ended_at, False
    for operation in facts.azure.operations:
        yield f"{operation.resource}: {operation.name.rpartition('/')[0]}", operation.at, False
    for task in facts.airflow.failed:
        if task.at:
            yield f"{task.dag}.{task.task}: failed", task.at, False
