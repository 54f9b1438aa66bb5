"""OpenAPI: the description of the API, for clients that explain, validate or patch with it.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition. Operations hold
only what clients read: their kinds, and the parameters of writes.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from rehearsal_cloud.kubernetes.failures import no_such_path, not_acceptable
from rehearsal_cloud.kubernetes.objects.schema import definitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.state import ClusterState

_COMPONENTS = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "pretty")
_METHODS = (("get", "get"), ("put", "put"), ("patch", "patch"), ("delete", "delete"))
_COLLECTION_METHODS = (("get", "list"), ("post", "post"), ("delete", "deletecollection"))
_OF_ACTIONS = {"put": "update", "post": "create"}


class OpenApi:
    """The OpenAPI documents of one cluster, its custom kinds included."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._made: dict[str, tuple[str, bytes]] = {}

    def answer(self, request: Request) -> Response:
        """Answer a request below `/openapi`. Raises Failure: 404, or 406 where only protobuf will do."""
        accept = request.headers.get("accept", "*/*")
        if not any(media_type in accept for media_type in ("json", "*/*")):
            raise not_acceptable("application/json")
        place = request.url.path.strip("/").removeprefix("openapi/")
        body = self.swagger() if place == "v2" else self.group_version(place.removeprefix("v3/"))
        if place == "v3":
            body = json.dumps(self.index()).encode()
        if body is None:
            raise no_such_path()
        return Response(body, media_type="application/json")

    def index(self) -> Document:
        """Return `/openapi/v3`: the path of each group version's document, with a hash of its content."""
        places = sorted({_place(kind) for kind in self._cluster.kinds})
        return {
            "paths": {
                place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={self._state(place).upper()}"}
                for place in places
            }
        }

    def group_version(self, place: str) -> bytes | None:
        """Return the document of one group and version (`api/v1`, `apis/apps/v1`) as JSON, or None."""
        kinds = [kind for kind in self._cluster.kinds if _place(kind) == place]
        if not kinds:
            return None
        state = self._state(place)
        if self._made.get(place, ("", b""))[0] != state:
            document = {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": f"v{self._cluster.version}"},
                "paths": _paths(kinds),
                "components": {"schemas": self._schemas(kinds)},
            }
            self._made[place] = state, json.dumps(document).encode()
        return self._made[place][1]

    def swagger(self) -> bytes:
        """Return `/openapi/v2`: the whole API in one document, as JSON."""
        kinds = list(self._cluster.kinds)
        document = {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": f"v{self._cluster.version}"},
            "paths": _paths(kinds),
            "definitions": self._schemas(kinds),
        }
        return json.dumps(document).replace(_COMPONENTS, "#/definitions/").encode()

    def _state(self, place: str) -> str:
        customs = [self._definition(kind) for kind in self._cluster.kinds if kind.custom and _place(kind) == place]
        versions = [
            (definition["metadata"]["uid"], definition["metadata"]["generation"])
            for definition in customs
            if definition
        ]
        return hashlib.sha256(f"{self._cluster.version} {place} {versions}".encode()).hexdigest()

    def _definition(self, kind: Kind) -> Document | None:
        return self._cluster.objects.get("CustomResourceDefinition", kind.resource)

    def _schemas(self, kinds: Iterable[Kind]) -> Document:
        """Return the schemas of the kinds, and all schemas that these refer to."""
        schemas: Document = {}
        built_in = {
            _identity(identity): name for name, schema in definitions().items() for identity in _identities(schema)
        }
        pending = [f"{_META}DeleteOptions", f"{_META}Status", f"{_META}ObjectMeta"]
        for kind in kinds:
            if kind.custom:
                schemas[_custom_name(kind)] = self._custom(kind)
            elif (kind.group, kind.version, kind.kind) in built_in:
                pending.append(built_in[kind.group, kind.version, kind.kind])
        while pending:
            name = pending.pop()
            if name not in schemas and name in definitions():
                schema = definitions()[name]
                schemas[name] = _plain(schema)
                pending += _references(schema)
        return schemas

    def _custom(self, kind: Kind) -> Document:
        definition = self._definition(kind) or {"spec": {"versions": []}}
        versions = {version["name"]: version for version in definition["spec"]["versions"]}
        schema = dict((versions.get(kind.version, {}).get("schema") or {}).get("openAPIV3Schema") or {"type": "object"})
        properties = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            **schema.get("properties", {}),
            "metadata": {"allOf": [{"$ref": f"{_COMPONENTS}{_META}ObjectMeta"}]},
        }
        return {**schema, "properties": properties, "x-kubernetes-group-version-kind": [_named(kind)]}


def _place(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.api_version}"


def _named(kind: Kind) -> Document:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


def _custom_name(kind: Kind) -> str:
    return ".".join((*reversed(kind.group.split(".")), kind.version, kind.kind))


def _identities(schema: Document) -> list[Document]:
    # Types of every group (DeleteOptions, WatchEvent) name all groups; they are not a kind of any of them.
    named: list[Document] = schema.get("x-kubernetes-group-version-kind", [])
    return named if len(named) == 1 else []


def _identity(named: Document) -> tuple[str, str, str]:
    return named["group"], named["version"], named["kind"]


def _paths(kinds: Iterable[Kind]) -> Document:
    paths: Document = {}
    for kind in kinds:
        base = f"/{_place(kind)}/" + ("namespaces/{namespace}/" if kind.namespaced else "") + kind.plural
        paths[base] = dict(_operations(kind, _COLLECTION_METHODS))
        if kind.stored:
            paths[f"{base}/{{name}}"] = dict(_operations(kind, _METHODS))
            if "status" in kind.subresources:
                paths[f"{base}/{{name}}/status"] = dict(_operations(kind, _METHODS[:3]))
    return paths


def _operations(kind: Kind, methods: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Document]]:
    for method, action in methods:
        if _OF_ACTIONS.get(action, action) not in kind.verbs:
            continue
        names = () if method == "get" else _WRITE_PARAMETERS
        operation: Document = {
            "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _named(kind),
        }
        yield method, operation


def _plain(node: Any) -> Any:
    """Return a JSON schema in OpenAPI's form: with a single type, and `nullable` for null."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _plain(value) for key, value in node.items()}
    if isinstance(node.get("type"), list):
        plain["type"] = next(type_name for type_name in node["type"] if type_name != "null")
    if isinstance(reference := node.get("$ref"), str):
        # OpenAPI 3.0 ignores siblings of a reference; only descriptions stay, for readers.
        beside = {key: value for key, value in plain.items() if key != "$ref"}
        return {**beside, "allOf": [{"$ref": f"{_COMPONENTS}{reference.rpartition('/')[2]}"}]}
    return plain


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
