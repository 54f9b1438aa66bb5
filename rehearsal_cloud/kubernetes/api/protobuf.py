"""Protobuf bodies: those that kubectl sends for `auth can-i`, `create token`, `drain` and its simple `create`s.

Messages and field numbers are those of the `generated.proto` of https://github.com/kubernetes/api; the envelope is
https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding. Answers are never protobuf: all
clients that ask for it also accept JSON.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _LENGTH = 0, 2
_CONTINUES, _BITS = 0x80, 7

# A message: field numbers with names and types. `*` marks a repeated field, `{}` the values of a map.
_REVIEW = "1 metadata ObjectMeta, 3 status Ignored, 2 spec "
_MESSAGES = {
    "Unknown": "1 typeMeta TypeMeta, 2 raw raw, 3 contentEncoding string, 4 contentType string",
    "TypeMeta": "1 apiVersion string, 2 kind string",
    "ObjectMeta": (
        "1 name string, 2 generateName string, 3 namespace string, 4 selfLink string, 5 uid string,"
        " 6 resourceVersion string, 7 generation Ignored, 8 creationTimestamp Ignored, 11 labels {}string,"
        " 12 annotations {}string, 13 ownerReferences *OwnerReference, 14 finalizers *string"
    ),
    "OwnerReference": (
        "1 kind string, 3 name string, 4 uid string, 5 apiVersion string, 6 controller bool, 7 blockOwnerDeletion bool"
    ),
    "Namespace": "1 metadata ObjectMeta, 2 spec Ignored, 3 status Ignored",
    "ConfigMap": "1 metadata ObjectMeta, 2 data {}string, 3 binaryData {}bytes, 4 immutable bool",
    "Secret": "1 metadata ObjectMeta, 2 data {}bytes, 3 type string, 4 stringData {}string, 5 immutable bool",
    "ServiceAccount": "1 metadata ObjectMeta, 4 automountServiceAccountToken bool",
    "Role": "1 metadata ObjectMeta, 2 rules *PolicyRule",
    "ClusterRole": "1 metadata ObjectMeta, 2 rules *PolicyRule, 3 aggregationRule AggregationRule",
    "AggregationRule": "1 clusterRoleSelectors *LabelSelector",
    "LabelSelector": "1 matchLabels {}string, 2 matchExpressions *Requirement",
    "Requirement": "1 key string, 2 operator string, 3 values *string",
    "PolicyRule": "1 verbs *string, 2 apiGroups *string, 3 resources *string, 4 resourceNames *string,"
    " 5 nonResourceURLs *string",
    "RoleBinding": "1 metadata ObjectMeta, 2 subjects *Subject, 3 roleRef RoleRef",
    "ClusterRoleBinding": "1 metadata ObjectMeta, 2 subjects *Subject, 3 roleRef RoleRef",
    "Subject": "1 kind string, 2 apiGroup string, 3 name string, 4 namespace string",
    "RoleRef": "1 apiGroup string, 2 kind string, 3 name string",
    "SelfSubjectAccessReview": f"{_REVIEW}AccessReviewSpec",
    "SubjectAccessReview": f"{_REVIEW}AccessReviewSpec",
    "LocalSubjectAccessReview": f"{_REVIEW}AccessReviewSpec",
    "AccessReviewSpec": (
        "1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes, 3 user string,"
        " 4 groups *string, 6 uid string"
    ),
    "ResourceAttributes": (
        "1 namespace string, 2 verb string, 3 group string, 4 version string, 5 resource string, 6 subresource string,"
        " 7 name string"
    ),
    "NonResourceAttributes": "1 path string, 2 verb string",
    "SelfSubjectRulesReview": f"{_REVIEW}RulesReviewSpec",
    "RulesReviewSpec": "1 namespace string",
    "SelfSubjectReview": "1 metadata ObjectMeta, 2 status Ignored",
    "TokenRequest": f"{_REVIEW}TokenRequestSpec",
    "TokenRequestSpec": "1 audiences *string, 3 boundObjectRef BoundObjectReference, 4 expirationSeconds int",
    "BoundObjectReference": "1 kind string, 2 apiVersion string, 3 name string, 4 uid string",
    "Eviction": "1 metadata ObjectMeta, 2 deleteOptions DeleteOptions",
    "DeleteOptions": (
        "1 gracePeriodSeconds int, 2 preconditions Preconditions, 3 orphanDependents bool, 4 propagationPolicy string,"
        " 5 dryRun *string"
    ),
    "Preconditions": "1 uid string, 2 resourceVersion string",
}
_ENVELOPED = {name for name, fields in _MESSAGES.items() if "metadata ObjectMeta" in fields} | {"DeleteOptions"}


def read(body: bytes) -> Document | None:
    """Return the document of a body; None for unknown kinds or fields.

    Raises ValueError where it is not Kubernetes' protobuf.
    """
    if not body.startswith(_MAGIC):
        raise ValueError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = _message(body.removeprefix(_MAGIC), "Unknown")
        named = envelope["typeMeta"]
        if named["kind"] not in _ENVELOPED:
            return None
        return {**named, **_message(envelope.get("raw", b""), named["kind"])}
    except LookupError:
        return None


def _message(data: bytes, name: str) -> Document:
    fields = {int(number): (key, kind) for number, key, kind in map(str.split, _MESSAGES[name].split(","))}
    document: Document = {}
    for number, value in _fields(data):
        key, kind = fields[number]
        if kind.startswith("*"):
            document.setdefault(key, []).append(_value(value, kind[1:]))
        elif kind.startswith("{}"):
            entry = dict(_fields(value))
            document.setdefault(key, {})[entry[1].decode()] = _value(entry.get(2, b""), kind[2:])
        elif kind != "Ignored" and (read_value := _value(value, kind)) not in ("", {}):
            document[key] = read_value  # empty values are left out, as in JSON
    return document


def _value(value: Any, kind: str) -> Any:
    match kind:
        case "string":
            return value.decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "bool":
            return bool(value)
        case "int" | "raw":
            return value
    return _message(value, kind)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the numbers and values of a message's fields: numbers, or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 0b111
        value, at = _varint(data, at)
        if wire == _LENGTH:
            yield number, data[at : at + value]
            at += value
        elif wire == _VARINT:
            yield number, value
        else:
            raise LookupError(wire)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & ~_CONTINUES) << shift
        shift += _BITS
        if not byte & _CONTINUES:
            return value, at
