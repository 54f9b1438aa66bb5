"""Rules of RBAC, priority classes and custom resource definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation.causes import forbidden, invalid, required, unchanged
from rehearsal_cloud.kubernetes.objects.validation.names import dns_subdomain, supported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_RBAC = "rbac.authorization.k8s.io"
_HIGHEST_PRIORITY = 1_000_000_000
_SYSTEM_PRIORITIES = ("system-cluster-critical", "system-node-critical")


def role(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a role."""
    for index, rule in enumerate(document.get("rules") or ()):
        yield from _rule(f"rules[{index}]", rule, namespaced=True)


def cluster_role(document: Document, _old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a cluster role."""
    for index, rule in enumerate(document.get("rules") or ()):
        yield from _rule(f"rules[{index}]", rule, namespaced=False)


def role_binding(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a role binding."""
    yield from _binding(document, old, "Role", "ClusterRole")


def cluster_role_binding(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a cluster role binding."""
    yield from _binding(document, old, "ClusterRole")


def priority_class(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a priority class."""
    name, value = document["metadata"]["name"], document.get("value", 0)
    if name.startswith("system-"):
        if name not in _SYSTEM_PRIORITIES:
            text = "priority class names with 'system-' prefix are reserved for system use only. error:"
            yield forbidden("metadata.name", f"{text} {name} is not a known system priority class")
    elif value > _HIGHEST_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}"
        yield forbidden("value", text)
    yield from supported("preemptionPolicy", document["preemptionPolicy"], "PreemptLowerPriority", "Never")
    if old:
        if value != old.get("value", 0):
            yield forbidden("value", "may not be changed in an update.")
        yield from unchanged("preemptionPolicy", document["preemptionPolicy"], old["preemptionPolicy"])


def custom_resource_definition(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a custom resource definition: what it takes to serve it."""
    spec = document["spec"]
    names = spec["names"]
    expected = f"{names.get('plural', '')}.{spec.get('group', '')}"
    if document["metadata"]["name"] != expected:
        text = 'must be spec.names.plural+"."+spec.group'
        yield invalid("metadata.name", document["metadata"]["name"], text)
    for name in ("plural", "singular", "kind", "listKind"):
        if not names.get(name):
            yield required(f"spec.names.{name}")
        else:
            yield from (invalid(f"spec.names.{name}", names[name], text) for text in dns_subdomain(names[name].lower()))
    yield from supported("spec.scope", spec.get("scope"), "Cluster", "Namespaced")
    versions = spec.get("versions", [])
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        yield invalid("spec.versions", versions, text)
    for index, version in enumerate(versions):
        if "openAPIV3Schema" not in version.get("schema", {}):
            text = "schemas are required"
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema", text)
    if old:
        for name in ("group", "scope"):
            yield from unchanged(f"spec.{name}", spec.get(name), old["spec"].get(name))
        for name in ("plural", "kind"):
            yield from unchanged(f"spec.names.{name}", names.get(name), old["spec"]["names"].get(name))


def _rule(path: str, rule: Document, *, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        urls = rule["nonResourceURLs"]
        if namespaced:
            yield invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid(f"{path}.nonResourceURLs", urls, text)
        return
    for name, label in (("apiGroups", "api group"), ("resources", "resource")):
        if not rule.get(name):
            yield required(f"{path}.{name}", f"resource rules must supply at least one {label}")


def _binding(document: Document, old: Document | None, *kinds: str) -> Iterator[Cause]:
    reference = document["roleRef"]
    yield from supported("roleRef.apiGroup", reference.get("apiGroup"), _RBAC)
    yield from supported("roleRef.kind", reference.get("kind"), *kinds)
    if not reference.get("name"):
        yield required("roleRef.name")
    for index, subject in enumerate(document.get("subjects", ())):
        yield from _subject(f"subjects[{index}]", subject, namespaced="Role" in kinds)
    if old and reference != old["roleRef"]:
        yield invalid("roleRef", reference, "cannot change roleRef")


def _subject(path: str, subject: Document, *, namespaced: bool) -> Iterator[Cause]:
    if not subject.get("name"):
        yield required(f"{path}.name")
    kind, group = subject.get("kind"), subject.get("apiGroup", "")
    if kind == "ServiceAccount":
        if subject.get("name"):
            yield from (invalid(f"{path}.name", subject["name"], text) for text in dns_subdomain(subject["name"]))
        if group:
            yield from supported(f"{path}.apiGroup", group, "")
        if not namespaced and not subject.get("namespace"):
            yield required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        yield from supported(f"{path}.apiGroup", group, _RBAC)
    else:
        yield from supported(f"{path}.kind", kind, "ServiceAccount", "User", "Group")
