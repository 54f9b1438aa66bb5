"""A namespace to try things in, on whichever cluster: objects as dictionaries, through the official client."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubernetes.client import ApiClient

Document = dict[str, Any]

_PATIENCE_SECONDS = 30.0
_PATHS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Endpoints": "/api/v1/namespaces/{}/endpoints",
    "Event": "/api/v1/namespaces/{}/events",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "LimitRange": "/api/v1/namespaces/{}/limitranges",
    "Namespace": "/api/v1/namespaces",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Pod": "/api/v1/namespaces/{}/pods",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
}


class Refused(Exception):
    """The API answered with a failure, which is its one argument."""

    @property
    def status(self) -> Document:
        return self.args[0]


@dataclass
class Workspace:
    client: ApiClient
    namespace: str

    def call(self, method: str, path: str, body: object = None, media: str = "application/json") -> Document:
        headers = {"Accept": "application/json", "Content-Type": media}
        request = self.client.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = self.client.call_api(*request)
        answer: Document = json.loads(response.read())
        if response.status >= 400:
            raise Refused(answer)
        return answer

    def path(self, kind: str, name: str = "", below: str = "") -> str:
        parts = [_PATHS[kind].format(self.namespace), name, below]
        return "/".join(part for part in parts if part)

    def create(self, kind: str, name: str, **fields: Any) -> Document:
        metadata = {"name": name, **fields.pop("metadata", {})}
        group = self.path(kind).removeprefix("/apis/").removeprefix("/api/").partition("/namespaces")[0]
        return self.call("POST", self.path(kind), {"apiVersion": group, "kind": kind, "metadata": metadata, **fields})

    def get(self, kind: str, name: str) -> Document:
        return self.call("GET", self.path(kind, name))

    def find(self, kind: str, name: str) -> Document | None:
        try:
            return self.get(kind, name)
        except Refused as refused:
            if refused.status["code"] == 404:
                return None
            raise

    def list(self, kind: str) -> list[Document]:
        found = self.call("GET", self.path(kind))["items"]
        return sorted(found, key=lambda one: one["metadata"]["name"])

    def patch(self, kind: str, name: str, change: Document, below: str = "") -> Document:
        return self.call("PATCH", self.path(kind, name, below), change, "application/strategic-merge-patch+json")

    def delete(self, kind: str, name: str, **options: Any) -> Document:
        return self.call("DELETE", self.path(kind, name), {"kind": "DeleteOptions", "apiVersion": "v1", **options})

    # Pods have no node here: the test says how they fare.

    def pods(self, **labels: str) -> list[Document]:
        return [pod for pod in self.list("Pod") if labels.items() <= pod["metadata"].get("labels", {}).items()]

    def say(self, pod: Document, phase: str, *, ready: bool = False, ip: str = "") -> None:
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status: Document = {"phase": phase, "conditions": [condition]}
        if ip:
            status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        try:
            self.patch("Pod", pod["metadata"]["name"], {"status": status}, "status")
        except Refused as refused:
            if refused.status["code"] != 404:  # it went while we looked
                raise

    def make_ready(self, **labels: str) -> None:
        for pod in self.pods(**labels):
            self.say(pod, "Running", ready=True)

    def eventually(self, look: Callable[[], Any], seconds: float = _PATIENCE_SECONDS) -> Any:
        """Return what `look` returns once that is true."""
        deadline = time.monotonic() + seconds
        while True:
            seen = look()
            if seen or time.monotonic() > deadline:
                assert seen, "waited in vain"
                return seen
            time.sleep(0.05)

    def steadily(self, look: Callable[[], Any], seconds: float = 1.0) -> None:
        """Assert that `look` stays true for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert look()
            time.sleep(0.05)


def template(app: str, image: str = "example.com/web:1", **spec: Any) -> Document:
    """Return a pod template that no scheduler places, so that no node takes part."""
    containers = [{"name": "main", "image": image}]
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"schedulerName": "nobody", "containers": containers, **spec},
    }
