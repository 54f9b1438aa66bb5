"""Microsoft.KeyVault: vaults, and soft-deleted vaults until they are recovered or purged.

Source of statuses and messages: the service's answers, as its users report them, and
https://learn.microsoft.com/azure/key-vault/general/soft-delete-overview. Secrets are served by `vault`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import SUBSCRIPTION_ID
from rehearsal_cloud.resource_manager.resource_ids import canonical_location
from rehearsal_cloud.resource_manager.resource_types import (
    Answer,
    Call,
    Provider,
    ResourceType,
    defaults,
    find,
    system_data,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

DNS_SUFFIX = "vault.azure.net"
_SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"
_NAMESPACE = "Microsoft.KeyVault"
_RBAC_BY_DEFAULT_SINCE = "2026-02-01"
_RETENTION_DAYS = range(7, 90 + 1)
_PURGE_SECONDS = 20.0
_NAME_TEXT = (
    "The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must"
    " begin with a letter, end with a letter or digit, and not contain consecutive hyphens. Follow this link for more"
    " information: https://go.microsoft.com/fwlink/?linkid=2147742"
)
_TAKEN_TEXT = (
    "The vault name '{name}' is already in use. Vault names are globally unique so it is possible that the name is"
    " already taken. If you are sure that the vault name was not taken then it is possible that a vault with the same"
    " name was recently deleted but not purged after being placed in a recoverable state. If the vault is in a"
    " recoverable state then the vault will need to be purged before reusing the name. For more information about"
    " VaultAlreadyExists, soft delete and purging a vault follow this link"
    " https://go.microsoft.com/fwlink/?linkid=2147740."
)


class KeyVaultVault(ResourceType):
    """A vault. Deletion keeps the vault, its secrets and its name until it is recovered or purged."""

    namespace = _NAMESPACE
    type = "vaults"
    name_rule = r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]"
    global_name = DNS_SUFFIX
    soft_deletes = True
    taken = ("VaultAlreadyExists", _TAKEN_TEXT)
    required = ("properties.tenantId", "properties.sku.name")
    seconds: ClassVar[Mapping[str, float]] = {"create": 20, "update": 0, "delete": 0}
    busy = (
        "ConflictError",
        (
            "A conflict occurred that prevented the operation from completing. The operation failed because the Key"
            " Vault '{name}' changed from the point the operation began. This can happen if parallel operations are"
            " being performed on the Key Vault. To prevent this error, serialize the operations so that only one"
            " operation is performed on the Key Vault at a time. Follow this link for more information:"
            " https://go.microsoft.com/fwlink/?linkid=2147741"
        ),
    )
    """https://github.com/scylladb/scylla-cluster-tests/issues/13184."""
    # 200 with provisioningState RegisteringDns and nothing to poll but the vault, in Azure/azure-cli's recordings (such
    # as test_keyvault_public_network_access.yaml); a 201 would need the Location that openapi.json declares for it.
    created_status = 200
    polling = "state"

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) for an invalid name."""
        if not re.fullmatch(self.name_rule, name):
            raise ServiceError(400, "VaultNameNotValid", _NAME_TEXT.format(name=name))

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Check soft-deleted vaults of this name and irreversible properties. Raises ServiceError."""
        properties = body["properties"]
        deleted = _deleted(call.cloud, call.id.name) if existing is None else None
        if properties.get("createMode") == "recover":
            if existing is None and deleted is None:
                text = f"A soft deleted vault with the given name '{call.id.name}' does not exist."
                raise ServiceError(404, "SoftDeletedVaultDoesNotExist", text)
            return
        if deleted is not None:
            text = (
                "A vault with the same name already exists in deleted state. You need to either recover or purge"
                " existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more"
                " information on soft delete."
            )
            raise ServiceError(409, "ConflictError", text)
        if properties.get("enablePurgeProtection") is False:
            # Refused on new vaults too: https://github.com/Azure/azure-rest-api-specs/issues/18106
            text = (
                'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault'
                " is an irreversible action."
            )
            raise ServiceError(400, "BadRequest", text)
        _check_retention(properties, existing)
        if not _uses_rbac(call, properties, existing) and properties.get("accessPolicies") is None:
            raise ServiceError(400, "BadRequest", "The parameter accessPolicies is not specified.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the vault with the service's defaults; a recovered vault keeps its properties.

        https://github.com/Azure/azure-rest-api-specs/issues/21306
        """
        deleted = _deleted(call.cloud, call.id.name) if existing is None else None
        if deleted is not None:
            kept: Document = deleted["_vault"]
            return {key: value for key, value in kept.items() if not key.startswith("_")}
        before = (existing or {}).get("properties", {})
        requested = {key: value for key, value in body["properties"].items() if key != "createMode"}
        sticky = {key: before[key] for key in ("enablePurgeProtection", "softDeleteRetentionInDays") if key in before}
        properties = defaults(
            requested,
            {
                "sku": {"family": "A"},
                "accessPolicies": [],
                "enabledForDeployment": False,
                "enableSoftDelete": True,
                "softDeleteRetentionInDays": _RETENTION_DAYS[-1],
                "enableRbacAuthorization": _uses_rbac(call, requested, existing),
                "publicNetworkAccess": "Enabled",
                **sticky,
            },
        )
        return {
            "location": body["location"],
            "tags": body.get("tags") or {},
            "systemData": system_data(call, existing),
            "properties": {**properties, "vaultUri": f"https://{call.id.name}.{DNS_SUFFIX}/"},
        }

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Soft-delete the vault."""
        now, properties = time.time(), document["properties"]
        location = canonical_location(document["location"])
        deleted: Document = {
            "id": f"{_SUBSCRIPTION}/providers/{_NAMESPACE}/locations/{location}/deletedVaults/{document['name']}",
            "name": document["name"],
            "type": f"{_NAMESPACE}/deletedVaults",
            "properties": {
                "vaultId": document["id"],
                "location": location,
                "tags": document["tags"],
                "deletionDate": _text(now),
                "scheduledPurgeDate": _text(now + properties["softDeleteRetentionInDays"] * 86_400),
                **({"purgeProtectionEnabled": True} if properties.get("enablePurgeProtection") else {}),
            },
            "_vault": document,
        }
        cloud.store.put("deleted-vaults", document["name"].lower(), deleted)

    def view(self, document: Document) -> Document:
        """Return the answer to a GET; a vault in creation waits for its DNS record, and its URL has no slash yet."""
        shown = super().view(document)
        if document["_state"] == "Creating":
            url = shown["properties"]["vaultUri"].rstrip("/")
            shown["properties"] |= {"provisioningState": "RegisteringDns", "vaultUri": url}
        return shown


class KeyVault(Provider):
    """The provider of vaults."""

    namespace = _NAMESPACE

    def __init__(self) -> None:
        super().__init__(KeyVaultVault())

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the operations on names and on soft-deleted vaults."""
        return {
            ("post", "checknameavailability"): self._check_name,
            ("get", "deletedvaults"): self._list_deleted,
            ("get", "deletedmanagedhsms"): self._list_deleted_hsms,
            ("get", "locations/deletedvaults"): self._get_deleted,
            ("post", "locations/deletedvaults/purge"): self._purge,
        }

    async def _check_name(self, call: Call) -> Answer:
        name = str(call.body.get("name", ""))
        if not re.fullmatch(KeyVaultVault.name_rule, name):
            text = _NAME_TEXT.format(name=name)
            return Answer({"nameAvailable": False, "reason": "AccountNameInvalid", "message": text})
        if call.cloud.names.owner(DNS_SUFFIX, name) is not None:
            text = _TAKEN_TEXT.format(name=name)
            return Answer({"nameAvailable": False, "reason": "AlreadyExists", "message": text})
        return Answer({"nameAvailable": True})

    async def _list_deleted(self, call: Call) -> Answer:
        action = f"{_NAMESPACE}/deletedVaults/read"
        call.cloud.authorization.require(call.principal, action, _SUBSCRIPTION)
        kept = call.cloud.store.scan("deleted-vaults")
        return Answer({"value": [_view(vault) for vault in kept if not _lives(call.cloud, vault)]})

    async def _list_deleted_hsms(self, call: Call) -> Answer:
        """Answer the empty list of deleted managed HSMs, which `az keyvault list-deleted` also reads."""
        call.cloud.authorization.require(call.principal, f"{_NAMESPACE}/deletedManagedHSMs/read", _SUBSCRIPTION)
        return Answer({"value": []})

    async def _get_deleted(self, call: Call) -> Answer:
        return Answer(_view(self._existing(call, "read")))

    async def _purge(self, call: Call) -> Answer:
        cloud, deleted = call.cloud, self._existing(call, "purge/action")
        if deleted["properties"].get("purgeProtectionEnabled"):
            raise ServiceError(405, "MethodNotAllowed", "Operation 'DeletedVaultPurge' is not allowed.")
        name = deleted["name"].lower()
        with cloud.store.transaction():
            cloud.store.delete_below("secrets", f"{name}/")
            cloud.store.delete("deleted-vaults", name)
            cloud.names.release(DNS_SUFFIX, name)
        return Answer(operation_seconds=_PURGE_SECONDS)

    @staticmethod
    def _existing(call: Call, verb: str) -> Document:
        action = f"{_NAMESPACE}/locations/deletedVaults/{verb}"
        call.cloud.authorization.require(call.principal, action, _SUBSCRIPTION)
        location, name = canonical_location(call.id.names[0]), call.id.names[1]
        deleted = _deleted(call.cloud, name)
        if deleted is None or deleted["properties"]["location"] != location:
            text = (
                f"The specified vault name '{name}' does not exist in the soft-deleted state in location '{location}'."
            )
            raise ServiceError(404, "DeletedVaultNotFound", text)
        return deleted


def _deleted(cloud: Cloud, name: str) -> Document | None:
    kept = cloud.store.get("deleted-vaults", name.lower())
    return None if kept is None or _lives(cloud, kept) else kept


def _lives(cloud: Cloud, deleted: Document) -> bool:
    """Tell whether the vault has been recovered since it was deleted."""
    return cloud.store.get("resources", deleted["properties"]["vaultId"].lower()) is not None


def _view(deleted: Document) -> Document:
    return {key: value for key, value in deleted.items() if not key.startswith("_")}


def _uses_rbac(call: Call, properties: Document, existing: Document | None) -> bool:
    requested = properties.get("enableRbacAuthorization")
    if requested is None:
        requested = find(existing or {}, "properties.enableRbacAuthorization")
    return bool(requested) if requested is not None else call.api_version[:10] >= _RBAC_BY_DEFAULT_SINCE


def _check_retention(properties: Document, existing: Document | None) -> None:
    days = properties.get("softDeleteRetentionInDays")
    if days is None:
        return
    if days not in _RETENTION_DAYS:
        text = f'The property "softDeleteRetentionInDays" must be a number of days from 7 to 90, and is {days!r}.'
        raise ServiceError(400, "BadRequest", text)
    if existing is not None and existing["properties"]["softDeleteRetentionInDays"] != days:
        text = 'The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.'
        raise ServiceError(400, "BadRequest", text)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
