"""Resource Manager's throttling: a token bucket for each principal's reads and another for its writes.

Sizes and rates are those of https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
(250 reads refilled at 25 a second, 200 writes at 10). Time runs faster here by the time scale, and so do the refills.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from rehearsal_cloud.errors import ServiceError

_READS = (250, 25.0)
_WRITES = (200, 10.0)


@dataclass
class _Bucket:
    tokens: float
    filled: float


class Throttle:
    """Counts requests. `time_scale` also shortens the refill."""

    def __init__(self, time_scale: float) -> None:
        self._scale = max(time_scale, 1e-6)
        self._buckets: dict[tuple[str, bool], _Bucket] = {}

    def check(self, object_id: str, *, writing: bool) -> None:
        """Take a token. Raises ServiceError (429, with Retry-After in whole seconds) where the bucket is empty."""
        size, per_second = _WRITES if writing else _READS
        rate, now = per_second / self._scale, time.monotonic()
        bucket = self._buckets.setdefault((object_id, writing), _Bucket(size, now))
        bucket.tokens = min(size, bucket.tokens + (now - bucket.filled) * rate)
        bucket.filled = now
        if bucket.tokens < 1:
            wait = max(1, math.ceil((1 - bucket.tokens) / rate))
            kind = "write" if writing else "read"
            text = (
                f"Number of '{kind}' requests for principal '{object_id}' exceeded the limit of '{size}'. Please try"
                f" again after '{wait}' seconds."
            )
            raise ServiceError(429, "SubscriptionRequestsThrottled", text, headers={"Retry-After": str(wait)})
        bucket.tokens -= 1
