"""Access to servers: Microsoft Entra administrators and firewall rules."""

from __future__ import annotations

import ipaddress
import time
import uuid
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.resource_manager.providers.postgresql.flexible_resource import ServerChild
from rehearsal_cloud.resource_manager.providers.postgresql.server_rules import invalid
from rehearsal_cloud.resource_manager.resource_types import find, system_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call


_INACCESSIBLE_SECONDS = 30.0
_INACCESSIBLE = (
    "The server '{name}' is not in an accessible state to perform Azure AD Principal operation. Please make sure the"
    " server is accessible before executing Azure AD Principal operations."
)


class Administrator(ServerChild):
    """A Microsoft Entra administrator, named by its object ID: a role with token login.

    A new server is ready before it takes administrators: https://github.com/Azure/azure-postgresql/issues/127 and
    https://github.com/Azure/bicep-registry-modules/issues/3257. How long that takes is believed.
    """

    type = "flexibleServers/administrators"
    required = ("properties.principalName", "properties.principalType")
    seconds: ClassVar[Mapping[str, float]] = {"create": 60, "update": 60, "delete": 60}

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) unless the name is an object ID."""
        try:
            uuid.UUID(name)
        except ValueError:
            raise invalid("objectId", f"'{name}' is not a GUID.") from None

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject administrators of a foreign tenant; all if Entra authentication is disabled or the server is new."""
        server = call.cloud.resource(call.id.top)
        if server is None or find(server, "properties.authConfig.activeDirectoryAuth") != "Enabled":
            text = f"Microsoft Entra authentication is not enabled on the server '{call.id.top.name}'."
            raise ServiceError(400, "AadAuthNotEnabled", text)
        _check_accessible(call.cloud, server)
        properties = body["properties"]
        if properties["principalType"] not in ("User", "Group", "ServicePrincipal", "Unknown"):
            raise invalid("principalType", "User, Group or ServicePrincipal.")
        if properties.get("tenantId") not in (None, "", TENANT_ID):
            raise invalid("tenantId")
        if existing is not None and existing["properties"]["principalName"] != properties["principalName"]:
            raise invalid("principalName", "It cannot be changed: delete the administrator first.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the administrator with its object ID."""
        requested = body["properties"]
        return {
            "properties": {
                "principalType": requested["principalType"],
                "principalName": requested["principalName"],
                "objectId": call.id.name.lower(),
                "tenantId": TENANT_ID,
            },
            "systemData": system_data(call, existing),
        }

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Create the role."""
        del cloud, verb
        own = document["properties"]
        server = self.instance(document).server
        await server.add_entra_administrator(own["principalName"], own["objectId"], own["principalType"])

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Remove the role, unless the server is being deleted."""
        if not self.dies_with_server(cloud, document):
            await self.instance(document).server.remove_entra_administrator(document["properties"]["principalName"])


class FirewallRule(ServerChild):
    """A range of allowed IPv4 addresses of clients."""

    type = "flexibleServers/firewallRules"
    name_rule = r"[\w-]{1,80}"
    name_text = "Firewall rule names have 1 to 80 letters, digits, '-' and '_'."
    required = ("properties.startIpAddress", "properties.endIpAddress")
    seconds: ClassVar[Mapping[str, float]] = {"create": 60, "update": 60, "delete": 60}

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject invalid ranges of IPv4 addresses, and rules for a server in a virtual network."""
        del existing
        server = call.cloud.resource(call.id.top) or {}
        if find(server, "properties.network.delegatedSubnetResourceId"):
            text = "Firewall rule operations cannot be requested for a private access enabled server."
            raise ServiceError(400, "FirewallRuleNotAllowedOnPrivateAccessServer", text)
        start, end = (_address(body["properties"], key) for key in ("startIpAddress", "endIpAddress"))
        if start > end:
            raise invalid("startIpAddress", "It must not be above endIpAddress.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the rule."""
        own = body["properties"]
        return {
            "properties": {"startIpAddress": own["startIpAddress"], "endIpAddress": own["endIpAddress"]},
            "systemData": system_data(call, existing),
        }


def _check_accessible(cloud: Cloud, server: Document) -> None:
    """Raise ServiceError (409) for some seconds after the server's creation, and while it is stopped."""
    creation = cloud.operations.get(server["_operation"])
    created = creation.ended if creation is not None and creation.verb == "create" else None
    is_new = created is not None and time.time() < created + cloud.settings.scaled(_INACCESSIBLE_SECONDS)
    if is_new or server["_secret"].get("stopped"):
        code = "AadAuthOperationCannotBePerformedWhenServerIsNotAccessible"
        raise ServiceError(409, code, _INACCESSIBLE.format(name=server["name"]))


def _address(properties: Document, key: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(properties[key])
    except ValueError:
        raise invalid(key, f"'{properties[key]}' is not an IPv4 address.") from None
