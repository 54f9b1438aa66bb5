"""The critical path of a deployment, from what its records say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflowaks.notebook.critical_path import bars, critical_path
from airflowaks.notebook.provenance import Provenance
from airflowaks.notebook.records import RunRecord

START = 1000.0


def change(name: str, began: float, seconds: float) -> dict[str, Any]:
    return {"kind": name.partition(" ")[0], "name": name.partition(" ")[2], "began": START + began, "seconds": seconds}


def wait(resource: str, waiter: str, began: float, seconds: float) -> dict[str, Any]:
    return {"resource": resource, "waiter": waiter, "step": 1, "began": START + began, "seconds": seconds}


def record(*changes: dict[str, Any], waits: tuple[dict[str, Any], ...] = (), check: float | None = None) -> RunRecord:
    checks = [] if check is None else [{"name": "works", "began": START + check, "seconds": 2.0}]
    origin: Provenance = object.__new__(Provenance)
    return RunRecord(path=Path("a"), provenance=origin, changes=changes, checks=checks, waits=waits)


RECORDS = {
    "01_cluster": record(change("group rg", 1, 2), change("cluster aks", 3, 300)),
    "03_backend": record(
        change("server pg", 3, 360),
        change("broker redis", 3.1, 600),
        change("rule cluster", 363, 20),
        waits=(
            wait("group rg", "server pg", 1, 2),
            wait("group rg", "broker redis", 1, 2),
            wait("cluster aks", "rule cluster", 3, 300),
        ),
    ),
    "04_key_vault": record(
        change("secret sql", 384, 1),
        change("secret broker", 604, 2),
        waits=(wait("broker redis", "secret broker", 5, 599),),
    ),
    "07_airflow": record(change("Job migrate", 607, 30), waits=(wait("secret broker", "", 5, 601.5),), check=638),
}


def test_it_goes_back_from_the_last_end_to_what_each_link_waited_for() -> None:
    chain = critical_path(RECORDS)
    assert [f"{link.step} {link.name}" for link in chain] == [
        "01 group rg",
        "03 broker redis",
        "04 secret broker",
        "07 Job migrate",
        "07 check: works",
    ]
    assert [link.waited_for for link in chain] == ["", "group rg", "broker redis", "secret broker", ""]
    assert round(sum(link.seconds for link in chain)) == 2 + 600 + 2 + 30 + 2


def test_the_picture_has_a_bar_for_each_link_and_for_each_wait() -> None:
    drawn = [str(bar) for bar in bars(critical_path(RECORDS), START)]
    assert drawn[:3] == [
        "01 group rg: 1 s to 3 s, done",
        "03 waits for group rg: 1 s to 3 s, waited",
        "03 broker redis: 3 s to 603 s, done",
    ]
    assert len(drawn) == 5 + 3


def test_without_records_there_is_no_path() -> None:
    assert critical_path({}) == []
