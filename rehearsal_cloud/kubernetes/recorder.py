"""The recorder of events: what happened to an object, in its component's words, as `kubectl describe` shows it.

An event that repeats is counted on the Event that is there already, as client-go's correlator does:
https://pkg.go.dev/k8s.io/client-go/tools/record
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rehearsal_cloud.kubernetes.objects.objects import Objects

    Document = dict[str, Any]

_REMEMBERED = 4096
_Seen = tuple[str, ...]


class Recorder:
    """Records events of one component; `host` is the node of a component that runs on one."""

    def __init__(self, objects: Objects, component: str = "", host: str = "") -> None:
        self._objects = objects
        self._component = component
        self._host = host
        self._names: OrderedDict[_Seen, str] = OrderedDict()

    def named(self, component: str, host: str = "") -> Recorder:
        """Return a recorder that records in the name of `component`."""
        return Recorder(self._objects, component, host)

    def normal(self, document: Document, reason: str, message: str, *, field_path: str = "") -> None:
        """Record that something went as it should; `field_path` names a part: `spec.containers{worker}`."""
        self._record(document, "Normal", reason, message, field_path)

    def warning(self, document: Document, reason: str, message: str, *, field_path: str = "") -> None:
        """Record that something went wrong; `field_path` names a part: `spec.containers{worker}`."""
        self._record(document, "Warning", reason, message, field_path)

    def _record(self, document: Document, severity: str, reason: str, message: str, field_path: str) -> None:
        about = _reference(document, field_path)
        seen = (about["uid"], field_path, severity, reason, message)
        name = self._names.get(seen)
        namespace = about.get("namespace", "default")
        known = self._objects.get("Event", name, namespace) if name else None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if known is not None:
            self._objects.update({**known, "count": known["count"] + 1, "lastTimestamp": now})
            return
        if self._terminating(namespace):
            return  # a terminating namespace takes no new objects, and who records must not fail for it
        name = f"{about['name']}.{time.time_ns():x}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": about,
            "type": severity,
            "reason": reason,
            "message": message,
            "source": {"component": self._component} | ({"host": self._host} if self._host else {}),
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._objects.create(event, manager=self._component or "kube-controller-manager")
        self._names[seen] = name
        if len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)

    def _terminating(self, namespace: str) -> bool:
        found = self._objects.get("Namespace", namespace)
        return found is None or "deletionTimestamp" in found["metadata"]


def _reference(document: Document, field_path: str) -> Document:
    metadata = document["metadata"]
    about = {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion"),
        "fieldPath": field_path,
    }
    return {key: value for key, value in about.items() if value}
