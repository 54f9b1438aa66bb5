"""The recorder of events of an object, reported by a component, as `kubectl describe` shows them.

A repeated event increases the count of its existing Event, as client-go's correlator does:
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
    """Records events of a component; `host` is the node that the component runs on."""

    def __init__(self, objects: Objects, component: str = "", host: str = "") -> None:
        self._objects = objects
        self._component = component
        self._host = host
        self._names: OrderedDict[_Seen, str] = OrderedDict()

    def named(self, component: str, host: str = "") -> Recorder:
        """Return a recorder for `component`."""
        return Recorder(self._objects, component, host)

    def normal(self, document: Document, reason: str, message: str, *, field_path: str = "") -> None:
        """Record a Normal event; `field_path` names a part: `spec.containers{worker}`."""
        self._record(document, "Normal", reason, message, field_path)

    def warning(self, document: Document, reason: str, message: str, *, field_path: str = "") -> None:
        """Record a Warning event; `field_path` names a part: `spec.containers{worker}`."""
        self._record(document, "Warning", reason, message, field_path)

    def _record(self, document: Document, severity: str, reason: str, message: str, field_path: str) -> None:
        about = _reference(document, field_path)
        event_key = (about["uid"], field_path, severity, reason, message)
        name = self._names.get(event_key)
        namespace = about.get("namespace", "default")
        existing = self._objects.get("Event", name, namespace) if name else None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if existing is not None:
            self._objects.update({**existing, "count": existing["count"] + 1, "lastTimestamp": now})
            return
        if self._terminating(namespace):
            return  # a terminating namespace accepts no new objects, and recording must not fail
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
        self._names[event_key] = name
        if len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)

    def _terminating(self, namespace: str) -> bool:
        namespace_object = self._objects.get("Namespace", namespace)
        return namespace_object is None or "deletionTimestamp" in namespace_object["metadata"]


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
