"""Access to a cluster's API: authentication, impersonation and authorization of requests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rehearsal_cloud.kubernetes.auth import default_roles, escalation, reviews
from rehearsal_cloud.kubernetes.auth.authentication import Authentication
from rehearsal_cloud.kubernetes.auth.authorizer import Authorizer
from rehearsal_cloud.kubernetes.auth.rbac import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    Attributes,
    Decision,
    User,
    service_account_groups,
    service_account_of,
)
from rehearsal_cloud.kubernetes.auth.service_tokens import ServiceTokens
from rehearsal_cloud.kubernetes.failures import Failure

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

__all__ = ["Access", "Attributes", "Decision", "User"]
_EXTRA = "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"
_NODE, _MASTERS = "system:node:", "system:masters"
_CONSTRAINED = 36
"""Since 1.36 constrained impersonation is on by default: https://github.com/kubernetes/kubernetes/pull/137609"""


class Access:
    """Authenticates and authorizes the requests of one cluster."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._authorizer = Authorizer(cluster)
        self.tokens = ServiceTokens(cluster)
        self._authentication = Authentication(cluster.cloud.entra, self.tokens)

    def prepare(self) -> None:
        """Create the default roles and bindings, and bind the cluster's administrator groups."""
        profile = self._cluster.document["properties"].get("aadProfile") or {}
        default_roles.reconcile(self._cluster.objects, profile.get("adminGroupObjectIDs") or [])

    def authenticate(self, headers: Headers, request: Attributes) -> User:
        """Return the user of a request, or the impersonated user. Raises Failure (401, 403)."""
        user = self._authentication.user(headers.get("authorization", ""), self._cluster.document)
        return self._impersonated(user, headers, request)

    def require(self, user: User, attributes: Attributes) -> None:
        """Raise Failure (403) with the API server's message unless the user is allowed to do this."""
        if failure := self._refusal(user, [attributes]):
            raise failure

    def _refusal(self, user: User, required: list[Attributes]) -> Failure | None:
        """Return the failure for the first of these that the user is not allowed to do."""
        for attributes in required:
            decision = self._authorizer.authorize(user, attributes)
            if not decision.allowed:
                return denied(user, attributes, decision)
        return None

    def check_escalation(self, user: User, document: Document, old: Document | None) -> None:
        """Raise Failure (403, 404) where the write of a role or binding would escalate privileges."""
        escalation.check(self._authorizer, self._cluster.kinds, user, document, old)

    def review(self, user: User, document: Document, namespace: str = "") -> Document:
        """Answer a review of `authorization.k8s.io` or `authentication.k8s.io`. Raises Failure (400, 422)."""
        return reviews.review(self._authorizer, self.tokens, user, document, namespace)

    def _impersonated(self, user: User, headers: Headers, request: Attributes) -> User:
        name, groups = headers.get("impersonate-user", ""), tuple(headers.getlist("impersonate-group"))
        extra: dict[str, tuple[str, ...]] = {}
        for header, value in headers.items():
            if header.startswith(_EXTRA):
                key = unquote(header.removeprefix(_EXTRA))
                extra[key] = (*extra.get(key, ()), value)
        uid = headers.get("impersonate-uid", "")
        if not name:
            if groups or extra or uid:
                listed = ", ".join(name for name in headers if name.startswith("impersonate-"))
                raise Failure(500, "InternalError", f"Internal error occurred: requested [{listed}] without a user")
            return user
        account = service_account_of(name)
        mode = "user-info" if account is None else "serviceaccount"
        if name.startswith(_NODE) or _MASTERS in groups or (account is not None and (groups or extra or uid)):
            mode = ""
        required = [_impersonate("users", name)]
        if account is not None:
            required = [Attributes("impersonate", resource="serviceaccounts", namespace=account[0], name=account[1])]
            groups = groups or service_account_groups(account[0])[:2]
        required += [_impersonate("groups", group) for group in headers.getlist("impersonate-group")]
        required += [
            Attributes("impersonate", _AUTHENTICATION, "v1", "userextras", subresource=key, name=value)
            for key, values in extra.items()
            for value in values
        ]
        if uid:
            required.append(Attributes("impersonate", _AUTHENTICATION, "v1", "uids", name=uid))
        ways = [required]
        if mode and self._cluster.minor >= _CONSTRAINED:
            ways.insert(0, _constrained(mode, required, request))
        refusals = [refusal for way in ways if (refusal := self._refusal(user, way))]
        if len(refusals) == len(ways):
            raise refusals[0]
        everyone = UNAUTHENTICATED if name == ANONYMOUS else AUTHENTICATED
        return User(name, uid, groups if everyone in groups else (*groups, everyone), extra)


def denied(user: User, attributes: Attributes, decision: Decision) -> Failure:
    """Return the API server's failure for a denied request."""
    text = attributes.denial(user)
    text = f"{text}: {decision.reason}" if decision.reason else text
    if attributes.path:
        return Failure(403, "Forbidden", f"forbidden: {text}", {})
    resource = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    named = f'{resource} "{attributes.name}"' if attributes.name else resource
    details = {"name": attributes.name, "group": attributes.group, "kind": attributes.resource}
    return Failure(
        403, "Forbidden", f"{named} is forbidden: {text}", {key: value for key, value in details.items() if value}
    )


def _constrained(mode: str, required: list[Attributes], request: Attributes) -> list[Attributes]:
    """Return what it takes to impersonate a user or a service account for this request alone.

    In the order in which mode.go of k8s.io/apiserver/pkg/endpoints/filters/impersonation asks; the modes of nodes are
    not among it.
    """
    whom = [replace(each, verb=f"impersonate:{mode}", group=_AUTHENTICATION, version="v1") for each in required]
    return [replace(request, verb=f"impersonate-on:{mode}:{request.verb}"), *whom]


def _impersonate(resource: str, name: str) -> Attributes:
    return Attributes("impersonate", resource=resource, name=name)
