"""What one looks at and does by hand during an incident: each as a function that shows itself as a table.

They are `kubectl get`, `describe`, `logs`, `events`, `exec`, `rollout restart` and `delete` for Airflow's own objects.
"""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime
from functools import wraps
from heapq import nlargest
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import yaml

from airflowaks.cloud.error_mapping import translate
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.engine.changes import Action, Change, Changes, Difference
from airflowaks.engine.code_block import CodeBlock
from airflowaks.engine.results import Results
from airflowaks.engine.table import Table
from airflowaks.engine.times import seconds_since, timestamp
from airflowaks.errors import InvalidParameter, MissingDependency
from airflowaks.kube import exec as command
from airflowaks.kube.client import Document, Kube, Reference, connect
from airflowaks.kube.pods import is_ready
from airflowaks.steps.api_server import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflowaks.session import Session

_APPS = "apps/v1"
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_MERGE = "application/merge-patch+json"
_COMPONENT = "app.kubernetes.io/component"
_UNTOLD = ("managedFields", "resourceVersion", "uid", "generation", "selfLink")
_MOST_EVENTS, _MOST_PODS = 50, 50
_YAML_WIDTH = 120

P = ParamSpec("P")
Shown = TypeVar("Shown", Table, CodeBlock)


def _told(show: Callable[P, Shown]) -> Callable[P, Shown | Table]:
    """Show the error of a command that fails: during an incident the next command must run all the same."""

    @wraps(show)
    def shown(*arguments: P.args, **named: P.kwargs) -> Shown | Table:
        try:
            return show(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - whatever went wrong is what the table says
            session: Any = arguments[0]
            return Table((), (), note=str(translate(error, show.__name__, session.redactor)))

    return shown


@_told
def deployments(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the Deployments: how many pods there should be, are ready, are of the newest revision."""
    rows = []
    for one in _each(session, _APPS, "Deployment", namespace, component):
        status = one.get("status", {})
        wanted, ready, updated = (
            one["spec"].get("replicas", 1),
            status.get("readyReplicas", 0),
            status.get("updatedReplicas", 0),
        )
        image = one["spec"]["template"]["spec"]["containers"][0]["image"]
        rows.append((_name(one), f"{ready} of {wanted}", str(updated), _age(one), image))
    return Table(("deployment", "ready", "updated", "age", "image"), rows)


@_told
def pods(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the pods, those that are not well first: state, restarts, age, node."""
    rows = []
    for one in _each(session, "v1", "Pod", namespace, component):
        statuses = one.get("status", {}).get("containerStatuses", ())
        restarts = sum(each.get("restartCount", 0) for each in statuses)
        node, state = one["spec"].get("nodeName", ""), _state(one)
        ready = "yes" if is_ready(one) else "done" if state == "Succeeded" else "no"
        rows.append((_name(one), ready, state, str(restarts), _age(one), node))
    rows.sort(key=lambda row: row[1] != "no")
    left = len(rows) - _MOST_PODS
    note = f"and {left} more; name a component to see them" if left > 0 else ""
    return Table(("pod", "ready", "state", "restarts", "age", "node"), rows[:_MOST_PODS], note=note)


@_told
def services(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the Services: type, address, ports."""
    rows = []
    for one in _each(session, "v1", "Service", namespace, component):
        spec = one["spec"]
        ports = ", ".join(f"{each['port']}/{each.get('protocol', 'TCP')}" for each in spec.get("ports", ()))
        rows.append((_name(one), spec.get("type", ""), spec.get("clusterIP", ""), ports, _age(one)))
    return Table(("service", "type", "address", "ports", "age"), rows)


@_told
def events(session: Session, namespace: str = "", *, warnings: bool = True) -> Table:
    """Return a table of the newest events, the newest last; without `warnings` all kinds of them."""
    scope = _scope(session, namespace)
    fields = "type=Warning" if warnings else ""
    found = session.memoize(connect).each("v1", "Event", scope.namespace, fields=fields)
    newest = reversed(nlargest(_MOST_EVENTS, found, key=_last_seen))
    rows = [
        (
            _last_seen(one),
            f"{one['involvedObject'].get('kind')} {one['involvedObject'].get('name')}",
            one.get("reason", ""),
            str(one.get("count") or 1),
            session.redactor.redact(str(one.get("message", "")).strip()),
        )
        for one in newest
    ]
    return Table(("at", "object", "reason", "times", "message"), rows)


@_told
def describe(session: Session, kind: str, name: str, namespace: str = "") -> CodeBlock:
    """Return an object (a Pod, Deployment, Job, Service …) and the events about it as YAML."""
    scope, kube = _scope(session, namespace), session.memoize(connect)
    reference = Reference(_version(kind), kind, name, scope.namespace)
    if (found := kube.get(reference)) is None:
        raise MissingDependency(f"There is no {kind} {name} in {scope.namespace}.", "See the tables of what there is.")
    metadata = {key: value for key, value in found["metadata"].items() if key not in _UNTOLD}
    told: Document = {"metadata": metadata, **{key: found[key] for key in ("spec", "status") if key in found}}
    fields = f"involvedObject.kind={kind},involvedObject.name={name}"
    events = sorted(kube.list("v1", "Event", scope.namespace, fields=fields), key=_last_seen)
    told["events"] = [f"{_last_seen(event)} {event.get('reason')}: {event.get('message')}" for event in events]
    text = yaml.safe_dump(told, sort_keys=False, width=_YAML_WIDTH)
    return CodeBlock(session.redactor.redact(text), "yaml", f"{kind} {name}")


@_told
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
    """Return a table of the last lines of a component's newest pod, or of `pod`; `previous`: before its restart."""
    chosen = _pod(session, component, namespace, pod)
    container = container or chosen["spec"]["containers"][0]["name"]
    text = session.memoize(connect).logs(Reference.of(chosen), container, lines=lines, previous=previous)
    return _text(session, f"{_name(chosen)}, container {container}", text)


@_told
def execute(session: Session, component: str, program: str, namespace: str = "") -> Table:
    """Run a program in the newest pod of a component and return a table of what it wrote; nothing without one."""
    if not program:
        return Table((), (), note="No command was given.")
    chosen = _pod(session, component, namespace)
    container = chosen["spec"]["containers"][0]["name"]
    said = command.run(session.memoize(connect), Reference.of(chosen), shlex.split(program), container=container)
    return _text(session, f"{program} in {_name(chosen)}", said.decode(errors="replace"))


@_told
def health(session: Session) -> Table:
    """Return a table of what Airflow's health page says of each component."""
    with api(session) as airflow:
        states = airflow.health()
    rows = [(name, str(state.get("status")), str(_heartbeat(state))) for name, state in states.items()]
    return Table(("component", "status", "latest heartbeat"), rows)


def restart(session: Session, component: str, namespace: str = "") -> Changes:
    """Roll a component's pods, as `kubectl rollout restart` does; without a name nothing is done."""
    if not component:
        return Changes(())
    found = _deployment(session, component, namespace)
    now = timestamp()
    path = f"spec.template.metadata.annotations[{_RESTARTED}]"
    before = found["spec"]["template"]["metadata"].get("annotations", {}).get(_RESTARTED)
    patch = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED: now}}}}}
    return _done(session, found, Action.UPDATE, patch, (Difference(path, before, now),))


def delete(session: Session, component: str, namespace: str = "") -> Changes:
    """Delete a component's Deployment and with it its pods; step 7 makes it anew. Without a name nothing is done."""
    if not component:
        return Changes(())
    found = _deployment(session, component, namespace)
    return _done(session, found, Action.DELETE)


def _done(
    session: Session,
    found: Document,
    action: Action,
    patch: Mapping[str, Any] | None = None,
    differences: tuple[Difference, ...] = (),
) -> Changes:
    kube, reference, started = session.memoize(connect), Reference.of(found), time.monotonic()
    if session.applies and patch is None:
        kube.delete(reference)
    elif session.applies:
        kube.request("PATCH", kube.path(reference), {"fieldManager": "kubectl-rollout"}, patch, _MERGE)
    change = Change(
        kind=reference.kind,
        name=reference.name,
        action=action,
        id=f"{reference.namespace}/Deployment.apps/{reference.name}",
        differences=differences,
        seconds=time.monotonic() - started,
        applied=session.applies,
    )
    session.memoize(Results).changes.append(change)
    return Changes((change,))


def _deployment(session: Session, component: str, namespace: str) -> Document:
    found = list(_each(session, _APPS, "Deployment", namespace, component))
    if len(found) != 1:
        known = {
            one["metadata"]["labels"].get(_COMPONENT, "") for one in _each(session, _APPS, "Deployment", namespace)
        }
        message = f'There is no one Deployment of the component "{component}".'
        raise InvalidParameter(message, f"Name one of: {', '.join(sorted(known)) or 'none, run step 7'}.")
    return found[0]


def _pod(session: Session, component: str, namespace: str, name: str = "") -> Document:
    if name:
        found = session.memoize(connect).get(Reference("v1", "Pod", name, _scope(session, namespace).namespace))
    else:
        known = _each(session, "v1", "Pod", namespace, component)
        found = max(known, key=lambda one: str(one["metadata"].get("creationTimestamp")), default=None)
    if found is None:
        message = f"There is no pod {name}." if name else f'There is no pod of the component "{component}".'
        raise MissingDependency(message, "See the table of pods, and the Deployment's events.")
    return found


def _each(session: Session, api_version: str, kind: str, namespace: str, component: str = "") -> Iterator[Document]:
    kube: Kube = session.memoize(connect)
    scope = _scope(session, namespace, component)
    return kube.each(api_version, kind, scope.namespace, labels=scope.labels)


def _scope(session: Session, namespace: str, component: str = "") -> Scope:
    return Scope(datetime.now(UTC), namespace or session.environment.cluster.namespace, component)


def _version(kind: str) -> str:
    return {"Deployment": _APPS, "ReplicaSet": _APPS, "Job": "batch/v1"}.get(kind, "v1")


def _state(pod: Document) -> str:
    status = pod.get("status", {})
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if reason := one.get("state", {}).get("waiting", {}).get("reason"):
            return str(reason)
    return str(status.get("reason") or status.get("phase", ""))


def _heartbeat(state: Mapping[str, Any]) -> Any:
    return next((value for key, value in state.items() if key.startswith("latest_")), None) or ""


def _last_seen(event: Document) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _age(one: Document) -> str:
    seconds = seconds_since(one["metadata"]["creationTimestamp"])
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _name(one: Document) -> str:
    return str(one["metadata"]["name"])


def _text(session: Session, title: str, text: str) -> Table:
    """Return lines as a table, numbered, since what is first in a row is never folded."""
    rows = [(str(number), line) for number, line in enumerate(session.redactor.redact(text).splitlines(), 1)]
    return Table(("", title), rows, note="" if rows else f"{title}: nothing.")
