"""What a deployment needs of its subscription: registered resource providers and a resource group."""

from __future__ import annotations

from typing import Any

from airflowaks.azure.arm import ArmResource, group_id, rest
from airflowaks.engine.polling import wait_until
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import AzureError

NAMESPACES = (
    "Microsoft.Cache",
    "Microsoft.Compute",
    "Microsoft.ContainerRegistry",
    "Microsoft.ContainerService",
    "Microsoft.DBforPostgreSQL",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.Storage",
)
"""The providers whose resources the seven steps create, or AKS for them: nodes, disks, load balancers, addresses."""

_REGISTRATION_SECONDS = 900.0


class ProviderRegistration(Resource):
    """The subscription's registration for one resource provider.

    The SDKs register by themselves on some calls and not on others (creating a cluster is one of these), and a
    pipeline's principal often may not: so it is done, and seen, first.
    """

    kind = "resource provider"

    @property
    def id(self) -> str:
        """Return the provider's ID in the subscription."""
        return f"/subscriptions/{self.session.environment.subscription_id}/providers/{self.name}"

    def read(self) -> Facts:
        """Return the state of the registration alone: the full answer lists every type and region."""
        provider: Any = self.session.resources.providers.get(self.name, cls=rest)
        return {"registrationState": provider["registrationState"]}

    def desired(self) -> Facts:
        """Want it registered."""
        return {"registrationState": "Registered"}

    def write(self, facts: Facts | None) -> None:
        """Register and wait until Azure says so, which takes a minute or two. Raises AzureError after 15."""
        del facts
        self.session.resources.providers.register(self.name)
        found = wait_until(self.read, lambda now: now["registrationState"] == "Registered", _REGISTRATION_SECONDS)
        if found["registrationState"] != "Registered":
            message = (
                f"{self.name} is still {found['registrationState']} after {_REGISTRATION_SECONDS / 60:.0f} minutes."
            )
            raise AzureError(message, "Run the step again; `az provider show --namespace` tells the state.")


class ResourceGroup(ArmResource):
    """The resource group that holds everything; deleting it deletes all of it."""

    kind = "resource group"
    immutable = ("location",)

    @property
    def id(self) -> str:
        """Return the group's ID."""
        return group_id(self.session, self.name)

    def get(self) -> Facts:
        """Read the group."""
        facts: Facts = self.session.resources.resource_groups.get(self.name, cls=rest)
        return facts

    def desired(self) -> Facts:
        """Want it in the environment's region, with the environment's tags."""
        environment = self.session.environment
        return {"location": environment.location, "tags": environment.tags}

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the group."""
        self.session.resources.resource_groups.create_or_update(self.name, _parts(body, "location", "tags"))

    def delete(self) -> None:
        """Delete the group and all that is in it; the cluster and the broker take Azure ten minutes."""
        self.session.resources.resource_groups.begin_delete(self.name).result()


def _parts(body: dict[str, Any], *names: str) -> Any:
    return {name: body[name] for name in names if name in body}
