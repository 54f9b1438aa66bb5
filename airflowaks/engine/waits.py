"""Waits: what a step of a deployment waited for while another step made it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from airflowaks.engine.table import Table, Tabular

WAITS_MIME = "application/vnd.airflowaks.waits+json"


@dataclass(frozen=True, kw_only=True)
class Wait:
    """One wait: for which resource of which step, since when (seconds since 1970), how many seconds, and what waited.

    `waiter` is empty where the notebook itself waited.
    """

    resource: str
    step: int
    began: float
    seconds: float
    waiter: str = ""


class Waits(Tabular, tuple[Wait, ...]):
    """The waits of a step; shows itself as a table."""

    __slots__ = ()

    def table(self, title: str = "") -> Table:
        """Return the table: one row a wait."""
        rows = [(f"{wait.resource} (step {wait.step})", wait.waiter, f"{wait.seconds:.1f}") for wait in self]
        data = {WAITS_MIME: [asdict(wait) for wait in self]}
        return Table(("waited for", "before", "s"), rows, title, data=data)
