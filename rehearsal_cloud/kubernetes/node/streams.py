"""The kubelet's answers about pods: logs, commands, attaching, forwarded ports, proxied HTTP and usage.

The API has authenticated and authorised the user, and has found the pod.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import Failure, bad_request
from rehearsal_cloud.kubernetes.node import log_requests, port_forward, proxying, remote_command, usage
from rehearsal_cloud.kubernetes.pool_nodes import KUBELET_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.container import Container
    from rehearsal_cloud.kubernetes.node.machine import Machine
    from rehearsal_cloud.kubernetes.node.pod import PodWorker
    from rehearsal_cloud.kubernetes.node.runtime import Run

_DIAL_SECONDS = 30
"""https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/net/http.go"""


class Streams:
    """The streams of a node's pods. All raise Failure before they answer."""

    def __init__(self, machine: Machine, workers: Mapping[str, PodWorker]) -> None:
        self._machine = machine
        self._workers = workers

    def _worker(self, pod: Document) -> PodWorker | None:
        return self._workers.get(pod["metadata"]["uid"])

    async def usage(self, kind: str) -> list[Document]:
        """Return the metrics of a kind, of those pods or nodes that are measured: PodMetrics or NodeMetrics."""
        workers = [] if self._machine.silent else list(self._workers.values())
        if kind == "PodMetrics":
            return await usage.pods(workers)
        return await usage.nodes(workers, [] if self._machine.silent else self._machine.cluster.objects.list("Node"))

    async def log(self, request: Request, pod: Document) -> Response:
        """Answer a container's log (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/)."""
        container = self._container(pod, request.query_params.get("container", ""))
        path = f"containerLogs/{pod['metadata']['namespace']}/{pod['metadata']['name']}/{container.name}"
        await self._dial(f'Get "https://{self._machine.address}:{KUBELET_PORT}/{path}"')
        removed = self._machine.cluster.cloud.faults.breakdown("logs", pod["metadata"]["name"]) is not None
        return log_requests.answer(request, container, removed=removed)

    async def exec(self, websocket: WebSocket, pod: Document) -> None:
        """Run a command in a container, with its streams on the WebSocket."""
        await self._dial()
        run = self._running(pod, websocket.query_params.get("container", ""))
        words = websocket.query_params.getlist("command")
        if not words:
            raise bad_request("you must specify at least 1 command for the container")
        fault = self._machine.cluster.cloud.faults.breakdown("exec", pod["metadata"]["name"])
        await remote_command.execute(websocket, run, words, fault.message if fault else "")

    async def attach(self, websocket: WebSocket, pod: Document) -> None:
        """Stream a container's output and input."""
        await self._dial()
        container = self._container(pod, websocket.query_params.get("container", ""))
        run = self._running(pod, container.name)
        await remote_command.attach(websocket, run, once=bool(container.spec.get("stdinOnce")))

    def check(self, pod: Document, container: str, subresource: str) -> None:
        """Raise the Failure, if any, for which a stream to a container is refused."""
        if subresource in ("exec", "attach"):
            self._running(pod, container)

    async def portforward(self, websocket: WebSocket, pod: Document) -> None:
        """Forward connections to the pod's ports."""
        if pod.get("status", {}).get("phase") != "Running":
            phase = pod.get("status", {}).get("phase")
            raise bad_request(f"unable to forward port because pod is not running. Current status={phase}")
        await self._dial()
        await port_forward.forward(websocket, self._machine.network, pod["status"]["podIP"])

    async def proxy(
        self, request: Request, target: Document, path: str, *, port: str = "", scheme: str = "http"
    ) -> Response:
        """Proxy an HTTP request to a pod or a service; `port` is a number, a name, or empty for the only port."""
        return await proxying.answer(request, self._machine.network, target, port, path, scheme)

    async def _dial(self, purpose: str = "error dialing backend") -> None:
        """Raise the API's Failure for an unreachable kubelet, after it has waited for it."""
        if self._machine.silent:
            await asyncio.sleep(_DIAL_SECONDS)
            raise Failure(500, "", f"{purpose}: dial tcp {self._machine.address}:{KUBELET_PORT}: i/o timeout")

    def _container(self, pod: Document, name: str) -> Container:
        spec, worker = pod["spec"], self._worker(pod)
        apps = [container["name"] for container in spec["containers"]]
        inits = [container["name"] for container in spec.get("initContainers") or []]
        debugging = [container["name"] for container in spec.get("ephemeralContainers") or []]
        if not name:
            default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
            name = apps[0] if len(apps) == 1 else default or ""
        if not name:
            choice = f"choose one of: [{' '.join(apps)}]"
            choice += f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
            choice += f" or one of the ephemeral containers: [{' '.join(debugging)}]" if debugging else ""
            raise bad_request(f"a container name must be specified for pod {pod['metadata']['name']}, {choice}")
        container = worker.container(name) if worker is not None else None
        if name not in (*apps, *inits, *debugging):
            raise bad_request(f"container {name} is not valid for pod {pod['metadata']['name']}")
        if container is None:
            raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        return container

    def _running(self, pod: Document, name: str) -> Run:
        container = self._container(pod, name)
        if container.run is None or not container.run.alive():
            text = f'container not found ("{container.name}")'
            raise Failure(500, "InternalError", f"unable to upgrade connection: {text}")
        return container.run
