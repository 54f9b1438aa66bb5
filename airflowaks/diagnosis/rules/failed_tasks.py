"""Why tasks failed: failed tasks by the exception in their logs, with what to do and whether a retry helps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflowaks.diagnosis.facts.services import FailedTask

_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Timeout|Exit|Interrupt|Violation): ")
_RAISED = "  raised at "
_LONGEST = 160
_KILLED = "Process terminated by signal"
# Words of an exception or a log line, what they mean, and what to do. The first that fits counts.
_MEANINGS = (
    (
        # `airflow/sdk/execution_time/supervisor.py` writes this line
        ("Likely out of memory",),
        "the process was killed (SIGKILL), most likely for want of memory",
        "Raise `airflow.workers.memory` or lower `airflow.workers.concurrency`, and run step 7; a retry may help.",
    ),
    (
        (_KILLED,),
        "the process was ended by a signal",
        "Check whether its worker's pod was stopped or moved; a retry helps then.",
    ),
    (
        ("ModuleNotFoundError",),
        "the worker's image lacks a package",
        "Add the package to manifests/image/requirements.txt and roll the image out; a retry does not help before.",
    ),
    (
        ("AirflowTaskTimeout",),
        "it took longer than its execution_timeout",
        "Raise execution_timeout in the DAG's file, or find what it waited for; a retry helps if that was busy.",
    ),
    (
        ("AirflowNotFoundException", "CONNECTION_NOT_FOUND", "isn't defined"),
        "a connection is missing",
        "Create the connection under Admin, Connections, then clear the tasks; a retry does not help before.",
    ),
    (
        ("VARIABLE_NOT_FOUND",),
        "a variable is missing",
        "Create the variable under Admin, Variables, then clear the tasks; a retry does not help before.",
    ),
    (
        ("DataError", "IntegrityError", "Violation", "InvalidTextRepresentation", "NumericValueOutOfRange"),
        "a database refused a value",
        "Correct the value where the task makes it; a retry does not help.",
    ),
    (
        ("Name or service not known", "Temporary failure in name resolution", "gaierror", "NameResolutionError"),
        "a host's name could not be resolved",
        "Check the name, and the cluster's DNS; a retry helps if DNS was busy.",
    ),
    (
        ("401 ", "403 ", "Unauthorized", "Forbidden", "ClientAuthenticationError", "AADSTS"),
        "a service refused its token or its rights",
        "Check the identity's role or the connection's password, then clear the tasks; a retry does not help before.",
    ),
    (
        ("OperationalError", "ConnectionError", "ConnectionRefused", "ConnectionReset", "Timeout", "timed out"),
        "a connection failed",
        "Check the service that it connects to; a retry helps once that answers.",
    ),
)


@dataclass
class _Group:
    error: str
    where: str = ""
    tasks: list[FailedTask] = field(default_factory=list)


def causes(failed: Iterable[FailedTask], outcomes: Mapping[str, tuple[int, int]]) -> Iterator[Cause]:
    """Yield a cause for each exception, that of most tasks first; those whose log was not read come last.

    `outcomes` are how many of the last instances of DAG/TASK failed, of how many.
    """
    groups: dict[str, _Group] = {}
    for task in failed:
        error, where = _exception(task.log)
        # Numbers differ from run to run: rows, ports, dates, IDs.
        groups.setdefault(re.sub(r"\d+|0x[0-9a-f]+", "#", error), _Group(error, where)).tasks.append(task)
    for group in sorted(groups.values(), key=lambda group: (not group.error, -len(group.tasks))):
        yield _cause(group, outcomes)


def _cause(group: _Group, outcomes: Mapping[str, tuple[int, int]]) -> Cause:
    count = f"{len(group.tasks)} task{'s' if len(group.tasks) > 1 else ''} failed"
    names = [f"task {task.task} of DAG {task.dag} at {task.at}{_often(task, outcomes)}" for task in group.tasks]
    if not group.error:
        return Cause(f"{count}.", "Check the logs of the tasks in Airflow's web UI.", names)
    meaning, action = _meaning(group)
    sentence = f"{count}: {meaning}{': ' if meaning else ''}{group.error.rstrip('.')}."
    return Cause(sentence, action, [*([group.where] if group.where else []), *names])


def _often(task: FailedTask, outcomes: Mapping[str, tuple[int, int]]) -> str:
    failed, ended = outcomes.get(f"{task.dag}/{task.task}", (0, 0))
    if not failed or ended == 1:
        return ""
    return f", as each of its last {ended} times" if failed == ended else f", as {failed} of its last {ended} times"


def _meaning(group: _Group) -> tuple[str, str]:
    for words, meaning, action in _MEANINGS:
        if any(word in group.error for word in words):
            return meaning, action
    own = "(the DAG's own code)" in group.where
    return "", (
        "Correct the DAG's file and run step 6, then clear the tasks; a retry alone does not help."
        if own
        else "Read the evidence; clear one of the tasks to see whether a retry helps."
    )


def _exception(log: str) -> tuple[str, str]:
    """Return the last exception in a log, as `type: message`, and where it was raised; empty if there is none."""
    error = where = before = ""
    for line in log.splitlines():
        if line.startswith(_RAISED):
            error, where = before, line.strip()
        elif _EXCEPTION.match(line) or line.startswith(_KILLED):
            error, where = line.split(" For more")[0], ""
        before = line
    error = error.removesuffix(": None").rstrip()
    return (error if len(error) <= _LONGEST else f"{error[:_LONGEST]} …"), where
