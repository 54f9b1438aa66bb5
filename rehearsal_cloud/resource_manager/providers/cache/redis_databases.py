"""The database of an Azure Managed Redis cluster: a real Valkey."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import free_ports
from rehearsal_cloud.resource_manager.providers.cache.instances import Instances, new_keys, real_memory
from rehearsal_cloud.resource_manager.providers.cache.redis_enterprise import gigabytes, resource_state
from rehearsal_cloud.resource_manager.resource_types import Answer, ResourceType, defaults, find, system_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call

_EVICTION = {
    "AllKeysLFU": "allkeys-lfu",
    "AllKeysLRU": "allkeys-lru",
    "AllKeysRandom": "allkeys-random",
    "VolatileLRU": "volatile-lru",
    "VolatileLFU": "volatile-lfu",
    "VolatileTTL": "volatile-ttl",
    "VolatileRandom": "volatile-random",
    "NoEviction": "noeviction",
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "clientProtocol": ("Encrypted",),
    "clusteringPolicy": ("OSSCluster", "EnterpriseCluster", "NoCluster"),
    "evictionPolicy": tuple(_EVICTION),
    "accessKeysAuthentication": ("Enabled", "Disabled"),
    "deferUpgrade": ("Deferred", "NotDeferred"),
}
_IMMUTABLE = ("clientProtocol", "clusteringPolicy")
_AZURE_PORT = 10000
_UNCLUSTERED_GIGABYTES = 25
_KEYS_DISABLED_BY_DEFAULT = "2025-07-01"
_FLUSH_SECONDS = 60.0


class RedisDatabase(ResourceType):
    """The only database of a cluster. Clients may request Azure's port 10000; `port` answers the real port.

    Answers list its modules, but Valkey has none. Clustered databases reject commands across hash slots, as Azure's do.
    """

    namespace = "Microsoft.Cache"
    type = "redisEnterprise/databases"
    tracked = False
    seconds: ClassVar[Mapping[str, float]] = {"create": 120, "update": 60, "delete": 60}
    status_type = "operationsStatus"

    def __init__(self) -> None:
        self._instances = Instances(_folder, _allows, _accepts_keys)

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) for any name except `default`."""
        if name != "default":
            raise ServiceError(400, "BadRequest", f"The database name '{name}' is not valid: it must be 'default'.")

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject unknown values, and changes of immutable properties."""
        requested, before = body.get("properties") or {}, (existing or {}).get("properties", {})
        for key, allowed in _CHOICES.items():
            if requested.get(key) not in (None, *allowed):
                text = (
                    f"The property '{key}' is not valid: '{requested[key]}'. Here it is one of: {', '.join(allowed)}."
                )
                raise ServiceError(400, "BadRequest", text)
        for key in _IMMUTABLE:
            if existing is not None and requested.get(key) not in (None, before[key]):
                text = f"The property '{key}' cannot be changed after the database has been created."
                raise ServiceError(400, "BadRequest", text)
        if requested.get("port") not in (None, _AZURE_PORT, find(existing or {}, "_secret.port")):
            raise ServiceError(400, "BadRequest", f"The property 'port' must be {_AZURE_PORT}.")
        cluster = call.cloud.resource(call.id.top) or {}
        if (
            requested.get("clusteringPolicy") == "NoCluster"
            and gigabytes(cluster["sku"]["name"]) > _UNCLUSTERED_GIGABYTES
        ):
            text = f"The clustering policy 'NoCluster' is available up to {_UNCLUSTERED_GIGABYTES} GB."
            raise ServiceError(400, "BadRequest", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the database with Azure's defaults; no GET shows its keys and its real port."""
        before: Document = existing or {}
        keys = "Disabled" if call.api_version >= _KEYS_DISABLED_BY_DEFAULT else "Enabled"
        computed = ("port", "provisioningState", "resourceState")
        requested = {key: value for key, value in (body.get("properties") or {}).items() if key not in computed}
        properties = defaults(
            defaults(requested, before.get("properties", {})),
            {
                "clientProtocol": "Encrypted",
                "clusteringPolicy": "OSSCluster",
                "evictionPolicy": "VolatileLRU",
                "accessKeysAuthentication": keys,
                "deferUpgrade": "NotDeferred",
                "redisVersion": "7.4",
                "modules": [],
            },
        )
        properties["modules"] = [{"args": "", "version": "1.0.0", **module} for module in properties["modules"]]
        return {
            "properties": properties,
            "systemData": system_data(call, existing),
            "_secret": before.get("_secret") or {"port": free_ports(1)[0], "keys": new_keys()},
        }

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Start Valkey with the keys, memory and policy of the database."""
        del verb
        clustered = document["properties"]["clusteringPolicy"] != "NoCluster"
        await self._instances.make(cloud, document, clustered=clustered)
        await self.configure(document, _cluster(cloud, document)["sku"]["name"])
        await self._instances.set_keys(cloud, document)

    async def configure(self, document: Document, sku: str) -> None:
        """Set the memory of a SKU and the database's eviction policy."""
        server = self._instances.of(document)
        if server is not None:
            policy = _EVICTION[document["properties"]["evictionPolicy"]]
            await server.configure(maxmemory=real_memory(gigabytes(sku)), policy=policy)

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Remove Valkey with its data."""
        await self._instances.destroy(cloud, document)

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Start Valkey again."""
        await self._instances.start(cloud, document)

    async def stop(self, cloud: Cloud, document: Document) -> None:
        """Stop Valkey."""
        await self._instances.stop(cloud, document)

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the actions on keys and data."""
        return {"listKeys": self._list_keys, "regenerateKey": self._regenerate_key, "flush": self._flush}

    async def _list_keys(self, call: Call, document: Document) -> Answer:
        _check_keys_enabled(document)
        return Answer(await self._instances.list_keys(call.cloud, document))

    async def _regenerate_key(self, call: Call, document: Document) -> Answer:
        _check_keys_enabled(document)
        kind = call.body.get("keyType")
        if kind not in ("Primary", "Secondary"):
            raise ServiceError(400, "BadRequest", f"The property 'keyType' is not valid: '{kind}'.")
        return Answer(await self._instances.regenerate_key(call.cloud, document, kind))

    async def _flush(self, call: Call, document: Document) -> Answer:
        del call, document
        return Answer(operation_seconds=_FLUSH_SECONDS)

    async def perform(self, cloud: Cloud, document: Document, action: str, arguments: Mapping[str, Any]) -> None:
        """Flush: delete all data."""
        del cloud, action, arguments
        server = self._instances.of(document)
        if server is not None:
            await server.flush()

    def view(self, document: Document) -> Document:
        """Return the answer to a GET, with the real port."""
        shown = super().view(document)
        shown["properties"] |= {"port": document["_secret"]["port"], "resourceState": resource_state(document)}
        return shown


def _accepts_keys(document: Document) -> bool:
    return bool(document["properties"]["accessKeysAuthentication"] == "Enabled")


def _check_keys_enabled(document: Document) -> None:
    if not _accepts_keys(document):
        text = "Access keys authentication is disabled on this database. Enable it to list or regenerate its keys."
        raise ServiceError(400, "BadRequest", text)


def _cluster(cloud: Cloud, document: Document) -> Document:
    cluster = cloud.store.get("resources", document["id"].lower().rpartition("/databases/")[0])
    return cluster or {"properties": {}, "location": "", "name": ""}


def _folder(document: Document) -> str:
    # A cluster's name is unique only in its region; its resource ID distinguishes clusters of the same name.
    return "redisenterprise-" + uuid.uuid5(uuid.NAMESPACE_URL, document["id"].lower()).hex


def _allows(cloud: Cloud, document: Document, address: str) -> bool:
    del address
    return bool(find(_cluster(cloud, document), "properties.publicNetworkAccess") == "Enabled")
