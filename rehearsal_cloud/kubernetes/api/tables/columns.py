"""The columns of each built-in kind's table.

After https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.api.tables import infrastructure, workloads
from rehearsal_cloud.kubernetes.api.tables.cells import NONE, created, selector
from rehearsal_cloud.kubernetes.api.tables.pods import pod_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal_cloud.documents import Document

    Cells = Callable[[Document], list[Any]]


@dataclass(frozen=True)
class Column:
    """A column: `priority` 0 is always shown, 1 with `-o wide`."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0

    def definition(self) -> Document:
        """Return the column's definition in a table."""
        shown = {"name": self.name, "type": self.type, "format": self.format, "description": ""}
        return {**shown, "priority": self.priority}


NAME = Column("Name", format="name")


@dataclass(frozen=True)
class Printer:
    """The columns of a kind, and the function that fills them."""

    columns: tuple[Column, ...]
    cells: Cells


def _printer(cells: Cells, narrow: str, wide: str = "", *, named: bool = False) -> Printer:
    """Return a printer whose first column is the name; `named` cells contain it already.

    Columns are separated by commas; a colon stands before a type other than string.
    """
    columns = [NAME]
    for priority, names in enumerate((narrow, wide)):
        for text in names.split(", ") if names else ():
            name, _, kind = text.partition(":")
            columns.append(Column(name, kind or "string", priority=priority))
    return Printer(
        tuple(columns), cells if named else lambda document: [document["metadata"]["name"], *cells(document)]
    )


def _age_after(*fields: str) -> Cells:
    """Return the cells of a kind that shows plain fields and its age."""
    return lambda document: [*(_field(document, path) for path in fields), created(document)]


def _field(document: Document, path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        value = (value or {}).get(name)
    return NONE if value in (None, "") else value


def _count(field: str) -> Cells:
    return lambda document: [len(document.get(field) or []), created(document)]


_TEMPLATE = "Containers, Images"
_SELECTED = f"{_TEMPLATE}, Selector"
_REPLICAS = "Desired:integer, Current:integer, Ready:integer, Age"
_SUBJECTS = "Users, Groups, ServiceAccounts"
PRINTERS: dict[str, Printer] = {
    "Pod": _printer(pod_cells, "Ready, Status, Restarts, Age", "IP, Node, Nominated Node, Readiness Gates"),
    "Deployment": _printer(workloads.deployment, "Ready, Up-to-date, Available, Age", _SELECTED),
    "ReplicaSet": _printer(workloads.replica_set, _REPLICAS, _SELECTED),
    "ReplicationController": _printer(workloads.replica_set, _REPLICAS, _SELECTED),
    "StatefulSet": _printer(workloads.stateful_set, "Ready, Age", _TEMPLATE),
    "DaemonSet": _printer(
        workloads.daemon_set,
        "Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, Available:integer, Node Selector, Age",
        _SELECTED,
    ),
    "ControllerRevision": _printer(workloads.controller_revision, "Controller, Revision, Age"),
    "Job": _printer(workloads.job, "Status, Completions, Duration, Age", _SELECTED),
    "CronJob": _printer(
        workloads.cron_job, "Schedule, Timezone, Suspend:boolean, Active:integer, Last Schedule, Age", _SELECTED
    ),
    "HorizontalPodAutoscaler": _printer(workloads.autoscaler, "Reference, Targets, MinPods, MaxPods, Replicas, Age"),
    "PodDisruptionBudget": _printer(
        workloads.budget, "Min Available, Max Unavailable, Allowed Disruptions:integer, Age"
    ),
    "Service": _printer(infrastructure.service, "Type, Cluster-IP, External-IP, Port(s), Age", "Selector"),
    "Endpoints": _printer(infrastructure.endpoints, "Endpoints, Age"),
    "EndpointSlice": _printer(infrastructure.endpoint_slice, "AddressType, Ports, Endpoints, Age"),
    "Ingress": _printer(infrastructure.ingress, "Class, Hosts, Address, Ports, Age"),
    "IngressClass": _printer(_age_after("spec.controller", "spec.parameters.name"), "Controller, Parameters, Age"),
    "NetworkPolicy": _printer(
        lambda document: [selector(document["spec"].get("podSelector")), created(document)], "Pod-Selector, Age"
    ),
    "PersistentVolume": _printer(
        infrastructure.volume,
        "Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, Age",
        "VolumeMode",
    ),
    "PersistentVolumeClaim": _printer(
        infrastructure.claim,
        "Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age",
        "VolumeMode",
    ),
    "StorageClass": _printer(
        infrastructure.storage_class,
        "Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age",
        named=True,
    ),
    "CSIDriver": _printer(
        infrastructure.csi_driver,
        "AttachRequired:boolean, PodInfoOnMount:boolean, StorageCapacity:boolean, TokenRequests,"
        " RequiresRepublish:boolean, Modes, Age",
    ),
    "VolumeAttachment": Printer(
        (
            NAME,
            Column("Attacher", format="name"),
            *(Column(name) for name in ("PV", "Node")),
            Column("Attached", "boolean"),
            Column("Age"),
        ),
        infrastructure.volume_attachment,
    ),
    "PodMetrics": _printer(infrastructure.pod_metrics, "cpu, memory, Window"),
    "NodeMetrics": _printer(infrastructure.node_metrics, "cpu, memory, Window"),
    "CSINode": _printer(
        lambda document: [len(document["spec"].get("drivers") or []), created(document)], "Drivers:integer, Age"
    ),
    "Namespace": _printer(_age_after("status.phase"), "Status, Age"),
    "Node": _printer(
        infrastructure.node,
        "Status, Roles, Age, Version",
        "Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime",
    ),
    "ConfigMap": _printer(
        lambda document: [len(document.get("data") or {}) + len(document.get("binaryData") or {}), created(document)],
        "Data, Age",
    ),
    "Secret": _printer(
        lambda document: [document.get("type", ""), len(document.get("data") or {}), created(document)],
        "Type, Data, Age",
    ),
    "ServiceAccount": _printer(_count("secrets"), "Secrets, Age"),
    "Lease": _printer(_age_after("spec.holderIdentity"), "Holder, Age"),
    "PriorityClass": _printer(
        lambda document: [
            document["value"],
            bool(document.get("globalDefault")),
            created(document),
            document.get("preemptionPolicy", ""),
        ],
        "Value:integer, Global-Default:boolean, Age, PreemptionPolicy",
    ),
    "ResourceQuota": _printer(infrastructure.quota, "Request, Limit, Age"),
    "CertificateSigningRequest": _printer(
        infrastructure.signing_request, "Age, SignerName, Requestor, RequestedDuration, Condition"
    ),
    "MutatingWebhookConfiguration": _printer(_count("webhooks"), "Webhooks:integer, Age"),
    "ValidatingWebhookConfiguration": _printer(_count("webhooks"), "Webhooks:integer, Age"),
    "RoleBinding": _printer(infrastructure.binding, "Role, Age", _SUBJECTS),
    "ClusterRoleBinding": _printer(infrastructure.binding, "Role, Age", _SUBJECTS),
    "Event": Printer(
        (
            *(Column(name) for name in ("Last Seen", "Type", "Reason", "Object")),
            *(Column(name, priority=1) for name in ("Subobject", "Source")),
            Column("Message"),
            *(Column(name, priority=1) for name in ("First Seen", "Count")),
            Column("Name", format="name", priority=1),
        ),
        infrastructure.event,
    ),
}
