"""The API of a cluster as an ASGI application: authentication, authorization, routing and the request log.

Texts and codes are those of kube-apiserver; the request log has the form of the front door's (see server.py).
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from rehearsal_cloud.kubernetes.api import discovery, metrics, resources, responses, scale, subresources
from rehearsal_cloud.kubernetes.api.call import Call
from rehearsal_cloud.kubernetes.api.openapi import OpenApi
from rehearsal_cloud.kubernetes.api.request_info import request_info
from rehearsal_cloud.kubernetes.api.watching import Lists, Watch
from rehearsal_cloud.kubernetes.failures import Failure, internal, method_not_allowed, no_such_path

if TYPE_CHECKING:
    from typing import TextIO

    from starlette.requests import HTTPConnection
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from rehearsal_cloud.kubernetes.api.request_info import RequestInfo
    from rehearsal_cloud.kubernetes.auth.access import Access, User
    from rehearsal_cloud.kubernetes.node.streams import Streams
    from rehearsal_cloud.kubernetes.state import ClusterState

_LOG = logging.getLogger(__name__)
_SWITCHING_PROTOCOLS = 101
_STREAMS = ("attach", "exec", "portforward")
_CREATE_REQUIRED = 35
_ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_PARTS = ("", "status", "finalize", "approval", "ephemeralcontainers")
"""The subresources that are parts of the object itself."""


class Api:
    """Serves one cluster's API; `log` takes a line of JSON for each request."""

    def __init__(self, cluster: ClusterState, access: Access, streams: Streams, log: TextIO) -> None:
        self._cluster = cluster
        self._access = access
        self._streams = streams
        self._log = log
        self._lists = Lists()
        self._openapi = OpenApi(cluster)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a stream."""
        if scope["type"] == "websocket":
            await self._stream(WebSocket(scope, receive, send))
            return
        started = time.time()
        request = Request(scope, receive)
        response = await self._served(request)
        response.headers["audit-id"] = str(uuid.uuid4())
        response.headers["date"] = formatdate(usegmt=True)  # net/http of Go always sends it
        response.headers.setdefault("cache-control", "no-cache, private")
        for text in getattr(request.state, "warnings", ()):
            response.headers.append("warning", f"299 - {json.dumps(text)}")
        size = int(response.headers.get("content-length", 0))
        self._record(request, request.method, response.status_code, started, size)
        await response(scope, receive, send)

    async def _stream(self, websocket: WebSocket) -> None:
        started = time.time()
        try:
            info = self._allowed(websocket, "GET")
            self._require_create(websocket.state.user, info)
            call = self._call(websocket, info)
            self._record(websocket, "GET", _SWITCHING_PROTOCOLS, started)
            await subresources.stream(call)
        except Failure as failure:
            self._record(websocket, "GET", failure.code, started)
            await websocket.send_denial_response(responses.refused(failure))

    async def _served(self, request: Request) -> Response:
        try:
            info = self._allowed(request, request.method)
            if info.resource:
                return await self._answer(self._call(request, info))
            if info.path.startswith("/openapi/"):
                return self._openapi.answer(request)
            return discovery.answer(self._cluster, request, info.path)
        except Failure as failure:
            return responses.refused(failure)
        except Exception as fault:  # noqa: BLE001 - a fault of ours is answered as the API server answers its own
            _LOG.exception("%s %s failed", request.method, request.url.path)
            return responses.refused(internal(type(fault).__name__))

    def _allowed(self, connection: HTTPConnection, method: str) -> RequestInfo:
        """Return the target of the request. Raises Failure: 401 without a user, 403 without permission."""
        info = request_info(method, connection.scope["path"], connection.query_params)
        connection.state.user = self._access.authenticate(connection.headers, info.attributes)
        self._access.require(connection.state.user, info.attributes)
        return info

    def _require_create(self, user: User, info: RequestInfo) -> None:
        """Raise Failure (403) unless the user may also create the stream that the WebSocket's GET opens.

        Since 1.35: https://github.com/kubernetes/kubernetes/pull/134577
        """
        since_1_35 = self._cluster.minor >= _CREATE_REQUIRED
        if since_1_35 and info.resource == "pods" and info.subresource in _STREAMS:
            self._access.require(user, replace(info, verb="create").attributes)

    def _call(self, connection: HTTPConnection, info: RequestInfo) -> Call:
        kind = self._cluster.kinds.at(info.group, info.version, info.resource)
        if kind is None or (info.subresource and info.subresource not in kind.subresources):
            raise no_such_path()
        return Call(self._cluster, self._access, self._streams, connection, connection.state.user, info, kind)

    async def _answer(self, call: Call) -> Response:
        info = call.info
        if call.kind.kind == "Endpoints":
            call.warn([_ENDPOINTS])
        if not call.kind.stored:
            return await (metrics.answer(call) if call.kind.group == metrics.GROUP else self._review(call))
        if info.subresource == "scale":
            return await _scale(call)
        if info.subresource not in _PARTS:
            return await subresources.act(call)
        if info.verb == "deletecollection" and info.verb not in call.kind.verbs:
            raise method_not_allowed()
        match info.verb:
            case "list":
                return self._lists.answer(call)
            case "watch":
                return Watch(call).answer()
            case "deletecollection":
                return await resources.delete_collection(call)
            case "create" if not info.name:
                return await resources.create(call)
        return await _object(call)

    async def _review(self, call: Call) -> Response:
        if call.info.verb != "create":
            raise method_not_allowed()
        body, _ = await call.document()
        namespace = call.info.namespace if call.kind.namespaced else ""
        document = {**body, "apiVersion": call.kind.api_version, "kind": call.kind.kind}
        return JSONResponse(self._access.review(call.user, document, namespace), 201)

    def _record(self, connection: HTTPConnection, method: str, status: int, started: float, size: int = 0) -> None:
        """Log the request and its answer, without bodies and tokens; a stream has no size."""
        user = getattr(connection.state, "user", None)
        entry = {
            "time": round(started, 3),
            "ms": round((time.time() - started) * 1000, 1),
            "method": method,
            "host": connection.headers.get("host", ""),
            "path": connection.url.path,
            "query": connection.url.query,
            "status": status,
            "bytes": size,
            "principal": user.name if user else None,
            "agent": connection.headers.get("user-agent", ""),
        }
        self._log.write(json.dumps(entry) + "\n")


async def _object(call: Call) -> Response:
    """Answer a request for an object or its status."""
    match call.info.verb:
        case "get":
            return resources.get(call)
        case "update" if call.info.name:
            return await resources.update(call)
        case "patch" if call.info.name:
            return await resources.change(call)
        case "delete" if not call.info.subresource:
            return await resources.delete(call)
    raise method_not_allowed()


async def _scale(call: Call) -> Response:
    match call.info.verb:
        case "get":
            return scale.get(call)
        case "update":
            return await scale.update(call)
        case "patch":
            return await scale.change(call)
    raise method_not_allowed()
