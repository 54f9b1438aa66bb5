"""The two sides of the differential tests: the rehearsal's cluster in this process, and a real control plane."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.client import ApiClient, Configuration
from urllib3.exceptions import HTTPError

from rehearsal_cloud.home import TENANT_ID, Home, free_ports
from rehearsal_cloud.kubernetes.cluster import Cluster
from rehearsal_cloud.resource_manager.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

_START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """An API server and its administrator's token."""

    url: str
    ca_file: str
    token: str

    def client(self) -> ApiClient:
        configuration = Configuration()
        configuration.host = self.url
        configuration.ssl_ca_cert = self.ca_file
        configuration.retries = False
        configuration.api_key = {"authorization": f"Bearer {self.token}"}
        configuration.proxy = None
        return ApiClient(configuration)


@dataclass(frozen=True)
class ClusterApi:
    """A cluster's API as its administrator uses it, and a namespace of the test's own."""

    client: ApiClient
    namespace: str
    side: str
    """`rehearsal` or `control-plane`."""

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        media: str = "application/json",
    ) -> tuple[int, Any]:
        """Send a request; return status and answer, whatever they are."""
        status, answer, _ = self.exchange(method, path, body, headers=headers, media=media)
        return status, answer

    def exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        media: str = "application/json",
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request; return status, answer and headers."""
        sent = {"Accept": "application/json", "Content-Type": media, **(headers or {})}
        request = self.client.param_serialize(
            method, path, header_params=sent, body=body, auth_settings=["BearerToken"]
        )
        response = self.client.call_api(*request)
        text = response.read()
        with suppress(ValueError):
            return response.status, json.loads(text), dict(response.getheaders())
        return response.status, text.decode(), dict(response.getheaders())


def managed_cluster(name: str = "cluster", nodes: int = 0) -> dict[str, Any]:
    """The resource of a managed cluster, as a provisioned one is kept."""
    resource = f"/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/{name}"
    pool = {"name": "system", "count": nodes, "mode": "System", "vmSize": "Standard_D4s_v5"}
    issuer = f"https://westeurope.oic.prod-aks.azure.com/{TENANT_ID}/{uuid.uuid4()}/"
    return {
        "id": resource,
        "name": name,
        "type": "Microsoft.ContainerService/managedClusters",
        "location": "westeurope",
        "_state": "Succeeded",
        "_secret": {"token": secrets.token_hex(64), "port": free_ports(1)[0]},
        "properties": {
            "resourceUID": uuid.uuid4().hex[:24],
            "fqdn": f"{name}.hcp.westeurope.azmk8s.io",
            "currentKubernetesVersion": "1.35.1",
            "powerState": {"code": "Running"},
            "nodeResourceGroup": f"MC_g_{name}_westeurope",
            "disableLocalAccounts": False,
            "oidcIssuerProfile": {"enabled": True, "issuerURL": issuer},
            "agentPoolProfiles": [pool],
        },
    }


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def running_cluster(folder: Path, document: dict[str, Any]) -> Iterator[tuple[Cluster, Server]]:
    """Run a cluster in this process, without Resource Manager before it."""
    home = Home(folder)
    home.services.mkdir(parents=True, exist_ok=True)
    background = Background()

    async def start() -> Cluster:
        cloud = Cloud(home, home.prepare(time_scale=0.001))
        cloud.keep(document)
        cluster = Cluster(cloud, document)
        await cluster.start()
        return cluster

    cluster = background.run(start())
    try:
        yield (
            cluster,
            Server(f"https://localhost:{cluster.state.port}", str(home.ca_file), document["_secret"]["token"]),
        )
    finally:
        background.run(cluster.stop())
        cluster.state.cloud.store.close()
        background.close()


def _assets() -> Path:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder or not (Path(folder) / "kube-apiserver").exists():
        pytest.skip("KUBEBUILDER_ASSETS names no folder with etcd, kube-apiserver and kube-controller-manager")
    return Path(folder)


@contextmanager
def control_plane(folder: Path) -> Iterator[Server]:
    """Run a real control plane, as controller-runtime's envtest does, with the controllers."""
    assets = _assets()
    client_port, peer_port, port, controllers_port = free_ports(4)
    token = secrets.token_hex(16)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / "sa.key").write_bytes(pem)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    server = Server(f"https://127.0.0.1:{port}", str(folder / "ca.pem"), token)
    (folder / "kubeconfig").write_text(yaml.safe_dump(_kubeconfig(server)))
    etcd = f"http://127.0.0.1:{client_port}"
    programs = {
        "etcd": {
            "data-dir": folder / "etcd",
            "listen-client-urls": etcd,
            "advertise-client-urls": etcd,
            "listen-peer-urls": f"http://127.0.0.1:{peer_port}",
            "unsafe-no-fsync": "true",  # nothing outlives the tests
        },
        "kube-apiserver": {
            "etcd-servers": etcd,
            "secure-port": port,
            "bind-address": "127.0.0.1",
            "tls-cert-file": folder / "server.pem",
            "tls-private-key-file": folder / "server.key",
            "service-account-issuer": "https://kubernetes.default",
            "service-account-signing-key-file": folder / "sa.key",
            "service-account-key-file": folder / "sa.key",
            "token-auth-file": folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.0.0.0/24",
            "disable-admission-plugins": "ServiceAccount",
        },
        "kube-controller-manager": {
            "kubeconfig": folder / "kubeconfig",
            "leader-elect": "false",
            "kube-api-qps": 1000,  # from 20, at which emptied namespaces queue up behind each other
            "kube-api-burst": 1000,
            "service-account-private-key-file": folder / "sa.key",
            "root-ca-file": folder / "ca.pem",
            "bind-address": "127.0.0.1",
            "secure-port": controllers_port,
            "port": 0,
            "cert-dir": folder / "controllers",
        },
    }
    commands = [[name, *(f"--{key}={value}" for key, value in options.items())] for name, options in programs.items()]
    with ExitStack() as running:
        for command in commands[:2]:
            running.enter_context(_program(assets, command, folder))
        _await_ready(server)
        running.enter_context(_program(assets, commands[2], folder))
        yield server


@contextmanager
def _program(assets: Path, command: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen([str(assets / command[0]), *command[1:]], stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _kubeconfig(server: Server) -> dict[str, Any]:
    cluster = {"server": server.url, "certificate-authority": server.ca_file}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": server.token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }


def _await_ready(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with server.client() as client:
        api = ClusterApi(client, "", "control-plane")
        while True:
            with suppress(HTTPError):  # nobody listens yet
                if api.send("GET", "/readyz")[0] == 200:
                    return
            assert time.monotonic() < deadline, "the control plane did not come up: see its logs"
            time.sleep(0.2)
