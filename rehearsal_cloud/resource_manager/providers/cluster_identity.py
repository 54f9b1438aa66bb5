"""The identities of a managed cluster: the cluster's, its kubelet's, and its add-ons'.

https://learn.microsoft.com/azure/aks/use-managed-identity
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.resource_manager.resource_ids import ResourceId

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call

_NAMESPACE = "Microsoft.ManagedIdentity"
# The add-ons for which AKS creates an identity in the node resource group.
_ADDONS_WITH_IDENTITY = ("azurekeyvaultsecretsprovider", "azurepolicy", "omsagent")
_ASSIGN = f"{_NAMESPACE}/userAssignedIdentities/assign/action"


def check_assigned(call: Call, identity: Document) -> None:
    """Check that the user-assigned identities exist and that the caller may assign them. Raises ServiceError."""
    named = identity.get("userAssignedIdentities") or {}
    if identity.get("type") == "UserAssigned" and not named:
        text = "Invalid value for the identities ''. The 'UserAssigned' identity type needs an identity."
        raise ServiceError(400, "InvalidIdentityValues", text)
    for path in named:
        rid = ResourceId.parse(path)
        if rid is None or call.cloud.resource(rid) is None:
            text = (
                f"Identity operation for resource '{call.id.path}' failed with error 'Failed to perform resource"
                f" identity operation. Status: 'BadRequest'. Response: 'Resource '{path}' was not found.'."
            )
            raise ServiceError(400, "FailedIdentityOperation", text)
        if not call.cloud.authorization.allows(call.principal, _ASSIGN, rid.path):
            text = (
                f"The client '{call.principal.app_id}' with object id '{call.principal.object_id}' has permission to"
                f" perform action '{call.id.full_type}/write' on scope '{call.id.path}'; however, it does not have"
                f" permission to perform action(s) '{_ASSIGN}' on the linked scope(s) '{rid.path}' (respectively) or"
                " the linked scope(s) are invalid."
            )
            raise ServiceError(403, "LinkedAuthorizationFailed", text)


def identity_of(call: Call, body: Document, properties: Document, existing: Document | None) -> Document | None:
    """Return the cluster's identity, of the type that it asks for or has, or nothing with a service principal."""
    before = (existing or {}).get("identity")
    identity_type = (body.get("identity") or {}).get("type") or (before or {}).get("type")
    if identity_type is None and properties["servicePrincipalProfile"]["clientId"] == "msi":
        identity_type = "SystemAssigned"
    if identity_type == "SystemAssigned":
        return _system_assigned(call.cloud, call.id.name, before)
    if identity_type == "UserAssigned":
        return _assigned(call.cloud, body.get("identity") or before or {})
    return None


def _assigned(cloud: Cloud, identity: Document) -> Document:
    """Return the cluster's `identity` with the IDs of its user-assigned identities."""
    named = {}
    for path in identity["userAssignedIdentities"]:
        kept = cloud.store.get("resources", path.lower()) or {"properties": {}}
        named[path] = {key: kept["properties"].get(key) for key in ("clientId", "principalId")}
    return {"type": "UserAssigned", "userAssignedIdentities": named}


def _system_assigned(cloud: Cloud, name: str, before: Document | None) -> Document:
    """Return the cluster's system-assigned identity, created in Entra on first use."""
    if before and before["type"] == "SystemAssigned":
        return before
    principal = cloud.entra.add("ServicePrincipal", name, str(uuid.uuid4()))
    return {"type": "SystemAssigned", "principalId": principal.object_id, "tenantId": TENANT_ID}


def make_identity(cloud: Cloud, group: str, name: str, location: str) -> Document:
    """Return (and create) the `resourceId`, `clientId` and `objectId` of an identity in the node resource group."""
    rid = ResourceId(group, _NAMESPACE, ("userAssignedIdentities",), (name,))
    kept = cloud.resource(rid)
    if kept is None:
        client_id = str(uuid.uuid4())
        principal = cloud.entra.add("ServicePrincipal", name, client_id)
        kept = {
            "id": rid.path,
            "name": name,
            "type": rid.full_type,
            "location": location,
            "tags": {},
            "properties": {"tenantId": TENANT_ID, "principalId": principal.object_id, "clientId": client_id},
            "_state": "Succeeded",
            "_secret": {},
        }
        cloud.keep(kept)
    properties = kept["properties"]
    return {"resourceId": rid.path, "clientId": properties["clientId"], "objectId": properties["principalId"]}


def make_addon_identities(cloud: Cloud, document: Document, group: str) -> None:
    """Make the identities of the enabled add-ons, in the node resource group."""
    for name, profile in _addons(document):
        if profile.get("enabled"):
            profile["identity"] = make_identity(cloud, group, name, document["location"])


async def remove_addon_identities(cloud: Cloud, document: Document) -> None:
    """Delete the identities of the add-ons that are disabled now. Raises ServiceError."""
    for _, profile in _addons(document):
        identity = None if profile.get("enabled") else profile.pop("identity", None)
        if identity:
            await cloud.operations.delete(identity["resourceId"])


def _addons(document: Document) -> list[tuple[str, Document]]:
    """Return the add-ons with an identity: its name and the add-on profile."""
    profiles = document["properties"].get("addonProfiles") or {}
    return [
        (f"{addon.lower()}-{document['name']}", profile)
        for addon, profile in profiles.items()
        if addon.lower() in _ADDONS_WITH_IDENTITY
    ]
