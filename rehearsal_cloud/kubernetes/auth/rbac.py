"""RBAC: the rules that a user holds through roles and bindings, and their evaluation.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/; the texts are those of kube-apiserver.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rehearsal_cloud.kubernetes.failures import aggregate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rehearsal_cloud.documents import Document

GROUP = "rbac.authorization.k8s.io"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"
MASTERS = "system:masters"
SERVICE_ACCOUNTS = "system:serviceaccounts"
_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class User:
    """The user of a request, as the API server sees them."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def document(self) -> Document:
        """Return the user as reviews show them: `authentication.k8s.io/v1` UserInfo."""
        shown: Document = {"username": self.name}
        if self.uid:
            shown["uid"] = self.uid
        if self.groups:
            shown["groups"] = list(self.groups)
        if self.extra:
            shown["extra"] = {key: list(values) for key, values in self.extra.items()}
        return shown


def service_account_name(namespace: str, name: str) -> str:
    """Return the user name of a service account."""
    return f"{_SERVICE_ACCOUNT}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    """Return the groups that every service account of the namespace is in."""
    return SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED


def service_account_of(username: str) -> tuple[str, str] | None:
    """Return namespace and name of a user name's service account, or None."""
    namespace, _, name = username.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return (namespace, name) if username.startswith(_SERVICE_ACCOUNT) and namespace and name else None


@dataclass(frozen=True)
class Attributes:
    """The attributes of a request: on a resource, or (where `path` is set) on a non-resource path.

    `verb` is Kubernetes' own: get, list, watch, create, update, patch, delete, deletecollection, or a special one.
    For a `path` it is the HTTP method in lower case.
    """

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""

    @property
    def whole_resource(self) -> str:
        """Return the resource with its subresource, as a rule names it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def denial(self, user: User) -> str:
        """Return the API server's message when `user` is not allowed to do this."""
        if self.path:
            return f'User "{user.name}" cannot {self.verb} path "{self.path}"'
        place = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        refusal = f'cannot {self.verb} resource "{self.whole_resource}" in API group "{self.group}"'
        return f'User "{user.name}" {refusal} {place}'


@dataclass(frozen=True)
class Decision:
    """Whether a request is allowed, and why; a denial usually has no reason."""

    allowed: bool
    reason: str = ""


class Roles(Protocol):
    """The source of roles and bindings: the objects of a cluster."""

    def get(self, kind: str, name: str, namespace: str = "") -> Document | None:
        """Return the object, or None."""

    def list(self, kind: str, namespace: str = "") -> list[Document]:
        """Return the objects of a kind, in one namespace or in all."""


@dataclass(frozen=True)
class Grant:
    """A rule that a user holds; `source` names the binding."""

    rule: Document
    source: str


class Rbac:
    """Evaluates the roles and bindings of a cluster."""

    def __init__(self, objects: Roles) -> None:
        self._objects = objects

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        """Return whether a rule that the user holds allows what is wanted."""
        missing: list[str] = []
        for grant in self.grants(user, attributes.namespace, missing):
            if allows(grant.rule, attributes):
                return Decision(allowed=True, reason=f"RBAC: allowed by {grant.source}")
        return Decision(allowed=False, reason=f"RBAC: {aggregate(missing)}" if missing else "")

    def grants(self, user: User, namespace: str, missing: list[str]) -> Iterator[Grant]:
        """Yield the rules that the user holds in the namespace ("" for the cluster).

        For bindings to roles that do not exist, the API server's error is added to `missing`.
        """
        bindings = [("ClusterRoleBinding", binding) for binding in self._objects.list("ClusterRoleBinding")]
        if namespace:
            bindings += [("RoleBinding", binding) for binding in self._objects.list("RoleBinding", namespace)]
        for kind, binding in bindings:
            subject = next((item for item in binding.get("subjects") or [] if _is_subject(user, item, namespace)), None)
            if subject is None:
                continue
            reference = binding["roleRef"]
            role = self.role(reference, namespace)
            if role is None:
                missing.append(absent(reference))
                continue
            name = binding["metadata"]["name"]
            where = name if kind == "ClusterRoleBinding" else f"{name}/{namespace}"
            source = (
                f'{kind} "{where}" of {reference["kind"]} "{reference["name"]}" to {_described(subject, namespace)}'
            )
            for rule in role.get("rules") or []:
                yield Grant(rule, source)

    def role(self, reference: Mapping[str, Any], namespace: str) -> Document | None:
        """Return the role that a binding's `roleRef` names, or None."""
        place = namespace if reference["kind"] == "Role" else ""
        return self._objects.get(reference["kind"], reference["name"], place)


def absent(reference: Mapping[str, Any]) -> str:
    """Return the API server's text for a role that does not exist."""
    return f'{reference["kind"].lower()}.{GROUP} "{reference["name"]}" not found'


def _is_subject(user: User, subject: Mapping[str, Any], namespace: str) -> bool:
    match subject["kind"]:
        case "User":
            return bool(user.name == subject["name"])
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            place = subject.get("namespace") or namespace
            return bool(place) and user.name == service_account_name(place, subject["name"])
    return False


def _described(subject: Mapping[str, Any], namespace: str) -> str:
    name = subject["name"]
    if subject["kind"] == "ServiceAccount":
        name = f"{name}/{subject.get('namespace') or namespace}"
    return f'{subject["kind"]} "{name}"'


def allows(rule: Mapping[str, Any], attributes: Attributes) -> bool:
    """Tell whether a rule covers the request."""
    if not _has(rule.get("verbs"), attributes.verb):
        return False
    if attributes.path:
        return any(_path_matches(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or [])
    names = rule.get("resourceNames") or []
    return (
        _has(rule.get("apiGroups"), attributes.group)
        and _has_resource(rule.get("resources"), attributes.whole_resource)
        and (not names or attributes.name in names)
    )


def _has(granted: list[str] | None, value: str) -> bool:
    return granted is not None and ("*" in granted or value in granted)


def _has_resource(granted: list[str] | None, resource: str) -> bool:
    _, _, subresource = resource.partition("/")
    return _has(granted, resource) or (bool(subresource) and f"*/{subresource}" in (granted or []))


def _path_matches(granted: str, path: str) -> bool:
    return granted in ("*", path) or (granted.endswith("*") and path.startswith(granted.rstrip("*")))


# Escalation


def uncovered(held: list[Document], requested: list[Document]) -> list[Document]:
    """Return the parts of the requested rules that no held rule covers, each for a verb on a resource or path."""
    parts = [part for rule in requested for part in _parts(rule)]
    return [part for part in parts if not any(_covers(rule, part) for rule in held)]


def _parts(rule: Mapping[str, Any]) -> Iterator[Document]:
    verbs, names = rule.get("verbs") or [], rule.get("resourceNames") or []
    for group, resource, verb in itertools.product(rule.get("apiGroups") or [], rule.get("resources") or [], verbs):
        part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        yield from ({**part, "resourceNames": [name]} for name in names) if names else [part]
    for path, verb in itertools.product(rule.get("nonResourceURLs") or [], verbs):
        yield {"nonResourceURLs": [path], "verbs": [verb]}


def _covers(rule: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    if not _has(rule.get("verbs"), part["verbs"][0]):
        return False
    if "nonResourceURLs" in part:
        return any(_path_matches(pattern, part["nonResourceURLs"][0]) for pattern in rule.get("nonResourceURLs") or [])
    names, requested = rule.get("resourceNames") or [], part.get("resourceNames") or []
    return (
        _has(rule.get("apiGroups"), part["apiGroups"][0])
        and _has_resource(rule.get("resources"), part["resources"][0])
        and (not names or (bool(requested) and requested[0] in names))
    )


def compacted(rules: list[Document]) -> list[Document]:
    """Return the rules, merged where they differ only in their verbs."""
    by_key: dict[tuple[str, ...], Document] = {}
    for rule in rules:
        key = tuple(f"{name}={rule[name]}" for name in sorted(rule) if name != "verbs")
        if key in by_key:
            by_key[key]["verbs"] = [*by_key[key]["verbs"], *rule["verbs"]]
        else:
            by_key[key] = dict(rule)
    return list(by_key.values())


def described(rule: Mapping[str, Any]) -> str:
    """Return a rule in the API server's short form."""
    shown = (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    )
    return "{" + ", ".join(f"{label}:{quoted(rule[name])}" for label, name in shown if rule.get(name)) + "}"


def quoted(words: Iterable[str]) -> str:
    """Return strings as Go's `%q` prints a list of them."""
    return "[" + " ".join(f'"{word}"' for word in words) + "]"
