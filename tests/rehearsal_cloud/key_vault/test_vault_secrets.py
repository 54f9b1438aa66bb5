"""The secrets of a vault, through azure-keyvault-secrets."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.keyvault.secrets import ApiVersion, SecretClient

from rehearsal_cloud.home import OPERATOR_OBJECT_ID, TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.core.credentials import TokenCredential
    from azure.mgmt.keyvault import KeyVaultManagementClient
    from azure.mgmt.keyvault.models import Vault

    from tests.support.azure_requests import Grant, Newcomer, Sender
    from tests.support.rehearsal import Rehearsal


@pytest.fixture
def vault_properties() -> dict[str, Any]:
    return {"enableRbacAuthorization": True}


@pytest.fixture
def vault(
    key_vault: KeyVaultManagementClient,
    group: str,
    vault_name: str,
    vault_properties: dict[str, Any],
    grant: Grant,
) -> Vault:
    properties = {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}, **vault_properties}
    body: Any = {"location": "westeurope", "properties": properties}
    made = key_vault.vaults.begin_create_or_update(group, vault_name, body).result()
    grant(made.id, "Key Vault Secrets Officer", OPERATOR_OBJECT_ID)
    return made


@pytest.fixture
def connect(rehearsal: Rehearsal, vault: Vault, operator: TokenCredential) -> Iterator[Callable[..., SecretClient]]:
    with ExitStack() as opened:

        def client(credential: TokenCredential | None = None, **options: Any) -> SecretClient:
            made = SecretClient(
                vault.properties.vault_uri, credential or operator, retry_total=0, **rehearsal.transport, **options
            )
            return opened.enter_context(made)

        yield client


@pytest.fixture
def secrets(connect: Callable[..., SecretClient]) -> SecretClient:
    return connect()


def inner_code(error: HttpResponseError) -> str:
    return str(error.response.json()["error"]["innererror"]["code"])  # type: ignore[union-attr]


# Who may


def test_a_request_without_token_is_told_where_to_get_one(send: Sender, vault: Vault) -> None:
    answer = send("GET", f"{vault.properties.vault_uri}secrets/name?api-version=7.4", scope="")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="https://login.microsoftonline.com/{TENANT_ID}", resource="https://vault.azure.net"'
    )
    assert answer.json()["error"]["message"] == "AKV10000: Request is missing a Bearer or PoP token."


def test_a_token_for_another_service_is_refused(send: Sender, vault: Vault) -> None:
    scope = "https://management.azure.com/.default"
    answer = send("GET", f"{vault.properties.vault_uri}secrets/name?api-version=7.4", scope=scope)
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == (
        "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com."
    )


def test_who_has_no_role_is_refused_and_told_which_action(
    rehearsal: Rehearsal, connect: Callable[..., SecretClient], vault: Vault, newcomer: Newcomer, group: str
) -> None:
    with pytest.raises(HttpResponseError) as refused:
        connect(newcomer.credential).get_secret("name")
    scope = f"/subscriptions/{rehearsal.subscription}/resourcegroups/{group}/providers/microsoft.keyvault/vaults"
    assert refused.value.status_code == 403
    assert inner_code(refused.value) == "ForbiddenByRbac"
    assert refused.value.error.message == (
        "Caller is not authorized to perform action on resource.\r\n"
        "If role assignments, deny assignments or role definitions were changed recently, please observe propagation"
        " time.\r\n"
        f"Caller: appid={newcomer.client_id};oid={newcomer.object_id};iss=https://sts.windows.net/{TENANT_ID}/\r\n"
        "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\n"
        f"Resource: '{scope}/{vault.name}/secrets/name'\r\n"
        "Assignment: (not found)\r\n"
        "DenyAssignmentId: null\r\n"
        "DecisionReason: null \r\n"
        f"Vault: {vault.name};location=westeurope\r\n"
    )


def test_a_secrets_user_reads_and_does_not_write(
    connect: Callable[..., SecretClient], secrets: SecretClient, vault: Vault, newcomer: Newcomer, grant: Grant
) -> None:
    secrets.set_secret("name", "value")
    grant(vault.id, "Key Vault Secrets User", newcomer.object_id)
    reader = connect(newcomer.credential)
    assert reader.get_secret("name").value == "value"
    assert [one.name for one in reader.list_properties_of_secrets()] == ["name"]
    for write in (
        lambda: reader.set_secret("name", "other"),
        lambda: reader.update_secret_properties("name", enabled=False),
        lambda: reader.begin_delete_secret("name"),
        lambda: reader.backup_secret("name"),
    ):
        with pytest.raises(HttpResponseError) as refused:
            write()
        assert inner_code(refused.value) == "ForbiddenByRbac"


def test_a_role_at_the_group_reaches_the_vault(
    connect: Callable[..., SecretClient], secrets: SecretClient, vault: Vault, newcomer: Newcomer, grant: Grant
) -> None:
    secrets.set_secret("name", "value")
    grant(vault.id.partition("/providers/")[0], "Key Vault Secrets User", newcomer.object_id)
    assert connect(newcomer.credential).get_secret("name").value == "value"


@pytest.mark.parametrize("vault_properties", [{"enableRbacAuthorization": False, "accessPolicies": []}])
def test_access_policies_decide_without_rbac(
    connect: Callable[..., SecretClient],
    key_vault: KeyVaultManagementClient,
    vault: Vault,
    newcomer: Newcomer,
    group: str,
) -> None:
    client = connect(newcomer.credential)
    with pytest.raises(HttpResponseError, match="does not have secrets set permission on key vault") as refused:
        client.set_secret("name", "value")
    assert inner_code(refused.value) == "AccessDenied"
    for grants, then in ((["get"], "ForbiddenByPolicy"), (["Set", "Get"], None)):
        policy = {"tenantId": TENANT_ID, "objectId": newcomer.object_id, "permissions": {"secrets": grants}}
        patch: Any = {"properties": {"accessPolicies": [policy]}}
        key_vault.vaults.update(group, vault.name, patch)
        if then is None:
            assert client.set_secret("name", "value").value == "value"
            continue
        with pytest.raises(HttpResponseError) as refused:
            client.set_secret("name", "value")
        assert inner_code(refused.value) == then


# Versions


def test_each_set_makes_a_version(secrets: SecretClient) -> None:
    first = secrets.set_secret("name", "one", content_type="text/plain", tags={"team": "data"})
    second = secrets.set_secret("name", "two")
    assert secrets.get_secret("name").value == "two"
    assert secrets.get_secret("NAME", first.properties.version).value == "one"
    assert secrets.get_secret("name", first.properties.version).properties.content_type == "text/plain"
    versions = {one.version for one in secrets.list_properties_of_secret_versions("name")}
    assert versions == {first.properties.version, second.properties.version}
    assert second.properties.recovery_level == "Recoverable+Purgeable"
    assert second.properties.recoverable_days == 90


@pytest.mark.parametrize("version", [ApiVersion.V7_4, ApiVersion.V7_6, ApiVersion.V2025_07_01, ApiVersion.V2026_04_01])
def test_all_api_versions_in_use_are_served(connect: Callable[..., SecretClient], version: ApiVersion) -> None:
    assert connect(api_version=version).set_secret("name", "value").value == "value"


def test_an_unknown_api_version_is_refused(send: Sender, vault: Vault) -> None:
    url = f"{vault.properties.vault_uri}secrets?api-version=1.0"
    answer = send("GET", url, scope="https://vault.azure.net/.default")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")


def test_attributes_change_without_a_new_version(secrets: SecretClient) -> None:
    made = secrets.set_secret("name", "value")
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    changed = secrets.update_secret_properties("name", expires_on=expires, content_type="text/plain", tags={"a": "b"})
    assert changed.version == made.properties.version
    kept = secrets.get_secret("name")
    assert (kept.value, kept.properties.expires_on, kept.properties.tags) == ("value", expires, {"a": "b"})
    assert kept.properties.content_type == "text/plain"


def test_a_disabled_secret_is_not_read(secrets: SecretClient) -> None:
    secrets.set_secret("name", "value", enabled=False)
    with pytest.raises(HttpResponseError, match="Operation get is not allowed on a disabled secret") as refused:
        secrets.get_secret("name")
    assert (refused.value.status_code, inner_code(refused.value)) == (403, "SecretDisabled")
    secrets.update_secret_properties("name", enabled=True)
    assert secrets.get_secret("name").value == "value"


def test_what_is_not_there_is_not_found(secrets: SecretClient) -> None:
    with pytest.raises(ResourceNotFoundError, match=r"A secret with \(name/id\) name was not found") as missing:
        secrets.get_secret("name")
    assert missing.value.error.code == "SecretNotFound"
    secrets.set_secret("name", "value")
    with pytest.raises(ResourceNotFoundError):
        secrets.get_secret("name", "0" * 32)


@pytest.mark.parametrize("name", ["under_score", "a" * 128, "dot.dot"])
def test_a_name_that_breaks_the_rule_is_refused(secrets: SecretClient, name: str) -> None:
    with pytest.raises(HttpResponseError, match="contains an invalid name"):
        secrets.set_secret(name, "value")


def test_a_value_has_at_most_25_kibibytes(secrets: SecretClient) -> None:
    assert len(secrets.set_secret("name", "x" * 25_600).value or "") == 25_600
    with pytest.raises(HttpResponseError, match="25600"):
        secrets.set_secret("name", "x" * 25_601)


def test_lists_come_in_pages_and_whole(secrets: SecretClient) -> None:
    names = [f"name-{number:02}" for number in range(30)]
    for name in names:
        secrets.set_secret(name, "value")
    assert [one.name for one in secrets.list_properties_of_secrets()] == names
    pages = [list(page) for page in secrets.list_properties_of_secrets(max_page_size=12).by_page()]
    assert [len(page) for page in pages] == [12, 12, 6]
    assert [one.name for page in pages for one in page] == names


# Soft delete


def test_a_deleted_secret_can_be_recovered(secrets: SecretClient) -> None:
    secrets.set_secret("name", "one")
    secrets.set_secret("name", "two")
    deleted = secrets.begin_delete_secret("name").result()
    assert deleted.recovery_id == f"{secrets.vault_url.rstrip('/')}/deletedsecrets/name"
    assert deleted.scheduled_purge_date is not None
    assert deleted.deleted_date is not None
    assert (deleted.scheduled_purge_date - deleted.deleted_date).days == 90
    with pytest.raises(ResourceNotFoundError):
        secrets.get_secret("name")
    assert not list(secrets.list_properties_of_secrets())
    assert [one.name for one in secrets.list_deleted_secrets()] == ["name"]
    with pytest.raises(ResourceExistsError) as refused:
        secrets.set_secret("name", "three")
    assert inner_code(refused.value) == "ObjectIsDeletedButRecoverable"
    assert refused.value.error.message == (
        "Secret name is currently in a deleted but recoverable state, and its name cannot be reused; in this state,"
        " the secret can only be recovered or purged."
    )
    secrets.begin_recover_deleted_secret("name").result()
    assert secrets.get_secret("name").value == "two"
    assert len(list(secrets.list_properties_of_secret_versions("name"))) == 2


def test_a_purged_secret_is_gone(secrets: SecretClient) -> None:
    secrets.set_secret("name", "value")
    secrets.begin_delete_secret("name").result()
    secrets.purge_deleted_secret("name")
    with pytest.raises(ResourceNotFoundError, match="Deleted Secret not found: name"):
        secrets.get_deleted_secret("name")
    assert secrets.set_secret("name", "new").value == "new"


@pytest.mark.parametrize("vault_properties", [{"enableRbacAuthorization": True, "enablePurgeProtection": True}])
def test_purge_protection_keeps_deleted_secrets(secrets: SecretClient) -> None:
    made = secrets.set_secret("name", "value")
    assert made.properties.recovery_level == "Recoverable"
    secrets.begin_delete_secret("name").result()
    with pytest.raises(HttpResponseError, match="not allowed because purge protection is enabled for this vault"):
        secrets.purge_deleted_secret("name")


def test_a_backup_restores_all_versions_and_shows_no_value(secrets: SecretClient) -> None:
    secrets.set_secret("name", "a-value-to-look-for")
    secrets.set_secret("name", "two")
    backup = secrets.backup_secret("name")
    assert b"a-value-to-look-for" not in backup
    with pytest.raises(ResourceExistsError):
        secrets.restore_secret_backup(backup)
    secrets.begin_delete_secret("name").result()
    secrets.purge_deleted_secret("name")
    secrets.restore_secret_backup(backup)
    assert secrets.get_secret("name").value == "two"
    assert len(list(secrets.list_properties_of_secret_versions("name"))) == 2


# The vault's life


def test_secrets_come_back_with_a_recovered_vault(
    secrets: SecretClient, key_vault: KeyVaultManagementClient, vault: Vault, group: str, grant: Grant
) -> None:
    secrets.set_secret("name", "value")
    key_vault.vaults.delete(group, vault.name)
    with pytest.raises((ResourceNotFoundError, ServiceRequestError)):
        secrets.get_secret("name")
    properties = {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}, "createMode": "recover"}
    body: Any = {"location": "westeurope", "properties": properties}
    key_vault.vaults.begin_create_or_update(group, vault.name, body).result()
    with pytest.raises(HttpResponseError) as refused:
        secrets.get_secret("name")
    assert inner_code(refused.value) == "ForbiddenByRbac"
    grant(vault.id, "Key Vault Secrets User", OPERATOR_OBJECT_ID)
    assert secrets.get_secret("name").value == "value"


def test_secrets_do_not_come_back_after_a_purge(
    secrets: SecretClient, key_vault: KeyVaultManagementClient, vault: Vault, group: str, grant: Grant
) -> None:
    secrets.set_secret("name", "value")
    key_vault.vaults.delete(group, vault.name)
    key_vault.vaults.begin_purge_deleted(vault.name, "westeurope").result()
    properties = {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    body: Any = {"location": "westeurope", "properties": properties}
    key_vault.vaults.begin_create_or_update(group, vault.name, body).result()
    grant(vault.id, "Key Vault Secrets Officer", OPERATOR_OBJECT_ID)
    with pytest.raises(ResourceNotFoundError):
        secrets.get_secret("name")
    assert not list(secrets.list_deleted_secrets())


def test_a_vault_that_is_not_there_cannot_be_reached(rehearsal: Rehearsal, operator: TokenCredential) -> None:
    url = "https://kv-never-made.vault.azure.net"
    with (
        SecretClient(url, operator, retry_total=0, **rehearsal.transport) as client,
        pytest.raises(ServiceRequestError, match="502 Bad Gateway"),
    ):
        client.get_secret("name")


def test_no_value_reaches_a_log(rehearsal: Rehearsal, secrets: SecretClient) -> None:
    value = f"a-value-to-look-for-{time.time_ns()}"
    secrets.set_secret("logged", value)
    assert secrets.get_secret("logged").value == value
    with pytest.raises(HttpResponseError):
        secrets.set_secret("under_score", value)
    logs = [path for path in rehearsal.home.iterdir() if path.suffix in (".log", ".jsonl")]
    assert {path.name for path in logs} >= {"rehearsal.log", "requests.jsonl"}
    text = "".join(path.read_text() for path in logs)
    assert "/secrets/logged" in text
    assert value not in text


def test_a_bearer_of_nonsense_is_challenged(send: Sender, vault: Vault) -> None:
    url = f"{vault.properties.vault_uri}secrets?api-version=7.4"
    answer = send("GET", url, scope="", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


def test_a_closed_vault_is_read_by_nobody(
    secrets: SecretClient, key_vault: KeyVaultManagementClient, group: str, vault: Vault
) -> None:
    secrets.set_secret("one", "value")
    update: Any = {"properties": {"publicNetworkAccess": "Disabled"}}
    key_vault.vaults.update(group, str(vault.name), update)
    with pytest.raises(HttpResponseError, match="Public network access is disabled") as refused:
        secrets.get_secret("one")
    assert inner_code(refused.value) == "ForbiddenByConnection"
