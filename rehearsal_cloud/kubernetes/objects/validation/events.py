"""Rules of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import invalid, required
from rehearsal_cloud.kubernetes.objects.validation.names import label_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_LONGEST = 128
_LONGEST_MESSAGE = 1024


def event(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of an event of either group (pkg/apis/core/validation/events.go)."""
    namespace, about = document["metadata"]["namespace"], document.get("involvedObject", {}).get("namespace", "")
    is_new = bool(document.get("eventTime"))
    cluster_wide = ("default", "kube-system") if is_new else ("default",)
    fits = namespace in cluster_wide if not about else is_new or namespace == about
    if not fits:
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")
    if not is_new:
        return
    controller = document.get("reportingComponent", "")
    if not controller:
        yield required("reportingController")
    yield from (invalid("reportingController", controller, text) for text in label_key(controller))
    for field in ("reportingInstance", "action", "reason"):
        if not document.get(field):
            yield required(field)
        yield from _limited(field, document.get(field, ""), _LONGEST)
    yield from _limited("message", document.get("message", ""), _LONGEST_MESSAGE)


def new_event(document: Document) -> Iterator[Cause]:
    """Yield the validation errors of a new event of the group events.k8s.io, as it will be stored."""
    yield from event(document, None)
    if not document.get("eventTime"):
        yield required("eventTime")
    if document.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {document.get('type', '')}")
    source = document.get("source") or {}
    old = [field for field in ("firstTimestamp", "lastTimestamp", "count") if document.get(field)]
    old += [f"source.{field}" for field in ("component", "host") if source.get(field)]
    yield from (invalid(field, "", "needs to be unset") for field in old)


def _limited(field: str, text: str, most: int) -> Iterator[Cause]:
    if len(text) > most:
        yield invalid(field, "", f"can have at most {most} characters")
