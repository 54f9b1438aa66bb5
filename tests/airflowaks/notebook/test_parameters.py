"""The values of parameters: each rule refuses before a run begins, and names the value and the fix."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airflowaks.errors import InvalidParameter
from airflowaks.notebook.parameters import check_parameters
from tests.support.notebooks import NOTEBOOKS, execute

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'a' * 64}"
REFUSED = [
    ("image", "sha256:xyz", 'image: "sha256:xyz" is neither import, build nor existing', "64 of the digits"),
    ("image", "sha256:" + "A" * 64, "is neither import", "64 of the digits 0-9 and a-f"),
    ("image", "apache/airflow:3.3.2", 'image: "apache/airflow:3.3.2" is neither', "Set `image` to one of these"),
    ("image", "-mine", 'image: "-mine" is neither', "Set `image`"),
    ("rotate", "nonsense", 'rotate: there is no secret "nonsense".', "airflow-jwt-secret"),
    ("dags", "nowhere", "DAGs folder nowhere: it does not exist.", "Set `dags`"),
    ("dags", "file.txt", "DAGs folder file.txt: it does not exist.", "Set `dags`"),
    ("dags", "empty", "DAGs folder empty: it has no .py or .zip file.", "Set `dags`"),
    ("since", "yesterday", 'since must be a period; got "yesterday".', '"90m"'),
    ("since", "٣h", 'since must be a period; got "٣h".', '"90m"'),
    ("since", "999999999d", "at most 90 days; got 999999999d.", '"90m"'),
    ("since", "91d", "at most 90 days; got 91d.", '"90m"'),
    ("since", "0m", "must be longer than nothing", '"90m"'),
    ("since", "9" * 5000 + "d", "since must be a period", '"90m"'),
    ("component", "foo", 'component: there is no "foo".', "one of: api-server, dag-processor, triggerer, worker"),
    ("component", "sheduler", 'component: there is no "sheduler".', 'Did you mean "scheduler"?'),
    ("fix", "AKA-999", 'fix: there is no "AKA-999".', "Did you mean"),
    ("namespace", "Airflow", 'namespace: "Airflow" is not the name of a namespace.', "lower-case"),
    ("namespace", "a" * 64, "is not the name of a namespace.", "at most 63"),
    ("bundle", "empty", "bundle: empty cannot be written: it is a folder.", "Set `bundle` to a file"),
    ("bundle", "file.txt/evidence.zip", "file.txt is a file.", "Set `bundle` to a file"),
    ("bundle", "b" * 5000, "cannot be written: file name too long.", "Set `bundle` to a file"),
    ("task", "sales//load", 'task must be DAG, DAG/RUN or DAG/RUN/TASK; got "sales//load".', "Write it as DAG"),
    ("records", "file.txt", "records: file.txt cannot be written: it is a file.", "Set `records` to a folder"),
    ("records", "file.txt/below", "file.txt is a file.", "Set `records` to a folder"),
]
TAKEN = [
    ("image", "build"),
    ("image", "3.3.2"),
    ("image", DIGEST),
    ("rotate", "airflow-broker-url"),
    ("dags", "dags"),
    ("since", "90d"),
    ("component", "dag-processor"),
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


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "value", "message", "action"), REFUSED, ids=[f"{name}={value[:20]}" for name, value, *_ in REFUSED]
)
def test_a_value_that_breaks_its_rule_is_refused(name: str, value: str, message: str, action: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check_parameters("a notebook", {name: value}, cells=[], kinds={name: str})
    assert message in caught.value.message
    assert action in caught.value.action


@pytest.mark.parametrize(("name", "value"), TAKEN)
def test_a_valid_value_creates_nothing(name: str, value: str, place: Path) -> None:
    before = sorted(place.rglob("*"))
    check_parameters("a notebook", {name: value}, cells=[], kinds={name: str})
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["image", "rotate", "dags", "since", "component", "task", "fix", "namespace", "bundle"]
)
def test_an_empty_value_is_not_set(name: str) -> None:
    check_parameters("a notebook", {name: ""}, cells=[], kinds={name: str})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_refused(place: Path) -> None:
    (place / "empty").chmod(0o500)
    with pytest.raises(InvalidParameter, match=r"records: empty/new cannot be written: .* is read-only for you"):
        check_parameters("a notebook", {"records": "empty/new"}, cells=[], kinds={"records": str})


@pytest.mark.broad
@pytest.mark.parametrize(
    ("notebook", "parameters"),
    [
        ("00_deploy", {"image": "sha256:xyz"}),
        ("04_key_vault", {"rotate": "nonsense"}),
        ("06_volumes", {"dags": "nowhere"}),
        ("08_troubleshooting", {"component": "foo"}),
    ],
)
def test_a_notebook_is_refused_before_its_cloud_is_asked(
    notebook: str, parameters: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(home))
    (path,) = (each for each in NOTEBOOKS if each.stem == notebook)
    (error,) = execute(path, tmp_path / "record.ipynb", **parameters).errors
    assert error.ename == "InvalidParameter"
    assert len(error.traceback) == 2
    assert not home.exists()  # not even the rehearsal was started
