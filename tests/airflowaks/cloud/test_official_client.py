"""The official Kubernetes client that a session gives for cells of one's own, on the rehearsal's cluster."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
import trustme
from kubernetes.client import ApiException, CoreV1Api
from urllib3.exceptions import MaxRetryError

from airflowaks.cloud.cluster import SERVER_SCOPE, Address, find_address, official_client
from airflowaks.errors import AzureError
from airflowaks.session import Session
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from azure.core.credentials import AccessToken

    from tests.support.world import World


class Changing:
    """A credential that returns a useless token until it is told to return true ones."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential
        self.useless = True

    def get_token(self, *scopes: str, **arguments: Any) -> AccessToken:
        token: AccessToken = self._credential.get_token(*scopes, **arguments)
        useless = token._replace(token="useless", expires_on=int(time.time()))
        return useless if self.useless and scopes == (SERVER_SCOPE,) else token


def test_it_asks_for_a_token_before_each_request(world: World) -> None:
    credential = Changing(world.server.connection.credential)
    session = Session(world.server.environment, "plan", replace(world.server.connection, credential=credential))
    with session.kubernetes_api() as client:
        with pytest.raises(ApiException) as refused:
            CoreV1Api(client).read_namespace(world.namespace)
        assert refused.value.status == 401
        credential.useless = False
        assert CoreV1Api(client).read_namespace(world.namespace).status.phase == "Active"


def test_it_needs_no_proxy_to_this_machine_and_leaves_no_file(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing answers there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    session = world.session("plan")
    with session.kubernetes_api() as client:
        assert CoreV1Api(client).list_namespaced_pod(world.namespace).items == []
        assert [path for path in tmp_path.iterdir() if path.suffix == ".pem"] == []


def test_another_cluster_goes_through_the_proxy_of_its_environment() -> None:
    address = Address("airflow", "https://airflow-dns.hcp.westeurope.azmk8s.io:443", "")
    with official_client(address, "http://proxy.example:3128", str) as client:
        assert client.configuration.proxy == "http://proxy.example:3128"
        assert client.configuration.verify_ssl


def test_a_server_of_another_ca_is_not_trusted(world: World) -> None:
    session = world.session("plan")
    address = find_address(session.clusters, session.environment, session.connection.ca_bundle)
    impostor = address._replace(certificates=trustme.CA().cert_pem.bytes().decode())
    with official_client(impostor, None, lambda: "token") as client:
        api = CoreV1Api(client)
        with pytest.raises(MaxRetryError, match="CERTIFICATE_VERIFY_FAILED"):
            api.list_namespace(_request_timeout=5)


def test_without_a_cluster_it_says_so_in_two_lines(world: World) -> None:
    missing = world.server.environment.model_copy(update={"resource_group": "missing"})
    with pytest.raises(AzureError, match=r"^AKS cluster .*ResourceGroupNotFound"):
        Session(missing, "plan", world.server.connection).kubernetes_api()


def test_the_cell_of_the_troubleshooting_notebook_lists_events(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = nbformat.read(REPOSITORY / "notebooks" / "08_troubleshooting.ipynb", as_version=4).cells
    (source,) = [cell.source for cell in cells if cell.cell_type == "code" and "kubernetes_api()" in cell.source]
    world.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "oom", "namespace": world.namespace},
            "involvedObject": {"kind": "Pod", "name": "worker-0", "namespace": world.namespace},
            "reason": "OOMKilling",
            "message": "Memory cgroup out of memory",
            "type": "Warning",
        }
    )
    run = SimpleNamespace(attended=True, session=world.session("plan"))
    exec(source, {"run": run, "namespace": world.namespace})  # noqa: S102 - the repository's own cell
    assert capsys.readouterr().out == "worker-0  OOMKilling  Memory cgroup out of memory\n"


def test_a_session_imports_it_only_when_asked() -> None:
    program = "import sys, airflowaks.session, airflowaks.cloud.cluster; print('kubernetes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
