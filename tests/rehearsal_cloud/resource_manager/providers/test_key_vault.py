"""Vaults on Resource Manager, through azure-mgmt-keyvault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from rehearsal_cloud.home import OPERATOR_OBJECT_ID, TENANT_ID

if TYPE_CHECKING:
    from azure.mgmt.authorization import AuthorizationManagementClient
    from azure.mgmt.keyvault import KeyVaultManagementClient
    from azure.mgmt.keyvault.models import Vault
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Grant, Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad


def wanted(**properties: Any) -> Any:
    common = {"tenantId": TENANT_ID, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    return {"location": "westeurope", "properties": common | properties}


def path(rehearsal: Rehearsal, group: str, name: str, api_version: str = "2026-05-15") -> str:
    return (
        f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"
        f"?api-version={api_version}"
    )


@pytest.fixture
def vault(key_vault: KeyVaultManagementClient, group: str, vault_name: str) -> Vault:
    return key_vault.vaults.begin_create_or_update(group, vault_name, wanted()).result()


def test_a_vault_registers_its_dns_name_and_then_has_succeeded(
    rehearsal: Rehearsal, send: Sender, key_vault: KeyVaultManagementClient, group: str, vault_name: str
) -> None:
    first = send("PUT", path(rehearsal, group, vault_name), wanted())
    assert first.status_code == 200
    assert "Location" not in first.headers
    assert first.json()["properties"]["provisioningState"] == "RegisteringDns"
    assert first.json()["properties"]["vaultUri"] == f"https://{vault_name}.vault.azure.net"
    made = key_vault.vaults.begin_create_or_update(group, f"{vault_name}-2", wanted()).result()
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.vault_uri == f"https://{vault_name}-2.vault.azure.net/"
    assert made.properties.enable_soft_delete
    assert made.properties.soft_delete_retention_in_days == 90


def test_the_second_put_updates(rehearsal: Rehearsal, send: Sender, vault: Vault, group: str) -> None:
    answer = send("PUT", path(rehearsal, group, vault.name), wanted(publicNetworkAccess="Disabled"))
    assert (answer.status_code, answer.json()["properties"]["publicNetworkAccess"]) == (200, "Disabled")


def test_a_patch_changes_what_it_names(key_vault: KeyVaultManagementClient, vault: Vault, group: str) -> None:
    changed = key_vault.vaults.update(group, vault.name, {"tags": {"team": "data"}})
    assert changed.tags == {"team": "data"}
    assert changed.properties.enable_rbac_authorization
    assert changed.system_data.created_at == vault.system_data.created_at


def test_vaults_are_listed_by_group_and_by_subscription(
    key_vault: KeyVaultManagementClient, vault: Vault, group: str
) -> None:
    assert [one.id for one in key_vault.vaults.list_by_resource_group(group)] == [vault.id]
    assert vault.id in [one.id for one in key_vault.vaults.list_by_subscription()]


@pytest.mark.parametrize(("api_version", "rbac"), [("2025-05-01", False), ("2026-02-01", True), ("2026-05-15", True)])
def test_rbac_is_the_default_since_2026(
    rehearsal: Rehearsal, send: Sender, group: str, vault_name: str, api_version: str, *, rbac: bool
) -> None:
    body = wanted(accessPolicies=[])
    del body["properties"]["enableRbacAuthorization"]
    answer = send("PUT", path(rehearsal, group, vault_name, api_version), body)
    assert answer.json()["properties"]["enableRbacAuthorization"] is rbac


def test_access_policies_are_required_without_rbac(
    key_vault: KeyVaultManagementClient, group: str, vault_name: str
) -> None:
    with pytest.raises(HttpResponseError, match="The parameter accessPolicies is not specified") as refused:
        key_vault.vaults.begin_create_or_update(group, vault_name, wanted(enableRbacAuthorization=False))
    assert refused.value.status_code == 400


@pytest.mark.parametrize("name", ["kv", "1vault", "a--b", "vault-", "a" * 25, "under_score"])
def test_a_name_that_breaks_the_rule_is_refused(key_vault: KeyVaultManagementClient, group: str, name: str) -> None:
    with pytest.raises(HttpResponseError, match=f"The vault name '{name}' is invalid") as refused:
        key_vault.vaults.begin_create_or_update(group, name, wanted())
    assert refused.value.error.code == "VaultNameNotValid"
    available = key_vault.vaults.check_name_availability({"name": name, "type": "Microsoft.KeyVault/vaults"})
    assert (available.name_available, available.reason) == (False, "AccountNameInvalid")


@pytest.mark.parametrize("missing", ["tenantId", "sku"])
def test_what_is_required_must_be_there(
    key_vault: KeyVaultManagementClient, group: str, vault_name: str, missing: str
) -> None:
    body = wanted()
    del body["properties"][missing]
    with pytest.raises(HttpResponseError, match=missing):
        key_vault.vaults.begin_create_or_update(group, vault_name, body)


def test_a_name_is_taken_in_all_groups(
    resources: ResourceManagementClient, key_vault: KeyVaultManagementClient, vault: Vault, group: str
) -> None:
    resources.resource_groups.create_or_update(f"{group}-2", {"location": "westeurope"})
    with pytest.raises(ResourceExistsError, match=f"The vault name '{vault.name}' is already in use") as refused:
        key_vault.vaults.begin_create_or_update(f"{group}-2", vault.name, wanted())
    assert refused.value.error.code == "VaultAlreadyExists"
    available = key_vault.vaults.check_name_availability({"name": vault.name, "type": "Microsoft.KeyVault/vaults"})
    assert (available.name_available, available.reason) == (False, "AlreadyExists")


def test_purge_protection_cannot_be_turned_off_again(
    key_vault: KeyVaultManagementClient, group: str, vault_name: str
) -> None:
    key_vault.vaults.begin_create_or_update(group, vault_name, wanted(enablePurgeProtection=True)).result()
    with pytest.raises(HttpResponseError, match='"enablePurgeProtection" cannot be set to false'):
        key_vault.vaults.begin_create_or_update(group, vault_name, wanted(enablePurgeProtection=False))
    silent = key_vault.vaults.begin_create_or_update(group, vault_name, wanted()).result()
    assert silent.properties.enable_purge_protection
    key_vault.vaults.delete(group, vault_name)
    with pytest.raises(HttpResponseError, match="Operation 'DeletedVaultPurge' is not allowed"):
        key_vault.vaults.begin_purge_deleted(vault_name, "westeurope")


def test_the_retention_is_set_once(key_vault: KeyVaultManagementClient, group: str, vault_name: str) -> None:
    for days in (6, 91):
        with pytest.raises(HttpResponseError, match="softDeleteRetentionInDays"):
            key_vault.vaults.begin_create_or_update(group, vault_name, wanted(softDeleteRetentionInDays=days))
    key_vault.vaults.begin_create_or_update(group, vault_name, wanted(softDeleteRetentionInDays=7)).result()
    with pytest.raises(HttpResponseError, match="has been set already and it can't be modified"):
        key_vault.vaults.begin_create_or_update(group, vault_name, wanted(softDeleteRetentionInDays=8))
    assert key_vault.vaults.get(group, vault_name).properties.soft_delete_retention_in_days == 7


def test_a_deleted_vault_keeps_its_name_until_it_is_purged(
    key_vault: KeyVaultManagementClient, roles: AuthorizationManagementClient, vault: Vault, group: str, grant: Grant
) -> None:
    grant(vault.id, "Key Vault Secrets Officer", OPERATOR_OBJECT_ID)
    key_vault.vaults.delete(group, vault.name)
    with pytest.raises(ResourceNotFoundError):
        key_vault.vaults.get(group, vault.name)
    deleted = key_vault.vaults.get_deleted(vault.name, "westeurope")
    assert deleted.properties.vault_id == vault.id
    days = deleted.properties.scheduled_purge_date - deleted.properties.deletion_date
    assert days.days == 90
    assert vault.name in [one.name for one in key_vault.vaults.list_deleted()]
    with pytest.raises(ResourceExistsError, match="A vault with the same name already exists in deleted state") as no:
        key_vault.vaults.begin_create_or_update(group, vault.name, wanted())
    assert no.value.error.code == "ConflictError"
    key_vault.vaults.begin_purge_deleted(vault.name, "westeurope").result()
    assert vault.name not in [one.name for one in key_vault.vaults.list_deleted()]
    again = key_vault.vaults.begin_create_or_update(group, vault.name, wanted()).result()
    assert not [one for one in roles.role_assignments.list_for_scope(again.id) if one.scope == again.id]


def test_a_deleted_vault_is_recovered_as_it_was(
    key_vault: KeyVaultManagementClient, group: str, vault_name: str
) -> None:
    before = {**wanted(softDeleteRetentionInDays=30), "tags": {"team": "data"}}
    key_vault.vaults.begin_create_or_update(group, vault_name, before).result()
    key_vault.vaults.delete(group, vault_name)
    recovered = key_vault.vaults.begin_create_or_update(group, vault_name, wanted(createMode="recover")).result()
    assert recovered.tags == {"team": "data"}
    assert recovered.properties.soft_delete_retention_in_days == 30
    assert vault_name not in [one.name for one in key_vault.vaults.list_deleted()]


def test_only_a_deleted_vault_can_be_recovered(
    key_vault: KeyVaultManagementClient, group: str, vault_name: str
) -> None:
    with pytest.raises(ResourceNotFoundError, match="does not exist"):
        key_vault.vaults.begin_create_or_update(group, vault_name, wanted(createMode="recover"))


def test_deleting_its_group_soft_deletes_a_vault(
    resources: ResourceManagementClient, key_vault: KeyVaultManagementClient, vault: Vault, group: str
) -> None:
    resources.resource_groups.begin_delete(group).result()
    assert key_vault.vaults.get_deleted(vault.name, "westeurope").properties.vault_id == vault.id


def test_deleting_twice_is_no_error(rehearsal: Rehearsal, send: Sender, vault: Vault, group: str) -> None:
    statuses = [send("DELETE", path(rehearsal, group, vault.name)).status_code for _ in range(2)]
    assert statuses == [200, 204]


def test_purging_takes_a_role(
    rehearsal: Rehearsal,
    send: Sender,
    key_vault: KeyVaultManagementClient,
    vault: Vault,
    group: str,
    newcomer: Newcomer,
) -> None:
    key_vault.vaults.delete(group, vault.name)
    url = (
        f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.KeyVault/locations/westeurope"
        f"/deletedVaults/{vault.name}/purge?api-version=2026-05-15"
    )
    refused = send("POST", url, credential=newcomer.credential)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")


def test_secrets_are_not_kept_through_resource_manager(
    rehearsal: Rehearsal, send: Sender, vault: Vault, group: str
) -> None:
    url = path(rehearsal, group, vault.name).replace("?", "/secrets/name?")
    refused = send("PUT", url, {"properties": {"value": "x"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "InvalidResourceType")
