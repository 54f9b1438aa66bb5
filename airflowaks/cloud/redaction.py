"""Redaction by value: each secret that a session reads or generates is masked wherever it would print."""

from __future__ import annotations

import html
import json
import threading
from base64 import b64encode, urlsafe_b64encode
from dataclasses import fields, is_dataclass, replace
from typing import Any
from urllib.parse import quote, quote_plus

from airflowaks.cloud.database_urls import password_of

MASK = "(secret)"
# Shorter values could match ordinary words; no secret of the runbook is shorter.
_SHORTEST = 8


class Secret:
    """A secret value. It is not a str, so only `reveal` returns the text; join, format and JSON encoders cannot."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def reveal(self) -> str:
        """Return the plain text."""
        return self._text


class Redactor:
    """Masks all secrets that it has learned, by value. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._learned: set[str] = set()
        self._longest_first: list[str] = []

    def learn(self, value: str | Secret) -> Secret:
        """Learn `value`, its secret parts and their encodings, and return it as a Secret."""
        plain = value.reveal() if isinstance(value, Secret) else value
        spellings = {spelling for part in _parts(plain) if len(part) >= _SHORTEST for spelling in _spellings(part)}
        with self._lock:
            if not spellings <= self._learned:
                self._learned |= spellings
                self._longest_first = sorted(self._learned, key=len, reverse=True)
        return Secret(plain)

    def redact(self, text: str) -> str:
        """Return `text` with every learned secret masked, the longest first."""
        if len(text) >= _SHORTEST:
            for value in self._longest_first:
                text = text.replace(value, MASK)
        return text

    def redact_all(self, value: Any) -> Any:
        """Return `value` with every learned secret masked in all its text: in mappings, lists, tuples, dataclasses."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {self.redact_all(key): self.redact_all(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.redact_all(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        if is_dataclass(value) and not isinstance(value, type):
            members = {field.name: self.redact_all(getattr(value, field.name)) for field in fields(value)}
            return replace(value, **members)
        return value

    def one_line(self, text: str, longest: int) -> str:
        """Return redacted `text` as one line of at most `longest` characters, for a message."""
        line = " ".join(self.redact(text).split())
        return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _parts(plain: str) -> set[str]:
    """Return `plain` and the secrets inside it: a URL's password, each key of a list of Fernet keys."""
    return {plain, password_of(plain) or "", *plain.split(",")}


def _spellings(plain: str) -> set[str]:
    """Return `plain` as text, URL, HTML, JSON, Python repr and Kubernetes Secret encode it."""
    return {
        plain,
        quote(plain),
        quote(plain, safe=""),
        quote_plus(plain),
        html.escape(plain),
        html.escape(plain, quote=False),
        json.dumps(plain)[1:-1],
        json.dumps(plain, ensure_ascii=False)[1:-1],
        repr(plain)[1:-1],
        b64encode(plain.encode()).decode(),
        urlsafe_b64encode(plain.encode()).decode(),
    }
