"""The retention of events: one hour after they were written, the API server's default."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import key_of
from rehearsal_cloud.kubernetes.controllers.timestamps import seconds_since

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_KEPT_SECONDS = 3600.0


class Events(Controller):
    """Deletes old events."""

    component = "event-expiry"
    watches: ClassVar[tuple[str, ...]] = ("Event",)

    def keys(self, event: Event) -> Iterator[Key]:
        """Return a new event; a repeated event is checked again when its first hour is over."""
        if event.type == "ADDED":
            yield key_of(event.document)

    async def reconcile(self, key: Key) -> float | None:
        """Delete the event when its retention is over."""
        namespace, name = key
        event = self.objects.get("Event", name, namespace)
        if event is None:
            return None
        written = max(event["metadata"]["creationTimestamp"], event.get("lastTimestamp") or "")
        remaining = _KEPT_SECONDS - seconds_since(written)
        if remaining > 0:
            return remaining
        self.objects.delete("Event", name, namespace, uid=event["metadata"]["uid"])
        return None
