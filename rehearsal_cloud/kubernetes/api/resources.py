"""Resources: the REST verbs on objects.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from rehearsal_cloud.kubernetes.api import responses
from rehearsal_cloud.kubernetes.api.bodies import media_type
from rehearsal_cloud.kubernetes.api.call import unsupported
from rehearsal_cloud.kubernetes.api.watching import selected
from rehearsal_cloud.kubernetes.failures import Failure, bad_request, invalid, not_found, unsupported_media_type
from rehearsal_cloud.kubernetes.objects import conversion, lifecycle
from rehearsal_cloud.kubernetes.objects.apply import apply
from rehearsal_cloud.kubernetes.objects.decoding import decode, field_warnings
from rehearsal_cloud.kubernetes.objects.deletion import DeleteOptions, orphans_by_default
from rehearsal_cloud.kubernetes.objects.objects import Write
from rehearsal_cloud.kubernetes.objects.patches import APPLY, JSON, MERGE, STRATEGIC, patch
from rehearsal_cloud.kubernetes.objects.validation import events

if TYPE_CHECKING:
    from starlette.responses import Response

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.api.call import Call
    from rehearsal_cloud.kubernetes.objects.deletion import Deletion

_ANSWERED_WHOLE = frozenset(
    {"Pod", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota"}
    | {"StorageClass", "VolumeAttachment", "CSIDriver"}
)
"""The kinds of which a deletion answers the object and not a Status."""
_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or"
    " set propagationPolicy=Orphan to suppress this warning"
)


def get(call: Call) -> Response:
    """Answer an object."""
    return responses.single(call, present(call))


def present(call: Call) -> Document:
    """Return the object that the path names. Raises Failure (404)."""
    document = call.cluster.objects.get(call.kind.kind, call.info.name, _namespace(call))
    if document is None:
        raise not_found(call.kind, call.info.name)
    return document


async def create(call: Call) -> Response:
    """Create an object."""
    call.options("CreateOptions")
    body, duplicates = await call.document()
    document, warnings = decode(call.cluster.schemas, call.kind, body, call.field_validation, duplicates)
    call.warn(warnings)
    document = _placed(call, document)
    if document["metadata"].get("resourceVersion"):
        raise Failure(500, "", "resourceVersion should not be set on objects to be created")
    document = conversion.stored(document)
    if call.kind.api_version == conversion.EVENTS and (wrong := list(events.new_event(document))):
        raise invalid(call.cluster.kinds.named("Event"), document["metadata"].get("name", ""), wrong)
    if call.kind.kind == "CertificateSigningRequest":
        document["spec"] |= call.user.document()
    call.access.check_escalation(call.user, document, None)
    created = call.cluster.objects.create_as(document, _write(call))
    return responses.single(call, created, 201)


async def update(call: Call) -> Response:
    """Replace an object."""
    call.options("UpdateOptions")
    body, duplicates = await call.document()
    document, warnings = decode(call.cluster.schemas, call.kind, body, call.field_validation, duplicates)
    call.warn(warnings)
    return responses.single(call, *replaced(call, _named(call, _placed(call, conversion.stored(document)))))


def replaced(call: Call, document: Document) -> tuple[Document, int]:
    """Store a decoded object and return it as stored, with the status of the answer."""
    objects = call.cluster.objects
    old = objects.get(call.kind.kind, call.info.name, _namespace(call))
    call.access.check_escalation(call.user, document, old)
    if old is None and call.kind.kind in lifecycle.CREATED_BY_UPDATE and not call.info.subresource:
        return objects.create_as(document, _write(call)), 201
    return objects.update_as(document, _write(call)), 200


async def change(call: Call) -> Response:
    """Patch an object, or apply it."""
    call.options("PatchOptions")
    form = media_type(call.connection.headers.get("content-type", ""))
    if form not in (JSON, MERGE, STRATEGIC, APPLY):
        raise unsupported_media_type("415: Unsupported Media Type")
    if form == APPLY and not call.query("fieldManager"):
        text = "Required value: is required for apply patch"
        raise unsupported("PatchOptions", "fieldManager", text, "FieldValueRequired")
    if form != APPLY and call.flag("force"):
        text = "Forbidden: may not be specified for non-apply patch"
        raise unsupported("PatchOptions", "force", text, "FieldValueForbidden")
    body, duplicates = await call.document()
    if form == APPLY:
        return responses.single(call, *_applied(call, body, duplicates))
    old = present(call)
    live = conversion.served(call.kind, old)
    patched, warnings = patch(call.cluster.schemas, call.kind, live, body, form, call.field_validation)
    call.warn(warnings)
    return responses.single(call, *replaced(call, _named(call, conversion.stored(patched))))


def _applied(call: Call, body: Any, duplicates: tuple[str, ...]) -> tuple[Document, int]:
    cluster, objects = call.cluster, call.cluster.objects
    if not isinstance(body, dict):
        raise bad_request(f"error decoding YAML: {json.dumps(body)} is no object")
    call.warn(field_warnings(call.kind, duplicates, call.field_validation))
    applied = _named(call, _placed(call, body))
    old = objects.get(call.kind.kind, call.info.name, _namespace(call))
    if old is None and call.info.subresource:
        raise not_found(call.kind, call.info.name)
    live = conversion.served(call.kind, old) if old else None
    manager, subresource = call.query("fieldManager"), call.info.subresource
    patched = apply(
        cluster.schemas, call.kind, live, applied, manager, force=call.flag("force"), subresource=subresource
    )
    document = conversion.stored(decode(cluster.schemas, call.kind, patched, "Ignore")[0])
    call.access.check_escalation(call.user, document, old)
    if old is None:
        return objects.create_as(document, _write(call, applied=True)), 201
    return objects.update_as(document, _write(call, applied=True)), 200


async def delete(call: Call) -> Response:
    """Delete an object."""
    options = await _delete_options(call)
    if orphans_by_default(call.kind) and call.kind.kind == "Job" and options.propagation is None:
        call.warn([_ORPHANS])
    deletion = call.cluster.objects.delete_with(call.kind, call.info.name, _namespace(call), options)
    accepted = not deletion.gone and options.propagation == "Foreground"
    if not deletion.gone or call.kind.kind in _ANSWERED_WHOLE:
        return responses.single(call, deletion.document, 202 if accepted else 200)
    return JSONResponse(_success(call, deletion))


async def delete_collection(call: Call) -> Response:
    """Delete all selected objects, and answer with them."""
    options = await _delete_options(call)
    deleted = [
        call.cluster.objects.delete_with(
            call.kind, document["metadata"]["name"], document["metadata"].get("namespace", ""), options
        ).document
        for document in selected(call)
    ]
    return responses.many(call, deleted, {"resourceVersion": str(call.cluster.objects.storage.version)})


async def _delete_options(call: Call) -> DeleteOptions:
    call.options("DeleteOptions")
    body: Any = {}
    if await call.request.body():
        body, _ = await call.document()
    sent: Document = body if isinstance(body, dict) else {}
    policy = sent.get("propagationPolicy") or call.query("propagationPolicy") or None
    orphan = sent.get("orphanDependents")
    if orphan is None and call.query("orphanDependents"):
        orphan = call.flag("orphanDependents")
    if policy and orphan is not None:
        text = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        raise unsupported("DeleteOptions", "propagationPolicy", text, "FieldValueInvalid")
    if policy not in (None, "Foreground", "Background", "Orphan"):
        text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        raise unsupported("DeleteOptions", "propagationPolicy", text)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    dry_run = sent.get("dryRun") or []
    if dry_run not in ([], ["All"]):
        text = f'Unsupported value: {json.dumps(dry_run)}: supported values: "All"'
        raise unsupported("DeleteOptions", "dryRun", text)
    grace = sent.get("gracePeriodSeconds")
    if grace is None and call.query("gracePeriodSeconds"):
        grace = int(call.query("gracePeriodSeconds"))
    conditions = sent.get("preconditions") or {}
    return DeleteOptions(
        propagation=policy,
        grace=grace,
        uid=conditions.get("uid") or "",
        resource_version=conditions.get("resourceVersion") or "",
        dry_run=call.dry_run or bool(dry_run),
    )


def _success(call: Call, deletion: Deletion) -> Document:
    kind, metadata = call.kind, deletion.document["metadata"]
    details = {"name": metadata["name"], "group": kind.group, "kind": kind.plural, "uid": metadata["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def _namespace(call: Call) -> str:
    return call.info.namespace if call.kind.namespaced else ""


def _write(call: Call, *, applied: bool = False) -> Write:
    subresource = call.info.subresource
    return Write(
        manager=call.manager,
        subresource=subresource,
        dry_run=call.dry_run,
        decoded=True,
        applied=applied,
        warn=call.warn,
    )


def _placed(call: Call, document: Document) -> Document:
    """Return the document in the path's namespace. Raises Failure (400) where it names a different namespace."""
    namespace = _namespace(call)
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata is no object")
    if metadata.get("namespace", namespace) not in ("", namespace):
        text = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(text)
    placed = {key: value for key, value in metadata.items() if key != "namespace"}
    return {**document, "metadata": placed | ({"namespace": namespace} if namespace else {})}


def _named(call: Call, document: Document) -> Document:
    """Return the document with the path's name. Raises Failure (400) where it has a different name."""
    name = document["metadata"].get("name") or (call.info.name if call.request.method == "PATCH" else "")
    if not name:
        raise bad_request("name must be provided")
    if name != call.info.name:
        text = f"the name of the object ({name}) does not match the name on the URL ({call.info.name})"
        raise bad_request(text)
    return {**document, "metadata": {**document["metadata"], "name": name}}
