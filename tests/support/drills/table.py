"""The table of docs/findings.md: what each rule finds, whether it is drilled, and how it is healed.

`python -m tests.support.drills.table` writes it.
"""

from __future__ import annotations

import re

from airflowaks.diagnosis.rules.registry import RULES, evaluate
from tests.support.drills.registry import DRILLS, every_run
from tests.support.failing.failing import FAILURES
from tests.support.failing.parsed import PARSED
from tests.support.repository import REPOSITORY
from tests.support.rule_cases import FOLDER, facts_of, read

FINDINGS = REPOSITORY / "docs/findings.md"
HEAD = ("| finding | what is wrong | drilled | healed |", "|---|---|---|---|")
BELIEVED = {"AKA-119"}
"""The rules whose words no document, source, report or measurement shows; `†` in the table."""
_REASONS = {
    "it is outside of what the runbook manages: your machine, your network or a service of Azure": (
        "AKA-001 AKA-002 AKA-007 AKA-008 AKA-105 AKA-119 AKA-120 AKA-204 AKA-303 AKA-405 AKA-513 AKA-610"
    ),
    "it costs, or is limited by the subscription: a person decides": (
        "AKA-102 AKA-103 AKA-104 AKA-107 AKA-108 AKA-110 AKA-111 AKA-112 AKA-113 AKA-114 AKA-118 AKA-408 AKA-508"
        " AKA-607 AKA-611 AKA-801 AKA-802"
    ),
    "the policy's owner exempts the account, or its share is made another way": "AKA-403",
    "only creating it again mends it, which loses data or takes long": "AKA-407 AKA-510 AKA-601",
    "the value is the environment file's: change it there": "AKA-109 AKA-116 AKA-117 AKA-205 AKA-506 AKA-515",
    "the finding has no cause of its own: its evidence names what to mend": (
        "AKA-003 AKA-004 AKA-115 AKA-206 AKA-319 AKA-401 AKA-402 AKA-404 AKA-409 AKA-410 AKA-705 AKA-901 AKA-902"
    ),
    "whose pod keeps the node, and whether it may be deleted, a person decides": "AKA-121",
    "which data to restore is a person's decision": "AKA-708 AKA-715 AKA-717",
    "the cause is in an image or a DAG, or in their use": (
        "AKA-711 AKA-716 AKA-722 AKA-723 AKA-724 AKA-725 AKA-726 AKA-731 AKA-732 AKA-733 AKA-734 AKA-905 AKA-906"
        " AKA-921 AKA-923 AKA-925"
    ),
    "the fix doubles a full pool; pools that do not exist, and limits, are decided with the DAG": "AKA-907",
    "AKS runs or repairs it": "AKA-812 AKA-813 AKA-819 AKA-820",
}
WHY = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Why the operator makes a fix that the runbook does not offer."""
TABLE = re.compile(re.escape("\n".join(HEAD)) + r"\n(?:\|.*\n)+")


def table() -> str:
    """Return the table, with the sentences that the rules' cases give."""
    always, failing = every_run(), {rule for rule, *_ in FAILURES.values()}.union(PARSED)
    rows = []
    for name in sorted(RULES):
        drills = [one for one in DRILLS if name in (one.rule, one.fix)]
        drilled = "in every run" if name in always else "in full"
        by_hand = f"by hand: {WHY.get(name, '')}" if drills or name in failing else "with its cause"
        automatic = RULES[name].automatic if name in failing else any(one.automatic for one in drills)
        healed = "automatically" if automatic else by_hand
        mark = " †" if name in BELIEVED else ""
        rows.append(f"| `{name}`{mark} | {_cause(name)} | {drilled} | {healed} |")
    return "\n".join((*HEAD, *rows)) + "\n"


def _cause(name: str) -> str:
    findings = evaluate(facts_of(read(FOLDER / "cases" / f"{name}.yaml")["facts"]))
    said = {one.id: one.cause for each in findings for one in (*each.consequences, *each.changes, each)}
    return said[name].replace("|", "\\|")


if __name__ == "__main__":
    text = FINDINGS.read_text(encoding="utf-8")
    FINDINGS.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
