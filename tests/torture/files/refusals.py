"""The golden file of environment files' refusals: each change of a file, and the exact sentences that it earns.

To add a case to `refusals.txt`, write its value below any sentence of its key. To renew the sentences, and to add the
changes that follow from the schema: `python -m tests.torture.files.refusals`.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflowaks.config.environment import load_environment
from airflowaks.errors import InvalidEnvironment
from tests.torture.files.changes import Change, every
from tests.torture.golden import VALUE, entries, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE = Path(__file__).with_suffix(".txt")
ACCEPTED = "accepted"
BESIDE = " | "


def refusal(change: Change, folder: Path) -> str:
    """Return the sentences that a change earns, without `nothing was created` and the like, which all have."""
    path = folder / "test.yaml"
    path.write_text(change.text(), encoding="utf-8", errors="surrogatepass")
    try:
        load_environment("test", folder)
    except InvalidEnvironment as error:
        first, *problems = error.message.split("\n  ")
        if error.action != f"Correct {path} and run again.":
            return f"{first} → {error.action}".replace(f"{folder}/", "")
        if problems:
            rules = "1 rule" if len(problems) == 1 else f"{len(problems)} rules"
            assert first == f"test.yaml breaks {rules}; nothing was created."
        return "\n".join(problems or [first])
    return ACCEPTED


def golden(changes: Iterable[Change]) -> str:
    """Return the text of the golden file for the changes."""
    groups: dict[str, dict[str, list[str]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for change in dict.fromkeys(changes):
            head = BESIDE.join([change.key, *(f"{key}: {value}" for key, value in change.beside.items())])
            said = _template(refusal(change, Path(folder).resolve()), change)
            groups.setdefault(head, {}).setdefault(said, []).append(change.value)
    return render(groups)


def _template(sentences: str, change: Change) -> str:
    """Return sentences with `…` for the value, and without the key and the line where these are the change's."""
    line = change.text().count("\n")
    shown = change.value[1:-1] if change.value[:1] in {"'", '"'} else change.value
    lines = []
    for sentence in sentences.splitlines():
        text = sentence.removeprefix(f"{change.key} (line {line}): ").replace(f'"{shown}"', f'"{VALUE}"')
        lines.append(re.sub(rf"(^|got |reads ){re.escape(shown)}(?= |$)", rf"\1{VALUE}", text))
    return "\n".join(lines)


def kept() -> Iterator[tuple[Change, tuple[str, ...]]]:
    """Return the changes that the golden file has, each with the sentences that it earns."""
    for head, said, value in entries(FILE.read_text(encoding="utf-8")):
        key, *beside = head.split(BESIDE)
        yield Change(key, value, dict(each.split(": ", 1) for each in beside)), said


def now() -> str:
    """Return the golden file as it is to be."""
    return golden([*every(), *(change for change, _ in kept())])


if __name__ == "__main__":
    FILE.write_text(now(), encoding="utf-8")
