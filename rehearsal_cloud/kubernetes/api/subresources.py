"""Subresources that act: binding and evicting pods, service account tokens, logs and streams.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Operations
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from starlette.responses import JSONResponse

from rehearsal_cloud.kubernetes.api.resources import present
from rehearsal_cloud.kubernetes.controllers.disruption import evict
from rehearsal_cloud.kubernetes.failures import bad_request, conflict, no_such_path
from rehearsal_cloud.kubernetes.objects.lifecycle import now

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.api.call import Call

_DONE = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def act(call: Call) -> Response:
    """Answer a POST to the subresource, or a GET of a log. Raises Failure."""
    match (call.kind.kind, call.info.subresource):
        case ("Pod", "log"):
            return await call.streams.log(call.request, present(call))
        case ("Pod", "binding"):
            return await _bind(call)
        case ("Pod", "eviction"):
            return await _evict(call)
        case ("ServiceAccount", "token"):
            body, _ = await call.document()
            tokens = call.access.tokens
            return JSONResponse(tokens.request(call.info.namespace, call.info.name, body.get("spec") or {}), 201)
        case ("Pod" | "Service", "proxy"):
            return await call.streams.proxy(call.request, present(call), call.info.rest)
        case ("Pod", "exec" | "attach" | "portforward"):
            if call.request.headers.get("upgrade"):  # to SPDY, after a WebSocket was refused: for the same reason
                call.streams.check(present(call), call.query("container"), call.info.subresource)
            raise bad_request("Upgrade request required")
    raise no_such_path()


async def stream(call: Call) -> None:
    """Serve a stream into a pod, over the call's WebSocket. Raises Failure before it is accepted."""
    pod, websocket, streams = present(call), cast("WebSocket", call.connection), call.streams
    match call.info.subresource:
        case "exec":
            await streams.exec(websocket, pod)
        case "attach":
            await streams.attach(websocket, pod)
        case "portforward":
            await streams.portforward(websocket, pod)
        case _:
            raise no_such_path()


async def _bind(call: Call) -> Response:
    body, _ = await call.document()
    pod = present(call)
    node = (body.get("target") or {}).get("name", "")
    if bound := pod["spec"].get("nodeName"):
        raise conflict(call.kind, call.info.name, f"pod {call.info.name} is already assigned to node {bound!r}")
    condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
    status: Document = pod.get("status") or {}
    conditions = [condition for condition in status.get("conditions") or () if condition["type"] != "PodScheduled"]
    if not call.dry_run:
        objects = call.cluster.objects
        kept = objects.update(
            {**pod, "spec": {**pod["spec"], "nodeName": node}}, subresource="binding", manager=call.manager
        )
        objects.update_status(
            {**kept, "status": {**status, "conditions": [*conditions, condition]}}, manager=call.manager
        )
    return JSONResponse(_DONE, 201)


async def _evict(call: Call) -> Response:
    body, _ = await call.document()
    options: Document = body.get("deleteOptions") or {}
    pod = present(call)
    if not call.dry_run and options.get("dryRun") != ["All"]:
        evict(call.cluster.objects, pod, grace=options.get("gracePeriodSeconds"))
    return JSONResponse(_DONE, 201)
