"""A picture of what happened when: warnings, roll-outs, restarts and outages over the time that was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from airflowaks.engine.times import parse_time, timestamp
from airflowaks.notebook.timeline import Bar, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.finding import Finding

_MOST_ROWS = 25


class _Moment(NamedTuple):
    """Something that happened: to which component or object, what, when (ISO 8601), and how evidence names it."""

    name: str
    what: str
    at: str
    where: str
    well: bool = False
    times: int = 1
    since: str = ""


@dataclass
class _Row:
    begin: float
    end: float
    well: bool
    points: list[float] = field(default_factory=list)
    count: int = 0
    findings: dict[str, None] = field(default_factory=dict)


def history(facts: Snapshot, findings: Sequence[Finding] = ()) -> Timeline:
    """Return a row for each component or other object and each kind of event, with the finding that explains it.

    Events are points, and what lasts is a bar; warnings and deaths are red. The rows are those that ended last.
    """
    rows: dict[str, _Row] = {}
    for moment in (*_happened(facts), *_lasted(facts)):
        end = parse_time(moment.at).timestamp()
        begin = parse_time(moment.since).timestamp() if moment.since else end
        row = rows.setdefault(f"{moment.name}: {moment.what}", _Row(begin, end, moment.well))
        row.begin, row.end = min(row.begin, begin), max(row.end, end)
        row.count += moment.times
        if not moment.since:
            row.points.append(end)
        if not moment.well:
            row.findings |= dict.fromkeys(_explaining(moment, findings))
    newest = dict(sorted(rows.items(), key=lambda item: item[1].end)[-_MOST_ROWS:])
    if not newest:
        return Timeline("Nothing happened.", [])
    begin = min(row.begin for row in newest.values())
    bars = [_bar(name, row, begin) for name, row in newest.items()]
    counted = _counted(rows, facts.kubernetes.dropped, shown=len(newest))
    return Timeline(f"What happened since {timestamp(datetime.fromtimestamp(begin, UTC))}{counted}", bars, begin)


def _bar(name: str, row: _Row, begin: float) -> Bar:
    outcome = f"{row.count:,} time{'s' * (row.count > 1)}" if row.points else "lasts" if not row.well else ""
    points = tuple(sorted(point - begin for point in row.points))
    causes = tuple(row.findings)
    return Bar(name, row.begin - begin, row.end - begin, row.well, outcome, points, causes)


def _counted(rows: dict[str, _Row], dropped: int, *, shown: int) -> str:
    """Return how many events there were, where the picture does not show each of them."""
    total = sum(row.count for row in rows.values()) + dropped
    if len(rows) == shown and not dropped:
        return ""
    return f": {total:,} events of {len(rows)} kinds, the {shown} latest kinds"


def _explaining(moment: _Moment, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the findings whose evidence, or that of what they cause, names it; else those of its component."""
    by_evidence = [finding.id for finding in findings if any(moment.where in line for line in _evidence(finding))]
    named = [finding.id for finding in findings if moment.name in finding.components]
    yield from by_evidence or named[:1]


def _evidence(finding: Finding) -> Iterator[str]:
    for each in (finding, *finding.changes, *finding.consequences):
        yield from each.evidence


def _happened(facts: Snapshot) -> Iterator[_Moment]:
    names = _names(facts)
    for event in facts.kubernetes.events:
        if event.at:
            name = names.get(event.name, event.name)
            where = f"event of {event.kind} {event.name}: {event.reason}"
            yield _Moment(name, event.reason, event.at, where, well=not event.warning, times=event.count)
    for name, pod in facts.kubernetes.pods.items():
        for title, container in pod.containers.items():
            if container.ended_at and container.ended != "Completed":
                where = f"pod {name}, container {title}"
                yield _Moment(names[name], container.ended, container.ended_at, where)
    for operation in facts.azure.operations:
        what = operation.name.rpartition("/")[0]
        yield _Moment(operation.resource, what, operation.at, f"of {operation.resource} at {operation.at}")
    for task in facts.airflow.failed:
        if task.at:
            yield _Moment(f"{task.dag}.{task.task}", "failed", task.at, f"task {task.task} of DAG {task.dag}")


def _lasted(facts: Snapshot) -> Iterator[_Moment]:
    """Yield the pods that are not ready, from when they were not until the diagnosis."""
    names, now = _names(facts), max((reading.at for reading in facts.readings.values()), default="")
    for name, pod in facts.kubernetes.pods.items():
        if pod.turned and now and not pod.healthy:
            yield _Moment(names[name], "not ready", now, f"pod {name}", since=pod.turned)


def _names(facts: Snapshot) -> dict[str, str]:
    names = {name: pod.component or name for name, pod in facts.kubernetes.pods.items()}
    return names | {name: deployment.component or name for name, deployment in facts.kubernetes.deployments.items()}
