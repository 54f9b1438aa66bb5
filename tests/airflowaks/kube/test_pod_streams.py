"""What a pod's logs and streams do at their edges: removed containers, half-closed connections, silent nodes."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from airflowaks.engine.polling import wait_until
from airflowaks.errors import KubernetesError, PortInUse
from airflowaks.kube.client import Kube, Reference
from airflowaks.kube.exec import run
from airflowaks.kube.kubelet import read_log
from airflowaks.kube.pods import short_lived
from airflowaks.kube.port_forward import forward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflowaks.kube.client import Document
    from tests.support.rehearsal import Rehearsal
    from tests.support.world import World

ANSWERS_WHEN_ASKED = """
import socket, time
server = socket.create_server(("", 8080))
while True:
    client, _ = server.accept()
    if client.recv(100):
        time.sleep(1)
        client.sendall(b"the answer")
    client.close()
"""


def python_pod(world: World, program: str, name: str) -> Document:
    container = {"name": "main", "image": "docker.io/library/python:3.13", "command": ["python", "-c", program]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def test_a_container_that_the_kubelet_has_removed_has_no_log(world: World, rehearsal: Rehearsal) -> None:
    """Measured on a kubelet 1.36: HTTP 200 with the text "unable to retrieve container logs for containerd://…"."""
    document = python_pod(world, "print('the first time'); raise SystemExit(1)", "restarts")
    pod = Reference.of(document)
    world.kube.create(document)
    for seen in world.kube.follow(pod, 60):
        statuses = (seen or {}).get("status", {}).get("containerStatuses", [{}])
        if statuses[0].get("restartCount", 0) > 0:
            break
    assert read_log(world.kube, pod, "main", previous=True) == "the first time\n"
    rehearsal.control("POST", {"breakdown": "logs", "name": "restarts"})
    try:
        assert read_log(world.kube, pod, "main", previous=True) == ""
    finally:
        rehearsal.control("DELETE")
        world.kube.delete(pod, grace_seconds=0)


def test_a_log_that_does_not_exist_is_no_fault_of_a_manifest(world: World) -> None:
    """Measured: each 400 said "Correct the manifest", also of containers that wait or were not restarted."""

    def refused(pod: Reference, text: str, *, previous: bool = False) -> str:
        def read() -> KubernetesError:
            with pytest.raises(KubernetesError) as caught:
                read_log(world.kube, pod, "main", previous=previous)
            return caught.value

        return wait_until(read, lambda error: text in error.message, 30).action

    with short_lived(world.kube, python_pod(world, "import time; time.sleep(600)", "once")) as pod:
        action = refused(pod, f'previous terminated container "main" in pod "{pod.name}" not found', previous=True)
        assert action == "Read the log of the present container: it was not restarted."
    document = python_pod(world, "pass", "waits")
    document["spec"]["containers"][0]["image"] = "docker.io/library/python:none"
    world.kube.create(document)
    waiting = Reference.of(document)
    action = refused(waiting, 'container "main" in pod "waits" is waiting to start: ')
    assert action.startswith("Wait until the container has started; ")
    world.kube.delete(waiting, grace_seconds=0)


def test_a_client_that_has_sent_all_gets_its_answer(world: World) -> None:
    """Measured: a client's half-close in a port-forward lost the answer."""
    document = python_pod(world, ANSWERS_WHEN_ASKED, "answers")
    document["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    with (
        short_lived(world.kube, document) as pod,
        forward(world.kube, pod, 8080) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(b"the question")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"the answer"


def test_a_forwarded_port_is_both_addresses_of_localhost(world: World) -> None:
    """Browsers try ::1 first. Measured: with another program at [::1]:8080, Airflow's address showed that program."""
    document = python_pod(world, ANSWERS_WHEN_ASKED, "both")
    document["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    loopbacks = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:  # a machine without IPv6
        del loopbacks["::1"]
    with short_lived(world.kube, document) as pod:
        with forward(world.kube, pod, 8080) as port:
            for address in loopbacks:
                with socket.create_connection((address, port), timeout=30) as client:
                    client.sendall(b"the question")
                    assert client.recv(100) == b"the answer"
        for address, family in loopbacks.items():
            with socket.create_server((address, port), family=family), pytest.raises(PortInUse) as refused:
                forward(world.kube, pod, 8080, local_port=port).__enter__()
            message = (
                f"Port {port} of this machine cannot be forwarded: Address already in use (while attempting to bind on"
            )
            assert refused.value.message.startswith(f"{message} address ('{address}', {port}")
        with forward(world.kube, pod, 8080, local_port=port) as again:
            assert again == port


@pytest.mark.broad
def test_streams_carry_much_and_many_at_once(world: World) -> None:
    """Measured: log lines of 3 MB, commands with 60 MB each way and 30 port-forwards at once work on a real kubelet."""
    program = f"print('x' * 3_000_000, flush=True)\n{ANSWERS_WHEN_ASKED}"
    document = python_pod(world, program, "much")
    document["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}

    def ask(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"the question")
            return client.recv(100)

    with short_lived(world.kube, document) as pod, ExitStack() as opened, ThreadPoolExecutor(30) as pool:
        assert len(read_log(world.kube, pod, "main")) == 3_000_001
        echo = ("python", "-c", "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)")
        data = bytes(range(256)) * 4096
        assert run(world.kube, pod, echo, stdin=[data] * 60) == data * 60
        ports = [opened.enter_context(forward(world.kube, pod, 8080)) for _ in range(30)]
        assert set(pool.map(ask, ports)) == {b"the answer"}


@pytest.mark.broad
def test_a_silent_kubelet_costs_seconds_and_is_named(world: World, rehearsal: Rehearsal) -> None:
    """Measured: logs took 45 s, and exec said that the cluster did not answer."""
    with short_lived(world.kube, python_pod(world, "import time; time.sleep(600)", "silent")) as pod:
        kube = world.kube
        node = (kube.get(pod) or {})["spec"]["nodeName"]
        rehearsal.control("POST", {"breakdown": "silence"})
        try:
            for ask in (lambda: read_log(kube, pod, "main"), lambda: run(kube, pod, ("true",))):
                began = time.monotonic()
                with pytest.raises(KubernetesError) as caught:
                    ask()
                assert time.monotonic() - began < 30
                assert caught.value.message.startswith(f"Node {node} of cluster ")
                assert "its kubelet does not answer, though the cluster's API does" in caught.value.message
        finally:
            rehearsal.control("DELETE")


def test_a_broken_watch_is_silent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Measured: azure-core logs "Unable to stream download." when a watch breaks."""
    address = world.server.address
    with relayed(int(address.server.rpartition(":")[2])) as (port, cut), caplog.at_level(logging.WARNING):
        kube = Kube(world.session(), address._replace(server=f"https://localhost:{port}"))
        seen = kube.follow(Reference("v1", "Namespace", world.namespace), 60)
        assert next(seen)
        began, timer = time.monotonic(), threading.Timer(1, cut)
        timer.start()
        assert next(seen)  # read again, since the watch broke
        timer.join()
        assert time.monotonic() - began < 8  # a quiet watch lasts ten seconds
    assert [record.message for record in caplog.records if record.name.startswith("azure")] == []


@contextmanager
def relayed(port: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """A port that passes on to `port` of this machine, and a function that resets its connections."""
    opened: list[socket.socket] = []

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                ends = (server.accept()[0], socket.create_connection(("127.0.0.1", port)))
                opened.extend(ends)
                for pair in (ends, ends[::-1]):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    def cut() -> None:
        for end in opened:  # who still reads keeps a socket open
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)
        time.sleep(0.2)
        while opened:
            opened.pop().close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], cut
    cut()
