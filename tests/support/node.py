"""A namespace of a rehearsal's cluster whose pods are bound, run and ended, by the official client."""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from kubernetes import client, config
from kubernetes.stream import stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.azure_requests import Sender

GROUP = "node"


SECONDS = 60


def admin(send: Sender, cluster: str) -> client.ApiClient:
    """A client with the static credential of a cluster that has local accounts."""
    answer = send("POST", f"{cluster}/listClusterAdminCredential?api-version=2026-06-01")
    assert answer.status_code == 200, answer.text()
    kubeconfig = yaml.safe_load(base64.b64decode(answer.json()["kubeconfigs"][0]["value"]))
    return config.new_client_from_config_dict(kubeconfig)


def close(session: Any) -> None:
    """Close a stream's session; after the server has closed it, the client would leave its socket open."""
    session.close()
    session.sock.shutdown()


class Ran(NamedTuple):
    """What a command in a container has said, and its exit code."""

    out: str
    err: str
    code: int | None


class Namespace:
    """A namespace of the test's own, and what tests do in it."""

    def __init__(self, api: client.ApiClient, name: str) -> None:
        self.name = name
        self.core = client.CoreV1Api(api)
        self.api = api
        self.core.create_namespace({"metadata": {"name": name}})
        self.until(lambda: self.core.list_namespaced_service_account(name).items)

    def pod(self, *containers: dict[str, Any], name: str = "", **spec: Any) -> str:
        """Make a pod that is not restarted, unless it says so, and return its name."""
        name = name or f"pod-{uuid.uuid4().hex[:6]}"
        metadata = {"name": name, "labels": spec.pop("labels", {"app": name})}
        body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": list(containers), **spec}
        self.core.create_namespaced_pod(self.name, {"metadata": metadata, "spec": body})
        return name

    def read(self, pod: str) -> Any:
        return self.core.read_namespaced_pod(pod, self.name)

    def log(self, pod: str, **options: Any) -> str:
        return str(self.core.read_namespaced_pod_log(pod, self.name, **options))

    def until(self, look: Callable[[], Any]) -> Any:
        """Look again until something is found."""
        deadline = time.monotonic() + SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found

    def reaches(self, pod: str, reached: Callable[[Any], Any]) -> Any:
        """Wait until the pod meets the condition, and return it."""
        deadline = time.monotonic() + SECONDS
        while not reached(found := self.read(pod)):
            assert time.monotonic() < deadline, found.status
            time.sleep(0.05)
        return found

    def ended(self, pod: str) -> Any:
        return self.reaches(pod, lambda found: found.status.phase in ("Succeeded", "Failed"))

    def waiting(self, pod: str, reason: str) -> Any:
        """Wait until the first container waits for that reason, and return its status."""

        def reached(found: Any) -> Any:
            state = (found.status.container_statuses or [None])[0]
            return state and state.state.waiting and state.state.waiting.reason == reason

        return self.reaches(pod, reached).status.container_statuses[0]

    def ready(self, pod: str) -> Any:
        return self.reaches(
            pod,
            lambda found: any(one.type == "Ready" and one.status == "True" for one in found.status.conditions or []),
        )

    def events(self, pod: str, reason: str) -> list[str]:
        """The messages of the pod's events of that reason, once there are any."""

        def look() -> list[str]:
            selector = f"involvedObject.name={pod},reason={reason}"
            return [one.message for one in self.core.list_namespaced_event(self.name, field_selector=selector).items]

        return self.until(look)

    def run(self, pod: str, *command: str, container: str = "main", text: str = "", tty: bool = False) -> Ran:
        """Run a command in a container of the pod; `text` is what it reads."""
        session = stream(
            self.core.connect_get_namespaced_pod_exec,
            pod,
            self.name,
            container=container,
            command=list(command),
            stdin=bool(text),
            stdout=True,
            stderr=True,
            tty=tty,
            _preload_content=False,
        )
        try:
            if text:
                session.write_stdin(text)
            session.run_forever(timeout=SECONDS)
            return Ran(session.read_stdout(), session.read_stderr(), session.returncode)
        finally:
            close(session)

    def gone(self, pod: str) -> None:
        """Delete the pod and wait until it is there no longer."""
        self.core.delete_namespaced_pod(pod, self.name)
        self.until(lambda: all(one.metadata.name != pod for one in self.core.list_namespaced_pod(self.name).items))


def shell(script: str, name: str = "main", **spec: Any) -> dict[str, Any]:
    """A container that runs a shell's script."""
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **spec}


def python(script: str, name: str = "main", **spec: Any) -> dict[str, Any]:
    """A container that runs a Python program."""
    return {"name": name, "image": "python", "command": ["python", "-c", script], **spec}
