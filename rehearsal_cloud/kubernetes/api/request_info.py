"""The target of a request, parsed from its method and path with the API server's rules.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rehearsal_cloud.kubernetes.auth.rbac import Attributes
from rehearsal_cloud.kubernetes.objects.selectors import named

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_CORE_DEPTH, _GROUP_DEPTH = 2, 3


@dataclass(frozen=True, kw_only=True)
class RequestInfo:
    """A request's target; `resource` is empty for discovery and health."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource, as below `proxy`."""

    @property
    def attributes(self) -> Attributes:
        """Return the attributes to authorize."""
        if not self.resource:
            return Attributes(self.verb, path=self.path)
        return Attributes(
            self.verb, self.group, self.version, self.resource, self.subresource, self.name, self.namespace
        )


def request_info(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Return the target of a request; `path` is percent-encoded, as sent."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    depth = {"api": _CORE_DEPTH, "apis": _GROUP_DEPTH}.get(parts[0], 0)
    if not depth or len(parts) <= depth:
        return RequestInfo(verb=method.lower(), path=unquote(path))
    group, version = ("", parts[1]) if depth == _CORE_DEPTH else (parts[1], parts[2])
    target = parts[depth:]
    verb = _VERBS.get(method, method.lower())
    watched = query.get("watch") in ("1", "true", "True")
    if target[0] == "watch" and len(target) > 1:
        watched, target = True, target[1:]
    namespace = ""
    if target[0] == "namespaces" and len(target) > 1:
        namespace = target[1]
        if len(target) > _CORE_DEPTH and target[2] not in ("status", "finalize"):
            target = target[2:]
    resource, name, subresource = (*target, "", "")[:3]
    rest = "/".join(target[3:])
    if not name:
        collection = {"get": "watch" if watched else "list", "delete": "deletecollection"}
        verb = collection.get(verb, verb)
        name = named(query.get("fieldSelector", "")) if verb in collection.values() else ""
    elif watched and verb == "get" and not subresource:
        verb = "watch"
    return RequestInfo(
        verb=verb,
        path=unquote(path),
        group=group,
        version=version,
        namespace=namespace,
        resource=resource,
        name=name,
        subresource=subresource,
        rest=rest,
    )
