"""Rules of the configurations of admission webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.validation.causes import duplicate, invalid, required
from rehearsal_cloud.kubernetes.objects.validation.names import supported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_REVIEWS = ("v1", "v1beta1")
_SEGMENTS = 3
_LONGEST_SECONDS = 30
_HIGHEST_PORT = 65535


def webhook_configuration(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of either kind (pkg/apis/admissionregistration/validation/validation.go)."""
    names: list[str] = []
    for index, webhook in enumerate(document.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", webhook.get("name", "")
        if len(name.split(".")) < _SEGMENTS:
            yield invalid(f"{path}.name", name, "should be a domain with at least three segments separated by dots")
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.append(name)
        for number, rule in enumerate(webhook.get("rules") or ()):
            yield from _rule(f"{path}.rules[{number}]", rule)
        yield from _webhook(path, webhook)


def _webhook(path: str, webhook: Document) -> Iterator[Cause]:
    yield from supported(f"{path}.failurePolicy", webhook["failurePolicy"], "Fail", "Ignore")
    yield from supported(f"{path}.matchPolicy", webhook["matchPolicy"], "Equivalent", "Exact")
    if effects := webhook.get("sideEffects"):
        yield from supported(f"{path}.sideEffects", effects, "None", "NoneOnDryRun")
    else:
        yield required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    seconds = webhook["timeoutSeconds"]
    if not 1 <= seconds <= _LONGEST_SECONDS:
        text = "the timeout value must be between 1 and 30 seconds"
        yield invalid(f"{path}.timeoutSeconds", seconds, text)
    if "reinvocationPolicy" in webhook:
        yield from supported(f"{path}.reinvocationPolicy", webhook["reinvocationPolicy"], "IfNeeded", "Never")
    client = webhook.get("clientConfig") or {}
    if ("url" in client) == ("service" in client):
        yield required(f"{path}.clientConfig", "exactly one of url or service is required")
    elif "service" in client:
        yield from _service(f"{path}.clientConfig.service", client["service"])
    reviews = webhook.get("admissionReviewVersions") or []
    if not reviews:
        yield required(f"{path}.admissionReviewVersions", f"must specify one of {', '.join(_REVIEWS)}")
    elif not set(reviews) & set(_REVIEWS):
        text = f"must include at least one of {', '.join(_REVIEWS)}"
        yield invalid(f"{path}.admissionReviewVersions", reviews, text)


def _service(path: str, service: Document) -> Iterator[Cause]:
    for field in ("name", "namespace"):
        if not service.get(field):
            yield required(f"{path}.{field}", f"service {field} is required")
    if not 1 <= service["port"] <= _HIGHEST_PORT:
        yield invalid(f"{path}.port", service["port"], "port is not valid: must be between 1 and 65535, inclusive")
    if not service.get("path", "/").startswith("/"):
        yield invalid(f"{path}.path", service["path"], "must start with a '/'")


def _rule(path: str, rule: Document) -> Iterator[Cause]:
    words = (("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions"))
    for field, word in words:
        yield from _names(f"{path}.{field}", rule.get(field) or [], word)
    for index, operation in enumerate(rule.get("operations") or ()):
        yield from supported(f"{path}.operations[{index}]", operation, "*", "CONNECT", "CREATE", "DELETE", "UPDATE")
    resources = rule.get("resources") or []
    if not resources:
        yield required(f"{path}.resources")
    elif "*/*" in resources and len(resources) > 1:
        yield invalid(f"{path}.resources", resources, "if '*/*' is present, must not specify other resources")
    yield from supported(f"{path}.scope", rule["scope"], "*", "Cluster", "Namespaced")


def _names(path: str, names: list[Any], word: str) -> Iterator[Cause]:
    if not names:
        yield required(path)
    elif "*" in names and len(names) > 1:
        yield invalid(path, names, f"if '*' is present, must not specify other {word}")
