"""Microsoft.Compute: machines and disks, stored as requested, and the usage of a region's quota."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.paging import paged
from rehearsal_cloud.resource_manager.providers.generic import GenericProvider
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Answer, Call

_SIZE = re.compile(r"standard_([a-z]+)(\d+)(?:-\d+)?([a-z]*)(?:_(.+))?", re.IGNORECASE)
_TOTAL = ("cores", "Total Regional vCPUs")
_LIMIT = 100
_PAGE = 1  # few families are in use, and Azure pages this list too


class Compute(GenericProvider):
    """Machines and disks. The quota is reported, not enforced."""

    namespace = "Microsoft.Compute"

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the region's usages."""
        return {("get", "locations/usages"): self._usages}

    async def _usages(self, call: Call) -> Answer:
        """Answer the cores of all node pools in the region, by family and in total."""
        call.cloud.authorization.require(call.principal, "Microsoft.Compute/locations/usages/read", call.id.scope)
        used: Counter[tuple[str, str]] = Counter({_TOTAL: 0})
        for cluster in call.cloud.top_resources(call.id.scope):
            if find(cluster, "location") != call.id.names[0].lower():
                continue
            for pool in find(cluster, "properties.agentPoolProfiles") or ():
                family, cores = _family(pool["vmSize"])
                used[family] += cores * pool["count"]
                used[_TOTAL] += cores * pool["count"]
        return paged(call, [_usage(name, count) for name, count in used.items()], _PAGE)


def _family(size: str) -> tuple[tuple[str, str], int]:
    """Return the name, the title and the cores of a machine size's family."""
    match = _SIZE.fullmatch(size)
    if match is None:
        return ("other", "Other vCPUs"), 0
    letters, cores, features, version = match.groups(default="")
    name = f"{letters}{features}".upper() + version
    return (f"standard{name}Family", f"Standard {name} Family vCPUs"), int(cores)


def _usage(name: tuple[str, str], count: int) -> Document:
    value, title = name
    return {
        "unit": "Count",
        "currentValue": count,
        "limit": _LIMIT,
        "name": {"value": value, "localizedValue": title},
    }
