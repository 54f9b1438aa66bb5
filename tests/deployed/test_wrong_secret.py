"""A component with another secret than the rest, and a key that encrypts: what Airflow does with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet, InvalidToken

from airflowaks.azure.database_role import connect
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.kube import exec as command
from airflowaks.session import open_session
from airflowaks.steps import airflow as step7
from airflowaks.steps import backend, key_vault
from tests.support.drills.drill import Scene

if TYPE_CHECKING:
    from tests.support.deployed import Deployed


@pytest.mark.story
def test_a_scheduler_with_another_jwt_secret_fails_every_task_without_a_word_in_its_log(airflow: Deployed) -> None:
    airflow.set_variable(
        "scheduler", name="AIRFLOW__API_AUTH__JWT_SECRET", value="another-secret-another-secret-another"
    )
    try:
        healthy, consumes, runs = step7.checks(open_session("local"))
        assert healthy.passed
        assert consumes.passed
        assert not runs.passed
        # Of what the task does its log says nothing, at most that it was about to begin.
        empty = (
            r"is failed; its log ends with: ::group::[^|]* \| [^|]*\.log \| ::endgroup::( \| ::group::Pre Execute)?$"
        )
        assert re.search(empty, runs.seen)
        assert "InvalidSignatureError: Signature verification failed" in airflow.log("api-server")
        assert re.search(r"path=/execution/task-instances/\S+/run .*status_code=403", airflow.log("api-server"))
        assert "ServerResponseError: Invalid auth token" in airflow.log("worker")
    finally:
        airflow.set_variable("scheduler", **{"name": "AIRFLOW__API_AUTH__JWT_SECRET", "$patch": "delete"})


@pytest.mark.story
def test_the_old_fernet_key_is_needed_no_more_once_a_pod_that_has_the_new_one_has_encrypted_again(
    airflow: Deployed,
) -> None:
    """The procedure of docs/rotation.md. A pod from before the roll-out encrypts with the old key, and says nothing."""
    scene = Scene(airflow.cloud)
    secret = scene.step(key_vault).fernet_key

    def keys() -> list[str]:
        found: str = secret.vault.secrets.get_secret(secret.name).value
        return found.split(",")

    def encrypt_again() -> None:
        command.run(scene.kube, scene.pods("scheduler")[0], ("airflow", "rotate-fernet-key"), container="scheduler")

    def encrypted() -> str:
        url = DatabaseUrl.parse(scene.step(key_vault).sql_connection.require("value").reveal())
        with connect(scene.step(backend).server, url.database, url.user, url.password) as database:
            (row,) = database.execute("SELECT val FROM variable WHERE key = 'drill'").fetchall()
        return str(row[0])

    with scene.kept("variables", key="drill", value="of before"):
        before, (old,) = encrypted(), keys()
        key_vault.rotate(open_session("local"), "airflow-fernet-key")
        encrypt_again()
        assert readable(encrypted(), old)
        step7.everything(open_session("local"))
        encrypt_again()
        new, *_ = keys()
        assert encrypted() != before
        assert readable(encrypted(), new)
        assert not readable(encrypted(), old)
        secret.vault.secrets.set_secret(secret.name, new, content_type="Fernet keys, the newest first")
        secret.refresh()
        assert secret.differences() == (), "which the next check would call drift"
        step7.everything(open_session("local"))
        with scene.api() as api:
            assert api._send("GET", "/api/v2/variables/drill")["value"] == "of before"


def readable(text: str, key: str) -> bool:
    try:
        Fernet(key).decrypt(text.encode())
    except InvalidToken:
        return False
    return True
