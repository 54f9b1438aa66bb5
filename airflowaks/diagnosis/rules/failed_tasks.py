"""Why tasks failed: failed tasks by the exception in their logs, with what to do and whether a retry helps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from airflowaks.cloud.airflow_api import RAISED_AT, raised_at
from airflowaks.diagnosis import remedies
from airflowaks.diagnosis.facts.services import EXECUTOR_SAYS
from airflowaks.diagnosis.rules.failure_kinds import (
    BY_PLACE,
    KILLED,
    KILLED_BY_THE_NODE,
    KINDS,
    NODE_IS_FULL,
    UNDECRYPTABLE,
    UNREAD,
    Kind,
)
from airflowaks.diagnosis.rules.rule import NOTE, WARNING, Cause, Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.diagnosis.facts.services import FailedTask
    from airflowaks.diagnosis.facts.snapshot import Snapshot

_EXCEPTION = re.compile(
    r"^[A-Za-z_][\w.]*([Ee]rror|Exception|Timeout|Exit|Interrupt|Violation|Truncation|Failed|Denied|NotFound|Token): "
)
_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>\S+)')
_PACKAGES = "/site-packages/"
_SEE = re.compile(r" (See|Learn more:|For more information, see) https://\S+")
_LONGEST = 160
_DEFERRED = "TaskDeferralError"
"""What a task raises whose trigger failed, below the triggerer's traceback: `airflow/sdk/bases/operator.py`."""
# Lines that end a task without an exception: `supervisor.py` and `task_runner.py` in `airflow/sdk/execution_time`.
_ENDS = (
    "Process terminated by signal",
    "Process exited abnormally",
    "Task exited",
    "Server indicated the task shouldn't be running anymore",
)
# These follow from what was logged before them.
_VAGUE = ("Process exited abnormally", "Task exited")
_UNCAUGHT = "Task failed with exception"
_REMEDIES = {"AKA-922": remedies.clear_silent_tasks, "AKA-924": remedies.clear_lost_tasks}


@dataclass
class _Group:
    error: str
    where: str
    kind: Kind
    tasks: list[FailedTask] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(task.count for task in self.tasks)


def rules_of(section: Section, *names: str, **options: Any) -> None:
    """Add to a section the rules of kinds of failures; what a platform's trouble causes is in the one of symptoms."""
    for name in names:
        severity = NOTE if name in (BY_PLACE[0].id, UNREAD.id) else WARNING
        section.rule(name, severity, automatic=name in _REMEDIES, **options)(partial(_of_kind, name))


def _of_kind(name: str, facts: Snapshot) -> Iterator[Cause]:
    for group in _groups(facts.airflow.failed):
        if group.kind.id == name:
            yield _cause(group, facts)


@lru_cache(maxsize=1)
def _groups(failed: tuple[FailedTask, ...]) -> list[_Group]:
    """Return a group for each exception, that of most tasks first; those whose log was not read come last."""
    groups: dict[str, _Group] = {}
    for task in failed:
        error, where = _error(task)
        kind = UNDECRYPTABLE if task.encrypted else _kind(error, where)
        shown = error if len(error) <= _LONGEST else f"{error[:_LONGEST]} …"
        # Numbers differ from run to run: rows, ports, dates, IDs.
        key = re.sub(r"\d+|0x[0-9a-f]+", "#", shown)
        groups.setdefault(key, _Group(shown, where, kind)).tasks.append(task)
    return sorted(groups.values(), key=lambda group: (not group.error, -group.count))


def _kind(error: str, where: str) -> Kind:
    if not error:
        return UNREAD
    matches = (kind for kind in KINDS if any(word in error for word in kind.words))
    by_place = (kind for kind in BY_PLACE if kind.words[0] in where)
    return next(matches, None) or next(by_place)


def _cause(group: _Group, facts: Snapshot) -> Cause:
    kind, dags = group.kind, dict.fromkeys(task.dag for task in group.tasks)
    full = [event for event in facts.kubernetes.events if event.reason == NODE_IS_FULL] if kind is KILLED else []
    kind = KILLED_BY_THE_NODE if full else kind
    what = "run" if not group.tasks[0].task else "task"
    count = f"{group.count} {what}{'s' if group.count > 1 else ''}"
    of = f" of {len(dags)} DAGs" if len(dags) > 1 else ""
    meaning = f"{kind.meaning}{': ' if kind.meaning and group.error else ''}{group.error.rstrip('.')}"
    since = min(task.since or task.at for task in group.tasks)
    over = all(task.succeeded > task.at for task in group.tasks)
    lines = [f"event of Node {event.name} at {event.at}: {event.message}" for event in full[-1:]]
    lines += [group.where.strip()] if group.where else []
    if group.count > 1:
        lines.append(f"since {since}, in DAG {', '.join(dags)}")
    return Cause(
        f"{count}{of} failed{': ' if meaning else ''}{meaning}.",
        "Do nothing, or clear the tasks for the runs that lack them: they have succeeded since."
        if over
        else kind.action,
        [*lines, *map(_name, group.tasks)],
        facts.kubernetes.workers if kind.of_the_worker else frozenset(),
        severity=NOTE if over else None,
        remedy=None if over else _REMEDIES.get(kind.id),
    )


def _name(task: FailedTask) -> str:
    times = f", {task.count} times since {task.since}" if task.count > 1 else ""
    often = ""
    if task.failed and task.ended > 1:
        each = task.failed == task.ended
        often = f", as {'each' if each else task.failed} of its last {task.ended} tries"
    since = f"; it has succeeded since, at {task.succeeded}" if task.succeeded > task.at else ""
    subject = f"task {task.task} of DAG {task.dag}" if task.task else f"a run of DAG {task.dag}"
    return f"{subject} at {task.at}{times}{often}{since}"


def _error(task: FailedTask) -> tuple[str, str]:
    """Return why a task failed: what it raised or, where it did not end itself, what the scheduler noted."""
    error, where = _exception(task.log)
    if task.event and _UNCAUGHT not in task.log:
        error, where = task.event.partition(EXECUTOR_SAYS)[2] or task.event, ""
    return " ".join(_SEE.sub("", error).removesuffix(": None").split()), where


def _exception(log: str) -> tuple[str, str]:
    """Return the last exception in a log, as `type: message`, and where it was raised; empty if there is none."""
    error = where = before = frame = ""
    for line in log.splitlines():
        if line.startswith(RAISED_AT) and not before.startswith(_DEFERRED):
            error, where = before, line
        elif match := _FRAME.match(line):
            if _PACKAGES in match["file"]:
                frame = raised_at(match["file"], int(match["line"]), match["name"])
        elif line.startswith(_DEFERRED) and error:
            where = f"{frame}, in the triggerer"
        elif _EXCEPTION.match(line) or (line.startswith(_ENDS) and not (error and line.startswith(_VAGUE))):
            error, where = line, ""
        before = line
    return error, where
