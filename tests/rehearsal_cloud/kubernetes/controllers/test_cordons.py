"""The taint of a cordoned node, on a real control plane and on the rehearsal's."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.support.workspace import Workspace

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

TAINT = "node.kubernetes.io/unschedulable"
MERGE = "application/merge-patch+json"


def test_a_cordoned_node_is_tainted_until_it_is_uncordoned(cluster_api: ClusterApi) -> None:
    space, name = Workspace(cluster_api.client, cluster_api.namespace), f"node-{uuid.uuid4().hex[:6]}"
    path = f"/api/v1/nodes/{name}"
    foreign = {"key": "example.com/kept", "effect": "NoSchedule"}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": [foreign]}}
    space.call("POST", "/api/v1/nodes", body)

    def effects() -> dict[str, str]:
        return {taint["key"]: taint["effect"] for taint in space.call("GET", path)["spec"].get("taints", ())}

    try:
        for unschedulable in (True, False, True):
            space.call("PATCH", path, {"spec": {"unschedulable": unschedulable}}, MERGE)
            space.eventually(lambda expected=unschedulable: (TAINT in effects()) is expected)
            assert effects()[foreign["key"]] == foreign["effect"]
        assert effects()[TAINT] == "NoSchedule"
    finally:
        space.call("DELETE", path)
