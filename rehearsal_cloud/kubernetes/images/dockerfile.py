"""Dockerfiles: their instructions, and the words of an instruction with variables replaced, by Docker's rules.

https://docs.docker.com/reference/dockerfile. No here-documents and no parser directives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONTINUED = re.compile(r"\\[ \t]*$")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<plain>\w+))")
_TOKEN = re.compile(
    r"""'(?P<literal>[^']*)'|"(?P<quoted>(?:\\.|[^"\\])*)"|\\(?P<escaped>.)|(?P<space>\s+)""", re.DOTALL
)
_ESCAPE = re.compile(r'\\(["\\$])')


@dataclass(frozen=True)
class Instruction:
    """An instruction: its name in capitals, and its arguments from one or more lines."""

    name: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.name} {self.arguments}"


def instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions of a Dockerfile; comments and blank lines are skipped, also between continued lines."""
    parts: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts.append(_CONTINUED.sub("", line).strip())
        if not _CONTINUED.search(line):
            name, _, arguments = " ".join(parts).partition(" ")
            yield Instruction(name.upper(), arguments.strip())
            parts = []


def words(text: str, variables: Mapping[str, str]) -> list[str]:
    """Return the words of a line without their quotes; `$NAME` and `${NAME:-default}` are replaced outside of '…'."""
    texts: list[str | None] = [None]
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            variable = _VARIABLE.match(text, place)
            part, place = (_value(variable, variables), variable.end()) if variable else (text[place], place + 1)
        elif token["space"] is not None:
            place = token.end()
            texts.append(None)
            continue
        else:
            part, place = _unquoted(token, variables), token.end()
        texts[-1] = (texts[-1] or "") + part
    return [word for word in texts if word is not None]


def _unquoted(token: re.Match[str], variables: Mapping[str, str]) -> str:
    if token["quoted"] is not None:
        return _ESCAPE.sub(r"\1", _VARIABLE.sub(lambda match: _value(match, variables), token["quoted"]))
    return str(token["literal"] if token["literal"] is not None else token["escaped"])


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    return variables.get(match["braced"] or match["plain"]) or match["default"] or ""
