"""User-assigned managed identities, and the federated credentials of a cluster's service accounts.

Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource, rest

if TYPE_CHECKING:
    from airflowaks.engine.resource import Facts, Resource

_AUDIENCE = "api://AzureADTokenExchange"


class ManagedIdentity(ArmResource):
    """A user-assigned managed identity."""

    kind = "managed identity"
    type = "Microsoft.ManagedIdentity/userAssignedIdentities"
    immutable = ("location",)

    @property
    def principal_id(self) -> Any:
        """Return the object ID of the identity's service principal, or AFTER_APPLY."""
        return self.fact("properties.principalId")

    def get(self) -> Facts:
        """Read the identity."""
        facts: Facts = self.session.identities.user_assigned_identities.get(self.group, self.name, cls=rest)
        return facts

    def desired(self) -> Facts:
        """Return the environment's region and tags."""
        return {"location": self.session.environment.location, "tags": self.session.environment.tags}

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the identity."""
        parameters: Any = {"location": body["location"], "tags": body["tags"]}
        self.session.identities.user_assigned_identities.create_or_update(self.group, self.name, parameters)


class FederatedCredential(ArmResource):
    """The trust of an identity in the tokens of a Kubernetes service account.

    Entra refuses concurrent writes to the credentials of one identity, so each depends on the one before it.
    """

    kind = "federated credential"
    type = "federatedIdentityCredentials"
    created_path = "systemData.createdAt"

    def __init__(
        self,
        identity: ManagedIdentity,
        cluster: Resource,
        namespace: str,
        service_account: str,
        *,
        depends_on: tuple[Resource, ...] = (),
    ) -> None:
        super().__init__(identity.session, service_account, parent=identity, depends_on=(cluster, *depends_on))
        self.identity = identity
        self.cluster = cluster
        self.subject = f"system:serviceaccount:{namespace}:{service_account}"

    @property
    def id(self) -> str:
        """Return the resource ID."""
        return f"{self.identity.id}/{self.type}/{self.name}"

    def get(self) -> Facts:
        """Read the credential."""
        operations = self.session.identities.federated_identity_credentials
        facts: Facts = operations.get(self.group, self.identity.name, self.name, cls=rest)
        return facts

    def desired(self) -> Facts:
        """Return the cluster's issuer URL with its trailing slash: Entra compares the text."""
        return {
            "properties": {
                "issuer": self.cluster.fact("properties.oidcIssuerProfile.issuerURL"),
                "subject": self.subject,
                "audiences": [_AUDIENCE],
            }
        }

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the credential."""
        parameters: Any = {"properties": body["properties"]}
        operations = self.session.identities.federated_identity_credentials
        operations.create_or_update(self.group, self.identity.name, self.name, parameters)
