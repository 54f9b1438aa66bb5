"""Flexible servers: their requests, documents and instances."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.home import TENANT_ID, free_ports
from rehearsal_cloud.resource_manager.providers.postgresql.editions import (
    MINOR_VERSIONS,
    ZONES,
    disk,
    minor_versions,
    tiers_from,
)
from rehearsal_cloud.resource_manager.providers.postgresql.flexible_resource import FlexibleResource
from rehearsal_cloud.resource_manager.providers.postgresql.parameters import PARAMETERS, parameter_document
from rehearsal_cloud.resource_manager.providers.postgresql.server_rules import check_server, check_upgrade
from rehearsal_cloud.resource_manager.providers.postgresql.upgrades import keep_precheck, precheck, refusal
from rehearsal_cloud.resource_manager.resource_types import PENDING, Answer, busy_error, defaults, find, system_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call

_RESTART_SECONDS = 60.0
_POWER_SECONDS = 120.0
_PRECHECK_SECONDS = 60.0
_STATES = {
    "Creating": "Provisioning",
    "Updating": "Updating",
    "Deleting": "Dropping",
    "Succeeded": "Ready",
    "Failed": "Inaccessible",
}


class FlexibleServer(FlexibleResource):
    """A flexible server. Where Azure answers a host name, this answers `localhost:PORT`."""

    type = "flexibleServers"
    name_rule = r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*"
    name_text = "Server names have 3 to 63 lowercase letters, digits and single '-' between them."
    global_name = "postgres.database.azure.com"
    taken = ("ServerNameAlreadyExists", "Specified server name '{name}' is already used.")
    seconds: ClassVar[Mapping[str, float]] = {"create": 360, "update": 120, "delete": 120}

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Check the server against Azure's rules. Raises ServiceError."""
        check_server(body, existing, call.cloud.faults)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the server with Azure's defaults; only a verifier of its password is stored, and never shown."""
        before: Document = existing or {}
        requested = dict(body.get("properties") or {})
        password = requested.pop("administratorLoginPassword", None)
        requested.pop("createMode", None)
        secret = dict(before.get("_secret") or {"port": free_ports(1)[0]})
        if password:
            # Imported on demand: it takes a third of a second.
            from rehearsal_cloud.backends.postgresql import password_verifier

            secret["password_verifier"] = password_verifier(password)
        properties = defaults(defaults(requested, before.get("properties", {})), _properties(requested))
        _settle_storage(properties)
        _settle_availability(properties)
        if find(properties, "authConfig.activeDirectoryAuth") == "Enabled":
            properties["authConfig"] = defaults(properties["authConfig"], {"tenantId": TENANT_ID})
        properties["minorVersion"] = MINOR_VERSIONS[properties["version"]]
        if existing and properties["version"] != before["properties"]["version"]:
            secret["upgraded_from"] = before["properties"]["version"]
        return {
            "location": body["location"],
            "tags": body.get("tags") or {},
            "sku": defaults(body.get("sku"), before.get("sku", {})),
            "properties": properties,
            "systemData": system_data(call, existing),
            **({"identity": body["identity"]} if body.get("identity") else {}),
            "_secret": secret,
        }

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Start the instance of the document; delete the password's verifier when PostgreSQL has it."""
        del verb
        await self._instances.make(cloud, document)
        if "upgraded_from" in document["_secret"]:
            await self._upgrade(cloud, document)
        names = {resource["name"] for resource in cloud.resources(f"{document['id']}/configurations")}
        for parameter in PARAMETERS:
            if parameter.name not in names:
                cloud.keep(parameter_document(document, parameter))
        for settled in ("password_verifier", "stopped", "upgraded_from"):
            document["_secret"].pop(settled, None)
        cloud.keep(document)

    async def _upgrade(self, cloud: Cloud, document: Document) -> None:
        """Restart the server for another major version, if the prechecks pass. Raises ServiceError.

        The package has one version of PostgreSQL, so only what Resource Manager shows changes, and the sessions end.
        """
        instance = self._instances.of(document["id"])
        assert instance is not None  # noqa: S101 - it was made just now
        if refused := refusal(await precheck(instance, document["properties"]["version"])):
            cloud.keep(document)
            raise refused
        await self._instances.stop(cloud, document)
        await self._instances.start(cloud, document)

    def settle(self, cloud: Cloud, document: Document) -> None:
        """After an upgrade that was blocked: the server is as it was before."""
        if version := document["_secret"].pop("upgraded_from", None):
            document["properties"] |= {"version": version, "minorVersion": MINOR_VERSIONS[version]}
            cloud.keep({**document, "_state": "Succeeded"})

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Remove the instance with its data."""
        await self._instances.destroy(cloud, document)

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Start the instance again."""
        if not document["_secret"].get("stopped"):
            await self._instances.start(cloud, document)

    async def stop(self, cloud: Cloud, document: Document) -> None:
        """Stop the instance."""
        await self._instances.stop(cloud, document)

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the server's actions."""
        return {
            "restart": self._restart,
            "start": self._start,
            "stop": self._stop,
            "startMajorVersionUpgradePrecheck": self._start_precheck,
        }

    async def _start_precheck(self, call: Call, document: Document) -> Answer:
        """Begin a precheck; as in ServersStartMajorVersionUpgradePrecheck.json its name is that of the result."""
        self._check_idle(call, document)
        target = str(call.body.get("targetVersion") or "")
        check_upgrade(target, document["properties"]["version"], minor_versions(call.cloud.faults))
        name = str(uuid.uuid4())
        body = {"name": name, "createTime": datetime.now(UTC).isoformat(), "status": "Succeeded"}
        return Answer(body, operation_seconds=_PRECHECK_SECONDS, arguments={"name": name, "target": target})

    async def _restart(self, call: Call, document: Document) -> Answer:
        self._check_idle(call, document)
        return Answer(operation_seconds=_RESTART_SECONDS)

    async def _start(self, call: Call, document: Document) -> Answer:
        self._check_idle(call, document)
        return Answer(operation_seconds=_POWER_SECONDS)

    async def _stop(self, call: Call, document: Document) -> Answer:
        self._check_idle(call, document)
        return Answer(operation_seconds=_POWER_SECONDS)

    def _check_idle(self, call: Call, document: Document) -> None:
        for resource in (document, *call.cloud.resources(document["id"])):
            if resource["_state"] in PENDING:
                raise busy_error(self.busy, resource)

    async def perform(self, cloud: Cloud, document: Document, action: str, arguments: Mapping[str, Any]) -> None:
        """Stop, start or restart PostgreSQL: every session ends, static parameters take effect."""
        if action == "startmajorversionupgradeprecheck":
            instance, target = self._instances.of(document["id"]), arguments["target"]
            details = await precheck(instance, target) if instance else []
            keep_precheck(cloud, document, arguments["name"], target, details)
            return
        if action != "start":
            await self._instances.stop(cloud, document)
        if action != "stop":
            await self._instances.start(cloud, document)
            for parameter in cloud.resources(f"{document['id']}/configurations"):
                if parameter["properties"]["isConfigPendingRestart"]:
                    parameter["properties"]["isConfigPendingRestart"] = False
                    cloud.keep(parameter)
        document["_secret"]["stopped"] = action == "stop"
        cloud.keep(document)

    def view(self, document: Document) -> Document:
        """Return the answer to a GET: a state instead of a provisioning state, and the address of a ready server."""
        shown = {key: value for key, value in document.items() if not key.startswith("_")}
        stopped = document["_state"] == "Succeeded" and document["_secret"].get("stopped")
        shown["properties"] = {**document["properties"], "state": "Stopped" if stopped else _STATES[document["_state"]]}
        if document["_state"] != "Creating":
            shown["properties"]["fullyQualifiedDomainName"] = f"localhost:{document['_secret']['port']}"
        return shown


def _properties(requested: Document) -> Document:
    """Return Azure's default properties of a new server."""
    private = find(requested, "network.delegatedSubnetResourceId") is not None
    now = datetime.now(UTC)
    return {
        "version": "17",
        "availabilityZone": "1",
        "storage": {"storageSizeGB": 32, "autoGrow": "Disabled", "type": ""},
        "authConfig": {"activeDirectoryAuth": "Disabled", "passwordAuth": "Enabled"},
        "dataEncryption": {"type": "SystemManaged"},
        "backup": {
            "backupRetentionDays": 7,
            "geoRedundantBackup": "Disabled",
            "earliestRestoreDate": (now + timedelta(minutes=5)).isoformat(),
        },
        "network": {"publicNetworkAccess": "Disabled" if private else "Enabled"},
        "highAvailability": {"mode": "Disabled"},
        "maintenanceWindow": {"customWindow": "Disabled", "dayOfWeek": 0, "startHour": 0, "startMinute": 0},
        "replicationRole": "Primary",
        "replicaCapacity": 5,
        "replica": {"role": "Primary", "capacity": 5},
        "privateEndpointConnections": [],
    }


def _settle_storage(properties: Document) -> None:
    """Set the performance tier of a Premium SSD, at least that of its size, and the tier's IOPS."""
    storage = properties["storage"]
    size = disk(storage["storageSizeGB"])
    if size is None or storage.get("type") == "PremiumV2_LRS":
        return
    tiers = {tier.tier: tier.iops for tier in tiers_from(size)}
    if storage.get("tier") not in tiers:  # a disk that has grown leaves the smaller tiers behind
        storage["tier"] = size.tier
    storage["iops"] = tiers[storage["tier"]]


def _settle_availability(properties: Document) -> None:
    availability = properties["highAvailability"]
    if availability["mode"] == "Disabled":
        properties["highAvailability"] = {"mode": "Disabled", "state": "NotEnabled"}
        return
    zone = properties["availabilityZone"]
    standby = (
        zone if availability["mode"] == "SameZone" else next(candidate for candidate in ZONES if candidate != zone)
    )
    properties["highAvailability"] = {"standbyAvailabilityZone": standby, **availability, "state": "Healthy"}
