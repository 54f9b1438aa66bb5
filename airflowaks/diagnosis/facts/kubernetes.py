"""What a cluster's API says of a deployment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflowaks.diagnosis.facts.resource_status import ResourceStatus


@dataclass(frozen=True)
class Container:
    """One container of a pod: why it waits or ended, and the ends of its logs where the pod is not healthy.

    `started` means that it ran at least once: the image was there, and so were volumes and Secrets.
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
    """One pod; `component` is Airflow's name of it, `healthy` that it is ready or has done its work.

    `turned` is when it became ready, or ceased to be.
    """

    component: str = ""
    phase: str = "Running"
    healthy: bool = True
    reason: str = ""
    message: str = ""
    node: str = ""
    service_account: str = ""
    has_identity_label: bool = True
    created: str = ""
    turned: str = ""
    containers: Mapping[str, Container] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """How many pods of a component there are to be, are of the newest revision, available, or just starting."""

    component: str = ""
    wanted: int = 1
    updated: int = 1
    available: int = 1
    settling: int = 0
    paused: bool = False
    stalled: str = ""


@dataclass(frozen=True)
class Job:
    """A job, and why it failed where it did."""

    component: str = ""
    complete: bool = True
    failed: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim to a volume; `waits_for_pod` where its class binds it only once a pod uses it."""

    phase: str = "Bound"
    waits_for_pod: bool = False


@dataclass(frozen=True)
class Node:
    """A node, whether its kubelet is silent, and the pressures that it is under."""

    ready: bool = True
    silent: bool = False
    pressures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """A warning, or a roll-out: how often, when last (ISO 8601), about which object."""

    at: str
    kind: str
    name: str
    reason: str
    message: str
    count: int = 1
    warning: bool = True


@dataclass(frozen=True)
class Kubernetes:
    """The namespace of Airflow, what step 5 to 7's objects are (`Deployment airflow-worker`), and what runs.

    `secrets` are checksums by Secret and key; `synced` says by Secret and key which secret of the vault belongs there,
    as a checksum too.
    """

    namespace: str = "Active"
    objects: Mapping[str, ResourceStatus] = field(default_factory=dict)
    pods: Mapping[str, Pod] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    synced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
