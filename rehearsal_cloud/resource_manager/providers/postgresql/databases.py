"""Databases, read from PostgreSQL: those created with SQL are resources too."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers.postgresql.flexible_resource import ServerChild
from rehearsal_cloud.resource_manager.providers.postgresql.server_rules import invalid
from rehearsal_cloud.resource_manager.resource_types import PENDING, defaults, system_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_ids import ResourceId
    from rehearsal_cloud.resource_manager.resource_types import Call

# A database has Azure's template's collation (DatabasesCreate.json of the official examples), which not every machine
# has: here it is the built-in one.
_COLLATION, _BUILT_IN = "en_US.utf8", "C.UTF-8"
_AZURES_OWN = ("azure_maintenance", "azure_sys", "postgres", "template0", "template1")


class Database(ServerChild):
    """A database. What Resource Manager makes belongs to the administrator login, on Entra-only servers to azuresu.

    Sources: cyrilgdn/terraform-provider-postgresql#500, hashicorp/terraform-provider-azurerm#27895.
    """

    type = "flexibleServers/databases"
    name_rule = r"[-\w.]{1,63}"
    name_text = "Database names have 1 to 63 letters, digits, '-', '_' and '.'."
    seconds: ClassVar[Mapping[str, float]] = {"create": 30, "update": 30, "delete": 30}

    async def refresh(self, cloud: Cloud, rid: ResourceId) -> None:
        """Update the documents from PostgreSQL, except those in an operation."""
        instance = self._instances.of(rid.top.path)
        if instance is None:
            return
        import psycopg

        try:
            real = {database.name: database for database in await instance.server.databases()}
        except psycopg.OperationalError:  # it is restarting: answer with the last state
            return
        documents = {database["name"]: database for database in cloud.resources(f"{rid.top.path}/databases")}
        for name in documents.keys() - real.keys():
            if documents[name]["_state"] not in PENDING:
                cloud.store.delete("resources", documents[name]["id"].lower())
        for name in real.keys() - documents.keys():
            collation = _COLLATION if real[name].collation == _BUILT_IN else real[name].collation
            cloud.keep(
                {
                    "id": f"{rid.top.path}/databases/{name}",
                    "name": name,
                    "type": "Microsoft.DBforPostgreSQL/flexibleServers/databases",
                    "properties": {"charset": real[name].charset, "collation": collation},
                    "_state": "Succeeded",
                }
            )

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject the names of Azure's databases, and changes of immutable properties."""
        if existing is None and call.id.name in _AZURES_OWN:
            raise invalid("databaseName", f"The name '{call.id.name}' is reserved.")
        before = (existing or {}).get("properties", {})
        for key, value in (body.get("properties") or {}).items():
            if key in before and str(value).lower() != str(before[key]).lower():
                raise invalid(key, "It cannot be changed after the database has been created.")

    def validate_delete(self, call: Call, document: Document) -> None:
        """Reject the deletion of Azure's databases."""
        del document
        if call.id.name in _AZURES_OWN:
            raise ServiceError(400, "InvalidParameterValue", f"The database '{call.id.name}' cannot be deleted.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the database with Azure's defaults."""
        properties = defaults(body.get("properties"), (existing or {}).get("properties", {}))
        return {
            "properties": defaults(properties, {"charset": "UTF8", "collation": _COLLATION}),
            "systemData": system_data(call, existing),
        }

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Create the database. Raises ServiceError for an unknown charset."""
        import psycopg

        del cloud, verb
        properties, instance = document["properties"], self.instance(document)
        try:
            await instance.server.create_database(
                document["name"], properties["charset"], properties["collation"], owner=instance.administrator_login()
            )
        except psycopg.ProgrammingError as fault:
            raise invalid("charset", str(fault)) from fault

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Drop the database, unless the server is being deleted."""
        if not self.dies_with_server(cloud, document):
            await self.instance(document).server.drop_database(document["name"])
