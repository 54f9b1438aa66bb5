"""Gathering facts where sources are down, or hold nothing yet: it ends soon, raises nothing, and says what it saw."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from airflowaks.config.environment import load_environment
from airflowaks.diagnosis import kubectl
from airflowaks.diagnosis.bundle import pack
from airflowaks.diagnosis.diagnose import apply_fix, diagnose
from airflowaks.diagnosis.finding import Severity
from airflowaks.engine.checks import Checks
from airflowaks.engine.results import Results
from airflowaks.errors import InvalidParameter
from airflowaks.session import Session, open_session
from airflowaks.steps import cluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal

SOURCES = {"azure", "kubernetes", "airflow", "backend"}


@pytest.fixture
def nowhere(rehearsal: Rehearsal, group_name: str) -> Session:
    """A session of an environment of which nothing exists, and whose resource group's name it takes for a secret."""
    del rehearsal
    local = load_environment("local")
    environment = local.model_copy(
        update={
            "resource_group": group_name,
            "cluster": local.cluster.model_copy(update={"name": group_name}),
            "key_vault": local.key_vault.model_copy(update={"name": group_name}),
        }
    )
    session = Session(environment, "apply", open_session("local").connection)
    cluster.providers(session)
    session.mode = "plan"
    session.redactor.learn(group_name)
    return session


def test_where_nothing_was_made_that_is_the_cause(nowhere: Session, rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = len(rehearsal.requests())
    diagnosis = diagnose(nowhere)
    (cause,) = [one for one in diagnosis.findings if one.severity is Severity.CRITICAL]
    assert cause.id == "AKA-116"
    assert cause.cause.startswith("Resource group (secret)")
    assert {one.id for one in cause.consequences} >= {"AKA-003", "AKA-004", "AKA-006"}
    assert {name.partition(".")[0] for name in diagnosis.facts.readings} == SOURCES
    writes = [one for one in rehearsal.requests()[before:] if one["method"] in ("PUT", "PATCH", "DELETE")]
    assert not writes
    archive = tmp_path / "evidence.zip"
    assert "findings.txt" in str(pack(nowhere, diagnosis, str(archive)))
    with pytest.raises(InvalidParameter, match=r"^bundle: .* cannot be written: is a directory\."):
        pack(nowhere, diagnosis, str(tmp_path))
    with ZipFile(archive) as packed:
        texts = [packed.read(one).decode() for one in packed.namelist()]
    assert not [text for text in texts if nowhere.environment.resource_group in text]
    assert diagnosis.conclude(nowhere).failed == Checks(nowhere.memoize(Results).checks)


@pytest.mark.broad
def test_where_nobody_answers_each_source_says_so_and_soon(rehearsal: Rehearsal) -> None:
    del rehearsal
    session = open_session("local", "plan")
    session.connection = replace(session.connection, proxy="http://127.0.0.1:9")
    started = time.monotonic()
    diagnosis = diagnose(session)
    assert time.monotonic() - started < 60
    assert all(one.problem for name, one in diagnosis.facts.readings.items() if name != "kubernetes.logs")
    assert [one.id for one in diagnosis.findings.of(Severity.CRITICAL)] == ["AKA-001"]
    assert "127.0.0.1" in str(kubectl.pods(session))


def test_a_fix_is_of_a_finding_that_stands_and_can_be_had(nowhere: Session) -> None:
    diagnosis = diagnose(nowhere)
    assert not apply_fix(nowhere, diagnosis, "")
    for fix, action in (
        ("AKA-116", "Run the step cluster"),
        ("AKA-201", "Set fix to one of: AKA-116"),
        ("AKA-777", "Set fix to one of: "),
    ):
        with pytest.raises(InvalidParameter) as raised:
            apply_fix(nowhere, diagnosis, fix)
        assert raised.value.action.startswith(action)


def test_a_period_is_a_number_and_a_unit(nowhere: Session) -> None:
    with pytest.raises(InvalidParameter, match='since must be a period; got "yesterday"'):
        diagnose(nowhere, since="yesterday")
