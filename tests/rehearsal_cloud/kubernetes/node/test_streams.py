"""Logs, commands, attaching and forwarded ports, through the unmodified client."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

from tests.support.node import close, python, shell

if TYPE_CHECKING:
    from tests.support.node import Namespace

SLEEPS = "sleep 1000 & wait"


@pytest.fixture
def sleeper(namespace: Namespace) -> str:
    pod = namespace.pod(shell(SLEEPS))
    namespace.ready(pod)
    return pod


def test_a_command_says_what_it_says_where_it_says_it(namespace: Namespace, sleeper: str) -> None:
    assert namespace.run(sleeper, "sh", "-c", "echo out; echo err >&2; exit 4") == ("out\n", "err\n", 4)
    assert namespace.run(sleeper, "true").code == 0


def test_a_command_reads_what_is_sent(namespace: Namespace, sleeper: str) -> None:
    assert namespace.run(sleeper, "sh", "-c", "read line; echo got $line", text="this\n").out == "got this\n"


def test_much_output_comes_whole(namespace: Namespace, sleeper: str) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done"
    assert len(namespace.run(sleeper, "sh", "-c", script).out) == 20000 * 41


def test_a_command_has_a_terminal_where_one_is_asked_for(namespace: Namespace, sleeper: str) -> None:
    assert namespace.run(sleeper, "sh", "-c", "test -t 0 && test -t 1 && echo terminal", tty=True).out == "terminal\r\n"
    assert namespace.run(sleeper, "sh", "-c", "test -t 0 || echo none").out == "none\n"


def test_a_command_that_is_not_there_is_an_error(namespace: Namespace, sleeper: str) -> None:
    session = stream(
        namespace.core.connect_get_namespaced_pod_exec,
        sleeper,
        namespace.name,
        command=["nonsense"],
        _preload_content=False,
    )
    try:
        session.run_forever(timeout=60)
        assert 'exec: \\"nonsense\\": executable file not found in $PATH' in session.read_channel(3)
    finally:
        close(session)


def test_a_log_is_cut_as_asked(namespace: Namespace) -> None:
    pod = namespace.pod(shell("for word in one two three; do echo $word; done"))
    namespace.ended(pod)
    assert namespace.log(pod, tail_lines=2) == "two\nthree\n"
    assert namespace.log(pod, limit_bytes=5) == "one\nt"
    assert namespace.log(pod, tail_lines=0) == ""
    stamp, _, word = namespace.log(pod, timestamps=True, tail_lines=1).partition(" ")
    assert (len(stamp), word) == (len("2026-01-01T00:00:00.000000000Z"), "three\n")
    assert namespace.log(pod, since_seconds=3600) == "one\ntwo\nthree\n"


def test_a_log_is_followed_to_the_containers_end(namespace: Namespace) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    pod = namespace.pod(
        shell("echo first; until test -e /work/go; do sleep 0.1; done; echo last", **mount),
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    namespace.until(lambda: namespace.read(pod).status.phase == "Running" and namespace.log(pod) == "first\n")
    answer = namespace.core.read_namespaced_pod_log(pod, namespace.name, follow=True, _preload_content=False)
    with contextlib.closing(answer):
        assert answer.read(6) == b"first\n"
        namespace.run(pod, "touch", "/work/go")
        assert answer.read() == b"last\n"


def refusal(namespace: Namespace, pod: str, **options: object) -> str:
    with pytest.raises(ApiException) as refused:
        namespace.core.read_namespaced_pod_log(pod, namespace.name, **options)
    assert refused.value.status == 400
    return str(refused.value.body)


def test_a_log_that_is_not_there_is_refused(namespace: Namespace) -> None:
    pod = namespace.pod(shell("true", "one"), shell("true", "two"))
    assert f"a container name must be specified for pod {pod}, choose one of: [one two]" in refusal(namespace, pod)
    assert f"container three is not valid for pod {pod}" in refusal(namespace, pod, container="three")
    namespace.ended(pod)
    text = f'previous terminated container \\"one\\" in pod \\"{pod}\\" not found'
    assert text in refusal(namespace, pod, container="one", previous=True)
    waits = namespace.pod({"name": "main", "image": "busybox:nonsense"})
    text = f'container \\"main\\" in pod \\"{waits}\\" is waiting to start: trying and failing to pull image'
    namespace.until(lambda: text in refusal(namespace, waits))


def test_a_client_attaches_to_a_container_that_reads(namespace: Namespace) -> None:
    container = shell("while read line; do echo got $line; done", stdin=True, stdinOnce=True)
    pod = namespace.pod(container)
    namespace.ready(pod)
    session = stream(
        namespace.core.connect_get_namespaced_pod_attach,
        pod,
        namespace.name,
        stdin=True,
        stdout=True,
        _preload_content=False,
    )
    try:
        session.write_stdin("this\n")
        assert session.readline_stdout(timeout=60) == "got this"
    finally:
        close(session)
    assert namespace.ended(pod).status.phase == "Succeeded"


def test_a_port_is_forwarded(namespace: Namespace) -> None:
    program = 'import socket\nserver = socket.create_server(("", 8080))\nserver.accept()[0].sendall(b"hello")'
    pod = namespace.pod(python(program))
    namespace.reaches(pod, lambda found: found.status.phase == "Running")

    def hello() -> bytes:
        forwarded = portforward(
            namespace.core.connect_get_namespaced_pod_portforward, pod, namespace.name, ports="8080"
        )
        connection = forwarded.socket(8080)
        try:
            return bytes(connection.recv(5))
        finally:
            connection.close()
            namespace.until(lambda: not forwarded.connected)
            forwarded.websocket.shutdown()  # or the client leaves its socket open

    namespace.until(lambda: hello() == b"hello")
