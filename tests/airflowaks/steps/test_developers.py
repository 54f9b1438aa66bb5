"""Step 1's namespace: what developers may do in it is looked at from their side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.kube.client import connect
from airflowaks.session import Session
from airflowaks.steps import cluster

if TYPE_CHECKING:
    from tests.support.world import Server


def test_developers_see_and_do_not_change(rehearsal_server: Server) -> None:
    session = Session(rehearsal_server.environment, "apply", rehearsal_server.connection)
    seen = {one.name: one.seen for one in cluster.checks(session) if one.passed}
    assert seen["developers can see, not change"] == (
        "can list pods, get pods/log, get pods/portforward, create pods/portforward, list jobs; "
        "cannot get secrets, get pods/exec, create pods/exec, delete pods, patch deployments, create rolebindings"
    )


def test_a_right_that_somebody_else_gave_them_is_found(rehearsal_server: Server) -> None:
    session = Session(rehearsal_server.environment, "apply", rehearsal_server.connection)
    step, kube = session.memoize(cluster.Resources), session.memoize(connect)
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": step.developers.require("id")}
    binding = kube.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "generous", "namespace": step.namespace.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [group],
        }
    )
    try:
        (failed,) = cluster.checks(session).failed
    finally:
        kube.request("DELETE", kube.path(step.rules[1].reference._replace(name=binding["metadata"]["name"])))
    assert failed.seen == (
        "Developers can get secrets, can get pods/exec, can create pods/exec, can delete pods, can patch deployments, "
        f"can create rolebindings in the namespace {step.namespace.name}."
    )


def test_a_role_of_before_that_lacks_get_is_found(rehearsal_server: Server) -> None:
    session = Session(rehearsal_server.environment, "apply", rehearsal_server.connection)
    step, kube = session.memoize(cluster.Resources), session.memoize(connect)
    role = kube.get(step.rules[0].reference)
    assert role
    path, rules = kube.path(step.rules[0].reference), role["rules"]
    rules[1]["verbs"] = ["create"]
    try:
        kube.request("PATCH", path, body={"rules": rules}, form="application/merge-patch+json")
        (failed,) = cluster.checks(session).failed
    finally:
        rules[1]["verbs"] = ["get", "create"]
        kube.request("PATCH", path, body={"rules": rules}, form="application/merge-patch+json")
    assert failed.seen == f"Developers cannot get pods/portforward in the namespace {step.namespace.name}."
