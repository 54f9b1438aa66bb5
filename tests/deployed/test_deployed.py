"""A deployed Airflow: the records of the steps, rotation, scaling, who sees secrets."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
from azure.keyvault.secrets import SecretClient
from click.testing import CliRunner

from airflowaks.cli import airflowaks
from airflowaks.config.environment import load_environment
from airflowaks.engine.changes import CHANGES_MIME, Action
from airflowaks.engine.checks import CHECKS_MIME
from airflowaks.kube.client import Reference
from airflowaks.session import open_session
from airflowaks.steps import airflow as step7
from airflowaks.steps import backend, key_vault
from tests.support.deployed import COMPONENTS, NAMESPACE, until, written
from tests.support.notebooks import NOTEBOOKS, Executed, execute, papermill
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.deployed import Deployed

QUEUE_FOUR = """
INSERT INTO task_instance
SELECT (jsonb_populate_record(one, jsonb_build_object('id', gen_random_uuid(), 'map_index', n, 'state', 'queued'))).*
FROM task_instance one, generate_series(1, 4) n
WHERE one.id = (SELECT id FROM task_instance WHERE state = 'success' LIMIT 1)
"""

pytestmark = pytest.mark.broad


@pytest.mark.parametrize("path", NOTEBOOKS[1:8], ids=lambda path: path.stem)
def test_the_record_of_each_step_shows_everything_up_to_date(airflow: Deployed, path: Path) -> None:
    record = Executed(airflow.records / path.name)
    assert not record.errors
    assert {check["passed"] for check in record.shown(CHECKS_MIME)[-1]} == {True}
    assert {change["applied"] or change["action"] == "none" for change in record.shown(CHANGES_MIME)[-1]} == {True}


def test_at_rest_nothing_in_the_cluster_changes(airflow: Deployed) -> None:
    """A controller that is never content would keep a processor busy, and objects new."""

    def version() -> str:
        listed = airflow.kube.request("GET", "/api/v1/namespaces", {"limit": "1"})
        return str(listed["metadata"]["resourceVersion"])

    def rests() -> bool:
        before = version()
        time.sleep(3)
        return version() == before

    until(rests)


@pytest.mark.parametrize("folder", ["", "notebooks"])
def test_papermill_runs_from_the_root_and_from_the_notebooks(airflow: Deployed, folder: str) -> None:
    notebook = "03_backend.ipynb" if folder else "notebooks/03_backend.ipynb"
    record = airflow.records / f"again-from-{folder or 'root'}.ipynb"
    done = papermill(notebook, str(record), "-p", "env", "local", "-p", "mode", "check", cwd=REPOSITORY / folder)
    assert done.returncode == 0, done.stderr
    assert {change["action"] for change in Executed(record).shown(CHANGES_MIME)[-1]} == {"none"}


@pytest.mark.usefixtures("airflow", "heeded_interrupts")
def test_its_pages_are_reached_while_the_command_runs() -> None:
    command = [sys.executable, "-m", "airflowaks", "web", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            url = program.stdout.readline().split()[0]
            with urllib.request.urlopen(f"{url}/api/v2/version", timeout=60) as answer:  # noqa: S310 - on this machine
                assert b"3.3.2" in answer.read()
            program.send_signal(signal.SIGINT)
            assert program.wait(60) == 0
        finally:
            program.kill()


def test_a_rotated_jwt_secret_rolls_those_who_have_it_and_nobody_else(airflow: Deployed) -> None:
    before = {component: set(airflow.pods(component)) for component in COMPONENTS}
    key_vault.rotate(open_session("local"), "airflow-jwt-secret")
    session = open_session("local")
    changed = {one.name for one in step7.everything(session) if one.action is not Action.NONE}
    assert changed == {"airflow-api-server", "airflow-scheduler"}
    # While they end, the old ones are still there.
    until(lambda: not any(before[one] & set(airflow.pods(one)) for one in ("api-server", "scheduler")))
    after = {component: set(airflow.pods(component)) for component in COMPONENTS}
    assert {one for one in COMPONENTS if after[one] != before[one]} == {"api-server", "scheduler"}
    assert not step7.checks(session).failed


def test_environments_are_checked_by_one_command(airflow: Deployed) -> None:
    budget = Reference("policy/v1", "PodDisruptionBudget", "airflow-triggerer", NAMESPACE)
    assert (clean := CliRunner().invoke(airflowaks, ["check", "--env", "local"])).exit_code == 0, clean.output
    airflow.kube.delete(budget)
    drifted = CliRunner().invoke(airflowaks, ["check", "--env", "local"])
    assert drifted.exit_code == 1
    assert " 1 to create, " in drifted.output
    assert re.search(r"to create +PodDisruptionBudget airflow-triggerer", drifted.output)
    step7.everything(open_session("local"))


def test_a_check_finds_what_was_changed_behind_its_back_and_writes_nothing(airflow: Deployed) -> None:
    kube, budget = airflow.kube, Reference("policy/v1", "PodDisruptionBudget", "airflow-scheduler", NAMESPACE)
    kube.delete(budget)
    assert not kube.get(budget)
    begun = time.time()
    record = execute(REPOSITORY / "notebooks/07_airflow.ipynb", airflow.records / "drifted.ipynb", mode="check")
    (error,) = record.errors
    assert error.ename == "DriftFound"
    assert "PodDisruptionBudget airflow-scheduler (create)" in error.evalue
    assert written(airflow, begun) == []
    step7.configuration(open_session("local"))
    assert kube.get(budget)


def test_queued_tasks_bring_workers(airflow: Deployed) -> None:
    """By the very ScaledObject of the manifests, whose connection trusts the system's authorities."""
    kube = airflow.kube

    def scaled() -> dict[str, str]:
        found = kube.get(Reference("keda.sh/v1alpha1", "ScaledObject", "airflow-worker", NAMESPACE)) or {}
        return {one["type"]: one["status"] for one in found["status"]["conditions"]}

    assert scaled()["Ready"] == "True"
    assert airflow.deployment("worker")["spec"]["replicas"] == 1
    session = open_session("local", "plan")
    secrets = {one.name: one for one in session.memoize(key_vault.Resources).secrets}
    connection = secrets["airflow-keda-connection"].require("value").reveal()
    assert "sslrootcert=system" in connection
    trusting = connection.replace("sslrootcert=system", f"sslrootcert={airflow.cloud.home}/ca.pem")
    step3 = session.memoize(backend.Resources)
    address, port = step3.route.address(step3.server.host, step3.server.port)
    with closing(session), psycopg.connect(trusting, autocommit=True, hostaddr=address, port=port) as database:
        # Of a run that is over, so that no scheduler looks after them.
        database.execute(QUEUE_FOUR)
        until(lambda: airflow.deployment("worker")["spec"]["replicas"] == 2)
        assert scaled()["Active"] == "True"
        database.execute("DELETE FROM task_instance WHERE map_index > 0")


@pytest.fixture
def vault_secrets(airflow: Deployed) -> Callable[[], dict[str, str]]:
    """Reads every version of every secret in the vault of `local`."""

    def read() -> dict[str, str]:
        url = f"https://{load_environment('local').key_vault.name}.vault.azure.net"
        transport = {key: value for key, value in airflow.cloud.transport.items() if key != "polling_interval"}
        with SecretClient(url, airflow.cloud.credential(), **transport) as client:
            names = [secret.name for secret in client.list_properties_of_secrets()]
            versions = [one for name in names for one in client.list_properties_of_secret_versions(name)]
            found = {f"{one.name}/{one.version}": client.get_secret(one.name, one.version).value for one in versions}
        return {name: value for name, value in found.items() if value}

    return read


def texts(folder: Path, *suffixes: str) -> dict[str, str]:
    """Return what the files of these kinds below a folder say, but for those that go meanwhile, as a pod's do."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = f"{place}/{name}"
            with suppress(FileNotFoundError):
                if name.endswith(suffixes):
                    found[path] = Path(path).read_text(encoding="utf-8", errors="replace")
    return found


def test_no_record_log_or_process_shows_a_secret(
    airflow: Deployed, vault_secrets: Callable[[], dict[str, str]]
) -> None:
    execute(
        REPOSITORY / "notebooks/04_key_vault.ipynb",
        airflow.records / "rotated.ipynb",
        rotate="airflow-admin-password",
    )
    step7.everything(open_session("local"))  # which sets it in Airflow
    evidence = airflow.records / "evidence.zip"
    execute(REPOSITORY / "notebooks/08_troubleshooting.ipynb", airflow.records / "08.ipynb", bundle=str(evidence))
    secrets = vault_secrets()
    assert len(secrets) >= 9 + 1, "the password is there as it was and as it is"
    left = texts(airflow.records, ".ipynb")
    assert left
    with zipfile.ZipFile(evidence) as bundle:
        left |= {name: bundle.read(name).decode(errors="replace") for name in bundle.namelist()}
    logs = texts(airflow.cloud.home, ".log", ".jsonl")
    left |= logs
    processes = psutil.process_iter(["pid", "cmdline"])
    left |= {f"process {one.info['pid']}": " ".join(one.info["cmdline"] or ()) for one in processes}
    assert logs
    parts = {name: value.partition("://")[2].partition("@")[0].rpartition(":")[2] for name, value in secrets.items()}
    for name in secrets:
        for value in {secrets[name], parts[name]} - {""}:
            assert not [where for where, text in left.items() if value in text], name
