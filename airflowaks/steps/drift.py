"""Drift of environments: what an apply of all steps would change, in several environments side by side."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.cloud.connection import shared_connection
from airflowaks.config.environment import environment_names, load_environment
from airflowaks.engine.changes import Action, Changes
from airflowaks.engine.table import Table, Tabular
from airflowaks.errors import AirflowAksError, InvalidEnvironment
from airflowaks.session import open_session
from airflowaks.steps import airflow, backend, cluster, key_vault, registry, volumes, workload_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflowaks.cloud.connection import Connection
    from airflowaks.config.environment import Environment

_LISTED = 20
"""So many changes of an environment are rows: one that was never deployed has eighty."""
_STEPS = (cluster, registry, backend, key_vault, workload_identity, volumes, airflow)


@dataclass(frozen=True)
class Drift:
    """What a check of an environment has seen: its changes, or the error that ended it; and its seconds."""

    environment: str
    changes: Changes
    error: AirflowAksError | None
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether all was compared, but for what the caller may not read, and nothing would change."""
        return self.error is None and not self.changes.pending


class Drifts(Tabular):
    """The drift of several environments; shows itself as a table."""

    def __init__(self, drifts: Sequence[Drift]) -> None:
        self.drifts = drifts

    @property
    def clean(self) -> bool:
        """Whether no environment has drifted, and all could be compared."""
        return all(drift.clean for drift in self.drifts)

    def table(self, title: str = "") -> Table:
        """Return the table: a row for each environment, and one below it for each resource that would change."""
        rows: list[tuple[str, ...]] = []
        for drift in self.drifts:
            verdict = "failed" if drift.error else "as described" if drift.clean else "drifted"
            summary = str(drift.error) if drift.error else drift.changes.summary()
            rows.append((drift.environment, verdict, summary, f"{drift.seconds:.0f}"))
            pending = drift.changes.pending
            for change in pending[:_LISTED]:
                differences = "" if change.action is Action.CREATE else ": " + "; ".join(map(str, change.differences))
                rows.append(("", f"to {change.action.value}", f"{change.kind} {change.name}{differences}", ""))
            if len(pending) > _LISTED:
                rows.append(("", "", f"and {len(pending) - _LISTED} more", ""))
        return Table(("environment", "", "what a check compared", "s"), rows, title)


def environments_on_azure() -> list[str]:
    """Return the names of all environment files but those of rehearsals; one that is invalid is kept, and told."""

    def is_rehearsed(name: str) -> bool:
        try:
            return load_environment(name).is_local
        except InvalidEnvironment:
            return False

    return [name for name in environment_names() if not is_rehearsed(name)]


def check(environments: Sequence[str]) -> Drifts:
    """Compare environments with the cloud, side by side, with the rights of mode=check; nothing is changed.

    It does not raise: what ends the check of an environment is in its row. Azure's throttling is waited for.
    """
    with ThreadPoolExecutor(len(environments)) as pool:
        return Drifts([*pool.map(partial(_check, connect=shared_connection()), environments)])


def _check(environment: str, connect: Callable[[Environment], Connection]) -> Drift:
    started, changes, error = time.monotonic(), Changes(), None
    try:
        with closing(open_session(environment, "check", connect=connect)) as session:
            for step in _STEPS:
                changes += step.everything(session)
    except AirflowAksError as ended:
        error = ended
    return Drift(environment, changes, error, time.monotonic() - started)
