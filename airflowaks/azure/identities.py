"""User-assigned managed identities, and the federated credentials of a cluster's service accounts.

Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.arm import ArmChild, ArmResource

if TYPE_CHECKING:
    from airflowaks.engine.resource import Facts, Resource

AUDIENCE = "api://AzureADTokenExchange"


class ManagedIdentity(ArmResource):
    """A user-assigned managed identity."""

    kind = "managed identity"
    type = "Microsoft.ManagedIdentity/userAssignedIdentities"
    sdk = "identities.user_assigned_identities"
    creation = "create_or_update"
    immutable = ("location",)

    def desired(self) -> Facts:
        """Return the environment's region and tags."""
        return {"location": self.session.environment.location, "tags": self.tags()}


class FederatedCredential(ArmChild):
    """The trust of an identity in the tokens of a Kubernetes service account.

    Entra refuses concurrent writes to the credentials of one identity, so each depends on the one before it.
    """

    kind = "federated credential"
    type = "federatedIdentityCredentials"
    sdk = "identities.federated_identity_credentials"
    creation = "create_or_update"
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
        super().__init__(identity, service_account, depends_on=(cluster, *depends_on))
        self.cluster = cluster
        self.subject = f"system:serviceaccount:{namespace}:{service_account}"

    def desired(self) -> Facts:
        """Return the cluster's issuer URL with its trailing slash: Entra compares the text."""
        return {
            "properties": {
                "issuer": self.cluster.fact("properties.oidcIssuerProfile.issuerURL"),
                "subject": self.subject,
                "audiences": [AUDIENCE],
            }
        }
