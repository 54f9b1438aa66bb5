"""Admission webhooks that nobody answers: they refuse what is created, unless that is ignored; others are not called.

After https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook and
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import Failure
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects

_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_PORT = 443


def check(objects: Objects, document: Document) -> None:
    """Raise Failure (500) where a webhook is to see a new object, and its service is missing or has no ready pod."""
    if document["kind"] in _KINDS:  # so that a broken one can be mended
        return
    for kind in _KINDS:
        for configuration in objects.list(kind):
            for webhook in configuration.get("webhooks") or ():
                if webhook["failurePolicy"] == "Fail" and _sees(objects, webhook, document):
                    _require_service(objects, webhook)


def _sees(objects: Objects, webhook: Document, document: Document) -> bool:
    kind, metadata = objects.kinds.of(document), document["metadata"]
    version = document["apiVersion"].rpartition("/")[2]
    if not any(
        {"CREATE", "*"} & set(rule.get("operations") or ())
        and {kind.group, "*"} & set(rule.get("apiGroups") or ())
        and {version, "*"} & set(rule.get("apiVersions") or ())
        and {kind.plural, "*", "*/*"} & set(rule.get("resources") or ())
        for rule in webhook.get("rules") or ()
    ):
        return False
    namespace = objects.get("Namespace", metadata["namespace"]) if metadata.get("namespace") else None
    labels = (namespace or {}).get("metadata", {}).get("labels") or {}
    selected = namespace is None or matches_selector(webhook["namespaceSelector"], labels)
    return selected and matches_selector(webhook["objectSelector"], metadata.get("labels") or {})


def _require_service(objects: Objects, webhook: Document) -> None:
    if (service := webhook["clientConfig"].get("service")) is None:
        return
    name, namespace = service["name"], service["namespace"]
    if objects.get("Service", name, namespace) is None:
        reason = f'service "{name}" not found'
    elif any(_is_ready(each) for each in objects.list("EndpointSlice", namespace) if _is_of(each, name)):
        return
    else:
        reason = f'no endpoints available for service "{name}"'
    url = f"https://{name}.{namespace}.svc:{service.get('port', _PORT)}{service.get('path') or '/'}"
    called = f'Post "{url}?timeout={webhook["timeoutSeconds"]}s": {reason}'
    error = f'failed calling webhook "{webhook["name"]}": failed to call webhook: {called}'
    raise Failure(500, "InternalError", f"Internal error occurred: {error}", {"causes": [{"message": error}]})


def _is_of(endpoint_slice: Document, service: str) -> bool:
    return (endpoint_slice["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service


def _is_ready(endpoint_slice: Document) -> bool:
    endpoints = endpoint_slice.get("endpoints") or ()
    return any((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints)
