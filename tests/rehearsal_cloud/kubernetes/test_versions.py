"""What a cluster of 1.36 does that one of 1.35 does not.

Measured with 1.36: "1.36 only: impersonation is refused as `cannot impersonate-on:user-info:list`; service names may
begin with a digit".
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.rehearsal_cloud.kubernetes.auth.test_access import Access, rule
from tests.support.control_plane import ClusterApi, managed_cluster, running_cluster
from tests.support.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTHENTICATION = "authentication.k8s.io"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterApi]:
    """The API of a cluster of 1.36, and a namespace with a service account `app`."""
    document = managed_cluster()
    document["properties"]["currentKubernetesVersion"] = "1.36.0"
    with running_cluster(tmp_path_factory.mktemp("newer"), document) as (_, server), server.client() as client:
        api = ClusterApi(client, f"test-{uuid.uuid4().hex[:10]}", "rehearsal")
        assert api.send("POST", "/api/v1/namespaces", {"metadata": {"name": api.namespace}})[0] == 201
        Access(api).account("app")
        yield api


def listed_as(access: Access, user: str, path: str = "") -> tuple[int, str]:
    """List pods as the account `app` that impersonates a user; return status and message."""
    token = access.token("app")[1]["status"]["token"]
    status, answer = access.send("GET", path or access.pods, token=token, user=user)
    return status, answer.get("message", "")


def test_impersonation_is_refused_for_the_request(newer: ClusterApi) -> None:
    access = Access(newer)
    app, bob = f"system:serviceaccount:{newer.namespace}:app", f"bob@{newer.namespace}"
    text = (
        f'pods is forbidden: User "{app}" cannot impersonate-on:user-info:list resource "pods" in API group "" in the'
        f' namespace "{newer.namespace}"'
    )
    assert listed_as(access, bob) == (403, text)
    assert listed_as(access, app) == (403, text.replace("user-info", "serviceaccount"))
    nodes = 'resource "nodes" in API group "" at the cluster scope'
    assert listed_as(access, bob, "/api/v1/nodes") == (
        403,
        f'nodes is forbidden: User "{app}" cannot impersonate-on:user-info:list {nodes}',
    )


def test_impersonation_may_be_allowed_for_a_request(newer: ClusterApi) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/#constrained-impersonation"""
    access = Access(newer)
    subject = {"kind": "ServiceAccount", "name": "app", "namespace": newer.namespace}
    carol = f"carol@{newer.namespace}"
    access.grant(rule("list get", "pods"), name="reader", subject=access.user(carol))
    access.grant(rule("impersonate-on:user-info:list", "pods"), name="lists-as", subject=subject)
    status, message = listed_as(access, carol)
    assert status == 403
    assert message.startswith(f'users.{AUTHENTICATION} "{carol}" is forbidden: User "system:serviceaccount:')
    assert 'cannot impersonate:user-info resource "users" in API group "authentication.k8s.io"' in message
    name = f"as-carol-{newer.namespace}"
    whom = access.role(name, rule("impersonate:user-info", "users", AUTHENTICATION, carol), kind="ClusterRole")
    access.make(access.cluster_roles, whom)
    binding = access.binding(name, name, subject, "ClusterRole") | {"kind": "ClusterRoleBinding"}
    access.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    assert listed_as(access, carol) == (200, "")
    status, message = listed_as(access, carol, f"{access.pods}/web")
    assert (status, "cannot impersonate-on:user-info:get" in message) == (403, True)


def test_the_verb_impersonate_still_allows_all(newer: ClusterApi) -> None:
    access, dave = Access(newer), f"dave@{newer.namespace}"
    access.grant(rule("list", "pods"), name="dave", subject=access.user(dave))
    assert access.get(access.pods, user=dave) == (200, "")


def test_a_service_name_may_begin_with_a_digit(newer: ClusterApi) -> None:
    space = Workspace(newer.client, newer.namespace)
    assert space.create("Service", "1web", spec={"ports": [{"port": 80}]})["metadata"]["name"] == "1web"
    path = f"/api/v1/namespaces/{newer.namespace}/services"
    status, answer = newer.send("POST", path, {"metadata": {"name": "Web"}, "spec": {"ports": [{"port": 80}]}})
    assert (status, "a lowercase RFC 1123 label must consist of" in answer["message"]) == (422, True)
