"""Microsoft.Compute: machines and disks, stored as requested; the sizes of machines, and the usage of quota."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.paging import paged
from rehearsal_cloud.resource_manager.providers.generic import GenericProvider
from rehearsal_cloud.resource_manager.providers.vm_sizes import SPOT_TOTAL, TOTAL, listing, usages
from rehearsal_cloud.resource_manager.resource_ids import canonical_location

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Answer, Call

_USAGES_PAGE = 12
_SIZES_PAGE = 100
_REGION = "westeurope"
_TOTALS = {TOTAL: "Total Regional vCPUs", SPOT_TOTAL: "Total Regional Spot vCPUs"}


class Compute(GenericProvider):
    """Machines and disks."""

    namespace = "Microsoft.Compute"

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the listings: the sizes of machines, and the region's usages."""
        return {("get", "skus"): self._sizes, ("get", "locations/usages"): self._usages}

    async def _sizes(self, call: Call) -> Answer:
        """Answer the sizes of the region that the filter names: "only location filter is supported currently"."""
        call.cloud.authorization.require(call.principal, "Microsoft.Compute/skus/read", call.id.scope)
        named = re.search(r"location eq '([^']*)'", call.query.get("$filter", ""))
        location = canonical_location(named.group(1)) if named else _REGION
        return paged(call, listing(call.cloud, location), _SIZES_PAGE)

    async def _usages(self, call: Call) -> Answer:
        """Answer the cores of all node pools in the region, by family and in total."""
        call.cloud.authorization.require(call.principal, "Microsoft.Compute/locations/usages/read", call.id.scope)
        used = usages(call.cloud, call.id.scope, call.id.names[0].lower())
        return paged(call, [_usage(name, *cores) for name, cores in used.items()], _USAGES_PAGE)


def _usage(name: str, used: int, limit: int) -> Document:
    series = name.removeprefix("standard").removesuffix("Family")
    title = _TOTALS.get(name, f"Standard {series} Family vCPUs")
    return {
        "unit": "Count",
        "currentValue": used,
        "limit": limit,
        "name": {"value": name, "localizedValue": title},
    }
