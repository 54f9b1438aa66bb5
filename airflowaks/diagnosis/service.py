"""What one looks at and does by hand during an incident: each as a function that shows itself as a table.

They are `kubectl get`, `describe`, `logs`, `events`, `exec`, `rollout restart` and `delete` for Airflow's own objects.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflowaks.airflow_api import AirflowApi
from airflowaks.changes import Action, Change, Changes, Difference
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.errors import InvalidParameter, MissingDependency
from airflowaks.kube import exec as command
from airflowaks.kube.client import Document, Kube, Reference, connect
from airflowaks.kube.pods import is_ready
from airflowaks.steps import airflow
from airflowaks.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflowaks.session import Session

_APPS = "apps/v1"
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_MERGE = "application/merge-patch+json"
_COMPONENT = "app.kubernetes.io/component"
_UNTOLD = ("managedFields", "resourceVersion", "uid", "generation", "selfLink")
_MOST_EVENTS = 50


def deployments(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the Deployments: how many pods there should be, are ready, are of the newest revision."""
    rows = []
    for one in _listed(session, _APPS, "Deployment", namespace, component):
        status = one.get("status", {})
        wanted, ready, updated = (
            one["spec"].get("replicas", 1),
            status.get("readyReplicas", 0),
            status.get("updatedReplicas", 0),
        )
        image = one["spec"]["template"]["spec"]["containers"][0]["image"]
        rows.append((_name(one), f"{ready} of {wanted}", str(updated), _age(one), image))
    return Table(("deployment", "ready", "updated", "age", "image"), rows)


def pods(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the pods: state, restarts, age, node."""
    rows = []
    for one in _listed(session, "v1", "Pod", namespace, component):
        statuses = one.get("status", {}).get("containerStatuses", ())
        restarts = sum(each.get("restartCount", 0) for each in statuses)
        node = one["spec"].get("nodeName", "")
        rows.append((_name(one), "yes" if is_ready(one) else "no", _state(one), str(restarts), _age(one), node))
    return Table(("pod", "ready", "state", "restarts", "age", "node"), rows)


def services(session: Session, namespace: str = "", component: str = "") -> Table:
    """Return a table of the Services: type, address, ports."""
    rows = []
    for one in _listed(session, "v1", "Service", namespace, component):
        spec = one["spec"]
        ports = ", ".join(f"{each['port']}/{each.get('protocol', 'TCP')}" for each in spec.get("ports", ()))
        rows.append((_name(one), spec.get("type", ""), spec.get("clusterIP", ""), ports, _age(one)))
    return Table(("service", "type", "address", "ports", "age"), rows)


def events(session: Session, namespace: str = "", *, warnings: bool = True) -> Table:
    """Return a table of the newest events, the newest last; without `warnings` all kinds of them."""
    scope = _scope(session, namespace)
    fields = "type=Warning" if warnings else ""
    found = session.once(connect).list("v1", "Event", scope.namespace, fields=fields)
    newest = sorted(found, key=_last_seen)[-_MOST_EVENTS:]
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


def describe(session: Session, kind: str, name: str, namespace: str = "") -> Table:
    """Return a table of what an object says (a Pod, Deployment, Job, Service …), and of the events about it.

    Raises MissingDependency where it does not exist.
    """
    scope, kube = _scope(session, namespace), session.once(connect)
    reference = Reference(_version(kind), kind, name, scope.namespace)
    if (found := kube.get(reference)) is None:
        raise MissingDependency(f"There is no {kind} {name} in {scope.namespace}.", "See the tables of what there is.")
    metadata = {key: value for key, value in found["metadata"].items() if key not in _UNTOLD}
    told: Document = {"metadata": metadata, **{key: found[key] for key in ("spec", "status") if key in found}}
    rows = [(path, session.redactor.redact(text)) for path, text in _flat(told)]
    fields = f"involvedObject.kind={kind},involvedObject.name={name}"
    about = kube.list("v1", "Event", scope.namespace, fields=fields)
    rows += [
        (f"event at {_last_seen(one)}", session.redactor.redact(f"{one.get('reason')}: {one.get('message')}"))
        for one in sorted(about, key=_last_seen)
    ]
    return Table(("", f"{kind} {name}"), rows)


def logs(
    session: Session, component: str, namespace: str = "", *, pod: str = "", previous: bool = False, lines: int = 50
) -> Table:
    """Return a table of the last lines of a component's newest pod, or of `pod`; `previous`: before its restart."""
    chosen = _pod(session, component, namespace, pod)
    container = chosen["spec"]["containers"][0]["name"]
    text = session.once(connect).logs(Reference.of(chosen), container, lines=lines, previous=previous)
    rows = [(line,) for line in session.redactor.redact(text).splitlines()]
    return Table(
        (f"{_name(chosen)}, container {container}",), rows, note="" if rows else f"{_name(chosen)} logged nothing."
    )


def execute(session: Session, component: str, program: Sequence[str], namespace: str = "") -> Table:
    """Run a program in the newest pod of a component and return a table of what it wrote. Raises CommandFailed."""
    chosen = _pod(session, component, namespace)
    text = command.run(session.once(connect), Reference.of(chosen), program).decode(errors="replace")
    rows = [(line,) for line in session.redactor.redact(text).splitlines()]
    return Table((f"{' '.join(program)} in {_name(chosen)}",), rows)


def health(session: Session) -> Table:
    """Return a table of what Airflow's health page says of each component. Raises CheckFailed where nobody can say."""
    with airflow.forwarded(session) as port:
        states = AirflowApi(f"http://127.0.0.1:{port}", session.redactor).health()
    rows = [(name, str(state.get("status")), str(_heartbeat(state))) for name, state in states.items()]
    return Table(("component", "status", "latest heartbeat"), rows)


def restart(session: Session, component: str, namespace: str = "") -> Changes:
    """Roll a component's pods, as `kubectl rollout restart` does; others serve until the new ones are ready."""
    (found,) = _deployment(session, component, namespace)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path = f"spec.template.metadata.annotations[{_RESTARTED}]"
    before = found["spec"]["template"]["metadata"].get("annotations", {}).get(_RESTARTED)
    patch = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED: now}}}}}
    return _done(session, found, Action.UPDATE, patch, (Difference(path, before, now),))


def delete(session: Session, component: str, namespace: str = "") -> Changes:
    """Delete a component's Deployment and with it its pods; step 7 makes it anew."""
    (found,) = _deployment(session, component, namespace)
    return _done(session, found, Action.DELETE)


def _done(
    session: Session,
    found: Document,
    action: Action,
    patch: Mapping[str, Any] | None = None,
    differences: tuple[Difference, ...] = (),
) -> Changes:
    kube, reference, started = session.once(connect), Reference.of(found), time.monotonic()
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
    session.changes.append(change)
    return Changes((change,))


def _deployment(session: Session, component: str, namespace: str) -> list[Document]:
    found = _listed(session, _APPS, "Deployment", namespace, component) if component else []
    if len(found) != 1:
        known = {
            one["metadata"]["labels"].get(_COMPONENT, "") for one in _listed(session, _APPS, "Deployment", namespace)
        }
        message = f'There is no one Deployment of the component "{component}".'
        raise InvalidParameter(message, f"Name one of: {', '.join(sorted(known)) or 'none, run step 7'}.")
    return found


def _pod(session: Session, component: str, namespace: str, name: str = "") -> Document:
    found = [one for one in _listed(session, "v1", "Pod", namespace, component) if name in ("", _name(one))]
    if not found:
        message = f'There is no pod {name} of the component "{component}".'
        raise MissingDependency(message, "See the table of pods, and the Deployment's events.")
    return max(found, key=lambda one: str(one["metadata"].get("creationTimestamp")))


def _listed(session: Session, api_version: str, kind: str, namespace: str, component: str = "") -> list[Document]:
    kube: Kube = session.once(connect)
    scope = _scope(session, namespace, component)
    return kube.list(api_version, kind, scope.namespace, labels=scope.labels)


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
    seconds = (datetime.now(UTC) - datetime.fromisoformat(one["metadata"]["creationTimestamp"])).total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _name(one: Document) -> str:
    return str(one["metadata"]["name"])


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return the leaves of an object by their dotted paths."""
    if isinstance(value, dict) and value:
        return [leaf for key, one in value.items() for leaf in _flat(one, f"{path}.{key}" if path else key)]
    if isinstance(value, list) and value:
        return [leaf for index, one in enumerate(value) for leaf in _flat(one, f"{path}[{index}]")]
    return [(path, value if isinstance(value, str) else json.dumps(value))]
