"""The trace of a run: requests and answers as JSON lines, with pseudonyms; docs/azure.md describes the format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

MASK = "(secret)"
REFUSED = 400
"""The lowest status of an error."""


@dataclass(frozen=True)
class Exchange:
    """A request and its answer. `url`, headers and bodies have pseudonyms, and masks in place of secrets."""

    method: str
    url: str
    request: Any
    status: int
    headers: dict[str, str]
    response: Any

    @property
    def host(self) -> str:
        """Return the host."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """Return the path in lower case: Azure ignores its case."""
        return urlsplit(self.url).path.lower().rstrip("/")

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what a repetition of the request has in common with it."""
        return (self.method, self.url, json.dumps(self.request, sort_keys=True))

    @property
    def refused(self) -> bool:
        """Return whether the answer is an error."""
        return self.status >= REFUSED


@dataclass(frozen=True)
class Trace:
    """The exchanges in their order, and the pseudonyms of `subscription`, `tenant` and `operator`."""

    roles: dict[str, str]
    exchanges: list[Exchange]


def read_trace(path: Path) -> Trace:
    """Read a trace. Raises ValueError with the line that is none of a trace."""
    roles: dict[str, str] = {}
    exchanges = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            if "url" in line:
                exchanges.append(Exchange(**{name: line[name] for name in Exchange.__dataclass_fields__}))
            else:
                roles |= {str(role): str(guid) for role, guid in line.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            reason = f"line {number} is not an exchange ({type(fault).__name__}: {fault})"
            raise ValueError(reason) from fault
    if not exchanges:
        text = "it holds no exchange"
        raise ValueError(text)
    return Trace(roles, exchanges)
