"""The instances behind flexible servers: a real PostgreSQL, with a front that enforces the resources' rules."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.postgresql_install import PostgresInstallation
from rehearsal_cloud.backends.postgresql_wire import PostgresTerminator
from rehearsal_cloud.certificates import server_context
from rehearsal_cloud.entra.directory import POSTGRESQL
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers import instances
from rehearsal_cloud.resource_manager.providers.callers import outbound_addresses
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud


class Instance:
    """The PostgreSQL behind a flexible server; every connection reads its login rules from the store."""

    def __init__(self, cloud: Cloud, document: Document, installation: PostgresInstallation) -> None:
        from rehearsal_cloud.backends.postgresql import (
            PostgresServer,  # a PostgreSQL client with it: a third of a second
        )

        self._cloud = cloud
        self._id = document["id"]
        folder = cloud.home.services / f"postgresql-{document['name'].lower()}"
        self.server = PostgresServer(folder, installation)
        port, context = document["_secret"]["port"], server_context(cloud.home)
        self.terminator = PostgresTerminator(port, context, lambda: self.server.socket, self)

    async def public_address(self, client: tuple[str, int]) -> str:
        """Return the address of a client: a pod's is an outbound address of its cluster, all others' is theirs.

        Of several, one that a rule covers: which one a connection leaves by is chance.
        """
        addresses = await outbound_addresses(self._cloud, client, ("127.0.0.1", self.terminator.port))
        return next(filter(self._is_covered, addresses), next(iter(addresses), client[0]))

    def allows(self, address: str) -> bool:
        """Tell whether the server's network accepts the address, and note the answer in the connections' log.

        Loopback represents clients inside and outside of Azure's network: for a server in a subnet it is inside.
        """
        allowed = self._is_covered(address)
        entry = {"server": self._document().get("name"), "address": address, "allowed": allowed}
        with self._cloud.home.connection_log.open("a") as log:
            log.write(json.dumps(entry) + "\n")
        return allowed

    def _is_covered(self, address: str) -> bool:
        network = self._document()["properties"]["network"]
        if network.get("delegatedSubnetResourceId"):
            return True
        if network["publicNetworkAccess"] == "Disabled":
            return False
        caller = ipaddress.IPv4Address(address)
        rules = (rule["properties"] for rule in self._children("firewallRules"))
        return any(
            ipaddress.IPv4Address(rule["startIpAddress"]) <= caller <= ipaddress.IPv4Address(rule["endIpAddress"])
            for rule in rules
        )

    def administrator_login(self) -> str | None:
        """Return the login of the administrator with a password; None on Entra-only servers."""
        login: str | None = find(self._document(), "properties.administratorLogin")
        return login if self.password_auth() else None

    def password_auth(self) -> bool:
        """Tell whether the server accepts passwords."""
        return bool(find(self._document(), "properties.authConfig.passwordAuth") == "Enabled")

    async def entra_login(self, user: str, token: str) -> str | None:
        """Return the error of a token for the role, or None: it must be the administrator's or a group member's.

        "The group name must exactly match the Microsoft Entra group display name (case-sensitive)":
        https://learn.microsoft.com/azure/postgresql/security/security-entra-configure
        """
        if find(self._document(), "properties.authConfig.activeDirectoryAuth") != "Enabled":
            return "Microsoft Entra authentication is not enabled on this server."
        try:
            principal = self._cloud.entra.verify(f"Bearer {token}", POSTGRESQL)
        except ServiceError:
            return "An error occurred while validating the access token. Please acquire a new token and retry."
        identities = self._cloud.entra.identities(principal.object_id)
        administrators = self._children("administrators")
        for administrator in administrators:
            named, object_id = administrator["properties"], administrator["name"].lower()
            group = self._cloud.entra.principal(object_id) if named["principalType"] == "Group" else None
            spelled = group.name if group else user
            if named["principalName"] == user == spelled and object_id in identities:
                return None
        return f"Microsoft Entra principal oid mismatch for role [{user}]"

    def _document(self) -> Document:
        return self._cloud.store.get("resources", self._id.lower()) or {"properties": {"network": {}}}

    def _children(self, kind: str) -> list[Document]:
        return [
            resource
            for resource in self._cloud.resources(f"{self._id}/{kind}")
            if resource["_state"] in ("Succeeded", "Updating", "Deleting")
        ]


class Instances(instances.Instances[Instance]):
    """The instances of all flexible servers."""

    def __init__(self) -> None:
        super().__init__()
        self._installation: PostgresInstallation | None = None

    def of(self, document_id: str) -> Instance | None:
        """Return the running instance of a flexible server or of its child, or None."""
        path = document_id.lower().split("/")
        return self._running.get("/".join(path[:9]))

    async def make(self, cloud: Cloud, document: Document) -> None:
        """Start the instance, with the document's administrator and password. It is idempotent."""
        instance = self._instance(cloud, document)
        await instance.server.create(instance.administrator_login(), document["_secret"].get("password_verifier"))
        await self._open(cloud, document, instance)

    def _describe(self, cloud: Cloud, document: Document) -> Instance:
        if self._installation is None:
            self._installation = PostgresInstallation(cloud.home.services / "postgresql")
        return Instance(cloud, document, self._installation)
