"""The table of docs/findings.md: what each rule finds, whether it is drilled, and how it is healed.

`python -m tests.support.drills.table` writes it.
"""

from __future__ import annotations

import re

from airflowaks.diagnosis.rules.registry import RULES, evaluate
from tests.support.drills.registry import DRILLS, every_run
from tests.support.repository import REPOSITORY
from tests.support.rule_cases import FOLDER, facts_of, read

FINDINGS = REPOSITORY / "docs/findings.md"
HEAD = ("| finding | what is wrong | drilled | healed |", "|---|---|---|---|")
BELIEVED = {"AKA-119"}
"""The rules whose words no document, source, report or measurement shows; `†` in the table."""
TABLE = re.compile(re.escape("\n".join(HEAD)) + r"\n(?:\|.*\n)+")


def table() -> str:
    """Return the table, with the sentences that the rules' cases give."""
    always = every_run()
    rows = []
    for name in sorted(RULES):
        drills = [one for one in DRILLS if one.rule == name]
        drilled = "in every run" if name in always else "in full"
        by_hand = "by hand" if drills else "with its cause"
        healed = "automatically" if any(one.automatic for one in drills) else by_hand
        mark = " †" if name in BELIEVED else ""
        rows.append(f"| `{name}`{mark} | {_cause(name)} | {drilled} | {healed} |")
    return "\n".join((*HEAD, *rows)) + "\n"


def _cause(name: str) -> str:
    findings = evaluate(facts_of(read(FOLDER / "cases" / f"{name}.yaml")["facts"]))
    said = {one.id: one.cause for each in findings for one in (*each.consequences, each)}
    return said[name].replace("|", "\\|")


if __name__ == "__main__":
    text = FINDINGS.read_text(encoding="utf-8")
    FINDINGS.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
