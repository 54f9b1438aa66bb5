"""How changes and checks print, for people and for machines."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

from airflowaks.cloud.connection import Connection
from airflowaks.config.environment import load_environment
from airflowaks.engine.changes import AFTER_APPLY, CHANGES_MIME, Action, Change, Changes, Difference, show
from airflowaks.engine.checks import CHECKS_MIME, Check, Checks
from airflowaks.engine.observation import observe
from airflowaks.engine.results import Results
from airflowaks.errors import CheckFailed, PermissionDenied
from airflowaks.session import Session


def change(action: Action, name: str = "one", *differences: Difference, applied: bool = False) -> Change:
    return Change(
        kind="vault", name=name, action=action, id=f"/{name}", differences=differences, seconds=1.234, applied=applied
    )


UPDATED = change(Action.UPDATE, "two", Difference("sku.name", "<free>", "standard"), applied=True)
CHANGES = Changes((change(Action.CREATE), UPDATED, change(Action.NONE, "three"), change(Action.DELETE, "four")))


def test_a_row_a_resource_with_its_differences_below_it() -> None:
    lines = [line.split() for line in str(CHANGES).splitlines()]
    assert lines[0] == ["resource", "name", "change", "s", "correlation", "ID"]
    assert lines[2:] == [
        ["+", "vault", "one", "to", "create", "1.2"],
        ["~", "vault", "two", "updated", "1.2"],
        ["sku.name:", "<free>", "→", "standard"],
        ["=", "vault", "three", "up", "to", "date", "1.2"],
        ["-", "vault", "four", "to", "delete", "1.2"],
        ["1", "updated,", "1", "to", "create,", "1", "to", "delete,", "1", "up", "to", "date."],
    ]


def test_notes_are_whole_lines_under_the_counts() -> None:
    notes = [f"note {number} " + "long " * 40 for number in range(2)]
    noted = [dataclasses.replace(change(Action.NONE, note[:6]), note=note.strip()) for note in notes]
    assert str(Changes(noted)).splitlines()[-3:] == ["2 up to date.", *(note.strip() for note in notes)]


def test_machines_get_the_same_as_json() -> None:
    bundle = json.loads(json.dumps(CHANGES._repr_mimebundle_()))
    assert [one["action"] for one in bundle[CHANGES_MIME]] == ["create", "update", "none", "delete"]
    assert bundle[CHANGES_MIME][1] == {
        "kind": "vault",
        "name": "two",
        "action": "update",
        "id": "/two",
        "differences": [{"path": "sku.name", "before": "<free>", "after": "standard"}],
        "began": 0.0,
        "seconds": 1.23,
        "correlation_id": "",
        "applied": True,
        "unread": "",
        "origin": "",
        "note": "",
    }
    assert bundle["text/plain"] == str(CHANGES)
    assert "&lt;free&gt;" in bundle["text/html"]
    assert "<free>" not in bundle["text/html"]


def test_a_cell_that_shows_no_html_shows_the_table_and_no_tuple() -> None:
    formats, _ = DisplayFormatter().format(CHANGES)
    assert (formats["text/plain"], formats["text/html"]) == (str(CHANGES), CHANGES.table().html())


def test_changes_are_a_sequence() -> None:
    assert [one.name for one in CHANGES[1:3]] == ["two", "three"]
    assert CHANGES[-1].name == "four"
    assert len(CHANGES + CHANGES) == 8
    assert isinstance(CHANGES + CHANGES, Changes)


def test_pending_is_what_an_apply_would_still_do() -> None:
    assert [one.name for one in CHANGES.pending] == ["one", "four"]


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        (Changes(), "No changes."),
        (Changes((change(Action.NONE),)), "1 up to date."),
        (Changes((UPDATED, change(Action.CREATE))), "1 updated, 1 to create, 0 up to date."),
        (Changes((change(Action.CREATE, applied=True),) * 10), "10 created, 0 up to date."),
        (Changes((change(Action.DELETE, applied=True),)), "1 deleted, 0 up to date."),
    ],
)
def test_a_summary_counts(changes: Changes, summary: str) -> None:
    assert changes.summary() == summary


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "(none)"),
        (True, "true"),
        (7, "7"),
        (AFTER_APPLY, "(known after apply)"),
        ([], "[]"),
        (["a", None, {"b": False}], "[a, (none), {b: false}]"),
        ("x" * 61, "x" * 59 + "…"),
        ("x" * 60, "x" * 60),
    ],
)
def test_values_are_shown_as_people_write_them(value: Any, shown: str) -> None:
    assert show(value) == shown


@pytest.fixture
def session() -> Session:
    return Session(load_environment("local"), "apply", Connection(credential=None))  # type: ignore[arg-type]


def refuse() -> str:
    raise CheckFailed("The door is open.", "Close it.")


def fail() -> str:
    raise OSError("no-such-thing of the-secret-word")


def test_observations_become_checks(session: Session) -> None:
    session.redactor.learn("the-secret-word")
    looks = {"light": lambda: "the-secret-word burns", "door": refuse, "gas": fail}
    checks = observe(session, looks)
    assert session.memoize(Results).checks == list(checks)
    assert [(one.name, one.verdict) for one in checks] == [("light", "passed"), ("door", "FAILED"), ("gas", "FAILED")]
    assert [one.seen for one in checks] == [
        "(secret) burns",
        "The door is open.",
        "gas: OSError: no-such-thing of (secret)",
    ]
    assert [one.name for one in checks.failed] == ["door", "gas"]
    assert checks.summary() == "1 passed, 2 FAILED."


def test_a_plan_looks_at_nothing() -> None:
    session = Session(load_environment("local"), "plan", Connection(credential=None))  # type: ignore[arg-type]
    checks = observe(session, {"door": refuse})
    assert [(one.passed, one.verdict) for one in checks] == [(None, "not run")]
    assert not checks.failed


def test_a_check_whose_rights_the_caller_lacks_is_not_made() -> None:
    def look() -> str:
        raise PermissionDenied("Door: you may not look at it.", "Request a key.", needs="the key")

    for mode, expected in (("check", (None, "not made, needs the key")), ("apply", (False, "Door: you may not look"))):
        session = Session(load_environment("local"), mode, Connection(credential=None))  # type: ignore[arg-type]
        (check,) = observe(session, {"door": look})
        assert check.passed is expected[0]
        assert check.seen.startswith(expected[1])


def test_what_was_not_read_is_neither_pending_nor_up_to_date() -> None:
    unread = Change(kind="vault", name="five", action=Action.UNREAD, id="", unread="a key")
    partly = Change(kind="vault", name="six", action=Action.NONE, id="/six", unread="its value needs a key")
    changes = Changes((unread, partly))
    assert not changes.pending
    assert changes.summary() == "1 up to date, 1 not read."
    lines = [line.split() for line in str(changes).splitlines()]
    assert lines[2] == ["?", "vault", "five", "not", "read,", "needs", "a", "key", "0.0"]
    assert " ".join(lines[3]) == "= vault six up to date, but its value needs a key 0.0"


def test_checks_print_with_what_to_do_below_a_failure() -> None:
    checks = Checks((Check(name="door", passed=False, seen="open", action="Close it.", seconds=1.26),))
    lines = [line.split() for line in str(checks).splitlines()]
    assert lines[2:] == [["FAILED", "door", "open", "1.3"], ["→", "Close", "it."], ["1", "FAILED."]]
    bundle = json.loads(json.dumps(checks._repr_mimebundle_()))
    assert bundle[CHECKS_MIME] == [
        {"name": "door", "passed": False, "seen": "open", "action": "Close it.", "began": 0.0, "seconds": 1.26}
    ]
    assert Checks().summary() == "None was made."
