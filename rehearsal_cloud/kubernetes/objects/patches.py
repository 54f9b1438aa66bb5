"""Patches: change an object with a JSON patch, a merge patch or a strategic merge patch.

RFC 6902, RFC 7386 and https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import jsonpatch
from jsonpointer import JsonPointerException

from rehearsal_cloud.kubernetes.failures import Cause, Failure, bad_request, unsupported_media_type
from rehearsal_cloud.kubernetes.objects import strategic_merge
from rehearsal_cloud.kubernetes.objects.decoding import decode

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.decoding import FieldValidation
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.objects.schema import Schemas

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_MOST_OPERATIONS = 10_000


def patch(
    schemas: Schemas, kind: Kind, live: Document, body: Any, media_type: str, field_validation: FieldValidation = "Warn"
) -> tuple[Document, list[str]]:
    """Return `live` with a patch of one of the first three media types, decoded, and warnings for the client.

    Raises Failure: 400 for an invalid patch, 422 where it does not apply or its result cannot be decoded,
    415 for strategic merge patches of custom resources.
    """
    if media_type == JSON:
        patched = json_patch(live, body)
    elif media_type == MERGE:
        patched = merge_patch(live, body)
    else:
        patched = strategic_merge_patch(schemas, kind, live, body)
    try:
        return decode(schemas, kind, patched, field_validation)
    except Failure as failure:
        why = failure.message.partition(f"cannot be handled as a {kind.kind}: ")[2] or failure.message
        raise _unfit(patched, why) from failure


def json_patch(document: Document, operations: Any) -> Document:
    """Return a document with a JSON patch. Raises Failure: 400 for an invalid patch, 422 when an operation fails."""
    if not isinstance(operations, list):
        raise bad_request(f"json: cannot unmarshal {_json_type(operations)} into Go value of type jsonpatch.Patch")
    if len(operations) > _MOST_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(operations)}"
        raise Failure(413, "RequestEntityTooLarge", text)
    try:
        patched: Document = jsonpatch.JsonPatch(operations).apply(copy.deepcopy(document))
    except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, KeyError) as error:
        text = "the server rejected our request due to an error in our request"
        raise Failure(422, "Invalid", text, {}) from error
    return patched


def merge_patch(document: Any, patch: Any) -> Any:
    """Return a document with a JSON merge patch: a null removes a field, a list replaces a list."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def strategic_merge_patch(schemas: Schemas, kind: Kind, document: Document, patch: Any) -> Document:
    """Return a document with a strategic merge patch. Raises Failure."""
    if kind.custom:
        accepted = f"{JSON}, {MERGE}, {APPLY}"
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )
    if not isinstance(patch, dict):
        raise bad_request(f"json: cannot unmarshal {_json_type(patch)} into Go value of type map[string]interface {{}}")
    try:
        return strategic_merge.merge(schemas.of(kind), document, copy.deepcopy(patch))
    except strategic_merge.BadDirective as error:
        raise bad_request(str(error)) from error
    except strategic_merge.BadPatch as error:
        raise Failure(500, "", str(error)) from error


def _unfit(patched: Any, why: str) -> Failure:
    shown = json.dumps(json.dumps(patched, separators=(",", ":"), ensure_ascii=False), ensure_ascii=False)
    cause = Cause("FieldValueInvalid", "patch", f"Invalid value: {shown}: {why}")
    listed = {"reason": cause.reason, "message": cause.message, "field": cause.field}
    return Failure(422, "Invalid", f' "" is invalid: {cause}', {"causes": [listed]})


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}
    return names.get(type(value), "number")
