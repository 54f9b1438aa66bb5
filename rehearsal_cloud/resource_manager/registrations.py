"""The subscription's registrations of resource providers, which their resources require.

Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-providers-and-types
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import SUBSCRIPTION_ID
from rehearsal_cloud.resource_manager.resource_ids import REGIONS
from rehearsal_cloud.resource_manager.resource_types import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Principal
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Provider

_SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"
# A new subscription lacks PolicyInsights (https://github.com/hashicorp/terraform-provider-azurerm/issues/10498). This
# one is not new; faults refuse as one that is.
_ALWAYS_REGISTERED = ("microsoft.authorization", "microsoft.policyinsights", "microsoft.resources")
_SECONDS = 60.0


class Registrations:
    """The providers, by their lower-case namespaces, and the subscription's registration for each."""

    def __init__(self, cloud: Cloud, providers: Mapping[str, Provider]) -> None:
        self._cloud = cloud
        self._providers = providers

    def registered(self, namespace: str) -> bool:
        """Tell whether the subscription is registered for the provider."""
        return self._state(namespace) == "Registered"

    def regions(self, full_type: str) -> tuple[str, ...]:
        """Return the display names of the regions that have a type: one where it is restricted."""
        return REGIONS[:1] if self._cloud.faults.restriction("region", full_type) else REGIONS

    def list(self) -> Answer:
        """Answer with all providers."""
        return Answer({"value": [self._view(provider) for provider in self._providers]})

    def read(self, namespace: str) -> Answer:
        """Answer with a provider. Raises ServiceError (404)."""
        return Answer(self._view(namespace))

    def register(self, principal: Principal, namespace: str) -> Answer:
        """Start the registration; a read of the provider shows its end. Raises ServiceError."""
        self._cloud.authorization.require(principal, f"{namespace}/register/action", _SUBSCRIPTION)
        if self._view(namespace)["registrationState"] == "NotRegistered":
            due = time.time() + self._cloud.settings.scaled(_SECONDS)
            self._cloud.store.put("registrations", namespace.lower(), {"due": due})
        return self.read(namespace)

    def unregister(self, principal: Principal, namespace: str) -> Answer:
        """End the registration. Raises ServiceError."""
        self._cloud.authorization.require(principal, f"{namespace}/unregister/action", _SUBSCRIPTION)
        self._cloud.store.delete("registrations", namespace.lower())
        return self.read(namespace)

    def _state(self, namespace: str) -> str:
        if namespace.lower() in _ALWAYS_REGISTERED:
            return "Registered"
        kept = self._cloud.store.get("registrations", namespace.lower())
        if kept is None:
            return "NotRegistered"
        return "Registered" if kept["due"] <= time.time() else "Registering"

    def _view(self, namespace: str) -> Document:
        provider = self._providers.get(namespace.lower())
        if provider is None:
            raise ServiceError(404, "InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid.")
        return {
            "id": f"{_SUBSCRIPTION}/providers/{provider.namespace}",
            "namespace": provider.namespace,
            "registrationState": self._state(namespace),
            "registrationPolicy": "RegistrationRequired",
            "resourceTypes": [
                {
                    "resourceType": resource_type.type,
                    "locations": list(self.regions(f"{provider.namespace}/{resource_type.type}")),
                    "apiVersions": [],
                    "capabilities": "None",
                }
                for resource_type in provider.types.values()
            ],
        }
