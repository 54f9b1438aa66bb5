"""The way to the backend through the cluster: a short-lived pod that forwards to its servers, and a port-forward to it.

So only the cluster's addresses need a firewall rule, and the operator reaches the Kubernetes API alone. TLS is end to
end: clients verify the server's own name. The pod belongs to a Job with a deadline, so that it ends after a kill, too.
"""

from __future__ import annotations

import atexit
import secrets
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflowaks.config.paths import manifests_folder
from airflowaks.engine.polling import wait_until
from airflowaks.engine.waiting import await_others
from airflowaks.errors import AirflowAksError, CheckFailed, Forbidden, KubernetesError, MissingDependency
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.kubelet import read_log
from airflowaks.kube.manifests import load
from airflowaks.kube.pods import conditions, is_ready, never_starts, not_ready
from airflowaks.kube.port_forward import forward
from airflowaks.steps import cluster, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflowaks.engine.resource import Resource
    from airflowaks.kube.client import Document
    from airflowaks.session import Session

Server = tuple[str, int]
"""A host and a port."""

DEADLINE_SECONDS = 900
"""How long a pod forwards at most; a session that needs it longer gets another one."""
_FOLDER = "03_backend/tunnel"
_CONTAINER = "tunnel"
_FIRST_PORT = 15000
_READY = "ready"
_READY_SECONDS = 600.0  # a node may first pull the image
_PLAN_SECONDS = 60.0  # a diagnosis tells sooner that pods do not start
_LONGEST_PAUSE_SECONDS = 1.0
_LOOPBACK = "127.0.0.1"


class Tunnel:
    """A session's route to the servers of its backend, opened when it is first used. Thread-safe."""

    def __init__(
        self, session: Session, servers: Callable[[], Sequence[Server]], seconds: int = DEADLINE_SECONDS
    ) -> None:
        self.session = session
        self._servers = servers
        self._seconds = seconds
        self._lock = threading.RLock()
        self._ports: dict[Server, int] = {}
        self._forwards = ExitStack()
        self._job: Reference | None = None
        self._pod: Reference | None = None
        self._lines_read = 0
        self._beside: Tunnel | None = None
        self._failed: tuple[float, AirflowAksError] | None = None
        self._refused = False

    def address(self, host: str, port: int) -> tuple[str | None, int]:
        """Return the loopback port that leads to a server of the backend; open the tunnel, or one that ended, again.

        Raises:
            CheckFailed: the environment has no such server.
            MissingDependency: the namespace, the image or the right to pull it does not exist.
            Forbidden: the caller may not create the pod, or not forward ports to it.
            RolloutFailed: the pod did not start.

        """
        server, asked = (host, port), time.monotonic()
        with self._lock:
            if self._failed and (self._failed[0] > asked or self._refused):  # nobody waits for a second attempt
                raise self._failed[1]
            lives = self._lives()
            if server in self._ports and lives:
                return _LOOPBACK, self._ports[server]
            servers = self._servers()
            if server not in servers:
                message = f"{host}:{port} is neither PostgreSQL nor the broker of this environment."
                raise CheckFailed(message, "Run step 4 with mode=apply: it writes the URLs of both.")
            if lives:
                # It was opened before this server existed. Others use it, so this one gets a pod of its own.
                self._beside = self._beside or Tunnel(self.session, lambda: [server], self._seconds)
                return self._beside.address(host, port)
            self.close()
            self._open(servers)
            return _LOOPBACK, self._ports[server]

    @contextmanager
    def explained(self, host: str) -> Iterator[None]:
        """Give a client's error the reason for which the pod could not connect to `host`."""
        try:
            yield
        except Exception as error:
            lines = [line for line in self.new_lines() if f'"{host}"' in line]
            lines += [line for line in self._beside.new_lines() if f'"{host}"' in line] if self._beside else []
            if not lines or isinstance(error, AirflowAksError):
                raise
            raise type(error)(f"In the cluster: {lines[-1]}") from error

    def close(self) -> None:
        """Delete the Job and its pod, and end the port-forwards."""
        with self._lock:
            if self._beside:
                self._beside.close()
            self._delete_job()
            atexit.unregister(self._delete_job)
            self._forwards.close()
            self._ports, self._pod, self._lines_read = {}, None, 0

    def _open(self, servers: Sequence[Server]) -> None:
        self.session.closing.callback(self.close)
        # When an interpreter ends, no thread can start any more: then the Job alone is deleted.
        atexit.register(self._delete_job)
        try:
            with self.session.translated(self.session.memoize(cluster.Resources).cluster):
                self._require()
                self._forward({target: _FIRST_PORT + number for number, target in enumerate(servers)})
        except BaseException as error:
            self.close()
            if isinstance(error, AirflowAksError):
                error.message = f"The way to PostgreSQL and the broker through the cluster: {error.message}"
                self._failed = time.monotonic(), error
            raise

    def _require(self) -> None:
        """Raise MissingDependency if the cluster cannot run the pod."""
        step1, step2 = self.session.memoize(cluster.Resources), self.session.memoize(registry.Resources)
        needs: list[Resource] = [step1.namespace, step2.registry, step2.image]
        needs += [step2.pull_access] if self.session.applies else []  # the node may have the image already
        await_others(self.session, *needs)
        missing = next((need for need in needs if need.facts is None), None)
        if missing is not None:
            step = 1 if missing is step1.namespace else 2
            raise MissingDependency(
                f"{missing} does not exist.",
                f"Run step {step} with mode=apply first, or set `access: direct` in the environment file.",
            )

    def _forward(self, ports: dict[Server, int]) -> None:
        kube = self.session.memoize(connect)
        job = self._create(ports)
        self._pod = pod = self._await_pod(job)
        for server, port in ports.items():
            self._ports[server] = self._forwards.enter_context(forward(kube, pod, port))

    def _create(self, ports: dict[Server, int]) -> Reference:
        namespace = self.session.environment.cluster.namespace
        values: dict[str, Any] = {
            "NAMESPACE": namespace,
            "IMAGE": self.session.memoize(registry.Resources).image.reference,
            "SUFFIX": secrets.token_hex(4),
            "SECONDS": self._seconds,
            "PROGRAM": manifests_folder(_FOLDER).joinpath("forward.py").read_text(encoding="utf-8"),
            "TARGETS": [f"{port}:{host}:{target}" for (host, target), port in ports.items()],
        }
        (job,) = load(_FOLDER, values)
        document = job.fill()
        self._job = reference = Reference.of(document)  # deleted in any case: the answer to its creation may be lost
        try:
            self.session.memoize(connect).create(document)
        except Forbidden as refused:
            self._job, self._refused = None, not self.session.applies
            refused.action = (
                f"It needs the verb create on jobs.batch and on pods/portforward in the namespace {namespace}, as the"
                " role Azure Kubernetes Service RBAC Writer has."
            )
            raise
        return reference

    def _await_pod(self, job: Reference) -> Reference:
        kube, labels = self.session.memoize(connect), f"batch.kubernetes.io/job-name={job.name}"

        def look() -> Document | None:
            return next(kube.each("v1", "Pod", job.namespace, labels=labels), None)

        def is_over(pod: Document | None) -> bool:
            if pod is None or not is_ready(pod):
                return pod is not None and (
                    pod["status"].get("phase") == "Failed" or never_starts(pod) or unplaced(pod)
                )
            return _READY in read_log(kube, Reference.of(pod), _CONTAINER)

        def unplaced(pod: Document) -> bool:
            # A new node takes longer than a plan waits.
            return self.session.mode == "plan" and conditions(pod).get("PodScheduled", {}).get("status") == "False"

        seconds = _PLAN_SECONDS if self.session.mode == "plan" else _READY_SECONDS
        pod = wait_until(look, is_over, seconds, longest_pause=_LONGEST_PAUSE_SECONDS)
        if pod is None or not is_ready(pod):
            raise not_ready(kube, Reference.of(pod) if pod else job, pod)
        return Reference.of(pod)

    def _lives(self) -> bool:
        pod = self._pod and self.session.memoize(connect).get(self._pod)
        return pod is not None and is_ready(pod)

    def new_lines(self) -> list[str]:
        """Return the lines that the pod has logged since the last call: only failures, once it is ready."""
        with self._lock, suppress(KubernetesError):
            if self._pod is not None:
                lines = read_log(self.session.memoize(connect), self._pod, _CONTAINER).splitlines()
                already, self._lines_read = self._lines_read, len(lines)
                return lines[already:]
        return []

    def _delete_job(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            # The sign-in may have ended. The Job has a deadline.
            with suppress(AirflowAksError), self.session.translated(job.name):
                self.session.memoize(connect).delete(job, grace_seconds=0)
