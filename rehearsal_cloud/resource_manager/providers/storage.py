"""Microsoft.Storage: storage accounts and their file shares. Names, keys and settings only: no data plane is served."""

from __future__ import annotations

import base64
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.resource_ids import canonical_location
from rehearsal_cloud.resource_manager.resource_types import (
    Answer,
    Call,
    Provider,
    ResourceType,
    defaults,
    find,
    new_etag,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_SERVICES = ("web", "dfs", "blob", "file", "queue", "table")
_INTERNET_SERVICES = ("web", "dfs", "blob", "file")
_KINDS = ("Storage", "StorageV2", "BlobStorage", "FileStorage", "BlockBlobStorage")
_SKU = r"(Standard|Premium|StandardV2|PremiumV2)_(LRS|ZRS|GRS|GZRS|RAGRS|RAGZRS)"
_NAME = r"[a-z0-9]{3,24}"
_NAME_TEXT = (
    "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and"
    " use numbers and lower-case letters only."
)
_TAKEN = ("StorageAccountAlreadyTaken", "The storage account named {name} is already taken.")
_PAIRS = {"westeurope": "northeurope", "northeurope": "westeurope", "eastus": "westus", "westus": "eastus"}
_MOST_GIBIBYTES = 102_400


class StorageAccount(ResourceType):
    """A storage account with its two keys."""

    namespace = "Microsoft.Storage"
    type = "storageAccounts"
    global_name = "file.core.windows.net"
    taken = _TAKEN
    required = ("sku.name", "kind")
    seconds: ClassVar[Mapping[str, float]] = {"create": 25}
    busy = (
        "StorageAccountOperationInProgress",
        "An operation is currently performing on this storage account that requires exclusive access.",
    )
    """https://github.com/openshift/openshift-azure/issues/1332."""
    created_status = 202

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) with Storage's message for an invalid name."""
        if not re.fullmatch(_NAME, name):
            raise ServiceError(400, "AccountNameInvalid", _NAME_TEXT.format(name=name))

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Validate SKU and kind; the kind is immutable."""
        del call
        sku, kind = body["sku"]["name"], body["kind"]
        if not re.fullmatch(_SKU, sku):
            raise ServiceError(
                400, "InvalidValuesForRequestParameters", "Values for request parameters are invalid: sku."
            )
        if kind not in _KINDS:
            raise ServiceError(
                400, "InvalidValuesForRequestParameters", "Values for request parameters are invalid: kind."
            )
        upgrade = (existing or {}).get("kind") == "Storage" and kind == "StorageV2"
        if existing is not None and kind != existing["kind"] and not upgrade:
            text = (
                f"The property 'kind' was specified in the input, but it cannot be updated: it is '{existing['kind']}'."
            )
            raise ServiceError(400, "InvalidUpdate", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the account with Storage's defaults."""
        location, before = canonical_location(body["location"]), (existing or {}).get("properties", {})
        requested, sku = dict(body.get("properties") or {}), body["sku"]["name"]
        requested.pop("provisioningState", None)
        now = _now()
        properties = defaults(requested, before or _defaults(call.id.name, location, sku, requested, now))
        document = {key: value for key, value in body.items() if key not in ("id", "name", "type")}
        return document | {
            "location": location,
            "sku": {"name": sku, "tier": sku.partition("_")[0].removesuffix("V2")},
            "properties": properties,
            "_secret": (existing or {}).get("_secret") or {"key1": _key(), "key2": _key()},
        }

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Create the file service, which every account has."""
        del verb
        path = f"{document['id']}/fileServices/default"
        if cloud.store.get("resources", path.lower()) is None:
            kind = "Microsoft.Storage/storageAccounts/fileServices"
            service = {"id": path, "name": "default", "type": kind, "_state": "Succeeded", "_secret": {}}
            cloud.keep({**service, "properties": _file_service({})})

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the actions on keys. As on Azure, they list keys even if shared key access is disabled."""
        return {"listKeys": _list_keys, "regenerateKey": _regenerate_key}


class FileService(ResourceType):
    """The file service of an account, always named `default`."""

    namespace = "Microsoft.Storage"
    type = "storageAccounts/fileServices"
    tracked = False
    name_rule = "default"
    name_text = "The file service of a storage account is named 'default'."

    def validate_delete(self, call: Call, document: Document) -> None:
        """Reject the deletion: the service is deleted with its account."""
        del document
        raise ServiceError(405, "MethodNotAllowed", f"The method DELETE is not served at {call.id.path}.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the document with the defaults."""
        del call, existing
        return {"properties": _file_service(body.get("properties") or {})}

    def view(self, document: Document) -> Document:
        """Return the document as it is: a file service has no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}


class FileShare(ResourceType):
    """A file share; it has no content here."""

    namespace = "Microsoft.Storage"
    type = "storageAccounts/fileServices/shares"
    tracked = False

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) with Storage's message for an invalid name."""
        if not re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", name):
            text = (
                "The specified resource name contains invalid characters: share names have 3 to 63 lower-case letters,"
                " digits and single '-' between them."
            )
            raise ServiceError(400, "InvalidResourceName", text)

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Check the quota."""
        del call, existing
        quota = find(body, "properties.shareQuota")
        if quota is not None and not 1 <= quota <= _MOST_GIBIBYTES:
            text = f"The value of shareQuota, {quota}, is not between 1 and {_MOST_GIBIBYTES} GiB."
            raise ServiceError(400, "InvalidRequestPropertyValue", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the document with the defaults."""
        del call
        properties = {
            "shareQuota": 5120,
            "accessTier": "TransactionOptimized",
            "enabledProtocols": "SMB",
            "leaseState": "available",
            "leaseStatus": "unlocked",
        }
        kept = defaults(body.get("properties"), (existing or {}).get("properties") or properties)
        return {"properties": {**kept, "lastModifiedTime": _now()}, "etag": new_etag()}

    def view(self, document: Document) -> Document:
        """Return the document as it is: shares have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}


class Storage(Provider):
    """The provider of storage accounts."""

    namespace = "Microsoft.Storage"

    def __init__(self) -> None:
        super().__init__(StorageAccount(), FileService(), FileShare())

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the check of names."""
        return {("post", "checknameavailability"): _check_name_availability}


async def _check_name_availability(call: Call) -> Answer:
    action = "Microsoft.Storage/checknameavailability/read"
    call.cloud.authorization.require(call.principal, action, call.id.scope)
    name = str(call.body.get("name") or "")
    if not re.fullmatch(_NAME, name):
        answer = {"reason": "AccountNameInvalid", "message": _NAME_TEXT.format(name=name)}
        return Answer({"nameAvailable": False, **answer})
    if call.cloud.names.owner(StorageAccount.global_name, name) is not None:
        return Answer({"nameAvailable": False, "reason": "AlreadyExists", "message": _TAKEN[1].format(name=name)})
    return Answer({"nameAvailable": True})


async def _list_keys(call: Call, document: Document) -> Answer:
    del call
    return Answer(_keys(document))


async def _regenerate_key(call: Call, document: Document) -> Answer:
    name = call.body.get("keyName")
    if name not in ("key1", "key2"):
        raise ServiceError(400, "InvalidKeyName", f"The key name '{name}' is not one of key1 and key2.")
    document["_secret"][name] = _key()
    document["properties"]["keyCreationTime"][name] = _now()
    call.cloud.keep(document)
    return Answer(_keys(document))


def _keys(document: Document) -> Document:
    created = document["properties"]["keyCreationTime"]
    keys = [
        {"keyName": name, "value": document["_secret"][name], "permissions": "FULL", "creationTime": created[name]}
        for name in ("key1", "key2")
    ]
    return {"keys": keys}


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _file_service(requested: Document) -> Document:
    values = {"cors": {"corsRules": []}, "shareDeleteRetentionPolicy": {"enabled": True, "days": 7}}
    return defaults(requested, values)


def _defaults(name: str, location: str, sku: str, requested: Document, now: str) -> Document:
    enabled = {"keyType": "Account", "enabled": True, "lastEnabledTime": now}
    properties = {
        "creationTime": now,
        "keyCreationTime": {"key1": now, "key2": now},
        "minimumTlsVersion": "TLS1_2",
        "supportsHttpsTrafficOnly": True,
        "allowBlobPublicAccess": False,
        "allowSharedKeyAccess": True,
        "publicNetworkAccess": "Enabled",
        "networkAcls": {"bypass": "AzureServices", "defaultAction": "Allow", "ipRules": [], "virtualNetworkRules": []},
        "encryption": {"services": {"file": enabled, "blob": enabled}, "keySource": "Microsoft.Storage"},
        "primaryEndpoints": _endpoints(name, requested.get("routingPreference") or {}),
        "primaryLocation": location,
        "statusOfPrimary": "available",
    }
    if "GRS" in sku or "GZRS" in sku:
        properties |= {"secondaryLocation": _PAIRS.get(location, location), "statusOfSecondary": "available"}
    return properties


def _endpoints(name: str, routing: Document) -> Document:
    endpoints: Document = {service: f"https://{name}.{service}.core.windows.net/" for service in _SERVICES}
    for network, services in (("microsoft", _SERVICES), ("internet", _INTERNET_SERVICES)):
        if routing.get(f"publish{network.capitalize()}Endpoints"):
            endpoints[f"{network}Endpoints"] = {
                service: f"https://{name}-{network}routing.{service}.core.windows.net/" for service in services
            }
    return endpoints
