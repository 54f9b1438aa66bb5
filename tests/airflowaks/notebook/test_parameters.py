"""The values of parameters: valid ones create nothing. The refused ones are in tests/torture/parameters."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airflowaks.config.airflow_schema import Airflow
from airflowaks.config.environment import check_component, load_environment
from airflowaks.errors import InvalidParameter
from airflowaks.notebook.parameters import check_parameters

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'a' * 64}"
TAKEN = [
    ("image", "build"),
    ("image", "3.3.2"),
    ("image", DIGEST),
    ("rotate", "airflow-broker-url"),
    ("dags", "dags"),
    ("since", "90d"),
    ("component", "dag-processor"),
    ("upgrade", "node-image"),
    ("task", "sales"),
    ("task", "sales/manual__2026-11-29T09:32:00.863331+00:00/group.load"),
    ("fix", "AKA-201"),
    ("namespace", "kube-system"),
    ("bundle", "new/evidence.zip"),
    ("bundle", "file.txt"),
    ("records", "new/records"),
    ("records", "empty"),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file, an empty folder, and a folder of DAGs."""
    (tmp_path / "file.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "dags" / "team").mkdir(parents=True)
    (tmp_path / "dags" / "team" / "daily.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "value"), TAKEN)
def test_a_valid_value_creates_nothing(name: str, value: str, place: Path) -> None:
    before = sorted(place.rglob("*"))
    check_parameters("a notebook", {name: value}, cells=[], kinds={name: str})
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["image", "rotate", "dags", "since", "component", "upgrade", "task", "fix", "namespace", "bundle"]
)
def test_an_empty_value_is_not_set(name: str) -> None:
    check_parameters("a notebook", {name: ""}, cells=[], kinds={name: str})


@pytest.mark.parametrize(("name", "value"), [("bundle", "/proc/evidence.zip"), ("records", "/proc/records")])
def test_a_place_that_takes_no_file_is_refused_to_root_too(name: str, value: str) -> None:
    with pytest.raises(InvalidParameter, match=f"{name}: {value} cannot be written: /proc is read-only for you"):
        check_parameters("a notebook", {name: value}, cells=[], kinds={name: str})


def test_the_check_of_a_path_leaves_nothing_behind(place: Path) -> None:
    (place / "file.txt").write_text("kept")
    before = sorted(place.rglob("*"))
    for value in ("new/evidence.zip", "file.txt"):
        check_parameters("a notebook", {"bundle": value}, cells=[], kinds={"bundle": str})
    assert (sorted(place.rglob("*")), (place / "file.txt").read_text()) == (before, "kept")


def test_workers_of_a_queue_have_to_be_the_environments() -> None:
    local = load_environment("local")
    own = Airflow.model_validate({"queues": {"reports": {}}})
    check_component("worker-reports", local.model_copy(update={"airflow": own}))
    with pytest.raises(InvalidParameter) as caught:
        check_component("worker-nonsense", local)
    assert caught.value.message == 'component: local has no "worker-nonsense"; its workers are: worker.'
    assert caught.value.action.endswith("add the queue under airflow.queues in manifests/environments/local.yaml.")


@pytest.mark.parametrize("load", [0, 1, 200, 1000])
def test_a_load_is_a_number_of_tasks(load: int) -> None:
    check_parameters("a notebook", {"load": load}, cells=[], kinds={"load": int})


@pytest.mark.parametrize(
    ("load", "said"), [(-1, "-1 tasks cannot run at once"), (1001, "from 1 to 1000"), ("many", "a whole number")]
)
def test_another_load_is_refused(load: object, said: str) -> None:
    with pytest.raises(InvalidParameter, match=said):
        check_parameters("a notebook", {"load": load}, cells=[], kinds={"load": int})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_refused(place: Path) -> None:
    (place / "empty").chmod(0o500)
    with pytest.raises(InvalidParameter, match=r"records: empty/new cannot be written: .* is read-only for you"):
        check_parameters("a notebook", {"records": "empty/new"}, cells=[], kinds={"records": str})
