"""The subscription's part of a deployment: registered resource providers and a resource group."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource, group_id, rest
from airflowaks.engine.polling import wait_until
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import AzureError

if TYPE_CHECKING:
    from azure.core.rest import HttpResponse

    from airflowaks.session import Session

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
"""The providers of all resources that the seven steps, or AKS on their behalf, create."""

_REGISTRATION_SECONDS = 900.0
_SUBSCRIPTIONS_API = "2022-12-01"


def ask_subscription(session: Session) -> HttpResponse:
    """Return Azure's answer about the subscription: its name, state and offer, or that the caller sees none."""
    from azure.core.rest import HttpRequest

    path = f"/subscriptions/{session.environment.subscription_id}"
    return session.resources.send_request(HttpRequest("GET", path, params={"api-version": _SUBSCRIPTIONS_API}))


def seconds_ahead(answer: HttpResponse) -> float:
    """Return how many seconds this machine's clock is ahead of Azure's when it answered; negative if it is behind.

    Raises KeyError for an answer without the header, which a proxy may take off:
    https://www.rfc-editor.org/rfc/rfc9110#name-date
    """
    return (datetime.now(UTC) - parsedate_to_datetime(answer.headers["Date"])).total_seconds()


class ProviderRegistration(Resource):
    """The subscription's registration for one resource provider.

    The SDKs register automatically on some calls and not on others (creating a cluster is one of these), and a
    pipeline's principal often lacks the privilege. So step 1 registers first and shows it.
    """

    kind = "resource provider"

    @property
    def id(self) -> str:
        """Return the provider's ID in the subscription."""
        return f"/subscriptions/{self.session.environment.subscription_id}/providers/{self.name}"

    def read(self) -> Facts:
        """Return the registration state; checks of several environments of a subscription read it once."""
        if self.session.mode == "check":
            return self.session.connection.subscription.get(self.id, self._read)
        return self._read()

    def _read(self) -> Facts:
        provider: Any = self.session.resources.providers.get(self.name, cls=rest)
        return {"registrationState": provider["registrationState"]}  # the rest lists every type and region

    def desired(self) -> Facts:
        """Return the state Registered."""
        return {"registrationState": "Registered"}

    def write(self, facts: Facts | None) -> None:
        """Register and wait until Azure confirms it, one or two minutes. Raises AzureError after 15 minutes."""
        del facts
        self.session.resources.providers.register(self.name)
        facts = wait_until(self.read, lambda facts: facts["registrationState"] == "Registered", _REGISTRATION_SECONDS)
        if (state := facts["registrationState"]) != "Registered":
            message = f"Resource provider {self.name}: still {state} after {_REGISTRATION_SECONDS / 60:.0f} minutes."
            raise AzureError(message, f"See `az provider show --namespace {self.name}`, then run the step again.")


class ResourceGroup(ArmResource):
    """The resource group of all resources; deleting it deletes them."""

    kind = "resource group"
    type = "Microsoft.Resources/subscriptions/resourceGroups"
    sdk = "resources.resource_groups"
    creation = "create_or_update"
    immutable = ("location",)

    @property
    def id(self) -> str:
        """Return the group's ID."""
        return group_id(self.session, self.name)

    @property
    def place(self) -> tuple[str, ...]:
        """Return the name by which the operations address the group."""
        return (self.name,)

    def desired(self) -> Facts:
        """Return the environment's region and tags."""
        environment = self.session.environment
        return {"location": environment.location, "tags": self.tags()}
