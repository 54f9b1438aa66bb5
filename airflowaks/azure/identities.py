"""User-assigned managed identities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource, rest

if TYPE_CHECKING:
    from airflowaks.resource import Facts


class ManagedIdentity(ArmResource):
    """An identity in Entra that Azure keeps the credentials of."""

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

    def want(self) -> Facts:
        """Want it in the environment's region, with its tags."""
        return {"location": self.session.environment.location, "tags": self.session.environment.tags}

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the identity."""
        parameters: Any = {"location": body["location"], "tags": body["tags"]}
        self.session.identities.user_assigned_identities.create_or_update(self.group, self.name, parameters)
