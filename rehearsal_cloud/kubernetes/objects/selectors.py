"""Label and field selectors, read and matched as the API server does.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.failures import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

_KEY = r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=|>|<)\s*({_VALUE})")
_PRESENCE = re.compile(rf"(!?)\s*({_KEY})")
_SPLIT = re.compile(r",(?![^(]*\))")

_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

_META_FIELDS = ("metadata.name", "metadata.namespace")
_FIELDS = {
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "Event": (
        *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")),
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "Secret": ("type",),
    "Namespace": ("status.phase",),
    "Node": ("spec.unschedulable",),
    "ReplicaSet": ("status.replicas",),
    "ReplicationController": ("status.replicas",),
    "Job": ("status.successful",),
    "Service": ("spec.clusterIP", "spec.type"),
}
_ZEROES = {"spec.hostNetwork": "false", "spec.unschedulable": "false", "status.replicas": "0", "status.successful": "0"}
_ALIASES = {"status.successful": "status.succeeded", "source": "source.component"}


@dataclass(frozen=True)
class Requirement:
    """One condition: a key, an operator (in, notin, exists, !, gt, lt) and its values."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels meet it."""
        present, value = self.key in labels, labels.get(self.key, "")
        if self.operator == "in":
            return present and value in self.values
        if self.operator == "notin":
            return not present or value not in self.values
        if self.operator in ("exists", "!"):
            return present is (self.operator == "exists")
        (limit,) = self.values
        if not re.fullmatch(r"-?\d+", value):
            return False
        return int(value) > int(limit) if self.operator == "gt" else int(value) < int(limit)


class LabelSelector:
    """A label selector as a query writes it: `app=web,tier in (a,b),!old`. Raises Failure (400)."""

    def __init__(self, text: str) -> None:
        self.requirements = [_requirement(part.strip(), text) for part in _SPLIT.split(text)] if text.strip() else []

    def matches(self, document: Document) -> bool:
        """Tell whether the object's labels meet all requirements."""
        labels = document["metadata"].get("labels") or {}
        return all(requirement.matches(labels) for requirement in self.requirements)


def matches_selector(selector: Document, labels: Mapping[str, str]) -> bool:
    """Tell whether labels meet a metav1.LabelSelector; an empty selector matches everything."""
    expressions = selector.get("matchExpressions") or []
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    requirements = [
        Requirement(key, "in", frozenset([value])) for key, value in (selector.get("matchLabels") or {}).items()
    ]
    requirements += [
        Requirement(expression["key"], operators[expression["operator"]], frozenset(expression.get("values") or ()))
        for expression in expressions
    ]
    return all(requirement.matches(labels) for requirement in requirements)


def selector_text(selector: Document) -> str:
    """Return a metav1.LabelSelector in the form of queries and of a scale's `.status.selector`."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        operator = expression["operator"]
        if operator in ("Exists", "DoesNotExist"):
            parts.append(("" if operator == "Exists" else "!") + expression["key"])
        else:
            parts.append(f"{expression['key']} {operator.lower()} ({','.join(sorted(expression.get('values') or ()))})")
    return ",".join(parts)


class FieldSelector:
    """A field selector for a kind: `status.phase!=Running,spec.nodeName=n`. Raises Failure (400)."""

    def __init__(self, text: str, kind: Kind) -> None:
        self.terms: list[tuple[str, bool, str]] = []
        supported = (*_META_FIELDS, *_FIELDS.get(kind.kind, ()))
        for part in filter(None, (part.strip() for part in text.split(","))):
            match = re.fullmatch(r"([^=!]+?)\s*(!=|==|=)\s*(.*)", part)
            if match is None:
                raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
            field, operator, value = match.groups()
            if field not in supported:
                raise bad_request(_unknown_field(field, kind))
            self.terms.append((field, operator != "!=", value))

    def may_match(self, text: str) -> bool:
        """Tell whether an object's JSON contains the selector's values, so that most objects need no parsing."""
        return all(value in text for field, equal, value in self.terms if equal and _is_plain(field, value))

    def matches(self, document: Document) -> bool:
        """Tell whether the object's fields meet all terms."""
        return all((_field(document, field) == value) is equal for field, equal, value in self.terms)


def _is_plain(field: str, value: str) -> bool:
    """Tell whether JSON holds this value unescaped, and always holds the field."""
    return field not in _ZEROES and re.fullmatch(r"[\w.:-]+", value, re.ASCII) is not None


def named(text: str) -> str:
    """Return the only name that can meet a field selector, or "" where it names none."""
    match = re.search(r"(?:^|,)\s*metadata\.name\s*==?([^,=]+)", text)
    return match.group(1).strip() if match else ""


def _requirement(part: str, text: str) -> Requirement:
    if match := _SET.fullmatch(part):
        key, operator, values = match.groups()
        return Requirement(key, operator, frozenset(value.strip() for value in values.split(",")))
    if match := _EQUALITY.fullmatch(part):
        key, operator, value = match.groups()
        if operator in "<>":
            if not re.fullmatch(r"-?\d+", value):
                raise bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": for')
            return Requirement(key, "gt" if operator == ">" else "lt", frozenset([value]))
        return Requirement(key, "notin" if operator == "!=" else "in", frozenset([value]))
    if match := _PRESENCE.fullmatch(part):
        return Requirement(match.group(2), "!" if match.group(1) else "exists")
    raise bad_request(_complaint(part, text))


def _complaint(part: str, text: str) -> str:
    """Return the parser's error for an invalid requirement."""
    operators = "in, notin, =, ==, !=, gt, lt"
    if not part:
        return "found ',', expected: !, identifier, or 'end of string'"
    match = re.match(r"!?\s*([^\s=!<>(),]*)\s*", part)
    word = match.group(1) if match else ""
    rest = part[match.end() :] if match else part
    if not word:
        return f"unable to parse requirement: found '{rest[:1]}', expected: identifier"
    if not re.fullmatch(_KEY, word):
        return f'unable to parse requirement: invalid label key "{word}": {_NAME_RULE}'
    if set_based := re.match(r"(?:in|notin)\b\s*(.*)", rest):
        inside = set_based.group(1)
        why = "found '', expected: ',' or ')'" if inside.startswith("(") else f"found '{inside}' expected: '('"
        return f"unable to parse requirement: {why}"
    if after := re.match(r"(?:==|=|!=|>|<)(.*)", rest):
        value = after.group(1).strip()
        if value.startswith(("=", "!", "<", ">")):
            return f"unable to parse requirement: found '{value[:1]}', expected: identifier"
        return f'unable to parse requirement: invalid label value: "{value}": {_VALUE_RULE}'
    return f"unable to parse requirement: found '{rest or text}', expected: {operators}"


def _unknown_field(field: str, kind: Kind) -> str:
    if kind.kind in _FIELDS:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _field(document: Document, field: str) -> str:
    value: Any = document
    for part in _ALIASES.get(field, field).split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return _ZEROES.get(field, "") if value is None else str(value)
