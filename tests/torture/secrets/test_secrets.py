"""No secret is written: what runs of the notebooks leave is searched for each secret in all of its spellings."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from airflowaks.cloud.database_urls import password_of
from airflowaks.kube.client import connect
from airflowaks.session import open_session
from airflowaks.steps import key_vault
from tests.support.deployment import describe_environment
from tests.support.notebooks import papermill
from tests.support.rehearsal import own_rehearsal
from tests.support.repository import REPOSITORY
from tests.torture.secrets import places
from tests.torture.secrets.spellings import TOKEN, leaks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflowaks.session import Session
    from tests.support.plugins.torture import Cases
    from tests.support.rehearsal import Rehearsal

STEPS = ("01_cluster", "02_registry", "03_backend", "04_key_vault", "05_workload_identity")
NAME = "hunted"


class Hunt:
    """Runs of notebooks in a folder, and what they wrote."""

    def __init__(self, cloud: Rehearsal, folder: Path, watch: places.Watch) -> None:
        self.cloud = cloud
        self.folder = folder
        self.watch = watch
        self.texts: dict[str, str] = {}
        self.secrets: dict[str, str] = {}

    def run(self, notebook: str, record: str = "", **parameters: str) -> int:
        """Run a notebook headless, and learn the secrets that exist then; return papermill's exit code."""
        words = [word for name, value in {"env": NAME, **parameters}.items() for word in ("-r", name, value)]
        path = self.folder / "runs" / f"{record or notebook}.ipynb"
        source = REPOSITORY / "notebooks" / f"{notebook}.ipynb"
        done = papermill(str(source), str(path), "--log-output", *words, cwd=self.folder)
        self.texts[f"output of {path.stem}"] = done.stdout + done.stderr
        self.secrets |= secrets(open_session(NAME, "plan"), self.cloud)
        return done.returncode

    def prove(self, cases: Cases) -> None:
        """Make a case of each secret, which falls where one of its spellings is found."""
        session = open_session(NAME, "plan")
        logs = {path.name: path.read_text() for path in self.cloud.home.glob("*") if path.suffix in {".log", ".jsonl"}}
        assert logs
        assert len(self.secrets) > 10
        texts = self.texts | self.watch.texts | logs | places.files(self.folder)
        texts |= places.azure(session) | places.cluster(session)
        traces = str(self.folder / "runs" / "trace-")
        for kind in ("output of", "process", traces, "resource", "activity log", "SecretProviderClass"):
            assert any(place.startswith(kind) for place in texts), kind
        found = leaks(self.secrets, texts)
        for name in (*self.secrets, TOKEN):
            with cases.case("secrets", name):
                assert not [line for line in found if line.startswith(f"{name}, ")]


def secrets(session: Session, cloud: Rehearsal) -> dict[str, str]:
    """Return each secret of a deployment: the vault's versions, the cluster's, the broker's keys, the operator's."""
    settings = json.loads((cloud.home / "settings.json").read_text())
    found = {name: settings[name] for name in ("operator_secret", "control_token", "docker_hub_token")}
    vault = session.memoize(key_vault.Resources).vault
    if vault.facts is not None:
        for name in [secret.name for secret in vault.secrets.list_properties_of_secrets()]:
            for version in vault.secrets.list_properties_of_secret_versions(name):
                value = str(vault.secrets.get_secret(name, version.version).value)
                found[f"{name} {version.version}"] = password_of(value) or value
    for document in session.memoize(connect).each("v1", "Secret"):
        for name, encoded in (document.get("data") or {}).items():
            value = b64decode(encoded).decode(errors="replace")
            found[f"Secret {document['metadata']['name']} {name}"] = password_of(value) or value
    return {name: part for name, value in found.items() for part in value.split(",") if len(part) > 12}


@contextmanager
def hunt(folder: Path) -> Iterator[Hunt]:
    """A cloud of its own, a working directory whose runs are traced, and a folder for temporary files."""
    describe_environment(folder, NAME, "trace: true\n")
    (folder / "runs").mkdir()
    (folder / "temporary").mkdir()
    with own_rehearsal() as cloud, pytest.MonkeyPatch.context() as patch, places.Watch(folder / "temporary") as watch:
        patch.chdir(folder)
        patch.setenv("TMPDIR", str(folder / "temporary"))
        yield Hunt(cloud, folder, watch)


@pytest.mark.broad
def test_steps_1_to_5_write_no_secret(tmp_path: Path, cases: Cases) -> None:
    with hunt(tmp_path) as hunting:
        for step in STEPS:
            assert hunting.run(step, mode="apply") == 0, hunting.texts[f"output of {step}"]
        assert hunting.run("04_key_vault", "rotated", rotate="airflow-broker-url") == 0
        vault = {"host": r".*vault\.azure\.net", "status": 400, "code": "BadParameter", "message": "no"}
        hunting.cloud.control("POST", {**vault, "methods": ["PUT"], "times": 9})
        assert hunting.run("04_key_vault", "failed", rotate="airflow-jwt-secret") == 1
        hunting.cloud.control("DELETE")
        hunting.run("08_troubleshooting", bundle="evidence.zip")
        assert (tmp_path / "evidence.zip").exists()
        hunting.prove(cases)


@pytest.mark.torture
def test_a_deployed_airflow_with_rotated_secrets_writes_no_secret(tmp_path: Path, cases: Cases) -> None:
    with hunt(tmp_path) as hunting:
        assert hunting.run("00_deploy", records="runs/steps") == 0, hunting.texts["output of 00_deploy"]
        for name in ("airflow-sql-alchemy-conn", "airflow-fernet-key", "airflow-jwt-secret"):
            assert hunting.run("04_key_vault", f"rotated-{name}", rotate=name) == 0
        assert hunting.run("07_airflow") == 0
        hunting.run("08_troubleshooting", bundle="evidence.zip")
        assert hunting.run("09_teardown", mode="plan") == 0
        hunting.prove(cases)
