"""kubectl's everyday commands for Airflow's objects, each a function that returns a table.

They are `kubectl get`, `describe`, `logs`, `events`, `exec`, `rollout restart` and `delete`.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from functools import wraps
from heapq import nlargest
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import yaml

from airflowaks.diagnosis.readers.scope import Scope, component_of
from airflowaks.diagnosis.written import written
from airflowaks.engine.changes import Action, Changes, Difference
from airflowaks.engine.table import CodeBlock, Table
from airflowaks.engine.times import seconds_since, timestamp
from airflowaks.errors import InvalidParameter, MissingDependency
from airflowaks.kube import exec as command
from airflowaks.kube.client import JSON_PATCH, Document, Kube, Reference, connect
from airflowaks.kube.kubelet import read_log
from airflowaks.kube.pods import events_about, is_ready, last_seen
from airflowaks.steps.api_server import api

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from airflowaks.session import Session

_APPS = "apps/v1"
_VERSIONS = {"Deployment": _APPS, "ReplicaSet": _APPS, "Job": "batch/v1"}
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_MERGE = "application/merge-patch+json"
_HIDDEN_METADATA = ("managedFields", "resourceVersion", "uid", "generation", "selfLink")
_MOST_EVENTS, _MOST_PODS = 50, 50
_YAML_WIDTH = 120

P = ParamSpec("P")
Shown = TypeVar("Shown", Table, CodeBlock)


def _error_as_table(function: Callable[P, Shown]) -> Callable[P, Shown | Table]:
    """Return a command that shows an error as a table, so that the notebook continues with the next cell."""

    @wraps(function)
    def show(*arguments: P.args, **options: P.kwargs) -> Shown | Table:
        try:
            return function(*arguments, **options)
        except Exception as error:  # noqa: BLE001 - the table shows any error
            session: Any = arguments[0]
            return Table((), (), note=str(session.translate(error, function.__name__)))

    return show


@_error_as_table
def deployments(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the Deployments: ready and updated pods, age and image."""
    rows = []
    for deployment in _each(session, _APPS, "Deployment", namespace, component):
        spec, status = deployment["spec"], deployment.get("status", {})
        ready = f"{status.get('readyReplicas', 0)} of {spec.get('replicas', 1)}"
        image = spec["template"]["spec"]["containers"][0]["image"]
        rows.append((_name(deployment), ready, str(status.get("updatedReplicas", 0)), _age(deployment), image))
    return Table(("deployment", "ready", "updated", "age", "image"), rows)


@_error_as_table
def pods(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the pods, unhealthy ones first: state, restarts, age and node."""
    rows = []
    for pod in _each(session, "v1", "Pod", namespace, component):
        statuses = pod.get("status", {}).get("containerStatuses", ())
        restarts = sum(status.get("restartCount", 0) for status in statuses)
        node, state = pod["spec"].get("nodeName", ""), _state(pod)
        ready = "yes" if is_ready(pod) else "done" if state == "Succeeded" else "no"
        rows.append((_name(pod), ready, state, str(restarts), _age(pod), node))
    rows.sort(key=lambda row: row[1] != "no")
    left = len(rows) - _MOST_PODS
    note = f"and {left} more; select a component to see them" if left > 0 else ""
    return Table(("pod", "ready", "state", "restarts", "age", "node"), rows[:_MOST_PODS], note=note)


@_error_as_table
def services(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the Services: type, address, ports and age."""
    rows = []
    for service in _each(session, "v1", "Service", namespace, component):
        spec = service["spec"]
        ports = ", ".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports", ()))
        rows.append((_name(service), spec.get("type", ""), spec.get("clusterIP", ""), ports, _age(service)))
    return Table(("service", "type", "address", "ports", "age"), rows)


@_error_as_table
def events(session: Session, namespace: str = "", *, warnings: bool = True) -> Table:
    """Return a table of the newest warnings, the newest last; with `warnings=False` of all events."""
    scope = _scope(session, namespace)
    fields = "type=Warning" if warnings else ""
    all_events = session.memoize(connect).each("v1", "Event", scope.namespace, fields=fields)
    newest = reversed(nlargest(_MOST_EVENTS, all_events, key=last_seen))
    rows = [
        (
            last_seen(event),
            f"{event['involvedObject'].get('kind')} {event['involvedObject'].get('name')}",
            event.get("reason", ""),
            str(event.get("count") or 1),
            session.redactor.redact(str(event.get("message", "")).strip()),
        )
        for event in newest
    ]
    return Table(("at", "object", "reason", "count", "message"), rows)


@_error_as_table
def describe(session: Session, kind: str, name: str, namespace: str = "") -> CodeBlock:
    """Return an object (a Pod, Deployment, Job, Service …) and the events about it as YAML."""
    scope, kube = _scope(session, namespace), session.memoize(connect)
    reference = Reference(_VERSIONS.get(kind, "v1"), kind, name, scope.namespace)
    if (document := kube.get(reference)) is None:
        message = f"{kind} {name} does not exist in the namespace {scope.namespace}."
        raise MissingDependency(message, "Set name to an object that one of the tables lists.")
    metadata = {key: value for key, value in document["metadata"].items() if key not in _HIDDEN_METADATA}
    shown: Document = {"metadata": metadata} | {key: document[key] for key in ("spec", "status") if key in document}
    events = events_about(kube, reference)
    shown["events"] = [f"{last_seen(event)} {event.get('reason')}: {event.get('message')}" for event in events]
    text = yaml.safe_dump(shown, sort_keys=False, width=_YAML_WIDTH)
    return CodeBlock(session.redactor.redact(text), "yaml", f"{kind} {name}")


@_error_as_table
def logs(
    session: Session,
    component: str,
    namespace: str = "",
    *,
    pod: str = "",
    container: str = "",
    previous: bool = False,
    lines: int = 50,
) -> Table:
    """Return a table of the last log lines of a component's newest pod or of `pod`; `previous`: before its restart."""
    document = _pod(session, component, namespace, pod)
    container = container or document["spec"]["containers"][0]["name"]
    text = read_log(session.memoize(connect), Reference.of(document), container, lines=lines, previous=previous)
    return _text(session, f"{_name(document)}, container {container}", text)


@_error_as_table
def execute(session: Session, component: str, program: str, namespace: str = "") -> Table:
    """Run a program in the newest pod of a component and return a table of its output; do nothing without a program."""
    if not program:
        return Table((), (), note="No command was run: program is empty.")
    pod = _pod(session, component, namespace)
    container = pod["spec"]["containers"][0]["name"]
    output = command.run(session.memoize(connect), Reference.of(pod), shlex.split(program), container=container)
    return _text(session, f"{program} in {_name(pod)}", output.decode(errors="replace"))


@_error_as_table
def health(session: Session) -> Table:
    """Return a table of the components' health as Airflow reports it."""
    with api(session) as airflow:
        states = airflow.health()
    rows = [(name, str(state.get("status")), str(_heartbeat(state))) for name, state in states.items()]
    return Table(("component", "status", "latest heartbeat"), rows)


def restart(session: Session, component: str, namespace: str = "", pods: Collection[str] = ()) -> Changes:
    """Restart a component's pods, as `kubectl rollout restart` does; do nothing if `component` is empty.

    If `pods` are named, it does nothing either once none of them exists but those that an earlier restart replaces: the
    template gives each pod the time of the restart that it is of.
    """
    if not component:
        return Changes()
    deployment = _deployment(session, component, namespace)
    before = _restarted(deployment["spec"]["template"])
    if pods:
        running = _each(session, "v1", "Pod", namespace, component)
        if not any(_name(pod) in pods and _restarted(pod) == before for pod in running):
            return Changes()
    now = timestamp()
    path = f"spec.template.metadata.annotations[{_RESTARTED}]"
    patch = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED: now}}}}}
    return write(session, deployment, Action.UPDATE, patch, (Difference(path, before, now),))


def resume(session: Session, namespace: str = "") -> Changes:
    """Resume the roll-outs of all paused Deployments, as `kubectl rollout resume` does."""
    deployments = _each(session, _APPS, "Deployment", namespace)
    paused = [deployment for deployment in deployments if deployment["spec"].get("paused")]
    patch, difference = {"spec": {"paused": None}}, Difference("spec.paused", before=True, after=None)
    written = (write(session, deployment, Action.UPDATE, patch, (difference,)) for deployment in paused)
    return sum(written, start=Changes())


def delete(session: Session, component: str, namespace: str = "") -> Changes:
    """Delete a component's Deployment and its pods; step 7 creates it again. Do nothing if `component` is empty."""
    if not component:
        return Changes()
    return write(session, _deployment(session, component, namespace), Action.DELETE)


def write(
    session: Session,
    document: Mapping[str, Any],
    action: Action,
    patch: Mapping[str, Any] | list[dict[str, Any]] | None = None,
    differences: tuple[Difference, ...] = (),
) -> Changes:
    """Delete an object or change it by a patch, in an apply, and record the change."""
    kube, reference = session.memoize(connect), Reference.of(document)

    def send() -> None:
        if patch is None:
            kube.delete(reference)
        else:
            form = JSON_PATCH if isinstance(patch, list) else _MERGE
            kube.request("PATCH", kube.path(reference), {"fieldManager": "kubectl-rollout"}, patch, form)

    group = reference.api_version.rpartition("/")[0]
    identity = f"{reference.namespace}/{reference.kind}.{group}/{reference.name}"
    return written(session, (reference.kind, reference.name, identity), differences, send, action)


def _restarted(template: Document) -> str | None:
    return template["metadata"].get("annotations", {}).get(_RESTARTED)  # type: ignore[no-any-return]  # of JSON


def _deployment(session: Session, component: str, namespace: str) -> Document:
    matches = list(_each(session, _APPS, "Deployment", namespace, component))
    if len(matches) != 1:
        everything = _each(session, _APPS, "Deployment", namespace)
        components = sorted(set(map(component_of, everything)))
        message = f'The component "{component}" has {len(matches)} Deployments, not 1.'
        action = f"Set component to one of: {', '.join(components)}." if components else "Run step 7."
        raise InvalidParameter(message, action)
    return matches[0]


def _pod(session: Session, component: str, namespace: str, name: str = "") -> Document:
    if name:
        pod = session.memoize(connect).get(Reference("v1", "Pod", name, _scope(session, namespace).namespace))
    else:
        candidates = _each(session, "v1", "Pod", namespace, component)
        pod = max(candidates, key=lambda each: str(each["metadata"].get("creationTimestamp")), default=None)
    if pod is None:
        message = f"The pod {name} does not exist." if name else f'The component "{component}" has no pod.'
        raise MissingDependency(message, "Check the table of pods and the Deployment's events.")
    return pod


def _each(session: Session, api_version: str, kind: str, namespace: str, component: str = "") -> Iterator[Document]:
    kube: Kube = session.memoize(connect)
    scope = _scope(session, namespace, component)
    return kube.each(api_version, kind, scope.namespace, labels=scope.labels)


def _scope(session: Session, namespace: str, component: str = "") -> Scope:
    return Scope(datetime.now(UTC), namespace or session.environment.cluster.namespace, component)


def _state(pod: Document) -> str:
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if reason := container.get("state", {}).get("waiting", {}).get("reason"):
            return str(reason)
    return str(status.get("reason") or status.get("phase", ""))


def _heartbeat(state: Mapping[str, Any]) -> Any:
    return next((value for key, value in state.items() if key.startswith("latest_")), None) or ""


def _age(document: Document) -> str:
    seconds = seconds_since(document["metadata"]["creationTimestamp"])
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _name(document: Document) -> str:
    return str(document["metadata"]["name"])


def _text(session: Session, title: str, text: str) -> Table:
    """Return text as a table of numbered lines. The number comes first because a table never folds the first column."""
    rows = [(str(number), line) for number, line in enumerate(session.redactor.redact(text).splitlines(), 1)]
    return Table(("", title), rows, note="" if rows else f"{title}: no lines.")
