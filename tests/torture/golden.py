"""Golden files of refusals: below a head stand the sentences, below these the values that earn them.

In a sentence `…` stands for the value. What is not ASCII is escaped, and what repeats is written as `a{*300}`.
"""

from __future__ import annotations

import re
from difflib import unified_diff
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

VALUE = "…"
_RUN = 20
_ODD = re.compile(r"[^ -~…→]|\\")


def short(text: str) -> str:
    """Return text as ASCII, and what repeats often as `a{*300}` or `(1,){*300}`."""
    if _ODD.search(text):
        text = _ODD.sub(lambda odd: odd[0].encode("unicode_escape").decode(), text)
    if len(text) > _RUN:
        text = re.sub(r"(.)\1{19,}", lambda run: f"{run[1]}{{*{len(run[0])}}}", text)
        text = re.sub(r"(.{2,3}?)\1{19,}", lambda run: f"({run[1]}){{*{len(run[0]) // len(run[1])}}}", text)
    return text


def long(text: str) -> str:
    """Return what `short` shortened."""
    plain = re.sub(r"\((.{2,3}?)\)\{\*(\d+)\}", lambda run: run[1] * int(run[2]), text)
    plain = re.sub(r"(.)\{\*(\d+)\}", lambda run: run[1] * int(run[2]), plain)
    return plain.encode().decode("unicode_escape")


def render(groups: Mapping[str, Mapping[str, Iterable[str]]]) -> str:
    """Return the text of a golden file: by head, the values that earn each sentence."""
    lines = []
    for head in sorted(groups):
        lines.append(head)
        for said, values in sorted(groups[head].items()):
            lines += [f"    {short(line)}" for line in said.splitlines()]
            lines += [f"        {value}" for value in sorted(map(short, values))]
    return "\n".join(lines) + "\n"


def entries(text: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Return the head, the sentences and the value of each entry of a golden file."""
    head, said, in_values = "", (), False
    for line in text.splitlines():
        if line.startswith(" " * 8):
            in_values = True
            yield head, said, long(line[8:])
        elif line.startswith(" "):
            said = (line.strip(),) if in_values else (*said, line.strip())
            in_values = False
        else:
            head, said = line, ()


def check(file: Path, now: str, module: str) -> None:
    """Assert that a golden file says what is true now, or show what differs and how to renew it."""
    kept = file.read_text(encoding="utf-8").splitlines(keepends=True)
    difference = "".join(unified_diff(kept, now.splitlines(keepends=True), file.name, "now", n=4))
    assert not difference, f"{difference}\nIf each of these is better: python -m {module}"
