"""Azure Cache for Redis, which retires: only an existing tenant may still create a cache."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import free_ports
from rehearsal_cloud.resource_manager.providers.cache.instances import Instances, listed_keys, new_keys, real_memory
from rehearsal_cloud.resource_manager.resource_ids import display_location
from rehearsal_cloud.resource_manager.resource_types import Answer, ResourceType, defaults, find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call

_RETIRING = (
    "Azure Cache for Redis is retiring, create Azure Managed Redis instance instead."
    " https://aka.ms/AzureCacheForRedisRetirement"
)
_FAMILIES = {"Basic": "C", "Standard": "C", "Premium": "P"}
_GIGABYTES = {"C": (0.25, 1, 2.5, 6, 13, 26, 53), "P": (0, 6, 13, 26, 53, 120)}
_POLICIES = (
    *("volatile-lru", "allkeys-lru", "volatile-random", "allkeys-random", "volatile-ttl", "noeviction"),
    *("volatile-lfu", "allkeys-lfu"),
)
_NON_TLS_PORT = 6379


class Redis(ResourceType):
    """An Azure Cache for Redis. Its host is localhost; `sslPort` is the real port.

    The port without TLS is never opened, and `enableNonSslPort` is always false.
    """

    namespace = "Microsoft.Cache"
    type = "redis"
    name_rule = r"(?=.{1,63}$)[A-Za-z0-9]+(-[A-Za-z0-9]+)*"
    name_text = "Cache names have 1 to 63 letters, digits and single '-' between them."
    global_name = "redis.cache.windows.net"
    taken = (
        "NameNotAvailable",
        "An error occured when trying to reserve the DNS name for the cache: the name '{name}' is not available.",
    )
    required = ("properties.sku.name", "properties.sku.family")
    seconds: ClassVar[Mapping[str, float]] = {"create": 900, "update": 300, "delete": 300}
    polling = "state"
    busy = (
        "Conflict",
        (
            "The resource '{id}' is busy processing a previous update request or is undergoing system maintenance.  As"
            " such, it is currently unable to accept the update request.  Please try again later."
        ),
    )
    """https://github.com/Altinn/dialogporten/pull/523."""

    def __init__(self) -> None:
        self._instances = Instances(lambda document: f"redis-{document['name'].lower()}", _allows, _accepts_keys)

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject new caches without `classic_redis`, unknown sizes and unknown policies."""
        if existing is None and not call.cloud.settings.classic_redis:
            raise ServiceError(400, "BadRequest", _RETIRING)
        sku = body["properties"]["sku"]
        family, capacity = _FAMILIES.get(sku["name"]), sku.get("capacity")
        if family is None or sku["family"] != family:
            text = f"The value of the parameter properties.sku is invalid: no '{sku['name']}' is of '{sku['family']}'."
            raise ServiceError(400, "InvalidRequestBody", text)
        if not isinstance(capacity, int) or capacity not in range(family == "P", len(_GIGABYTES[family])):
            text = f"The value of the parameter properties.sku.capacity is invalid: '{capacity}'."
            raise ServiceError(400, "InvalidRequestBody", text)
        premium_only = [key for key in ("shardCount", "subnetId", "staticIP") if find(body, f"properties.{key}")]
        if premium_only and sku["name"] != "Premium":
            text = f"The parameter properties.{premium_only[0]} is available in the Premium tier only."
            raise ServiceError(400, "InvalidRequestBody", text)
        policy = (find(body, "properties.redisConfiguration") or {}).get("maxmemory-policy", "volatile-lru")
        if policy not in _POLICIES:
            text = f"The value of the parameter maxmemory-policy is invalid: '{policy}'."
            raise ServiceError(400, "InvalidRequestBody", text)
        old = find(existing or {}, "properties.sku.name")
        if old is not None and list(_FAMILIES).index(sku["name"]) < list(_FAMILIES).index(old):
            text = f"A cache cannot be scaled from the {old} tier down to {sku['name']}."
            raise ServiceError(400, "InvalidRequestBody", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the cache with Azure's defaults; no GET shows its keys."""
        del call
        before: Document = existing or {}
        secret = before.get("_secret") or {"port": free_ports(1)[0], "keys": new_keys()}
        requested = {key: value for key, value in body["properties"].items() if key != "accessKeys"}
        properties = defaults(defaults(requested, before.get("properties", {})), _properties(body))
        properties |= {
            "enableNonSslPort": False,
            "redisVersion": "6.0.20",
            "replicasPerMaster": properties["replicasPerPrimary"],
        }
        kept = {key: body[key] for key in ("zones", "identity") if body.get(key)}
        return {
            "location": body["location"],
            "tags": body.get("tags") or {},
            **kept,
            "properties": properties,
            "_secret": secret,
        }

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Start Valkey with the keys, memory and policy of the cache."""
        del verb
        server = await self._instances.make(cloud, document)
        properties = document["properties"]
        sku = properties["sku"]
        memory = real_memory(_GIGABYTES[sku["family"]][sku["capacity"]])
        await server.configure(maxmemory=memory, policy=properties["redisConfiguration"]["maxmemory-policy"])
        await self._instances.set_keys(cloud, document)

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
        """Return the actions on keys."""
        return {"listKeys": self._list_keys, "regenerateKey": self._regenerate_key}

    async def _list_keys(self, call: Call, document: Document) -> Answer:
        return Answer(await self._instances.list_keys(call.cloud, document))

    async def _regenerate_key(self, call: Call, document: Document) -> Answer:
        kind = call.body.get("keyType")
        if kind not in ("Primary", "Secondary"):
            text = f"The value of the parameter keyType is invalid: '{kind}'."
            raise ServiceError(400, "InvalidRequestBody", text)
        return Answer(await self._instances.regenerate_key(call.cloud, document, kind))

    def view(self, document: Document) -> Document:
        """Return the answer to a GET: no keys, and type and region in the service's words (RedisCacheCreate.json)."""
        location = display_location(document["location"])
        shown = super().view(document) | {"type": "Microsoft.Cache/Redis", "location": location}
        properties = document["properties"]
        shown["properties"] |= {
            "hostName": "localhost",
            "port": _NON_TLS_PORT,
            "sslPort": document["_secret"]["port"],
            "accessKeys": None,
            "instances": _nodes(properties, document.get("zones")),
        }
        return shown

    def written(self, document: Document) -> Document:
        """Return the answer to a PUT: only this shows the keys."""
        shown = self.view(document)
        shown["properties"]["accessKeys"] = listed_keys(document)
        return shown


class FirewallRule(ResourceType):
    """A range of allowed IPv4 addresses of clients; without rules all addresses are allowed."""

    namespace = "Microsoft.Cache"
    type = "redis/firewallRules"
    tracked = False
    name_rule = r"\w{1,256}"
    name_text = "Firewall rule names have 1 to 256 letters, digits and '_'."
    required = ("properties.startIP", "properties.endIP")

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject an invalid range of IPv4 addresses."""
        del call, existing
        own = body["properties"]
        try:
            fits = ipaddress.IPv4Address(own["startIP"]) <= ipaddress.IPv4Address(own["endIP"])
        except ValueError:
            fits = False
        if not fits:
            text = f"The range from '{own['startIP']}' to '{own['endIP']}' is no range of IPv4 addresses."
            raise ServiceError(400, "InvalidRequestBody", text)

    def view(self, document: Document) -> Document:
        """Return the document as it is: rules have no provisioning state."""
        return {key: value for key, value in document.items() if not key.startswith("_")}


def _accepts_keys(document: Document) -> bool:
    return not document["properties"]["disableAccessKeyAuthentication"]


def _properties(body: Document) -> Document:
    """Return Azure's default properties."""
    return {
        "redisConfiguration": {
            "maxmemory-policy": "volatile-lru",
            "maxclients": "1000",
            "maxmemory-reserved": "50",
            "maxmemory-delta": "50",
        },
        "minimumTlsVersion": "1.2",
        "publicNetworkAccess": "Enabled",
        "updateChannel": "Stable",
        "disableAccessKeyAuthentication": False,
        "zonalAllocationPolicy": "UserDefined" if body.get("zones") else "Automatic",
        "replicasPerPrimary": 0 if body["properties"]["sku"]["name"] == "Basic" else 1,
        "linkedServers": [],
    }


def _nodes(properties: Document, zones: list[str] | None) -> list[dict[str, Any]]:
    copies = 1 + properties["replicasPerPrimary"]
    return [
        {
            "sslPort": 15000 + number,
            "nonSslPort": 13000 + number,
            **({"zone": zones[number % len(zones)]} if zones else {}),
            "shardId": number // copies,
            "isMaster": number % copies == 0,
            "isPrimary": number % copies == 0,
        }
        for number in range(copies * properties.get("shardCount", 1))
    ]


def _allows(cloud: Cloud, document: Document, address: str) -> bool:
    if document["properties"]["publicNetworkAccess"] == "Disabled":
        return False
    rules = [rule["properties"] for rule in cloud.resources(f"{document['id']}/firewallRules")]
    caller = ipaddress.IPv4Address(address)
    return not rules or any(
        ipaddress.IPv4Address(rule["startIP"]) <= caller <= ipaddress.IPv4Address(rule["endIP"]) for rule in rules
    )
