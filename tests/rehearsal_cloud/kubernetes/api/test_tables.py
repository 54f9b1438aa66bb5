"""Server-side printing: the columns and cells that `kubectl get` shows, as a real control plane's.

Measured with 1.36: "Server-side tables differ for priorityclasses, csidrivers, resourcequotas, volumeattachments,
horizontalpodautoscalers, storageclasses". `newer` columns came after 1.20, as pkg/printers/internalversion/printers.go
has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workspace import Document, Workspace

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

TABLE = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
NAME = "Name string name"
DEPLOYMENT = {"kind": "Deployment", "name": "d"}
AUTOSCALER = {"scaleTargetRef": DEPLOYMENT, "minReplicas": 2, "maxReplicas": 3}


def resource(name: str, percent: int) -> Document:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


QUEUE = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "3"}}
METRICS = [resource("memory", 80), {"type": "External", "external": QUEUE}, resource("cpu", 50)]
ROWS: list[tuple[str, Document, list[tuple[str, Any]], tuple[str, ...]]] = [
    (
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        {"value": 5, "preemptionPolicy": "Never"},
        [
            ("Value integer", 5),
            ("Global-Default boolean", False),
            ("Age string", "0s"),
            ("PreemptionPolicy string", "Never"),
        ],
        ("PreemptionPolicy string",),
    ),
    (
        "/apis/storage.k8s.io/v1/csidrivers",
        {"spec": {"attachRequired": False, "tokenRequests": [{"audience": "a"}, {"audience": "b"}]}},
        [
            ("AttachRequired boolean", False),
            ("PodInfoOnMount boolean", False),
            ("StorageCapacity boolean", False),
            ("TokenRequests string", "a,b"),
            ("RequiresRepublish boolean", False),
            ("Modes string", "Persistent"),
            ("Age string", "0s"),
        ],
        ("StorageCapacity boolean", "TokenRequests string", "RequiresRepublish boolean"),
    ),
    (
        "/apis/storage.k8s.io/v1/volumeattachments",
        {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
        [
            ("Attacher string name", "a"),
            ("PV string", "v"),
            ("Node string", "n"),
            ("Attached boolean", False),
            ("Age string", "0s"),
        ],
        (),
    ),
    (
        "/apis/storage.k8s.io/v1/storageclasses",
        {"provisioner": "p", "allowVolumeExpansion": True},
        [
            ("Provisioner string", "p"),
            ("ReclaimPolicy string", "Delete"),
            ("VolumeBindingMode string", "Immediate"),
            ("AllowVolumeExpansion string", True),
            ("Age string", "0s"),
        ],
        (),
    ),
    (
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        {"spec": {**AUTOSCALER, "metrics": METRICS}},
        [
            ("Reference string", "Deployment/d"),
            ("Targets string", "memory: <unknown>/80%, <unknown>/3 (avg) + 1 more..."),
            ("MinPods string", "2"),
            ("MaxPods string", 3),
            ("Replicas string", 0),
            ("Age string", "0s"),
        ],
        (),
    ),
    (
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        {},
        [("Webhooks integer", 0), ("Age string", "0s")],
        (),
    ),
]


def shown(table: Document) -> list[tuple[str, Any]]:
    columns = [
        " ".join(filter(None, (column["name"], column["type"], column["format"])))
        for column in table["columnDefinitions"]
    ]
    return list(zip(columns, table["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(("path", "fields", "cells", "newer"), ROWS, ids=[path.rpartition("/")[2] for path, *_ in ROWS])
def test_columns_and_cells(
    cluster_api: ClusterApi, path: str, fields: Document, cells: list[tuple[str, Any]], newer: tuple[str, ...]
) -> None:
    if cluster_api.side == "control-plane":
        cells = [(column, cell) for column, cell in cells if column not in newer]
        cells = [
            (column, cell.replace("memory: ", "") if column == "Targets string" else cell) for column, cell in cells
        ]
        path = path.replace("autoscaling/v2", "autoscaling/v2beta2")
    body = {"metadata": {"name": "it"}, **fields}
    status, table = cluster_api.send("POST", f"{path.format(cluster_api.namespace)}?dryRun=All", body, headers=TABLE)
    assert status == 201, table
    young = [("Age string", "0s") if cell == ("Age string", "1s") else cell for cell in shown(table)]
    assert young == [(NAME, "it"), *cells]


def test_quotas(cluster_api: ClusterApi) -> None:
    space = Workspace(cluster_api.client, cluster_api.namespace)
    path = f"/api/v1/namespaces/{space.namespace}/resourcequotas"
    hard = {"limits.cpu": "2", "pods": "5", "requests.cpu": "1", "limits.memory": "1Gi"}
    space.call("POST", path, {"metadata": {"name": "it"}, "spec": {"hard": hard}})
    space.eventually(lambda: space.call("GET", f"{path}/it").get("status", {}).get("used"))
    cells = dict(shown(cluster_api.send("GET", f"{path}/it", headers=TABLE)[1]))
    assert cells["Request string"] == "pods: 0/5, requests.cpu: 0/1"
    assert cells["Limit string"] == "limits.cpu: 0/2, limits.memory: 0/1Gi"
    if (
        cluster_api.side == "rehearsal"
    ):  # the age is last since 1.33: https://github.com/kubernetes/kubernetes/pull/129419
        assert list(cells) == [NAME, "Request string", "Limit string", "Age string"]
