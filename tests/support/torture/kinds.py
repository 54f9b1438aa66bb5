"""Kinds of requests: the same for every environment, without the names in their hosts and paths."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rehearsal_cloud.certificates import HOSTS
from tests.support.deployment import GUID

_PARENTS = [name.removeprefix("*.") for name in HOSTS if name.startswith("*.")]
_NO_COLLECTIONS = ("apis", "providers")


@dataclass(frozen=True)
class Kind:
    """A method, a host and a path, without names."""

    method: str
    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path}"

    @classmethod
    def of(cls, method: str, host: str, path: str) -> Kind:
        parent = host.partition(".")[2]
        if parent.startswith("blob."):  # the path of a blob is a name
            path = "/{}"
        return cls(method, f"{{}}.{parent}" if parent in _PARENTS else host, _without_names(path))


def _without_names(path: str) -> str:
    segments = re.sub(GUID, "{}", path, flags=re.IGNORECASE).split("/")
    for index, segment in enumerate(segments):
        before = segments[index - 1] if index else ""
        collection = before == "redisEnterprise" or (before.endswith("s") and before not in _NO_COLLECTIONS)
        namespace = before == "providers" and segments[index + 1 :] in ([], ["register"], ["unregister"])
        if segment and not segment.startswith("$") and (collection or namespace):
            segments[index] = "{}"
    return "/".join(segments)
