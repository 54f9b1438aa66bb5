"""The critical path of a deployment: the chain of resources and checks that it took as long as.

From the records: back from what ended last, to what that waited for in another step, or to what ended before it began
in its own step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflowaks.notebook.timeline import Bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflowaks.notebook.records import RunRecord

_TOLERANCE_SECONDS = 0.05


@dataclass(frozen=True)
class Link:
    """One link of the chain: a resource or a check of a step, from `began` to `ended` (seconds since 1970).

    `waited_for` is the resource whose end it waited for, since `waited_since` for `waited` seconds.
    """

    step: str
    name: str
    began: float
    ended: float
    waited_for: str = ""
    waited_since: float = 0.0
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        """Return how long it took, without the wait."""
        return self.ended - self.began


def critical_path(records: Mapping[str, RunRecord]) -> list[Link]:
    """Return the chain in the order of time; `records` are those of the steps, by the notebook's name."""
    links = [link for name, record in records.items() for link in _links(name[:2], record)]
    waits = [(name[:2], wait) for name, record in records.items() for wait in record.waits]
    chain: list[Link] = []
    link = max(links, key=lambda each: each.ended, default=None)
    while link is not None and len(chain) < len(links):
        before, wait = _before(link, links, waits)
        if wait is not None:
            link = replace(link, waited_for=wait["resource"], waited_since=wait["began"], waited=wait["seconds"])
        chain.append(link)
        link = before
    return chain[::-1]


def bars(chain: Sequence[Link], start: float) -> list[Bar]:
    """Return a bar for each link, and one before it for its wait; `start` is when the deployment began."""
    drawn = []
    for link in chain:
        if link.waited_for:
            begin, name = link.waited_since - start, f"{link.step} waits for {link.waited_for}"
            drawn.append(Bar(name, begin, begin + link.waited, well=None, outcome="waited"))
        drawn.append(Bar(f"{link.step} {link.name}", link.began - start, link.ended - start, well=True))
    return drawn


def _links(step: str, record: RunRecord) -> Iterator[Link]:
    for change in record.changes:
        yield Link(step, f"{change['kind']} {change['name']}", change["began"], change["began"] + change["seconds"])
    for check in record.checks:
        yield Link(step, f"check: {check['name']}", check["began"], check["began"] + check["seconds"])


def _before(
    link: Link, links: Sequence[Link], waits: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[Link | None, Mapping[str, Any] | None]:
    """Return what a link began after: what ended last of its own step and what it waited for, with that wait."""
    limit = link.began + _TOLERANCE_SECONDS
    earlier = [each for each in links if each.began < link.began]
    before: list[tuple[Link, Mapping[str, Any] | None]] = [
        (each, None) for each in earlier if each.step == link.step and each.ended <= limit
    ]
    for step, wait in waits:
        if step == link.step and wait["waiter"] in ("", link.name) and wait["began"] + wait["seconds"] <= limit:
            # Its own step goes on reading it for a moment after others have seen that it is there.
            before += [(each, wait) for each in earlier if each.name == wait["resource"]]
    return max(before, key=lambda each: each[0].ended, default=(None, None))
