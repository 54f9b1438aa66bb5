"""`python -m airflowaks.web` says where Airflow is, without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.web import main

if TYPE_CHECKING:
    from tests.support.rehearsal import Rehearsal


def test_where_tells_the_address_and_how_to_sign_in(rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    del rehearsal
    assert main(["--where"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "address http://localhost:8080, while `python -m airflowaks.web --env local` runs" in told
    assert "user admin" in told
    assert "password the secret airflow-admin-password in airflow-local-kv-" in told


def test_one_thing_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--where", "--password"])
    assert "not allowed with argument --where" in capsys.readouterr().err


def test_an_environment_that_does_not_exist_is_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "nowhere", "--where"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "nowhere" in first
    assert second.startswith("→ ")
