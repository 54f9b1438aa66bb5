"""Names and labels: their grammars, and the rules of metadata.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.validation.causes import (
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
    unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

    Grammar = Callable[[str], list[str]]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_PERCENT = r"[0-9]+%"
_LONGEST_LABEL = 63
_LONGEST_SUBDOMAIN = 253
_LONGEST_PORT = 15
_ANNOTATION_BYTES = 262_144
_ENDS = "and must start and end with an alphanumeric character"
_LOWER = "must consist of lower case alphanumeric characters"
_STANDARD_FINALIZERS = ("kubernetes", "foregroundDeletion", "orphan")


def dns_label(text: str) -> list[str]:
    """Return the validation errors of an RFC 1123 label."""
    wrong = _length_errors(text, _LONGEST_LABEL)
    if re.fullmatch(_LABEL, text):
        return wrong
    if re.fullmatch(_SUBDOMAIN, text):
        return [*wrong, "must not contain dots"]
    return [*wrong, _format_error(f"a lowercase RFC 1123 label {_LOWER} or '-', {_ENDS}", _LABEL, "my-name", "123-abc")]


def dns_subdomain(text: str) -> list[str]:
    """Return the validation errors of an RFC 1123 subdomain."""
    wrong = _length_errors(text, _LONGEST_SUBDOMAIN)
    if re.fullmatch(_SUBDOMAIN, text):
        return wrong
    return [
        *wrong,
        _format_error(f"a lowercase RFC 1123 subdomain {_LOWER}, '-' or '.', {_ENDS}", _SUBDOMAIN, "example.com"),
    ]


def dns_1035_label(text: str) -> list[str]:
    """Return the validation errors of an RFC 1035 label, which services are named by."""
    wrong = _length_errors(text, _LONGEST_LABEL)
    if re.fullmatch(_LABEL_1035, text):
        return wrong
    rule = "start with an alphabetic character, and end with an alphanumeric character"
    return [*wrong, _format_error(f"a DNS-1035 label {_LOWER} or '-', {rule}", _LABEL_1035, "my-name", "abc-123")]


def path_segment(text: str) -> list[str]:
    """Return the validation errors of a name that must only be a path segment, such as a role's."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{character}'" for character in ("/", "%") if character in text]


def label_key(text: str) -> list[str]:
    """Return the validation errors of the key of a label: a name with an optional subdomain before it."""
    rule = f"must consist of alphanumeric characters, '-', '_' or '.', {_ENDS}"
    unlike = _format_error(rule, _KEY, "MyName", "my.name", "123-abc")
    parts = text.split("/")
    if len(parts) > 2:  # noqa: PLR2004 - a prefix and a name
        return [f"a valid label key {unlike} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    wrong = []
    if len(parts) > 1:
        wrong = [
            f"prefix part {problem}" for problem in (dns_subdomain(parts[0]) if parts[0] else ["must be non-empty"])
        ]
    name = parts[-1]
    if not name:
        wrong.append("name part must be non-empty")
    wrong += [f"name part {problem}" for problem in _length_errors(name, _LONGEST_LABEL)]
    return wrong if re.fullmatch(_KEY, name) else [*wrong, f"name part {unlike}"]


def label_value(text: str) -> list[str]:
    """Return the validation errors of the value of a label."""
    wrong = _length_errors(text, _LONGEST_LABEL)
    if re.fullmatch(f"({_KEY})?", text):
        return wrong
    rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    return [*wrong, _format_error(f"{rule} {_ENDS}", f"({_KEY})?", "MyValue", "my_value", "12345")]


def config_key(text: str) -> list[str]:
    """Return the validation errors of a key of a config map or a secret."""
    wrong = _length_errors(text, _LONGEST_SUBDOMAIN)
    if not re.fullmatch(_CONFIG_KEY, text):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        wrong.append(_format_error(rule, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if text in (".", ".."):
        return [*wrong, f"must not be '{text}'"]
    return [*wrong, "must not start with '..'"] if text.startswith("..") else wrong


def variable(text: str) -> list[str]:
    """Return the validation errors of an environment variable's name: since 1.32 almost every name is valid."""
    if text.isascii() and text.isprintable() and "=" not in text:
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def port_name(text: str) -> list[str]:
    """Return the validation errors of the name of a port."""
    wrong = _length_errors(text, _LONGEST_PORT)
    rules = (
        (re.fullmatch("[-a-z0-9]+", text), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        (re.search("[a-z]", text), "must contain at least one letter (a-z)"),
        ("--" not in text, "must not contain consecutive hyphens"),
        (not text.startswith("-") and not text.endswith("-"), "must not begin or end with a hyphen"),
    )
    return wrong + [rule for kept, rule in rules if not kept]


def percent(text: str) -> list[str]:
    """Return the validation errors of a percentage."""
    if re.fullmatch(_PERCENT, text):
        return []
    rule = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_format_error(rule, _PERCENT, "1%", "93%")]


def checked(path: str, text: str, grammar: Grammar) -> Iterator[Cause]:
    """Yield the errors of a text by a grammar."""
    for wrong in grammar(text):
        yield invalid(path, text, wrong)


def labels(path: str, by_key: Document) -> Iterator[Cause]:
    """Yield the validation errors of labels."""
    for key, value in by_key.items():
        yield from checked(path, key, label_key)
        yield from checked(path, value, label_value)


def selector(path: str, label_selector: Document) -> Iterator[Cause]:
    """Yield the validation errors of a label selector."""
    yield from labels(f"{path}.matchLabels", label_selector.get("matchLabels", {}))
    for index, expression in enumerate(label_selector.get("matchExpressions", ())):
        where = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values")
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(f"{where}.values", text)
        else:
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")
        yield from checked(f"{where}.key", expression.get("key", ""), label_key)
        for at, value in enumerate(values or ()):
            yield from checked(f"{where}.values[{at}]", value, label_value)


def metadata(kind: Kind, document: Document, old: Document | None, grammar: Grammar) -> Iterator[Cause]:
    """Yield the validation errors of an object's metadata."""
    fields = document["metadata"]
    if old is None:
        prefix = fields.get("generateName")
        if prefix:
            masked = f"{prefix[:-1]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
            yield from (invalid("metadata.generateName", prefix, wrong) for wrong in grammar(masked))
        if fields.get("name"):
            yield from checked("metadata.name", fields["name"], grammar)
        else:
            yield required("metadata.name", "name or generateName is required")
        if not kind.namespaced and fields.get("namespace"):
            yield forbidden("metadata.namespace", "not allowed on this type")
    else:
        yield from _updated(fields, old["metadata"])
    yield from labels("metadata.labels", fields.get("labels", {}))
    yield from annotated("metadata.annotations", fields.get("annotations", {}))
    yield from _owners(fields.get("ownerReferences", []))
    for index, name in enumerate(fields.get("finalizers", ())):
        # For custom resources the server accepts any label key: KEDA's is `finalizer.keda.sh`.
        if "/" not in name and name not in _STANDARD_FINALIZERS and not kind.custom:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", name, text)
        yield from checked("metadata.finalizers", name, label_key)


def annotated(path: str, by_key: Document) -> Iterator[Cause]:
    """Yield the validation errors of annotations: their keys and their total size."""
    for key in by_key:
        yield from (invalid(path, key, wrong) for wrong in label_key(key.lower()))
    if sum(len(key.encode()) + len(value.encode()) for key, value in by_key.items()) > _ANNOTATION_BYTES:
        yield too_long(path, _ANNOTATION_BYTES)


def _updated(new: Document, old: Document) -> Iterator[Cause]:
    for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        yield from unchanged(f"metadata.{name}", new.get(name), old.get(name))
    if old.get("deletionTimestamp"):
        added = sorted(set(new.get("finalizers", ())) - set(old.get("finalizers", ())))
        if added:
            listed = ", ".join(f'"{name}"' for name in added)
            text = "no new finalizers can be added if the object is being deleted, found new finalizers"
            yield forbidden("metadata.finalizers", f"{text} []string{{{listed}}}")


def _owners(owners: list[Document]) -> Iterator[Cause]:
    path = "metadata.ownerReferences"
    controller = ""
    for owner in owners:
        for name, label in (("apiVersion", "version "), ("kind", ""), ("name", ""), ("uid", "")):
            if not owner.get(name):
                yield invalid(f"{path}.{name}", "", f"{label}must not be empty")
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            yield invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            named = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                text = 'Only one reference can have Controller set to true. Found "true" in references for'
                yield invalid(path, owners, f"{text} {controller} and {named}")
            controller = controller or named


def supported(path: str, value: Any, *values: str) -> Iterator[Cause]:
    """Yield the cause where a value is unsupported or not set."""
    if value not in values:
        yield not_supported(path, value or "", values)


def _length_errors(text: str, most: int) -> list[str]:
    return [f"must be no more than {most} bytes"] if len(text.encode()) > most else []


def _format_error(rule: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {listed}regex used for validation is '{pattern}')"
