"""Logs, commands, attaching and forwarded ports, through the unmodified client."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

from tests.support import managed_cluster as azure
from tests.support.node import Namespace, admin, close, python, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

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


@pytest.fixture(scope="module")
def before(send: Sender, rehearsal: Rehearsal, resources: ResourceManagementClient) -> Iterator[Namespace]:
    """A namespace of a cluster of 1.34."""
    resources.resource_groups.create_or_update("before", {"location": "westeurope"})
    cluster = azure.managed_cluster(send, rehearsal.subscription, "before", aadProfile=None, kubernetesVersion="1.34")
    with admin(send, cluster) as api:
        yield Namespace(api, "before")


def code_of_streams(namespace: Namespace, *verbs: str) -> set[int]:
    """The HTTP statuses of the three streams into a pod, for an account that has these verbs at them."""
    name = "account-" + "-".join(verbs)
    rules = [{"apiGroups": [""], "resources": ["pods/attach", "pods/exec", "pods/portforward"], "verbs": list(verbs)}]
    rbac = client.RbacAuthorizationV1Api(namespace.api)
    namespace.core.create_namespaced_service_account(namespace.name, {"metadata": {"name": name}})
    rbac.create_namespaced_role(namespace.name, {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}],
    }
    rbac.create_namespaced_role_binding(namespace.name, binding)
    request = {"spec": {"audiences": None}}
    token = namespace.core.create_namespaced_service_account_token(name, namespace.name, request).status.token
    known = namespace.api.configuration
    settings = client.Configuration(host=known.host, api_key={"authorization": token})
    settings.api_key_prefix, settings.ssl_ca_cert = {"authorization": "Bearer"}, known.ssl_ca_cert
    codes = set()
    with client.ApiClient(settings) as api:
        core = client.CoreV1Api(api)
        for stream_of, function, more in (
            (stream, core.connect_get_namespaced_pod_exec, {"command": ["true"]}),
            (stream, core.connect_get_namespaced_pod_attach, {}),
            (portforward, core.connect_get_namespaced_pod_portforward, {"ports": "8080"}),
        ):
            with pytest.raises(ApiException) as refused:
                stream_of(function, "nowhere", namespace.name, **more)
            codes.add(int(str(refused.value.reason).partition("status ")[2][:3]))
    return codes


def test_a_stream_needs_both_verbs_since_1_35(namespace: Namespace, before: Namespace) -> None:
    assert code_of_streams(namespace, "get") == {403}
    assert code_of_streams(namespace, "create") == {403}
    assert code_of_streams(namespace, "get", "create") == {404}
    assert code_of_streams(before, "get") == {404}
    assert code_of_streams(before, "create") == {403}
