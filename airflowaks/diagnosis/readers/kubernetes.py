"""Reads from the cluster's API: paged lists with server-side selectors, and of each object only what rules need."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from heapq import heappush, heappushpop
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.facts.kubernetes import SCALE_UPS, Added, Claim, Deployment, Event, Job, Node
from airflowaks.diagnosis.readers.pods import Warnings, pods
from airflowaks.diagnosis.readers.resource_status import named, statuses
from airflowaks.diagnosis.readers.scope import LABELS, component_of
from airflowaks.diagnosis.readers.shared import shared
from airflowaks.errors import AirflowAksError
from airflowaks.kube.client import Kube, Reference, connect
from airflowaks.kube.objects import KubeObject
from airflowaks.kube.ownership import Ownership
from airflowaks.kube.pods import conditions, is_true
from airflowaks.kube.rollouts import failure_of
from airflowaks.steps import airflow, cluster, volumes, workload_identity
from airflowaks.steps.pod_secrets import PodSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.kube.client import Document
    from airflowaks.session import Session

_MOST_EVENTS, _OF_EACH_REASON = 500, 50
_CHECKSUM_LENGTH = 12
_EDITED = ("ConfigMap", "Deployment")
# https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment
_COMPLETE = "NewReplicaSetAvailable"
_REVISION = "deployment.kubernetes.io/revision"
_PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure", "NetworkUnavailable")


def reachable(session: Session) -> Kube:
    """Return the cluster's client after a test request. Raises KubernetesError if the API does not answer."""
    return shared(session, _reached)


def _reached(session: Session) -> Kube:
    with session.translated(session.memoize(cluster.Resources).cluster):
        kube = session.memoize(connect)
        kube.request("GET", "/version")
    return kube


def workloads(session: Session, scope: Scope) -> dict[str, Any]:
    """Read the workloads of the namespace and their events."""
    kube, namespace = reachable(session), scope.namespace

    def each(api_version: str, kind: str, labels: str = "") -> Iterator[Document]:
        return kube.each(api_version, kind, namespace, labels=labels)

    parts: dict[str, Callable[[], Any]] = {
        "namespace": lambda: kube.get(Reference("v1", "Namespace", namespace)),
        "events": lambda: _events(kube, scope),
        "jobs": lambda: {_name(job): _job(job) for job in each("batch/v1", "Job", scope.labels)},
        "claims": lambda: _claims(kube, namespace),
        "deployments": lambda: list(each("apps/v1", "Deployment", scope.labels)),
        "sets": lambda: list(each("apps/v1", "ReplicaSet", scope.labels)),
        "nodes": lambda: {_name(node): _node(node) for node in kube.each("v1", "Node")},
    }
    with ThreadPoolExecutor(len(parts)) as pool:
        read = dict(zip(parts, pool.map(lambda part: part(), parts.values()), strict=True))
    read["events"], read["dropped"] = read["events"]
    warned: Warnings = defaultdict(list)
    for event in read["events"]:
        if event.warning and event.kind == "Pod":
            warned[event.name].append(event.reason)
    complete = {name for name, job in read["jobs"].items() if job.complete}
    running = pods(each("v1", "Pod", scope.labels), scope, warned, complete)
    sets = read.pop("sets")
    deployments = {_name(document): _deployment(document, running.settling, sets) for document in read["deployments"]}
    phase = read["namespace"]["status"].get("phase", "Active") if read["namespace"] else ""
    return {**read, "namespace": phase, "pods": running.pods, "deployments": deployments}


def objects(session: Session, scope: Scope) -> dict[str, Any]:
    """Read the status of the objects of steps 5 to 7 with dry runs, which show also what other managers have set."""
    reachable(session)
    session.memoize(Ownership).is_taken = True  # in this session, which writes no object
    steps: tuple[Any, ...] = (workload_identity.Resources, volumes.Resources, airflow.Resources)
    resources = [resource for step in steps for _, resource in named("", session.memoize(step))]
    expected = [each for each in resources if isinstance(each, KubeObject) and scope.component in each.name]
    read = statuses({f"{each.kind} {each.name}": each for each in expected})
    return {"objects": read, "added": tuple(chain.from_iterable(map(_added, expected)))}


def _added(resource: KubeObject) -> Iterator[Added]:
    """Yield what others have added to an object whose status was read."""
    with suppress(AirflowAksError):
        for each in resource.additions() if resource.kind in _EDITED else ():
            component = component_of(resource.facts or {})
            yield Added(resource.kind, resource.name, each.path, each.by, each.at, component)


def secrets(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read the checksums of the Secrets that the driver syncs, and of the vault's secrets for them."""
    reachable(session)
    pod_secrets = session.memoize(PodSecrets)
    in_cluster: dict[str, dict[str, str]] = {}
    in_vault: dict[str, dict[str, str]] = {}
    with session.translated(pod_secrets.vault):
        for provider_class in pod_secrets.classes:
            for name, keys in provider_class.synced.items():
                values = pod_secrets.in_cluster(name) or {}
                in_cluster[name] = {key: _checksum(session.redactor.learn(values[key]).reveal()) for key in values}
                secrets = {key: pod_secrets.secrets[provider_class.objects[file]].value for key, file in keys.items()}
                in_vault[name] = {key: _checksum(value.reveal()) for key, value in secrets.items() if value}
    return {"secrets": in_cluster, "synced": in_vault}


def _events(kube: Kube, scope: Scope) -> tuple[tuple[Event, ...], int]:
    """Return the newest events of each reason, so that none crowds out a rare one, and how often others happened."""
    total = 0
    warnings = kube.each("v1", "Event", scope.namespace, fields="type=Warning")
    normal = (
        kube.each("v1", "Event", scope.namespace, fields=f"reason={reason}")
        for reason in ("ScalingReplicaSet", *SCALE_UPS)
    )
    # Those of nodes are in this namespace.
    full = kube.each("v1", "Event", "default", fields="reason=SystemOOM")
    newest: dict[str, list[tuple[str, int, Event]]] = defaultdict(list)
    for number, event in zip(count(), map(_event, chain(warnings, *normal, full))):
        if scope.covers(event.at):
            total += event.count
            heap = newest[event.reason]
            push = heappush if len(heap) < _OF_EACH_REASON else heappushpop
            push(heap, (event.at, number, event))
    entries = sorted(entry for heap in newest.values() for entry in heap)
    events = tuple(event for *_, event in entries[-_MOST_EVENTS:])
    return events, total - sum(event.count for event in events)


def _event(document: Document) -> Event:
    involved, series = document["involvedObject"], document.get("series") or {}
    return Event(
        at=series.get("lastObservedTime") or document.get("lastTimestamp") or document.get("eventTime") or "",
        kind=involved.get("kind", ""),
        name=involved.get("name", ""),
        reason=document.get("reason", ""),
        message=str(document.get("message", "")).strip(),
        count=series.get("count") or document.get("count") or 1,
        warning=document.get("type") == "Warning",
    )


def _deployment(document: Document, settling: Mapping[str, int], sets: Sequence[Document]) -> Deployment:
    spec, status = document["spec"], document.get("status", {})
    component = component_of(document)
    progress = conditions(document).get("Progressing", {})
    failure = conditions(document).get("ReplicaFailure", {})
    image, *earlier = _images(document, sets)
    complete = progress.get("reason") == _COMPLETE
    stalled = f"{progress.get('reason')}: {progress.get('message')}" if progress.get("status") == "False" else ""
    return Deployment(
        component=component,
        wanted=spec.get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        settling=settling.get(component, 0),
        paused=bool(spec.get("paused")),
        stalled=stalled,
        refused=f"{failure['reason']}: {failure['message']}" if failure.get("status") == "True" else "",
        labels=spec["template"]["metadata"].get("labels", {}),
        image=image,
        previous=next((before for before in earlier if before != image and not complete), ""),
    )


def _images(deployment: Document, sets: Sequence[Document]) -> list[str]:
    """Return the images of a Deployment's revisions that are kept as ReplicaSets, that of now first."""
    uid = deployment["metadata"]["uid"]
    own = [each for each in sets if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences", ()))]
    own.sort(key=lambda each: -int(each["metadata"].get("annotations", {}).get(_REVISION, 0)))
    templates = [each["spec"]["template"] for each in (deployment, *own)]
    return [str(template["spec"]["containers"][0]["image"]) for template in templates]


def _job(document: Document) -> Job:
    return Job(component_of(document), complete=is_true(document, "Complete"), failed=failure_of(document))


def _claims(kube: Kube, namespace: str) -> dict[str, Claim]:
    classes = kube.each("storage.k8s.io/v1", "StorageClass")
    waiting = {_name(each) for each in classes if each.get("volumeBindingMode") == "WaitForFirstConsumer"}
    return {
        _name(claim): Claim(
            phase=claim.get("status", {}).get("phase", "Pending"),
            waits_for_pod=claim["spec"].get("storageClassName") in waiting,
        )
        for claim in kube.each("v1", "PersistentVolumeClaim", namespace, labels=LABELS)
    }


def _node(document: Document) -> Node:
    ready = conditions(document).get("Ready", {}).get("status", "Unknown")
    pressures = tuple(kind for kind in _PRESSURES if is_true(document, kind))
    return Node(
        ready=ready == "True",
        silent=ready == "Unknown",
        pressures=pressures,
        labels=document["metadata"].get("labels", {}),
        taints=tuple(document["spec"].get("taints") or ()),
        cordoned=bool(document["spec"].get("unschedulable")),
    )


def _name(document: Document) -> str:
    return str(document["metadata"]["name"])


def _checksum(value: str) -> str:
    return sha256(value.encode()).hexdigest()[:_CHECKSUM_LENGTH]
