"""Reviews: access and token reviews, answered and not stored.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.auth.rbac import Attributes, User
from rehearsal_cloud.kubernetes.auth.service_tokens import InvalidToken
from rehearsal_cloud.kubernetes.failures import Cause, Failure, aggregate, bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.auth.authorizer import Authorizer
    from rehearsal_cloud.kubernetes.auth.service_tokens import ServiceTokens

_INVALID = "FieldValueInvalid"


def review(
    authorizer: Authorizer, tokens: ServiceTokens, user: User, document: Document, namespace: str = ""
) -> Document:
    """Return the document with its answer. Raises Failure: 400 or 422 for an invalid review."""
    spec = document.get("spec") or {}
    match document["kind"]:
        case "SelfSubjectReview":
            status = {"userInfo": user.document()}
        case "TokenReview":
            status = _token_review(tokens, _token(spec), spec.get("audiences") or [])
        case "SelfSubjectRulesReview":
            document, status = {**document, "spec": {}}, _rules(authorizer, user, spec)
        case "SelfSubjectAccessReview":
            status = _access(authorizer, user, _attributes(spec, []))
        case "SubjectAccessReview":
            status = _access(authorizer, _subject(spec), _attributes(spec, _subject_causes(spec)))
        case _:
            status = _access(authorizer, _subject(spec), _local(document, spec, namespace))
    metadata = {"creationTimestamp": None, **(document.get("metadata") or {})}
    return {**document, "metadata": metadata, "status": status}


def _token_review(tokens: ServiceTokens, token: str, audiences: Sequence[str]) -> Document:
    try:
        user, served = tokens.verify(token, audiences)
    except InvalidToken as error:
        return {"user": {}, "error": str(error)}
    return {"authenticated": True, "user": user.document(), "audiences": served}


def _access(authorizer: Authorizer, subject: User, attributes: Attributes) -> Document:
    decision = authorizer.authorize(subject, attributes)
    return {"allowed": decision.allowed} | ({"reason": decision.reason} if decision.reason else {})


def _rules(authorizer: Authorizer, user: User, spec: Document) -> Document:
    if not spec.get("namespace"):
        raise bad_request("no namespace on request")
    missing: list[str] = []
    rules = [grant.rule for grant in authorizer.rbac.grants(user, spec["namespace"], missing)]
    fields = ("verbs", "apiGroups", "resources", "resourceNames")
    status: Document = {
        "resourceRules": [
            {key: rule[key] for key in fields if rule.get(key)} for rule in rules if rule.get("resources")
        ],
        "nonResourceRules": [
            {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
            for rule in rules
            if rule.get("nonResourceURLs")
        ],
        "incomplete": authorizer.incomplete,
    }
    return status | ({"evaluationError": aggregate(missing)} if missing else {})


def _subject(spec: Document) -> User:
    extra = {key.lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), extra)


def _subject_causes(spec: Document) -> list[Cause]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [Cause(_INVALID, "spec.user", 'Invalid value: "": at least one of user or group must be specified')]


def _local(document: Document, spec: Document, namespace: str) -> Attributes:
    attributes = spec.get("resourceAttributes") or {}
    review_namespace = (document.get("metadata") or {}).get("namespace", "")
    if review_namespace and review_namespace != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    causes = _subject_causes(spec)
    if attributes and attributes.get("namespace", "") != namespace:
        text = f'Invalid value: "{attributes.get("namespace", "")}": must match metadata.namespace'
        causes.append(Cause(_INVALID, "spec.resourceAttributes.namespace", text))
    if spec.get("nonResourceAttributes"):
        text = f"Invalid value: {_shown(spec)}: disallowed on this kind of request"
        causes.append(Cause(_INVALID, "spec.nonResourceAttributes", text))
    return _attributes(spec, causes)


def _attributes(spec: Document, causes: list[Cause]) -> Attributes:
    """Return the attributes to review. Raises Failure (422) with the causes and those of the attributes."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource and path:
        text = f"Invalid value: {_shown(spec)}: cannot be specified in combination with resourceAttributes"
        causes = [Cause(_INVALID, "spec.nonResourceAttributes", text), *causes]
    if not resource and not path:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes = [Cause(_INVALID, "spec.resourceAttributes", f"Invalid value: null: {text}"), *causes]
    if causes:
        raise _invalid(causes)
    if path:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    fields = ("verb", "group", "version", "resource", "subresource", "name", "namespace")
    return Attributes(**{field: (resource or {}).get(field, "") for field in fields})


def _shown(spec: Document) -> str:
    # The server's own type has no names for JSON: its fields keep Go's.
    path, verb = (spec["nonResourceAttributes"].get(field, "") for field in ("path", "verb"))
    return json.dumps({"Path": path, "Verb": verb}, separators=(",", ":"))


def _invalid(causes: list[Cause]) -> Failure:
    # The server leaves the kind out of these texts.
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    text = f'.authorization.k8s.io "" is invalid: {aggregate(str(cause) for cause in causes)}'
    return Failure(422, "Invalid", text, {"group": "authorization.k8s.io", "causes": listed})


def _token(spec: Document) -> str:
    token: str = spec.get("token") or ""
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    return token
