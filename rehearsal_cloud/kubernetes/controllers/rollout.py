"""The arithmetic of a Deployment's roll-out: how many pods may and must exist while one revision replaces another.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of
from rehearsal_cloud.kubernetes.controllers.revisions import MAX_REPLICAS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rehearsal_cloud.documents import Document


def resolved(value: int | str, total: int, *, up: bool) -> int:
    """Return an IntOrString as a number: a percentage is one of `total`, rounded up or down."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total / 100
    return math.ceil(share) if up else math.floor(share)


def is_rolling(deployment: Document) -> bool:
    """Tell whether the strategy is RollingUpdate."""
    return bool(deployment["spec"]["strategy"]["type"] == "RollingUpdate")


def limits(deployment: Document) -> tuple[int, int]:
    """Return the numbers of surplus and of unavailable pods that a roll-out allows."""
    replicas: int = deployment["spec"]["replicas"]
    if not is_rolling(deployment):
        return 0, 0
    rolling = deployment["spec"]["strategy"]["rollingUpdate"]
    surge = resolved(rolling["maxSurge"], replicas, up=True)
    unavailable = resolved(rolling["maxUnavailable"], replicas, up=False)
    if surge == unavailable == 0:
        unavailable = 1  # both may round to nothing, and then nothing could ever move
    return surge, min(unavailable, replicas)


def requested(replica_sets: Iterable[Document]) -> int:
    """Return the sum of the ReplicaSets' requested replicas."""
    return sum(replica_set["spec"]["replicas"] for replica_set in replica_sets)


def counted(replica_sets: Iterable[Document], field: str) -> int:
    """Return the sum of a field of the ReplicaSets' statuses."""
    return sum((replica_set.get("status") or {}).get(field, 0) for replica_set in replica_sets)


def new_size(deployment: Document, new: Document | None, everyone: list[Document]) -> int:
    """Return how many pods the new ReplicaSet may have now."""
    replicas: int = deployment["spec"]["replicas"]
    current = new["spec"]["replicas"] if new else 0
    if not is_rolling(deployment) or current > replicas:
        return replicas
    surge, _ = limits(deployment)
    room = replicas + surge - requested(everyone)
    return int(current + max(0, min(room, replicas - current)))


def old_sizes(deployment: Document, new: Document, old: list[Document]) -> dict[str, int]:
    """Return how many pods old ReplicaSets, by name and oldest first, should go down to now.

    Unavailable pods go first, then as many as `maxUnavailable` allows.
    """
    _, unavailable = limits(deployment)
    required = deployment["spec"]["replicas"] - unavailable
    new_unavailable = new["spec"]["replicas"] - counted([new], "availableReplicas")
    spare = requested([*old, new]) - required - new_unavailable
    if not requested(old) or spare <= 0:
        return {}
    sizes = {replica_set["metadata"]["name"]: replica_set["spec"]["replicas"] for replica_set in old}
    before = dict(sizes)
    for replica_set in old:
        name = replica_set["metadata"]["name"]
        unhealthy = max(0, sizes[name] - counted([replica_set], "availableReplicas"))
        sizes[name] -= min(spare, unhealthy)
        spare -= before[name] - sizes[name]
    spare = counted([*old, new], "availableReplicas") - required
    for name, size in sizes.items():
        removed = min(size, max(0, spare))
        sizes[name] -= removed
        spare -= removed
    return {name: size for name, size in sizes.items() if size != before[name]}


def proportional_sizes(deployment: Document, replica_sets: list[Document]) -> dict[str, int]:
    """Return the sizes of ReplicaSets, by name, when the Deployment is scaled in the middle of a roll-out.

    The difference is shared out in proportion to the sizes; the largest takes the rounding remainder.
    """
    surge, _ = limits(deployment)
    replicas = deployment["spec"]["replicas"]
    adding = (replicas + surge if replicas > 0 else 0) - requested(replica_sets)
    newest_first = sorted(
        replica_sets, key=lambda replica_set: replica_set["metadata"]["creationTimestamp"], reverse=adding > 0
    )
    largest_first = sorted(newest_first, key=lambda replica_set: -replica_set["spec"]["replicas"])
    sizes: dict[str, int] = {}
    added = 0
    for replica_set in largest_first:
        share = _share(deployment, replica_set, replicas + surge)
        remaining = adding - added
        share = (
            (min(share, remaining) if adding > 0 else max(share, remaining))
            if replica_set["spec"]["replicas"] and remaining
            else 0
        )
        sizes[replica_set["metadata"]["name"]] = replica_set["spec"]["replicas"] + share
        added += share
    if largest_first:
        first = largest_first[0]["metadata"]["name"]
        sizes[first] = max(0, sizes[first] + adding - added)
    return sizes


def _share(deployment: Document, replica_set: Document, largest: int) -> int:
    size: int = replica_set["spec"]["replicas"]
    if deployment["spec"]["replicas"] == 0:
        return -size
    annotated = int(annotations_of(replica_set).get(MAX_REPLICAS, 0))
    before = annotated or (deployment.get("status") or {}).get("replicas", 0)
    return math.floor(size * largest / before + 0.5) - size if before else 0
