"""The pod network: programs that know nothing of it listen, connect and resolve as in a cluster."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from kubernetes import client

from tests.support.node import python

if TYPE_CHECKING:
    from tests.support.node import Namespace
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

SERVER = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(socket.gethostname().encode())
http.server.HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
# Prints the answer of each address given, or what the operating system says.
CLIENT = """
import sys, urllib.error, urllib.request
for address in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(f"http://{address}/").read().decode())
    except urllib.error.URLError as fault:
        print(fault.reason)
"""
SERVES = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1, "timeoutSeconds": 10}


def server(namespace: Namespace, **spec: Any) -> str:
    ports = [{"name": "web", "containerPort": 8080}]
    return namespace.pod(python(SERVER, ports=ports, readinessProbe=SERVES), **spec)


def ask(namespace: Namespace, *addresses: str, **spec: Any) -> list[str]:
    container = {**python(CLIENT), "command": ["python", "-c", CLIENT, *addresses]}
    pod = namespace.pod(container, **spec)
    namespace.ended(pod)
    return namespace.log(pod).splitlines()


def service(namespace: Namespace, name: str, app: str, **spec: Any) -> Any:
    body = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    made = namespace.core.create_namespaced_service(namespace.name, {"metadata": {"name": name}, "spec": body})

    def endpoints() -> Any:
        return namespace.core.read_namespaced_endpoints(name, namespace.name).subsets

    namespace.until(lambda: name in _names(namespace) and endpoints())
    return made


def _names(namespace: Namespace) -> list[str]:
    return [one.metadata.name for one in namespace.core.list_namespaced_endpoints(namespace.name).items]


def test_pods_reach_each_other_by_address_and_by_the_names_of_services(namespace: Namespace) -> None:
    labels = {"app": "web"}
    pods = [server(namespace, labels=labels), server(namespace, labels=labels)]
    ips = [namespace.ready(pod).status.pod_ip for pod in pods]
    made = service(namespace, "web", "web")
    assert ask(namespace, *(f"{ip}:8080" for ip in ips)) == pods
    names = ("web", f"web.{namespace.name}", f"web.{namespace.name}.svc", f"web.{namespace.name}.svc.cluster.local")
    said = ask(namespace, *names, made.spec.cluster_ip)
    assert len(said) == 5
    assert set(said) <= set(pods)


def test_a_headless_service_names_its_pods(namespace: Namespace) -> None:
    pod = server(namespace, labels={"app": "web"})
    namespace.ready(pod)
    service(namespace, "web", "web", clusterIP="None")
    assert ask(namespace, "web:8080") == [pod]


def test_what_nobody_listens_at_refuses_and_what_nobody_knows_has_no_name(namespace: Namespace) -> None:
    ip = namespace.ready(server(namespace)).status.pod_ip
    said = ask(namespace, f"{ip}:81", "127.0.0.1:8080", "nobody.default.svc.cluster.local", "10.244.200.200")
    assert [one.partition("] ")[2] for one in said] == [
        "Connection refused",
        "Connection refused",
        "Name or service not known",
        "No route to host",
    ]


def test_pods_reach_entra_without_a_proxy(namespace: Namespace, rehearsal: Rehearsal) -> None:
    """As Airflow does for the keys of ID tokens; what a program trusts is up to the pod."""
    program = """
import json, ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
address = "https://login.microsoftonline.com/common/discovery/keys"
print([*json.load(urllib.request.urlopen(address, context=context))])
"""
    trusted = rehearsal.connection["REQUESTS_CA_BUNDLE"]
    pod = namespace.pod({**python(program), "command": ["python", "-c", program, trusted]})
    namespace.ended(pod)
    assert namespace.log(pod) == "['keys']\n"


def test_a_service_without_endpoints_refuses(namespace: Namespace) -> None:
    body = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "none"}, "ports": [{"port": 80}]}}
    namespace.core.create_namespaced_service(namespace.name, body)
    assert ask(namespace, "web")[0].endswith("Connection refused")


def test_a_pod_has_a_name_and_a_loopback_of_its_own(namespace: Namespace) -> None:
    program = """
import os, socket, threading, urllib.request
own = socket.create_server(("127.0.0.1", 8080))
threading.Thread(target=lambda: own.accept()[0].sendall(b"mine"), daemon=True).start()
print(socket.gethostname(), socket.getfqdn(), os.uname().nodename)
print(socket.gethostbyname(socket.gethostname()))
print(socket.create_connection(("localhost", 8080)).recv(4).decode(), own.getsockname()[1])
"""
    pods = [namespace.pod(python(program)) for _ in range(2)]
    for pod in pods:
        found = namespace.ended(pod)
        assert namespace.log(pod).splitlines() == [f"{pod} {pod} {pod}", found.status.pod_ip, "mine 8080"]


def test_a_pod_takes_no_port_of_the_machine_s_other_loopback(namespace: Namespace) -> None:
    """Seen: a log server of Airflow had ::1 with the port of the sign-in page, and browsers try ::1 first."""
    program = """
import asyncio, os
async def serve():
    server = await asyncio.start_server(print, None, 8080)
    print(os.getpid(), len(server.sockets), flush=True)
    await server.serve_forever()
asyncio.run(serve())
"""
    pod = namespace.pod(python(program, readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}))
    namespace.ready(pod)
    pid, listeners = namespace.log(pod).split()
    assert listeners == "2"
    addresses = [
        found.laddr.ip for found in psutil.Process(int(pid)).net_connections("tcp") if found.status == "LISTEN"
    ]
    assert sorted(addresses) == ["127.0.0.1", "::ffff:127.0.0.1"]


def test_a_port_is_taken_once_in_a_pod(namespace: Namespace) -> None:
    program = """
import socket
first = socket.create_server(("", 8080))
try:
    socket.create_server(("", 8080))
except OSError as fault:
    print(fault.strerror)
"""
    pod = namespace.pod(python(program))
    namespace.ended(pod)
    assert namespace.log(pod).startswith("Address already in use")


def test_uvloop_goes_past_the_network_and_is_not_found(namespace: Namespace) -> None:
    pod = namespace.pod(python("try:\n    import uvloop\nexcept ImportError:\n    print('none')"))
    namespace.ended(pod)
    assert namespace.log(pod) == "none\n"


_LEAVE = """
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), 5)
    print("out")
except OSError as fault:
    print(fault.strerror)
"""


def test_a_network_policy_that_denies_all_keeps_connections_in_the_cluster(namespace: Namespace) -> None:
    """The backend's servers, which stand outside of the cluster, listen on this machine's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server_outside:
        program = _LEAVE.format(port=server_outside.getsockname()[1])
        policies = client.NetworkingV1Api(namespace.api)
        spec: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Egress"]}
        policies.create_namespaced_network_policy(namespace.name, {"metadata": {"name": "deny"}, "spec": spec})
        namespace.until(lambda: _said(namespace, program) == "Connection timed out\n")
        spec["egress"] = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
        policies.create_namespaced_network_policy(namespace.name, {"metadata": {"name": "allow"}, "spec": spec})
        namespace.until(lambda: _said(namespace, program) == "out\n")


def _said(namespace: Namespace, program: str) -> str:
    pod = namespace.pod(python(program))
    namespace.ended(pod)
    return namespace.log(pod)


@pytest.mark.parametrize(("role", "expected"), [("friend", "web"), ("stranger", "timed out")])
def test_a_network_policy_lets_in_whom_it_names(namespace: Namespace, role: str, expected: str) -> None:
    pod = server(namespace, labels={"app": "web"}, name="web")
    ip = namespace.ready(pod).status.pod_ip
    rule = {"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}], "ports": [{"port": 8080}]}
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [rule]}
    policies = client.NetworkingV1Api(namespace.api)
    policies.create_namespaced_network_policy(namespace.name, {"metadata": {"name": "web"}, "spec": spec})
    namespace.until(lambda: expected in ask(namespace, f"{ip}:8080", labels={"role": role})[0])
