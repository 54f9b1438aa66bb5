"""Sessions: environments, modes, who is signed in, and a rehearsal that does not start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AccessToken

from airflowaks.cloud.connection import Connection, Operator, token_claims
from airflowaks.cloud.once import Once
from airflowaks.config.environment import load_environment
from airflowaks.errors import InvalidEnvironment, InvalidParameter, RehearsalUnavailable, SignInFailed
from airflowaks.session import Session, open_session

if TYPE_CHECKING:
    from tests.support.rehearsal import Rehearsal

TENANT = "22222222-2222-4222-8222-222222222222"
SCOPE = "https://management.azure.com/.default"


class Given:
    """A credential whose token says what it is given, unsigned: a session reads tokens and leaves proof to Azure."""

    def __init__(self, **claims: str) -> None:
        self.claims = {"oid": "object", "tid": TENANT, **claims}

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        parts = ({"alg": "none"}, self.claims)
        header, payload = (urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        return AccessToken(f"{header}.{payload}.", 0)


def session_of(credential: Any, mode: Any = "plan") -> Session:
    return Session(load_environment("local"), mode, Connection(credential=credential))


@pytest.mark.parametrize("step", ["cluster", "registry", "backend", "key_vault"])
def test_importing_a_step_imports_nothing_that_is_slow(step: str) -> None:
    program = f"import sys, airflowaks.steps.{step}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert imported & {"airflowaks", "azure", "psycopg", "pydantic", "redis", "tenacity"} == {"airflowaks"}


def test_there_are_three_modes() -> None:
    with pytest.raises(InvalidParameter, match='no mode "destroy", only: plan, apply, check'):
        open_session("local", "destroy")
    assert [session_of(None, mode).applies for mode in ("plan", "apply", "check")] == [False, True, False]


def test_an_environment_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidEnvironment, match='no environment "prd"') as caught:
        open_session("prd", "plan")
    assert "prod" in caught.value.action


@pytest.mark.parametrize(
    ("claims", "operator"),
    [
        (
            {"idtyp": "app", "appid": "client", "app_displayname": "pipeline"},
            Operator("object", "ServicePrincipal", "pipeline"),
        ),
        ({"appid": "client"}, Operator("object", "ServicePrincipal", "client")),
        (
            {"idtyp": "user", "scp": "user_impersonation", "upn": "ada@example.com", "appid": "az"},
            Operator("object", "User", "ada@example.com"),
        ),
        (
            {"scp": "user_impersonation", "upn": "ada@example.com", "appid": "az"},
            Operator("object", "User", "ada@example.com"),
        ),
        # A guest's token has no upn.
        (
            {"scp": "user_impersonation", "unique_name": "live.com#ada@example.org", "appid": "az"},
            Operator("object", "User", "live.com#ada@example.org"),
        ),
    ],
    ids=["pipeline", "managed identity", "person", "person without idtyp", "guest"],
)
def test_the_operator_is_who_the_token_is_for(claims: dict[str, str], operator: Operator) -> None:
    assert session_of(Given(**claims)).operator == operator


def test_a_sign_in_to_another_tenant_is_refused() -> None:
    with pytest.raises(SignInFailed, match="signed in to tenant elsewhere, and the environment is in tenant 2222"):
        _ = session_of(Given(tid="elsewhere")).operator


def test_a_token_is_a_secret() -> None:
    session = session_of(Given())
    token = session.token(SCOPE)
    assert token_claims(token)["oid"] == "object"
    assert session.redactor.redact(f"Authorization: Bearer {token}") == "Authorization: Bearer (secret)"


def test_what_sdk_clients_sign_in_with_is_secret(rehearsal: Rehearsal) -> None:
    session = open_session("local", "plan")
    list(session.resources.resource_groups.list())
    tokens = [session.connection.credential.get_token(SCOPE).token, rehearsal.connection["AZURE_CLIENT_SECRET"]]
    again = Session(session.environment, "plan", session.connection)
    for token in tokens:
        assert session.redactor.redact(f"<{token}>") == "<(secret)>"
    assert again.redactor.redact(f"<{tokens[1]}>") == "<(secret)>"


def test_steps_share_what_was_made_once() -> None:
    session, made = session_of(None), []

    def make(of: Session) -> object:
        made.append(of)
        return object()

    assert session.memoize(make) is session.memoize(make)
    assert made == [session]


def test_what_one_thread_makes_holds_up_nobody_who_needs_something_else() -> None:
    once, begun, other_made = Once(), threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert other_made.wait(30)
        return "slow"

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(once.get, "slow", slow) for _ in range(2)]
        assert begun.wait(30)
        assert once.get("other", lambda: "other") == "other"
        other_made.set()
        assert [future.result(30) for future in waiting] == ["slow", "slow"]
        assert once.get("slow", lambda: "again") == "slow"


def test_what_could_not_be_made_is_tried_again() -> None:
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once.get("key", lambda: 1 // 0)
    assert once.get("key", lambda: 1) == 1


def without_connections(connection: Connection) -> dict[str, Any]:
    return {name: value for name, value in connection.transport.items() if name != "transport"}


@pytest.mark.parametrize(
    ("proxy", "transport"),
    [(None, {}), ("http://p:1", {"proxies": {"http": "http://p:1", "https": "http://p:1"}})],
)
def test_a_connection_differs_in_proxy_and_ca_alone(
    tmp_path: Path, proxy: str | None, transport: dict[str, Any]
) -> None:
    connection = Connection(credential=None, proxy=proxy)  # type: ignore[arg-type]
    assert without_connections(connection) == without_connections(replace(connection, proxy=None)) | transport
    (tmp_path / "company.pem").write_text("a company's root")
    company = replace(connection, ca_bundle=str(tmp_path / "company.pem"))
    assert without_connections(company) == without_connections(connection)
    assert Path(company.ca_file).read_bytes().startswith(b"a company's root\n")


def test_a_session_on_azure_is_opened_without_asking_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"subscription_id": "11111111-1111-4111-8111-111111111111", "tenant_id": TENANT, "location": "westeurope"}
    folder = tmp_path / "manifests" / "environments"
    folder.mkdir(parents=True)
    (folder / "far.yaml").write_text(json.dumps({**fields, "proxy": "http://127.0.0.1:9"}))
    monkeypatch.chdir(tmp_path)
    session = open_session("far", "plan")
    assert (session.environment.name, session.environment.is_local) == ("far", False)
    assert session.connection.proxy == "http://127.0.0.1:9"


def test_a_rehearsal_starts_by_itself_and_signs_its_operator_in(rehearsal: Rehearsal) -> None:
    session = open_session("local", "plan")
    claims = token_claims(session.token(SCOPE))
    assert claims["tid"] == session.environment.tenant_id == TENANT
    assert session.operator == Operator(claims["oid"], "ServicePrincipal", claims["app_displayname"])
    assert session.connection.proxy == rehearsal.connection["HTTPS_PROXY"]


def test_a_rehearsal_that_does_not_start_says_why_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in-the-way").write_text("")
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(tmp_path / "in-the-way" / "home"))
    with pytest.raises(RehearsalUnavailable) as caught:
        open_session("local", "plan")
    home = tmp_path / "in-the-way" / "home"
    assert caught.value.message == f"The folder {home} cannot be written: Not a directory."
    assert caught.value.action == "Name another folder with --home or AIRFLOWAKS_HOME."


def test_a_rehearsal_whose_program_breaks_says_what_python_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "psutil.py").write_text("raise ImportError('no psutil here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(RehearsalUnavailable) as caught:
        open_session("local", "plan")
    assert caught.value.message == "The rehearsal cloud did not start: ImportError: no psutil here"
    assert "pip install 'airflowaks[rehearsal]'" in caught.value.action
