"""Escalation: nobody may grant through a role or a binding what they do not hold themselves.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.rehearsal.kubernetes.failures import forbidden, not_found
from airflowaks.rehearsal.kubernetes.rbac import (
    GROUP,
    MASTERS,
    Attributes,
    compacted,
    described,
    quoted,
    uncovered,
)

if TYPE_CHECKING:
    from airflowaks.rehearsal.kubernetes.access import Access
    from airflowaks.rehearsal.kubernetes.kinds import Kinds
    from airflowaks.rehearsal.kubernetes.rbac import User
    from airflowaks.rehearsal.store import Document

_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")
_ALL = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]


def check(access: Access, kinds: Kinds, user: User, document: Document, old: Document | None) -> None:
    """Raise Failure (403, or 404 for a role that is not there) where the write of a role or binding grants too much."""
    if MASTERS in user.groups:
        return
    if document["kind"] in _ROLES:
        _check_role(access, kinds, user, document, old)
    elif document["kind"] in _BINDINGS:
        _check_binding(access, kinds, user, document, old)


def _check_role(access: Access, kinds: Kinds, user: User, document: Document, old: Document | None) -> None:
    kind, metadata = kinds.named(document["kind"]), document["metadata"]
    wanted = Attributes(
        "escalate", GROUP, "v1", kind.plural, name=metadata["name"], namespace=metadata.get("namespace", "")
    )
    rules, aggregated = document.get("rules") or [], document.get("aggregationRule")
    unchanged = old is not None and rules == (old.get("rules") or []) and aggregated == old.get("aggregationRule")
    if unchanged or access.authorize(user, wanted).allowed:
        return
    _confirm(access, kinds, user, document, rules)
    if aggregated and uncovered(_held(access, user, ""), _ALL):
        raise forbidden(kind, metadata["name"], "must have cluster-admin privileges to use the aggregationRule")


def _check_binding(access: Access, kinds: Kinds, user: User, document: Document, old: Document | None) -> None:
    reference, namespace = document["roleRef"], document["metadata"].get("namespace", "")
    if old is not None and all(document.get(key) == old.get(key) for key in ("subjects", "roleRef")):
        return
    kind = kinds.named(reference["kind"])
    wanted = Attributes("bind", GROUP, "v1", kind.plural, name=reference["name"], namespace=namespace)
    if access.authorize(user, wanted).allowed:
        return
    role = access.rbac.role(reference, namespace)
    if role is None:
        raise not_found(kind, reference["name"])
    _confirm(access, kinds, user, document, role.get("rules") or [])


def _confirm(access: Access, kinds: Kinds, user: User, document: Document, rules: list[Document]) -> None:
    metadata = document["metadata"]
    lacking = compacted(uncovered(_held(access, user, metadata.get("namespace", "")), rules))
    if not lacking:
        return
    text = (
        f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions not currently'
        " held:\n" + "\n".join(sorted(described(one) for one in lacking))
    )
    raise forbidden(kinds.named(document["kind"]), metadata["name"], text)


def _held(access: Access, user: User, namespace: str) -> list[Document]:
    return [one.rule for one in access.rbac.grants(user, namespace, [])]
