"""Discovery: the groups, versions and resources that the cluster serves, its own version, and its health.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, PlainTextResponse

from rehearsal_cloud.kubernetes.failures import no_such_path

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.state import ClusterState

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_HEALTH = ("/healthz", "/livez", "/readyz")
_DEPRECATED = (
    'apiserver_requested_deprecated_apis{{group="{}",removed_release="{}",resource="{}",subresource="",version="{}"}} 1'
)
"""https://kubernetes.io/docs/reference/instrumentation/metrics/."""
_SUBRESOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "attach": ("v1", "PodAttachOptions", ("create", "get")),
    "binding": ("v1", "Binding", ("create",)),
    "eviction": ("policy/v1", "Eviction", ("create",)),
    "exec": ("v1", "PodExecOptions", ("create", "get")),
    "log": ("v1", "Pod", ("get",)),
    "portforward": ("v1", "PodPortForwardOptions", ("create", "get")),
    "scale": ("autoscaling/v1", "Scale", ("get", "patch", "update")),
    "token": ("authentication.k8s.io/v1", "TokenRequest", ("create",)),
}
_PROXIED = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions", "nodes": "NodeProxyOptions"}
_ANY_METHOD = ("create", "delete", "get", "patch", "update")


def answer(cluster: ClusterState, request: Request, path: str) -> Response:
    """Answer a path that is not a resource. Raises Failure (404)."""
    path = path.rstrip("/") or "/"
    if path.startswith(_HEALTH):
        return _health(request, path)
    if path == "/metrics":
        return _metrics(cluster)
    if path in ("/api", "/apis") and "as=APIGroupDiscoveryList" in request.headers.get("accept", ""):
        return JSONResponse(_aggregated(cluster, core=path == "/api"), media_type=_AGGREGATED)
    document = _document(cluster, path)
    if document is None:
        raise no_such_path()
    return JSONResponse(document)


def _document(cluster: ClusterState, path: str) -> Document | None:
    groups = _groups(cluster)
    match path.strip("/").split("/"):
        case [""]:
            named = (f"/apis/{name}" for name in groups if name)
            return {"paths": sorted(["/api", "/api/v1", "/apis", *named, *_HEALTH, "/version"])}
        case ["version"]:
            return _version(cluster.version)
        case ["api"]:
            addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": f"localhost:{cluster.port}"}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
        case ["apis"]:
            listed = [_group(name, versions) for name, versions in groups.items() if name]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["apis", name] if name and name in groups:
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, groups[name])
        case ["api", "v1"]:
            return _resources(cluster, "", "v1")
        case ["apis", name, version] if version in groups.get(name, ()):
            return _resources(cluster, name, version)
    return None


def _health(request: Request, path: str) -> Response:
    if "verbose" in request.query_params:
        return PlainTextResponse(f"[+]ping ok\n{path.split('/')[1]} check passed\n")
    return PlainTextResponse("ok")


def _metrics(cluster: ClusterState) -> Response:
    """Answer which deprecated APIs were used, and no other metric."""
    lines = ["# TYPE apiserver_requested_deprecated_apis gauge", _DEPRECATED.format("", "", "endpoints", "v1")]
    if use := cluster.cloud.faults.breakdown("deprecation"):
        group, version, resource = use.message.split("/")
        lines.append(_DEPRECATED.format(group, use.name, resource, version))
    return PlainTextResponse("\n".join((*lines, "")))


def _version(version: str) -> Document:
    major, minor, _ = version.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{version}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def _groups(cluster: ClusterState) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for kind in cluster.kinds:
        versions = groups.setdefault(kind.group, [])
        if kind.version not in versions:
            versions.append(kind.version)
    return {name: sorted(versions, key=_maturity, reverse=True) for name, versions in groups.items()}


def _maturity(version: str) -> tuple[int, ...]:
    """Return the sort key of a version: v2, v1, v2beta1, v1alpha1 is the order."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (-1,)
    major, stage, minor = match.groups()
    return {"alpha": 0, "beta": 1, None: 2}[stage], int(major), int(minor or 0)


def _group(name: str, versions: list[str]) -> Document:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(cluster: ClusterState, group: str, version: str) -> Document:
    listed: list[Document] = []
    for kind in cluster.kinds:
        if (kind.group, kind.version) != (group, version):
            continue
        about: Document = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        about |= {"shortNames": list(kind.short_names)} if kind.short_names else {}
        about |= {"categories": list(kind.categories)} if kind.categories else {}
        listed.append(about)
        listed += [_below(kind, subresource) for subresource in kind.subresources]
    api_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": listed}


def _below(kind: Kind, subresource: str) -> Document:
    api_version, name, verbs = _subresource(kind, subresource)
    below: Document = {"name": f"{kind.plural}/{subresource}", "singularName": "", "namespaced": kind.namespaced}
    if api_version != kind.api_version:
        group, _, version = api_version.rpartition("/")
        below |= {"group": group, "version": version}
    return {**below, "kind": name, "verbs": list(verbs)}


def _subresource(kind: Kind, subresource: str) -> tuple[str, str, tuple[str, ...]]:
    if subresource == "proxy":
        return kind.api_version, _PROXIED[kind.plural], _ANY_METHOD
    if subresource == "finalize":
        return kind.api_version, kind.kind, ("update",)
    return _SUBRESOURCES.get(subresource, (kind.api_version, kind.kind, ("get", "patch", "update")))


def _aggregated(cluster: ClusterState, *, core: bool) -> Document:
    items = []
    for name, versions in _groups(cluster).items():
        if bool(name) is core:
            continue
        listed = [
            {"version": version, "freshness": "Current", "resources": _discovered(cluster, name, version)}
            for version in versions
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": listed})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _discovered(cluster: ClusterState, group: str, version: str) -> list[Document]:
    return [_resource(kind) for kind in cluster.kinds if (kind.group, kind.version) == (group, version)]


def _resource(kind: Kind) -> Document:
    scope = "Namespaced" if kind.namespaced else "Cluster"
    resource: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind.api_version, kind.kind),
        "scope": scope,
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    resource |= {"shortNames": list(kind.short_names)} if kind.short_names else {}
    resource |= {"categories": list(kind.categories)} if kind.categories else {}
    below = []
    for subresource in kind.subresources:
        api_version, name, verbs = _subresource(kind, subresource)
        below.append(
            {"subresource": subresource, "responseKind": _response_kind(api_version, name), "verbs": list(verbs)}
        )
    return resource | ({"subresources": below} if below else {})


def _response_kind(api_version: str, kind: str) -> Document:
    group, _, version = api_version.rpartition("/")
    return {"group": group, "version": version, "kind": kind}
