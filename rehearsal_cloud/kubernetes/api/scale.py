"""The scale subresource: the current and the desired number of replicas, for every kind.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.api import responses
from rehearsal_cloud.kubernetes.api.bodies import media_type
from rehearsal_cloud.kubernetes.api.resources import present
from rehearsal_cloud.kubernetes.failures import Cause, bad_request, conflict, invalid, unsupported_media_type
from rehearsal_cloud.kubernetes.objects.objects import Write
from rehearsal_cloud.kubernetes.objects.patches import JSON, MERGE, STRATEGIC, json_patch, merge_patch
from rehearsal_cloud.kubernetes.objects.selectors import selector_text

if TYPE_CHECKING:
    from starlette.responses import Response

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.api.call import Call

_BUILT_IN = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".spec.selector",
}


def get(call: Call) -> Response:
    """Answer the object's scale."""
    return responses.single(call, _scale(call, present(call)))


async def update(call: Call) -> Response:
    """Set the desired replicas with a complete Scale."""
    body, _ = await call.document()
    return responses.single(call, _scaled(call, present(call), body))


async def change(call: Call) -> Response:
    """Set the desired replicas with a patch of the Scale."""
    form = media_type(call.connection.headers.get("content-type", ""))
    if form not in (JSON, MERGE, STRATEGIC):
        accepted = f"{JSON}, {MERGE}, {STRATEGIC}"
        text = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise unsupported_media_type(text)
    body, _ = await call.document()
    document = present(call)
    live = _scale(call, document)
    return responses.single(call, _scaled(call, document, (json_patch if form == JSON else merge_patch)(live, body)))


def _scaled(call: Call, document: Document, scale_document: Document) -> Document:
    if scale_document.get("kind") != "Scale":
        raise bad_request(f"no kind Scale in the body: {scale_document.get('kind')}")
    version = (scale_document.get("metadata") or {}).get("resourceVersion")
    if version and version != document["metadata"]["resourceVersion"]:
        raise conflict(call.kind, call.info.name)
    replicas = (scale_document.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int):
        raise bad_request("spec.replicas is no number")
    if replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        scale = replace(call.kind, group="autoscaling", kind="Scale")
        raise invalid(scale, call.info.name, [Cause("FieldValueInvalid", "spec.replicas", text)])
    changed = copy.deepcopy(document)
    *parents, last = _paths(call)["specReplicasPath"].strip(".").split(".")
    place = changed
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = replicas
    write = Write(manager=call.manager, managed_as="scale", dry_run=call.dry_run, decoded=True)
    return _scale(call, call.cluster.objects.update_as(changed, write))


def _scale(call: Call, document: Document) -> Document:
    paths, metadata = _paths(call), document["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = _at(document, paths.get("labelSelectorPath", ""))
    replicas = _at(document, paths["specReplicasPath"])
    status = {"replicas": _at(document, paths["statusReplicasPath"]) or 0}
    text = selector_text(selector) if isinstance(selector, dict) else selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status | ({"selector": text} if text else {}),
    }


def _paths(call: Call) -> dict[str, str]:
    if not call.kind.custom:
        return _BUILT_IN
    definition = call.cluster.objects.get("CustomResourceDefinition", call.kind.resource) or {}
    versions = definition["spec"]["versions"]
    paths: dict[str, str] = next(version for version in versions if version["name"] == call.kind.version)[
        "subresources"
    ]["scale"]
    return paths


def _at(document: Document, path: str) -> Any:
    value: Any = document
    for part in filter(None, path.split(".")):
        value = value.get(part) if isinstance(value, dict) else None
    return value if path else None
