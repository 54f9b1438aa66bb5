"""Reads what the cluster's API says: lists in pages, chosen by the server, and of each object what is needed."""

from __future__ import annotations

from base64 import b64decode
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from heapq import heappush, heappushpop
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from airflowaks.diagnosis.facts.kubernetes import Claim, Deployment, Event, Job, Node
from airflowaks.diagnosis.readers.pods import Warnings, pods
from airflowaks.diagnosis.readers.resource_status import standings
from airflowaks.diagnosis.readers.scope import LABELS
from airflowaks.kube.client import Kube, Reference, connect
from airflowaks.kube.rollouts import condition
from airflowaks.steps import airflow, cluster, volumes, workload_identity
from airflowaks.steps.pod_secrets import PodSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflowaks.diagnosis.readers.scope import Scope
    from airflowaks.kube.client import Document
    from airflowaks.kube.objects import KubeObject
    from airflowaks.session import Session

COMPONENT = "app.kubernetes.io/component"
_MOST_EVENTS, _OF_EACH_REASON = 500, 50
_CHECKSUM_LENGTH = 12
_PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure", "NetworkUnavailable")


def reachable(session: Session) -> Kube:
    """Return the cluster's client once its API has answered. Raises KubernetesError where it does not."""
    with session.translated(session.memoize(cluster.Resources).cluster):
        kube = session.memoize(connect)
        kube.request("GET", "/version")
    return kube


def workloads(session: Session, scope: Scope) -> dict[str, Any]:
    """Read what runs in the namespace, and what has been said about it."""
    kube, namespace = reachable(session), scope.namespace

    def each(api_version: str, kind: str, labels: str = "") -> Iterator[Document]:
        return kube.each(api_version, kind, namespace, labels=labels)

    parts: dict[str, Callable[[], Any]] = {
        "namespace": lambda: kube.get(Reference("v1", "Namespace", namespace)),
        "events": lambda: _events(kube, scope),
        "jobs": lambda: {_name(one): _job(one) for one in each("batch/v1", "Job", scope.labels)},
        "claims": lambda: _claims(kube, namespace),
        "deployments": lambda: list(each("apps/v1", "Deployment", scope.labels)),
        "nodes": lambda: {_name(one): _node(one) for one in kube.each("v1", "Node")},
    }
    with ThreadPoolExecutor(len(parts)) as pool:
        read = dict(zip(parts, pool.map(lambda part: part(), parts.values()), strict=True))
    warned: Warnings = defaultdict(list)
    for event in read["events"]:
        if event.warning and event.kind == "Pod":
            warned[event.name].append(event.reason)
    complete = {name for name, one in read["jobs"].items() if one.complete}
    running = pods(each("v1", "Pod", scope.labels), scope, warned, complete)
    deployments = {_name(one): _deployment(one, running.settling) for one in read["deployments"]}
    phase = read["namespace"]["status"].get("phase", "Active") if read["namespace"] else ""
    return {**read, "namespace": phase, "pods": running.pods, "deployments": deployments}


def objects(session: Session, scope: Scope) -> dict[str, Any]:
    """Read how the objects of steps 5 to 7 stand, by the answers of dry runs."""
    reachable(session)
    step7 = session.memoize(airflow.Resources)
    made: Iterable[KubeObject] = (
        *session.memoize(workload_identity.Resources).objects,
        *session.memoize(volumes.Resources).classes,
        *session.memoize(volumes.Resources).claims,
        *step7.config_maps,
        *step7.network,
        step7.migration,
        *step7.deployments,
        *step7.scaling,
    )
    chosen = [one for one in made if not scope.component or scope.component in one.name]
    return {"objects": standings({f"{one.kind} {one.name}": one for one in chosen})}


def secrets(session: Session, _scope: Scope) -> dict[str, Any]:
    """Read the Secrets that the driver syncs, and what the vault holds for them; of either only checksums are kept."""
    kube, provided_secrets = reachable(session), session.memoize(PodSecrets)
    held: dict[str, dict[str, str]] = {}
    wanted: dict[str, dict[str, str]] = {}
    with session.translated(provided_secrets.vault):
        for provided in provided_secrets.classes:
            for name, keys in provided.synced.items():
                found = kube.get(Reference("v1", "Secret", name, session.environment.cluster.namespace))
                values = {key: b64decode(one).decode() for key, one in (found or {}).get("data", {}).items()}
                held[name] = {key: _checksum(session.redactor.learn(one).reveal()) for key, one in values.items()}
                known = {key: provided_secrets.secrets[provided.objects[file]].value for key, file in keys.items()}
                wanted[name] = {key: _checksum(one.reveal()) for key, one in known.items() if one}
    return {"secrets": held, "synced": wanted}


def _events(kube: Kube, scope: Scope) -> tuple[Event, ...]:
    """Return the newest of each reason, so that what is said a thousand times does not drown what is said once."""
    warnings = kube.each("v1", "Event", scope.namespace, fields="type=Warning")
    rollouts = kube.each("v1", "Event", scope.namespace, fields="reason=ScalingReplicaSet")
    newest: dict[str, list[tuple[str, int, Event]]] = defaultdict(list)
    for number, event in zip(count(), map(_event, chain(warnings, rollouts))):
        if scope.covers(event.at):
            known = newest[event.reason]
            keep = heappush if len(known) < _OF_EACH_REASON else heappushpop
            keep(known, (event.at, number, event))
    found = sorted(one for known in newest.values() for one in known)
    return tuple(event for *_, event in found[-_MOST_EVENTS:])


def _event(one: Document) -> Event:
    about, series = one["involvedObject"], one.get("series") or {}
    at = series.get("lastObservedTime") or one.get("lastTimestamp") or one.get("eventTime") or ""
    count = series.get("count") or one.get("count") or 1
    message = str(one.get("message", "")).strip()
    warning = one.get("type") == "Warning"
    return Event(at, about.get("kind", ""), about.get("name", ""), one.get("reason", ""), message, count, warning)


def _deployment(one: Document, settling: Mapping[str, int]) -> Deployment:
    spec, status = one["spec"], one.get("status", {})
    component = one["metadata"].get("labels", {}).get(COMPONENT, "")
    progress = [each for each in status.get("conditions", ()) if each["type"] == "Progressing"]
    stalled = [f"{each.get('reason')}: {each.get('message')}" for each in progress if each["status"] == "False"]
    return Deployment(
        component=component,
        wanted=spec.get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        settling=settling.get(component, 0),
        paused=bool(spec.get("paused")),
        stalled="; ".join(stalled),
    )


def _job(one: Document) -> Job:
    failed = condition(one, "Failed")
    why = f"{failed.get('reason')}: {failed.get('message')}" if failed else ""
    component = one["metadata"].get("labels", {}).get(COMPONENT, "")
    return Job(component=component, complete=condition(one, "Complete") is not None, failed=why)


def _claims(kube: Kube, namespace: str) -> dict[str, Claim]:
    waiting = {_name(one) for one in kube.each("storage.k8s.io/v1", "StorageClass") if _waits(one)}
    found = kube.each("v1", "PersistentVolumeClaim", namespace, labels=LABELS)
    return {_name(one): _claim(one, waiting) for one in found}


def _claim(one: Document, waiting: set[str]) -> Claim:
    phase = one.get("status", {}).get("phase", "Pending")
    return Claim(phase=phase, waits_for_pod=one["spec"].get("storageClassName") in waiting)


def _node(one: Document) -> Node:
    conditions = {each["type"]: each["status"] for each in one.get("status", {}).get("conditions", ())}
    ready = conditions.get("Ready", "Unknown")
    pressures = tuple(kind for kind in _PRESSURES if conditions.get(kind) == "True")
    return Node(ready=ready == "True", silent=ready == "Unknown", pressures=pressures)


def _waits(storage_class: Document) -> bool:
    return storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def _name(one: Document) -> str:
    return str(one["metadata"]["name"])


def _checksum(value: str) -> str:
    return sha256(value.encode()).hexdigest()[:_CHECKSUM_LENGTH]
