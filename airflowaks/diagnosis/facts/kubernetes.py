"""Facts from the cluster's Kubernetes API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflowaks.config.airflow_schema import WORKER
from airflowaks.diagnosis.facts.resource_status import ResourceStatus

SCALE_UPS = ("TriggeredScaleUp", "NotTriggerScaleUp")
"""Reasons of the cluster autoscaler's events about pods; they are no warnings."""


@dataclass(frozen=True)
class Container:
    """A container of a pod: why it waits or terminated, and the ends of its logs if the pod is unhealthy.

    `started` means that it ran at least once, so its image, volumes and Secrets were available.
    """

    ready: bool = True
    started: bool = True
    restarts: int = 0
    waiting: str = ""
    message: str = ""
    ended: str = ""
    exit_code: int = 0
    ended_at: str = ""
    log: str = ""
    previous: str = ""


@dataclass(frozen=True)
class Pod:
    """A pod; `component` is that of Airflow, and `healthy` means ready, completed, or still starting (`settling`).

    `turned` is the last transition of its condition Ready. `asks` are the parts of the spec that decide on which node
    it may run, of a pod that has none.
    """

    component: str = ""
    phase: str = "Running"
    healthy: bool = True
    settling: bool = False
    ip: str = ""
    asks: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    message: str = ""
    node: str = ""
    service_account: str = ""
    has_identity_label: bool = True
    created: str = ""
    turned: str = ""
    image: str = ""
    containers: Mapping[str, Container] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """A Deployment's pods: `wanted` replicas, of the newest revision, available, and still starting (`settling`).

    `refused` is why the API creates no new pods, as long as it does not: the condition ReplicaFailure. `labels` are its
    pods'. `previous` is the image before `image`, until the roll-out of that is complete.
    """

    component: str = ""
    wanted: int = 1
    updated: int = 1
    available: int = 1
    settling: int = 0
    paused: bool = False
    stalled: str = ""
    refused: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    previous: str = ""


@dataclass(frozen=True)
class Job:
    """A Job, and why it failed."""

    component: str = ""
    complete: bool = True
    failed: str = ""


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim; `waits_for_pod` means that its class binds on first use by a pod."""

    phase: str = "Bound"
    waits_for_pod: bool = False


@dataclass(frozen=True)
class Node:
    """A node; `silent` means that its kubelet reports no status. `pressures` are its conditions."""

    ready: bool = True
    silent: bool = False
    pressures: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    cordoned: bool = False


@dataclass(frozen=True)
class Authored:
    """A NetworkPolicy or an autoscaler: its spec, which field manager made it and when; `ours` if that was a step.

    `problem` is why it is not ready, if it says so: a ScaledObject whose triggers fail.
    """

    kind: str
    name: str
    spec: Mapping[str, Any]
    by: str = ""
    at: str = ""
    ours: bool = False
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}, made by {self.by or 'an unknown manager'} at {self.at or 'an unknown time'}"


@dataclass(frozen=True)
class Added:
    """A field that somebody added to an object of the steps: its path, by which field manager, and when."""

    kind: str
    name: str
    path: str
    by: str
    at: str
    component: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.path} was added by {self.by} at {self.at}"


@dataclass(frozen=True)
class Event:
    """A warning or a roll-out: the object, the last time (ISO 8601) and the count."""

    at: str
    kind: str
    name: str
    reason: str
    message: str
    count: int = 1
    warning: bool = True

    def __str__(self) -> str:
        return f"event of {self.kind} {self.name}: {self.reason}: {self.message}"


@dataclass(frozen=True)
class Kubernetes:
    """Airflow's namespace, the objects of steps 5 to 7 by title (`Deployment airflow-worker`), and the workloads.

    `secrets` are checksums by Secret and key; `synced` are the checksums of the vault's secrets that belong there.
    `dropped` is how many events there were besides those of `events`. `dns` are the ready pods of the cluster's DNS and
    all of them, None if they were not read. `clocks` are how many seconds a node's clock is ahead of the API's;
    negative if it is behind.
    """

    namespace: str = "Active"
    objects: Mapping[str, ResourceStatus] = field(default_factory=dict)
    added: tuple[Added, ...] = ()
    pods: Mapping[str, Pod] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    synced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    dropped: int = 0
    policies: tuple[Authored, ...] = ()
    autoscalers: tuple[Authored, ...] = ()
    dns: tuple[int, int] | None = None
    clocks: Mapping[str, float] = field(default_factory=dict)

    @property
    def workers(self) -> frozenset[str]:
        """Return the components of workers: `worker`, and `worker-NAME` of each queue with workers of its own."""
        components = {each.component for each in self.deployments.values()}
        return frozenset({WORKER, *(name for name in components if name.startswith(f"{WORKER}-"))})

    def scaled(self, deployment: str) -> Authored | None:
        """Return the ScaledObject by which KEDA scales a Deployment, or None."""
        scaled = (each for each in self.autoscalers if each.kind == "ScaledObject")
        return next((each for each in scaled if each.spec["scaleTargetRef"]["name"] == deployment), None)
