"""Maintenance configurations: the hours in which AKS may upgrade a cluster and its nodes.

https://learn.microsoft.com/azure/aks/planned-maintenance. They are kept; nothing here upgrades by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.resource_types import Call, ResourceType, find, system_data

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_NAMES = ("default", "aksManagedAutoUpgradeSchedule", "aksManagedNodeOSUpgradeSchedule")
_LEAST_HOURS = 4


class MaintenanceConfiguration(ResourceType):
    """A window for one kind of upgrade, which its name says."""

    namespace = "Microsoft.ContainerService"
    type = "managedClusters/maintenanceConfigurations"
    tracked = False

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) for a name that AKS does not know."""
        if name not in _NAMES:
            text = f"The value of parameter configName is invalid. Error details: one of {', '.join(_NAMES)}."
            raise ServiceError(400, "InvalidParameter", text)

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Check that a window has a schedule and lasts at least four hours. Raises ServiceError."""
        del existing
        window = find(body, "properties.maintenanceWindow")
        if call.id.name == "default":
            return
        if not (window or {}).get("schedule"):
            text = "Required parameter maintenanceWindow.schedule is missing (null)."
            raise ServiceError(400, "InvalidParameter", text)
        if (window.get("durationHours") or 0) < _LEAST_HOURS:
            text = f"The value of parameter durationHours is invalid. Error details: at least {_LEAST_HOURS} hours."
            raise ServiceError(400, "InvalidParameter", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the configuration with its creator."""
        return {"properties": body.get("properties") or {}, "systemData": system_data(call, existing)}

    def view(self, document: Document) -> Document:
        """Return the document as it is: configurations have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}
