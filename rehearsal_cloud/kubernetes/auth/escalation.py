"""Escalation: users may not grant permissions that they do not hold themselves.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.auth.rbac import GROUP, MASTERS, Attributes, compacted, described, quoted, uncovered
from rehearsal_cloud.kubernetes.failures import forbidden, not_found

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.auth.authorizer import Authorizer
    from rehearsal_cloud.kubernetes.auth.rbac import User
    from rehearsal_cloud.kubernetes.objects.kinds import Kinds

_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")
_ALL = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]


def check(authorizer: Authorizer, kinds: Kinds, user: User, document: Document, old: Document | None) -> None:
    """Raise Failure (403, or 404 for a missing role) where the write of a role or binding escalates privileges."""
    if MASTERS in user.groups or (old is not None and _lasting(document) == _lasting(old)):
        return
    if document["kind"] in _ROLES:
        _check_role(authorizer, kinds, user, document, old)
    elif document["kind"] in _BINDINGS:
        _check_binding(authorizer, kinds, user, document)


def _check_role(authorizer: Authorizer, kinds: Kinds, user: User, document: Document, old: Document | None) -> None:
    kind, metadata = kinds.named(document["kind"]), document["metadata"]
    attributes = Attributes(
        "escalate", GROUP, "v1", kind.plural, name=metadata["name"], namespace=metadata.get("namespace", "")
    )
    if authorizer.authorize(user, attributes).allowed:
        return
    _confirm(authorizer, kinds, user, document, document.get("rules") or [])
    aggregated = document.get("aggregationRule") or (old or {}).get("aggregationRule")
    if aggregated and uncovered(_held(authorizer, user, ""), _ALL):
        raise forbidden(kind, metadata["name"], "must have cluster-admin privileges to use the aggregationRule")


def _check_binding(authorizer: Authorizer, kinds: Kinds, user: User, document: Document) -> None:
    reference, namespace = document["roleRef"], document["metadata"].get("namespace", "")
    kind = kinds.named(reference["kind"])
    attributes = Attributes("bind", GROUP, "v1", kind.plural, name=reference["name"], namespace=namespace)
    if authorizer.authorize(user, attributes).allowed:
        return
    role = authorizer.rbac.role(reference, namespace)
    if role is None:
        # It names the binding's kind and the role: measured with 1.36 for a RoleBinding, believed of the cluster's.
        raise not_found(kinds.named(document["kind"]), reference["name"])
    _confirm(authorizer, kinds, user, document, role.get("rules") or [])


def _lasting(document: Document) -> Document:
    """Return the document without the deletion metadata, which the garbage collector may write to any role."""
    passing = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")
    kept = {key: value for key, value in document["metadata"].items() if key not in passing}
    return {**document, "metadata": kept}


def _confirm(authorizer: Authorizer, kinds: Kinds, user: User, document: Document, rules: list[Document]) -> None:
    metadata = document["metadata"]
    lacking = compacted(uncovered(_held(authorizer, user, metadata.get("namespace", "")), rules))
    if not lacking:
        return
    text = (
        f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions not currently'
        " held:\n" + "\n".join(sorted(described(rule) for rule in lacking))
    )
    raise forbidden(kinds.named(document["kind"]), metadata["name"], text)


def _held(authorizer: Authorizer, user: User, namespace: str) -> list[Document]:
    return [grant.rule for grant in authorizer.rbac.grants(user, namespace, [])]
