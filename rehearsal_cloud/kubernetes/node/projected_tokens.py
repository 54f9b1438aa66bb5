"""The service account tokens in a pod's volumes: requested once, and renewed before they expire."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.auth.service_tokens import ServiceTokens

_RENEW_AFTER = 0.8
"""The part of its life after which the kubelet renews a token."""


class ProjectedTokens:
    """The tokens of a pod, by audience and lifetime."""

    def __init__(self, tokens: ServiceTokens) -> None:
        self._service_tokens = tokens
        self._tokens: dict[tuple[str, int], tuple[str, float]] = {}

    def token(self, pod: Document, audience: str, seconds: int) -> str:
        """Return a token, bound to the pod, with at least a fifth of its lifetime left. Raises Failure."""
        kept = self._tokens.get((audience, seconds))
        if kept is not None and kept[1] > time.time():
            return kept[0]
        metadata = pod["metadata"]
        spec = {
            "audiences": [audience] if audience else [],
            "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
        }
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = self._service_tokens.request(metadata["namespace"], account, spec)
        token: str = answer["status"]["token"]
        self._tokens[audience, seconds] = (token, time.time() + _RENEW_AFTER * seconds)
        return token

    def renewal(self) -> float | None:
        """Return the time of the next renewal (seconds since the epoch)."""
        return min((due for _, due in self._tokens.values()), default=None)
