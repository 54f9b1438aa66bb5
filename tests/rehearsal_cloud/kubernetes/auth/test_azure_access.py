"""Who AKS lets in besides Kubernetes' own users: Entra's principals, and nobody by a static token where it is off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.entra.directory import AKS_SERVER, RESOURCE_MANAGER
from tests.support.control_plane import ClusterApi, Server, managed_cluster, running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal_cloud.entra.directory import Principal
    from rehearsal_cloud.kubernetes.cluster import Cluster

PODS = "/api/v1/namespaces/default/pods"
READER = "7f6c6a51-bcf8-42ba-9220-52d62157d7db"
ADMIN = "3498e952-d568-435e-9b2c-8d77e338d7f7"


class Side:
    """A cluster with Entra, asked with tokens of the test's choice."""

    def __init__(self, cluster: Cluster, server: Server) -> None:
        self.cluster = cluster
        self.entra = cluster.state.cloud.entra
        self._server = server

    def send(self, method: str, path: str, body: Any = None, *, token: str) -> tuple[int, Any]:
        with Server(self._server.url, self._server.ca_file, token).client() as client:
            return ClusterApi(client, "", "rehearsal").send(method, path, body)

    def ask(self, principal: Principal, path: str = PODS) -> tuple[int, str]:
        """Status and message of a GET as an Entra principal."""
        status, answer = self.send("GET", path, token=self.entra.mint(principal, AKS_SERVER[0]))
        return status, answer.get("message", "")

    def change(self, **properties: Any) -> None:
        """Change the managed cluster's properties, as an update does."""
        document = self.cluster.state.document
        self.cluster.state.cloud.keep({**document, "properties": {**document["properties"], **properties}})

    def assign(self, role: str, principal: Principal, scope: str) -> None:
        properties = {"roleDefinitionId": role, "principalId": principal.object_id, "scope": scope}
        self.cluster.state.cloud.authorization.put(scope, f"{role}-{principal.object_id}", properties)


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    folder: Path = tmp_path_factory.mktemp("azure-access")
    document = managed_cluster()
    document["properties"]["aadProfile"] = {"managed": True, "adminGroupObjectIDs": ["the-admins"]}
    with running_cluster(folder, document) as (cluster, server):
        yield Side(cluster, server)


@pytest.fixture
def principal(side: Side) -> Principal:
    return side.entra.add("ServicePrincipal", "somebody", "an-application")


def test_the_static_token_is_for_clusters_with_local_accounts(side: Side) -> None:
    token = side.cluster.state.document["_secret"]["token"]
    assert side.send("GET", PODS, token=token)[0] == 200
    side.change(disableLocalAccounts=True)
    status, answer = side.send("GET", PODS, token=token)
    assert (status, answer["reason"], answer["message"]) == (401, "Unauthorized", "Unauthorized")
    side.change(disableLocalAccounts=False)


def test_a_token_for_another_service_proves_nobody(side: Side, principal: Principal) -> None:
    assert side.send("GET", PODS, token=side.entra.mint(principal, RESOURCE_MANAGER[0]))[0] == 401


def test_the_administrators_group_is_bound(side: Side, principal: Principal) -> None:
    refused = f'pods is forbidden: User "{principal.object_id}" cannot list resource "pods" in API group "" in the'
    assert side.ask(principal) == (403, f'{refused} namespace "default"')
    side.entra.add_member("the-admins", principal.object_id)
    assert side.ask(principal)[0] == 200


@pytest.fixture
def azure_rbac(side: Side) -> Iterator[None]:
    profile = side.cluster.state.document["properties"]["aadProfile"]
    side.change(aadProfile={**profile, "enableAzureRBAC": True})
    yield
    side.change(aadProfile=profile)


@pytest.mark.usefixtures("azure_rbac")
def test_a_role_assignment_counts_in_its_scope(side: Side, principal: Principal) -> None:
    status, message = side.ask(principal)
    assert status == 403
    assert message.endswith(
        'in the namespace "default": User does not have access to the resource in Azure. Update role assignment to'
        " allow access."
    )
    side.assign(READER, principal, f"{side.cluster.state.document['id']}/namespaces/default")
    assert side.ask(principal)[0] == 200
    assert side.ask(principal, PODS.replace("default", "kube-system"))[0] == 403
    assert side.ask(principal, "/api/v1/namespaces/default/secrets")[0] == 403


@pytest.mark.usefixtures("azure_rbac")
def test_a_reader_runs_no_commands(side: Side, principal: Principal) -> None:
    """Although a command over a WebSocket is a GET, as reading a log is."""
    side.assign(READER, principal, side.cluster.state.document["id"])
    status, message = side.ask(principal, f"{PODS}/one/exec?command=id")
    assert (status, message.partition(":")[0]) == (403, 'pods "one" is forbidden')
    assert side.ask(principal, f"{PODS}/one/log")[0] == 404


@pytest.mark.usefixtures("azure_rbac")
def test_an_administrator_by_role_assignment_makes_no_namespaces(side: Side, principal: Principal) -> None:
    side.assign(ADMIN, principal, side.cluster.state.document["id"])
    token = side.entra.mint(principal, AKS_SERVER[0])
    assert side.send("POST", PODS.replace("pods", "configmaps"), {"metadata": {"name": "one"}}, token=token)[0] == 201
    assert side.send("POST", "/api/v1/namespaces", {"metadata": {"name": "one"}}, token=token)[0] == 403


@pytest.mark.usefixtures("azure_rbac")
def test_azure_has_no_opinion_on_service_accounts(side: Side) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    administrator = side.cluster.state.document["_secret"]["token"]
    assert side.send("POST", accounts, {"metadata": {"name": "app"}}, token=administrator)[0] == 201
    answer = side.send("POST", f"{accounts}/app/token", {"spec": {}}, token=administrator)[1]
    status, refused = side.send("GET", PODS, token=answer["status"]["token"])
    assert status == 403
    assert refused["message"].endswith('in the namespace "default": Azure does not have opinion for this user.')
