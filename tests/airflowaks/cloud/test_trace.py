"""A trace keeps what Azure answered, and neither a secret nor a name, an ID or an address of the environment."""

from __future__ import annotations

import os
import stat
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.roles import Role
from airflowaks.azure.subscription import ProviderRegistration, ResourceGroup
from airflowaks.diagnosis.collector import collect
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.engine.converge import converge
from airflowaks.errors import AzureError
from airflowaks.preflight.run import preflight
from airflowaks.session import Session, open_session
from airflowaks.steps import backend, cluster, key_vault, registry
from tests.support.tracing import describe_traced_environment, identities_in, lines_of, real_guids_in, trace_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal

PLACEHOLDER = "00000000-0000-4000-8000-{:012}"


@pytest.fixture
def session(rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    del rehearsal
    monkeypatch.chdir(tmp_path)
    name = f"contoso{uuid.uuid4().hex[:6]}"
    describe_traced_environment(tmp_path, name)
    return open_session(name)


def make_vault(session: Session) -> Any:
    converge(
        session,
        ResourceGroup(session, session.environment.resource_group),
        ProviderRegistration(session, "Microsoft.KeyVault"),
    )
    key_vault.vault(session)
    return session.memoize(key_vault.Resources).vault.secrets


def assert_is_clean(session: Session, *secrets: str) -> None:
    text = trace_of(session).read_text(encoding="utf-8")
    assert [name for name in identities_in(session) if name.lower() in text.lower()] == []
    assert real_guids_in(text) == set()
    assert [secret for secret in secrets if secret in text] == []
    learned = [secret for secret in session.redactor._learned if secret in text]
    assert learned == []


def test_a_vault_is_traced_without_its_secrets_and_names(session: Session) -> None:
    secrets = make_vault(session)
    secrets.set_secret("contoso-database", "correct horse battery staple", tags={"owner": "ada.lovelace"})
    assert secrets.get_secret("contoso-database").value == "correct horse battery staple"

    assert_is_clean(session, "correct horse battery staple")
    file = trace_of(session)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.parent.name == "runs"
    roles = {role: guid for line in lines_of(file)[:8] if "url" not in line for role, guid in line.items()}
    assert roles["subscription"] == PLACEHOLDER.format(1)
    assert roles["tenant"] == PLACEHOLDER.format(2)
    exchanges = [line for line in lines_of(file) if "url" in line]
    (written,) = [line for line in exchanges if line["method"] == "PUT" and ".vault.azure.net/secrets/" in line["url"]]
    assert written["request"]["value"] == written["response"]["value"] == "(secret)"
    (vault,) = [
        line
        for line in exchanges
        if line["method"] == "PUT"
        and "Microsoft.KeyVault/vaults/" in line["url"]
        and "roleAssignments" not in line["url"]
    ]
    assert vault["status"] in (200, 201)
    assert vault["response"]["properties"]["sku"] == {"family": "A", "name": "standard"}
    assert vault["response"]["properties"]["tenantId"] == PLACEHOLDER.format(2)
    uri = vault["response"]["properties"]["vaultUri"].rstrip("/")
    assert uri == written["url"].partition("/secrets/")[0]


def test_the_role_that_a_request_assigns_stays(session: Session) -> None:
    make_vault(session)
    assigned = [line for line in lines_of(trace_of(session)) if line.get("method") == "PUT" and "roleA" in line["url"]]
    definition = assigned[0]["request"]["properties"]["roleDefinitionId"]
    assert definition.endswith(Role.KEY_VAULT_SECRETS_OFFICER.definition)
    assert assigned[0]["request"]["properties"]["principalId"] in [
        line["operator"] for line in lines_of(trace_of(session)) if "operator" in line
    ]


def test_an_exchange_that_cannot_be_written_ends_no_run(
    session: Session, group_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    session.connection.trace._descriptor = os.open("/dev/full", os.O_WRONLY)
    converge(session, ResourceGroup(session, group_name))
    assert "The trace lacks an exchange (OSError)" in caplog.text


def test_a_cut_answer_is_named_as_without_a_trace(rehearsal: Rehearsal, session: Session, group_name: str) -> None:
    group = ResourceGroup(session, group_name)
    converge(session, group)
    cut = {"methods": ["PUT"], "path": "/managedClusters/", "times": 9, "cut": True}
    rehearsal.control("POST", cut)
    with pytest.raises(AzureError, match=r"The connection to management\.azure\.com ended in the middle of the answer"):
        cluster.everything(session)
    rehearsal.control("DELETE")


def test_without_the_key_nothing_is_kept(rehearsal: Rehearsal) -> None:
    del rehearsal
    assert open_session("local", "plan").connection.trace is None


@pytest.mark.broad
def test_a_deployment_is_traced_without_a_secret_a_name_an_id_and_an_address(session: Session) -> None:
    preflight(session)
    for step in (cluster, registry, backend, key_vault):
        step.everything(session)
        step.checks(session)
    key_vault.rotate(session, "airflow-broker-url")
    collect(session, Scope(datetime.now(UTC) - timedelta(hours=1), session.environment.cluster.namespace))
    vault = session.memoize(key_vault.Resources).vault.secrets
    values = [str(vault.get_secret(str(each.name)).value) for each in vault.list_properties_of_secrets()]
    assert len(values) >= 9
    group = session.environment.resource_group
    kubeconfig = session.clusters.managed_clusters.list_cluster_user_credentials(
        group, session.environment.cluster.name
    )

    assert_is_clean(session, *values, bytes((kubeconfig.kubeconfigs or [])[0].value or b"").decode())
    text = trace_of(session).read_text(encoding="utf-8")
    assert "LS0tLS1CRUdJTi" not in text  # -----BEGIN
    assert "MC_" not in text
