"""Microsoft.ManagedIdentity: user-assigned identities and their federated credentials."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.resource_manager.resource_types import Call, Provider, ResourceType, system_data

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_FEDERATION_DELAY_SECONDS = 10.0
_MOST_FEDERATED_CREDENTIALS = 20


class UserAssignedIdentity(ResourceType):
    """A user-assigned identity: a service principal in Entra with the lifetime of the resource."""

    namespace = "Microsoft.ManagedIdentity"
    type = "userAssignedIdentities"
    name_rule = r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}"
    name_text = "Identity names have 3 to 128 letters, digits, '-' and '_' and start with a letter or digit."

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Create the identity's service principal, once."""
        properties = dict((existing or {}).get("properties", {}))
        if not properties:
            client_id = str(uuid.uuid4())
            principal = call.cloud.entra.add("ServicePrincipal", call.id.name, client_id)
            properties = {"tenantId": TENANT_ID, "principalId": principal.object_id, "clientId": client_id}
        isolation = (body.get("properties") or {}).get("isolationScope") or properties.get("isolationScope", "None")
        return {
            "location": body["location"],
            "tags": body.get("tags") or {},
            "properties": {**properties, "isolationScope": isolation},
            "systemData": system_data(call, existing),
        }

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Remove the service principal from the directory."""
        cloud.entra.remove(document["properties"]["principalId"])

    def view(self, document: Document) -> Document:
        """Return the document as it is: identities have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}


class FederatedIdentityCredential(ResourceType):
    """An issuer, subject and audience whose tokens may sign in as the identity."""

    namespace = "Microsoft.ManagedIdentity"
    type = "userAssignedIdentities/federatedIdentityCredentials"
    tracked = False
    name_rule = r"[A-Za-z0-9][A-Za-z0-9_-]{2,119}"
    name_text = (
        "Federated credential names have 3 to 120 letters, digits, '-' and '_' and start with a letter or digit."
    )
    required = ("properties.issuer", "properties.subject", "properties.audiences")

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject a second credential with the same issuer and subject, and more than 20 credentials."""
        parent = call.id.parent
        siblings = [
            resource
            for resource in call.cloud.resources(parent.path if parent else "")
            if resource["id"].lower() != call.id.key
        ]
        properties = body["properties"]
        for sibling in siblings:
            if all(sibling["properties"][key] == properties[key] for key in ("issuer", "subject")):
                text = (
                    "Issuer and subject combination already exists for this Managed Identity:"
                    f" {properties['issuer']}, {properties['subject']}."
                )
                raise ServiceError(409, "Conflict", text)
        if existing is None and len(siblings) >= _MOST_FEDERATED_CREDENTIALS:
            text = f"Too many Federated Identity Credentials: the limit is {_MOST_FEDERATED_CREDENTIALS}."
            raise ServiceError(400, "BadRequest", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the credential with its three properties."""
        properties = {key: body["properties"][key] for key in ("issuer", "subject", "audiences")}
        return {"properties": properties, "systemData": system_data(call, existing)}

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Publish the credential to the token service, after Azure's propagation delay."""
        del verb
        delay = cloud.settings.scaled(_FEDERATION_DELAY_SECONDS)
        trusted = {"properties": document["properties"], "visible_at": time.time() + delay}
        cloud.store.put("federated", self._key(cloud, document), trusted)

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Remove the credential from the token service."""
        cloud.store.delete("federated", self._key(cloud, document))

    def view(self, document: Document) -> Document:
        """Return the document as it is: credentials have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}

    @staticmethod
    def _key(cloud: Cloud, document: Document) -> str:
        identity_id = document["id"].rpartition("/federatedIdentityCredentials/")[0]
        identity = cloud.store.get("resources", identity_id.lower()) or {"properties": {"clientId": "none"}}
        return f"{identity['properties']['clientId']}/{document['name'].lower()}"


class ManagedIdentity(Provider):
    """The provider of user-assigned identities."""

    namespace = "Microsoft.ManagedIdentity"

    def __init__(self) -> None:
        super().__init__(UserAssignedIdentity(), FederatedIdentityCredential())
