"""The answer to "Why is it not running?": the chain of what holds a target, or all that waits, grouped by cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.facts.waiting import duration
from airflowaks.diagnosis.waiting.dags import DAG, RUN
from airflowaks.diagnosis.waiting.executors import AFTER_THE_QUEUE
from airflowaks.diagnosis.waiting.reason import first_to_last
from airflowaks.diagnosis.waiting.tasks import BEFORE_THE_QUEUE
from airflowaks.engine.table import Table, Tabular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.diagnosis.facts.waiting import Wait
    from airflowaks.diagnosis.waiting.reason import Reason

WAITING_MIME = "application/vnd.airflowaks.waiting+json"
_COLUMNS = ("for", "state", "what waits, what holds it, by whom, what to do")
_MOST_CAUSES = 20


def reasons(wait: Wait, facts: Snapshot) -> tuple[Reason, ...]:
    """Return all that holds a wait, in the order in which Airflow decides: the first reason is what to look at."""
    if not wait.run:
        return first_to_last(DAG, wait, facts)
    if not wait.task:
        return first_to_last(RUN, wait, facts)
    return first_to_last((*BEFORE_THE_QUEUE, *AFTER_THE_QUEUE), wait, facts)


@dataclass(frozen=True)
class Link:
    """One link of a chain: what waits, and why."""

    wait: Wait
    reasons: tuple[Reason, ...]
    depth: int = 0

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield the table's rows."""
        wait, indent = self.wait, "  " * self.depth
        age = duration(wait.seconds) if wait.run and wait.seconds > 0 else ""
        more = f", and {wait.count - 1} more like it" if wait.count > 1 else ""
        yield age, _state(wait), f"{indent}{'held by ' if self.depth else ''}{_kind(wait)} {wait.name}{more}"
        for reason in self.reasons:
            yield from _rows(reason, indent)
        if not self.reasons:
            running = "It is running: its tasks tell what holds it." if wait.run and not wait.task else ""
            yield "", "", f"{indent}  {running or 'Nothing holds it.'}"

    def record(self) -> dict[str, Any]:
        """Return the link as JSON."""
        return {"what": self.wait.name, "depth": self.depth, "reasons": [_record(reason) for reason in self.reasons]}


@dataclass(frozen=True)
class Chain(Tabular):
    """The answer for one DAG, run or task: itself first, then what holds it, and what holds that."""

    target: str
    links: tuple[Link, ...]

    def table(self, title: str = "") -> Table:
        """Return the table of the chain."""
        rows = [row for link in self.links for row in link.rows()]
        data = {WAITING_MIME: [link.record() for link in self.links]}
        return Table(_COLUMNS, rows, title or f"Why is {self.target} not running?", data=data)


@dataclass(frozen=True)
class Group:
    """All that one reason holds: how many, of which DAGs, for how long at most, and one example."""

    reason: Reason
    waits: tuple[Wait, ...]

    @property
    def summary(self) -> str:
        """Return who waits in one line."""
        counts: Counter[str] = Counter()
        for wait in self.waits:
            counts[_kind(wait)] += wait.count
        what = " and ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items())
        dags = len({wait.dag for wait in self.waits})
        example = max(self.waits, key=lambda wait: wait.seconds)
        if counts.total() == 1:
            return f"{_kind(example)} {example.name}, for {duration(example.seconds)}"
        of = f" of {dags} DAGs" if dags > 1 else ""
        return f"{what}{of}, for up to {duration(example.seconds)}, such as {example.name}"


@dataclass(frozen=True)
class Groups(Tabular):
    """All that has waited longer than usual, by cause: what most wait for comes first."""

    groups: tuple[Group, ...]
    unread: str = ""

    def table(self, title: str = "") -> Table:
        """Return the table of the causes."""
        rows = [row for group in self.groups[:_MOST_CAUSES] for row in self._rows(group)]
        if (left := len(self.groups) - _MOST_CAUSES) > 0:
            rows.append(("", "", f"and {left} more causes"))
        data = {WAITING_MIME: [{"waits": group.summary} | _record(group.reason) for group in self.groups]}
        heading = title or ("What has waited longer than usual" if rows else "Nothing has waited longer than usual.")
        if self.unread:
            heading = f"What waits could not be read: {self.unread}"
        return Table(_COLUMNS, rows, heading, data=data)

    @staticmethod
    def _rows(group: Group) -> Iterator[tuple[str, str, str]]:
        example = max(group.waits, key=lambda wait: wait.seconds)
        yield duration(example.seconds), _state(example), group.summary
        yield from _rows(group.reason, "")


def grouped(facts: Snapshot) -> Groups:
    """Return all that has waited longer than usual, by its first reason; a plan, such as a retry's delay, is none."""
    groups: dict[str, tuple[Reason, list[Wait]]] = {}
    for wait in facts.airflow.waiting.waits:
        held = [reason for reason in reasons(wait, facts) if reason.kind != "plan"]
        if held:
            groups.setdefault(held[0].holds, (held[0], []))[1].append(wait)
    ordered = sorted(groups.values(), key=lambda group: -sum(wait.count for wait in group[1]))
    return Groups(
        tuple(Group(reason, tuple(waits)) for reason, waits in ordered), unread=facts.unread("airflow.waiting")
    )


def _state(wait: Wait) -> str:
    return (wait.state or "none") if wait.task else wait.run_state


def _kind(wait: Wait) -> str:
    return "task" if wait.task else "run" if wait.run else "DAG"


def _rows(reason: Reason, indent: str) -> Iterator[tuple[str, str, str]]:
    yield "", "", f"{indent}  {reason.holds}"
    for line in reason.by:
        yield "", "", f"{indent}    | {line}"
    yield "", "", f"{indent}  → {reason.action}"


def _record(reason: Reason) -> dict[str, Any]:
    return {"kind": reason.kind.value, "holds": reason.holds, "by": list(reason.by), "action": reason.action}
