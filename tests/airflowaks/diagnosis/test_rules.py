"""What each rule finds: facts in, findings out, a file a case.

`healthy.yaml` holds the facts of a deployment in which all is well. A case, `cases/<rule>.yaml` or `cases/<what>.yaml`,
patches them (RFC 7396; a list is replaced as a whole) and names what is to be found: each cause with its consequences,
and perhaps what it `shows`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflowaks.diagnosis.finding import Finding, Findings, Severity
from airflowaks.diagnosis.rules.registry import RULES, SECTIONS, evaluate
from tests.support.drills.registry import DRILLS
from tests.support.drills.table import WHY, table
from tests.support.failing.failing import FAILURES
from tests.support.failing.parsed import PARSED
from tests.support.rule_cases import CASES, FOLDER, facts_of, read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = read(path)
    findings = evaluate(facts_of(case["facts"]))
    assert {one.id: sorted({each.id for each in one.consequences}) for one in findings} == case["finds"]
    explained = {one.id: [each.id for each in one.changes] for one in findings if one.changes}
    assert explained == case.get("changes", {})
    assert case.get("shows", "") in "\n".join(line for one in findings for line in (one.cause, one.fix, *one.evidence))
    if "severity" in case:
        assert [one.severity for one in findings] == [case["severity"]]
    for one in findings:
        assert one.evidence, one.id
        assert one.cause.endswith(".")
        assert one.fix.endswith(".")
        assert one.remedy is None or RULES[one.id].automatic or RULES[one.id].remedy, one.id


def test_all_is_well_where_nothing_is_wrong() -> None:
    assert evaluate(facts_of({})).summary() == "Nothing is wrong."
    assert [Severity.WARNING.counted(1), Severity.WARNING.counted(2), Severity.CRITICAL.counted(2)] == [
        "1 warning",
        "2 warnings",
        "2 critical",
    ]


def test_every_rule_has_a_case_and_is_found_in_it() -> None:
    named = {path.stem for path in CASES if path.stem in RULES}
    assert sorted(set(RULES) - named) == []
    cases = {name: read(FOLDER / "cases" / f"{name}.yaml") for name in named}
    assert [name for name, case in cases.items() if name not in str((case["finds"], case.get("changes")))] == []


def test_ids_are_stable_unique_and_of_their_section() -> None:
    listed = [one.id for section in SECTIONS for one in section]
    assert len(listed) == len(set(listed)) >= 40
    firsts = [{name[:5] for name in (one.id for one in section)} for section in SECTIONS]
    assert all(len(one) == 1 for one in firsts)
    assert all(effect for one in RULES.values() for effect in one.effects)
    unfounded = {effect for one in RULES.values() for effect in one.effects if not _is_known(effect)}
    assert unfounded == set()


def _is_known(beginning: str) -> bool:
    return any(name.startswith(beginning) for name in RULES)


def test_findings_show_themselves() -> None:
    findings = evaluate(facts_of(read(FOLDER / "cases" / "AKA-201.yaml")["facts"]))
    shown = str(findings)
    assert shown.index("AKA-201") < shown.index("does not exist") < shown.index("→ Run step 2") < shown.index("so: ")
    assert "fix=AKA-201" in shown
    (record,) = findings._repr_mimebundle_()["application/vnd.airflowaks.findings+json"]
    assert (record["id"], record["automatic"]) == ("AKA-201", True)


def test_a_finding_shows_the_change_that_may_be_its_reason_and_that_changes_fix() -> None:
    findings = evaluate(facts_of(read(FOLDER / "cases" / "refused-while-old-pods-serve.yaml")["facts"]))
    shown = " ".join(str(findings).split())
    assert shown.index("AKA-816") < shown.index("perhaps because: Deployment airflow-worker differs")
    assert shown.index("true → false (set by kubectl-edit at 2026-11-22T10:00:00Z)") < shown.index("fix=AKA-807")
    (finding,) = findings
    assert [fixable.id for fixable in finding.fixable()] == ["AKA-807"]
    (record,) = findings._repr_mimebundle_()["application/vnd.airflowaks.findings+json"]
    assert [(change["id"], change["automatic"]) for change in record["changes"]] == [("AKA-807", True)]


def test_a_change_is_undone_before_what_it_broke_is_fixed() -> None:
    findings = evaluate(facts_of(read(FOLDER / "cases" / "AKA-821.yaml")["facts"]))
    (finding,) = findings
    broken = replace(finding, remedy=finding.changes[0].remedy)
    assert [fixable.id for fixable in broken.fixable()] == ["AKA-821", broken.id]


def test_a_fix_is_waited_for_until_nothing_critical_is_left_of_it() -> None:
    blocked, other = (
        Finding(rule, Severity.CRITICAL, "Something is wrong.", "Mend it.") for rule in ("AKA-517", "AKA-306")
    )
    hangs = replace(blocked, id="AKA-720")
    before = Findings((replace(blocked, consequences=(hangs,)), other))
    assert not before.recovered(before, "AKA-517")
    assert not Findings((hangs, other)).recovered(before, "AKA-517"), "it has not sent its heartbeat yet"
    assert Findings((other, replace(hangs, severity=Severity.NOTE))).recovered(before, "AKA-517")
    undone = Findings((replace(blocked, changes=(replace(other, id="AKA-821"),)),))
    assert not undone.recovered(undone, "AKA-821")


def test_a_difference_from_the_environment_is_a_warning() -> None:
    findings = evaluate(facts_of(read(FOLDER / "cases" / "AKA-117.yaml")["facts"]))
    assert [finding.severity for finding in findings] == [Severity.WARNING]


def test_each_rule_is_drilled() -> None:
    drilled = {rule for drill in DRILLS for rule in (drill.rule, *drill.also, *drill.changes)}
    assert sorted(drilled | {rule for rule, *_ in FAILURES.values()} | set(PARSED)) == sorted(RULES)


def test_what_is_left_to_people_says_why() -> None:
    by_hand = {row.split("`")[1] for row in table().splitlines() if "| by hand" in row}
    assert by_hand == set(WHY)
