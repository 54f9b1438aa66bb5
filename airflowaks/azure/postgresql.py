"""The PostgreSQL flexible server: the server, its Entra administrator and its firewall.

Source: https://learn.microsoft.com/azure/templates/microsoft.dbforpostgresql/flexibleservers
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmChild, ArmResource, merge
from airflowaks.azure.region import postgresql_capabilities, postgresql_releases, require_release
from airflowaks.engine.changes import AFTER_APPLY, Difference
from airflowaks.engine.resource import value_at

if TYPE_CHECKING:
    from airflowaks.azure.entra import Group
    from airflowaks.cloud.routes import Route
    from airflowaks.engine.resource import Facts, Resource
    from airflowaks.session import Session

_UNUSED_LOGIN = "airflowaksadmin"
_COMPLEX = "aA1!"


class FlexibleServer(ArmResource):
    """A PostgreSQL flexible server: operators sign in with Entra tokens, Airflow with a password, both over TLS."""

    kind = "PostgreSQL server"
    type = "Microsoft.DBforPostgreSQL/flexibleServers"
    sdk = "postgresql.servers"
    state_path = "properties.state"
    settled_states = frozenset({"ready", "stopped", "disabled", "inaccessible"})
    immutable = ("location",)

    def __init__(self, session: Session, *, parent: Resource, route: Route) -> None:
        super().__init__(session, session.environment.postgresql.name, parent=parent)
        self.route = route
        """How this machine reaches it."""
        self.writing = threading.Lock()
        """Held during a write: a flexible server takes one write at a time and refuses others (ServerBusy)."""

    @property
    def has_host(self) -> bool:
        """Return whether it exists and has a host name: while it is created, it may have none."""
        return bool(value_at(self.facts, "properties.fullyQualifiedDomainName"))

    @property
    def host(self) -> str:
        """Return the host name in the server's certificate."""
        return str(self.require("properties.fullyQualifiedDomainName")).partition(":")[0]

    @property
    def port(self) -> int:
        """Return the port; the rehearsal cloud appends it to the host name, Azure does not."""
        port = str(self.require("properties.fullyQualifiedDomainName")).partition(":")[2]
        return int(port or self.session.environment.postgresql.port)

    def desired(self) -> Facts:
        """Return the environment's server; storage that has grown stays at its size, and a server at its version."""
        environment, settings = self.session.environment, self.session.environment.postgresql
        grown: int = value_at(self.facts, "properties.storage.storageSizeGB") or 0
        return {
            "location": environment.location,
            "tags": self.tags(),
            "sku": {"name": settings.sku, "tier": settings.tier},
            "properties": {
                "version": value_at(self.facts, "properties.version") or settings.version,
                "storage": {"storageSizeGB": max(settings.storage_gb, grown), "autoGrow": "Enabled"},
                "backup": {"backupRetentionDays": settings.backup_days},
                "highAvailability": {"mode": settings.high_availability},
                "authConfig": {
                    "activeDirectoryAuth": "Enabled",
                    "passwordAuth": "Enabled",
                    "tenantId": environment.tenant_id,
                },
                "network": {"publicNetworkAccess": "Enabled"},
            },
        }

    def outdated(self) -> tuple[Difference, ...]:
        """Return the major version where it is not the environment's."""
        version, wanted = value_at(self.facts, "properties.version"), self.session.environment.postgresql.version
        return (Difference("properties.version", version, wanted),) if version and version != wanted else ()

    def write(self, facts: Facts | None) -> None:
        """Create the server (six minutes on Azure) or update it.

        A server with password authentication needs an administrator login at creation. Its password is random and is
        kept nowhere: administrators sign in with Entra. Raises SkuNotAvailable, before anything is sent, for a new
        server's version that has ended.
        """
        if facts is not None:
            parameters: Any = {key: value for key, value in self.desired().items() if key != "location"}
            parameters["tags"] = merge(facts.get("tags", {}), parameters["tags"])
            self.call("begin_update", parameters)
            return
        releases = postgresql_releases(postgresql_capabilities(self.session))
        require_release(self.session, "PostgreSQL", self.session.environment.postgresql.version, releases)
        password = self.session.redactor.learn(secrets.token_urlsafe(40) + _COMPLEX)
        login = {"administratorLogin": _UNUSED_LOGIN, "administratorLoginPassword": password.reveal()}
        self.put(merge(self.desired(), {"properties": {**login, "createMode": "Create"}}))


class ServerChild(ArmChild):
    """A child resource of a flexible server."""

    created_path = "systemData.createdAt"

    def __init__(self, server: FlexibleServer, name: str, *, depends_on: tuple[Resource, ...] = ()) -> None:
        super().__init__(server, name, depends_on=depends_on)
        self.server = server

    def write(self, facts: Facts | None) -> None:
        """Write the resource when no other write of this session to the server is in progress."""
        with self.server.writing:
            super().write(facts)


class EntraAdministrator(ServerChild):
    """The Entra group whose members are administrators of the server; they sign in under the group's name.

    "The group name must exactly match the Microsoft Entra group display name (case-sensitive)", and Graph finds a group
    in any case: https://learn.microsoft.com/azure/postgresql/security/security-entra-configure
    """

    kind = "PostgreSQL administrator"
    type = "administrators"
    sdk = "postgresql.administrators_microsoft_entra"

    def __init__(self, server: FlexibleServer, group: Group) -> None:
        super().__init__(server, group.name, depends_on=(group,))
        self.admins = group

    @property
    def finishing_seconds(self) -> float:
        """Return how long a refusal is repeated: a new server's ends within minutes, that of a stopped one never."""
        return 900.0

    @property
    def user(self) -> str:
        """Return the PostgreSQL user that the members sign in as: the group's name as Entra has it.

        Where Graph does not tell, or there is no group yet, it is the environment's.
        """
        from azure.core.exceptions import AzureError

        try:
            return str(value_at(self.admins.facts, "displayName") or self.admins.name)
        except AzureError:
            return self.admins.name

    @property
    def place(self) -> tuple[str, ...]:
        """Return the names by which the operations address the administrator: the last is the group's object ID."""
        return (self.group, self.server.name, str(self.admins.object_id))

    def read(self) -> Facts | None:
        """Return the administrator, or None if the group is not an administrator."""
        return None if self.admins.object_id is AFTER_APPLY else super().read()

    def desired(self) -> Facts:
        """Return the group as an administrator."""
        tenant = self.session.environment.tenant_id
        return {"properties": {"principalName": self.user, "principalType": "Group", "tenantId": tenant}}


class FirewallRule(ServerChild):
    """A range of public IPv4 addresses that may connect to the server; either end may be AFTER_APPLY."""

    kind = "firewall rule"
    type = "firewallRules"
    sdk = "postgresql.firewall_rules"

    def __init__(self, server: FlexibleServer, name: str, start: Any, end: Any) -> None:
        super().__init__(server, name)
        self.start, self.end = start, end

    def desired(self) -> Facts:
        """Return the first and the last address of the range."""
        return {"properties": {"startIpAddress": self.start, "endIpAddress": self.end}}
