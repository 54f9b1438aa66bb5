"""Azure Managed Redis: clusters, of the resource type Microsoft.Cache/redisEnterprise.

Sizes: https://learn.microsoft.com/azure/redis/overview#choosing-the-right-tier
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.resource_ids import display_location
from rehearsal_cloud.resource_manager.resource_types import ResourceType, defaults, failed_verb, find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_types import Call

_RETIRED = (
    "Creation of new Azure Cache for Redis Enterprise resources is no longer supported. Azure Cache for Redis"
    " Enterprise is retiring, please create Azure Managed Redis instead."
)
_COMMON: dict[int, float] = {10: 12, 20: 24, 50: 60, 100: 120, 150: 180, 250: 240, 350: 360, 500: 480, 700: 720}
_SIZES: dict[str, dict[int, float]] = {
    "Balanced_B": {0: 0.5, 1: 1, 3: 3, 5: 6} | _COMMON | {1000: 960},
    "MemoryOptimized_M": _COMMON | {1000: 960, 1500: 1440, 2000: 1920},
    "ComputeOptimized_X": {3: 3, 5: 6} | _COMMON,
    "FlashOptimized_A": {250: 250, 500: 500, 700: 700, 1000: 1000, 1500: 1500, 2000: 2000, 4500: 4500},
}
_GIGABYTES = {f"{series}{number}": size for series, sizes in _SIZES.items() for number, size in sizes.items()}
_SWITCH = ("Enabled", "Disabled")
_PUBLIC_NETWORK_ACCESS_REQUIRED = "2025-07-01"
_CREATE_FAILED = "CreateFailed"


def resource_state(document: Document) -> str:
    """Return the resource state of a cluster or a database, such as Running, Updating or UpdateFailed."""
    if verb := failed_verb(document):
        return f"{verb.title()}Failed"
    return "Running" if document["_state"] == "Succeeded" else str(document["_state"])


def gigabytes(sku: str) -> float:
    """Return the memory of a SKU."""
    return _GIGABYTES[sku]


class RedisEnterprise(ResourceType):
    """A cluster: the size and the network of its database, which has the real server.

    A failed creation leaves a cluster with a host name, which is deleted before it can be created again:
    https://github.com/hashicorp/terraform-provider-azurerm/pull/32610,
    https://github.com/Azure-Samples/ai-hub-gateway-solution-accelerator/issues/108 and
    https://github.com/langchain-ai/terraform/issues/258. The refusal's status and code are believed.
    """

    namespace = "Microsoft.Cache"
    type = "redisEnterprise"
    name_rule = r"(?=.{1,60}$)[A-Za-z0-9]+(-[A-Za-z0-9]+)*"
    name_text = "Cluster names have 1 to 60 letters, digits and single '-' between them."
    global_name = "{location}.redis.azure.net"
    taken = ("NameNotAvailable", "The cluster name '{name}' is already in use in this region.")
    required = ("sku.name",)
    seconds: ClassVar[Mapping[str, float]] = {"create": 600, "update": 300, "delete": 300}
    status_type = "operationsStatus"

    def __init__(self, configure: Callable[[Document, str], Awaitable[None]]) -> None:
        self._configure = configure
        """Gives a running database the memory of a SKU."""

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Reject retired and unknown SKUs, zones, no `publicNetworkAccess`, and a cluster whose creation failed."""
        if existing is not None and resource_state(existing) == _CREATE_FAILED:
            text = "A resource with this name already exists or is in a conflicting state."
            raise ServiceError(409, "Conflict", text)
        sku, properties = body["sku"]["name"], body.get("properties") or {}
        if sku.startswith("Enterprise"):
            raise ServiceError(400, "BadRequest", _RETIRED)
        if sku not in _GIGABYTES:
            raise ServiceError(400, "BadRequest", f"The SKU '{sku}' is not valid. One of: {', '.join(_GIGABYTES)}.")
        if body["sku"].get("capacity") is not None:
            raise ServiceError(400, "BadRequest", f"The SKU '{sku}' has no capacity; it must not be specified.")
        if body.get("zones"):  # https://github.com/langchain-ai/terraform/pull/107
            text = (
                f"Specifying zones for SKU '{sku}' is not supported. Zone redundancy is enabled by default for this SKU"
                " in regions with zones."
            )
            raise ServiceError(400, "BadRequest", text)
        access = properties.get("publicNetworkAccess")
        if access not in _SWITCH and (access is not None or call.api_version >= _PUBLIC_NETWORK_ACCESS_REQUIRED):
            text = "The property 'publicNetworkAccess' is required and must be 'Enabled' or 'Disabled'."
            raise ServiceError(400, "BadRequest", text)
        if properties.get("highAvailability") not in (None, *_SWITCH):
            raise ServiceError(400, "BadRequest", "The property 'highAvailability' must be 'Enabled' or 'Disabled'.")
        if properties.get("minimumTlsVersion") not in (None, "1.2"):
            raise ServiceError(400, "BadRequest", "The property 'minimumTlsVersion' must be '1.2'.")

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the cluster with Azure's defaults; it has no systemData, as in RedisEnterpriseCreate.json."""
        del existing
        requested = {key: value for key, value in (body.get("properties") or {}).items() if key not in _COMPUTED}
        properties = defaults(
            requested, {"highAvailability": "Enabled", "minimumTlsVersion": "1.2", "publicNetworkAccess": "Enabled"}
        )
        available = properties["highAvailability"] == "Enabled"
        properties |= {
            "hostName": "localhost",
            "redisVersion": "7.4",
            "redundancyMode": "ZR" if available else "None",
            "privateEndpointConnections": [],
        }
        return {
            "location": body["location"],
            "tags": body.get("tags") or {},
            "kind": "v2",
            "sku": {"name": body["sku"]["name"]},
            **({"identity": _identity(call.cloud, body["identity"])} if body.get("identity") else {}),
            "properties": properties,
        }

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Set the database's memory to the cluster's SKU."""
        if verb == "update":
            for database in cloud.resources(f"{document['id']}/databases"):
                await self._configure(database, document["sku"]["name"])

    def view(self, document: Document) -> Document:
        """Return the answer to a GET: the resource's state, and its region by the display name.

        So it is in Azure/azure-cli-extensions' recording test_redisenterprise_scenario2.yaml, and in the example.
        """
        shown = super().view(document) | {"location": display_location(document["location"])}
        shown["properties"]["resourceState"] = resource_state(document)
        return shown


_COMPUTED = (
    "provisioningState",
    "resourceState",
    "hostName",
    "redisVersion",
    "redundancyMode",
    "privateEndpointConnections",
)


def _identity(cloud: Cloud, requested: Document) -> Document:
    """Return the identity with the IDs of the user-assigned identities; a missing identity has zeros."""
    nobody = "00000000-0000-0000-0000-000000000000"
    assigned = {}
    for resource_id in requested.get("userAssignedIdentities") or {}:
        identity = cloud.store.get("resources", resource_id.lower()) or {}
        assigned[resource_id] = {
            key: find(identity, f"properties.{key}") or nobody for key in ("principalId", "clientId")
        }
    return {**requested, **({"userAssignedIdentities": assigned} if assigned else {})}
