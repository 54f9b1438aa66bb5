"""Redaction by value: whatever a session has read or made as a secret is replaced wherever it would print."""

from __future__ import annotations

import html
import json
import threading
from base64 import b64encode
from urllib.parse import quote

MASK = "(secret)"
# Shorter values would blank out ordinary words; no secret of the runbook is that short.
_SHORTEST = 8


class Secret(str):
    """A secret value. It compares and encodes like the text it is, and never shows itself in a repr or a format."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, _spec: str) -> str:
        return MASK

    def reveal(self) -> str:
        """Return the plain text, for the one place that needs it."""
        return str.__str__(self)


class Redactor:
    """Knows secrets by value and takes them out of text. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()

    def learn(self, value: str) -> Secret:
        """Remember `value`, as it is and as it is written elsewhere, and return it as a Secret."""
        plain = value.reveal() if isinstance(value, Secret) else value
        if len(plain) >= _SHORTEST:
            with self._lock:
                self._known |= _spellings(plain)
        return Secret(plain)

    def redact(self, text: str) -> str:
        """Return `text` with every known secret masked, the longest first."""
        with self._lock:
            known = sorted(self._known, key=len, reverse=True)
        for value in known:
            text = text.replace(value, MASK)
        return text


def _spellings(plain: str) -> set[str]:
    """Return `plain` as it stands in text, a URL, HTML, JSON, Python's repr and a Kubernetes Secret."""
    return {
        plain,
        quote(plain),
        quote(plain, safe=""),
        html.escape(plain),
        json.dumps(plain)[1:-1],
        repr(plain)[1:-1],
        b64encode(plain.encode()).decode(),
    }
