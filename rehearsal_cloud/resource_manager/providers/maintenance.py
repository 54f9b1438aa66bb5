"""Maintenance configurations: the hours in which AKS may upgrade a cluster and its nodes.

https://learn.microsoft.com/azure/aks/planned-maintenance. They are kept; nothing here upgrades by itself.
The limits are those of MaintenanceWindow in managedClusters.json.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.resource_types import Call, ResourceType, defaults, find, system_data

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_NAMES = ("default", "aksManagedAutoUpgradeSchedule", "aksManagedNodeOSUpgradeSchedule")
_LEAST_HOURS, _MOST_HOURS = 4, 24
_FORMS = {"startTime": r"([01]\d|2[0-3]):[0-5]\d", "utcOffset": r"[+-]\d\d:[0-5]\d"}
_UTC = "+00:00"


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
        """Check that a window has one schedule, lasts 4 to 24 hours and begins today or later. Raises ServiceError.

        An answer has the day of its creation as `startDate`, and to send that back on a later day is refused:
        https://github.com/hashicorp/terraform-provider-azurerm/issues/22762, with this text.
        """
        del existing
        window = find(body, "properties.maintenanceWindow") or {}
        if call.id.name == "default" and not window:
            return
        schedules = [name for name, schedule in (window.get("schedule") or {}).items() if schedule]
        if not schedules:
            text = "Required parameter maintenanceWindow.schedule is missing (null)."
            raise ServiceError(400, "InvalidParameter", text)
        if len(schedules) > 1:
            raise _invalid("schedule", f"one and only one schedule, got {' and '.join(schedules)}")
        if not _LEAST_HOURS <= (window.get("durationHours") or 0) <= _MOST_HOURS:
            raise _invalid("durationHours", f"at least {_LEAST_HOURS} hours and at most {_MOST_HOURS}")
        for name, form in _FORMS.items():
            if not re.fullmatch(form, window.get(name) or (_UTC if name == "utcOffset" else "")):
                raise _invalid(name, f"got {window.get(name)!r}")
        if (start := window.get("startDate") or "") and start < _today():
            text = (
                f"The input 'maintenanceWindow.startDate' {start} 00:00:00 +0000 cxTimeZone is before the current time"
            )
            raise ServiceError(400, "InvalidParameter", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the configuration with its creator, and a window with the day since which it counts."""
        properties = body.get("properties") or {}
        if window := properties.get("maintenanceWindow"):
            since = {"utcOffset": _UTC, "startDate": _today()}
            properties = {**properties, "maintenanceWindow": defaults(window, since)}
        return {"properties": properties, "systemData": system_data(call, existing)}

    def view(self, document: Document) -> Document:
        """Return the document as it is: configurations have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _invalid(name: str, details: str) -> ServiceError:
    text = f"The value of parameter {name} is invalid. Error details: {details}."
    return ServiceError(400, "InvalidParameter", text)
