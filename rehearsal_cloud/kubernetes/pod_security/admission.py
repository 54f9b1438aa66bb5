"""PodSecurity admission: refuses pods that break their namespace's standard, warns of templates that would.

After https://github.com/kubernetes/pod-security-admission/blob/master/admission/admission.go. Nothing is exempt, as in
the admission plugin's defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.failures import forbidden, invalid
from rehearsal_cloud.kubernetes.objects.pod_templates import pod_template
from rehearsal_cloud.kubernetes.pod_security.policy import policy_of
from rehearsal_cloud.kubernetes.pod_security.violations import containers

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.pod_security.policy import Standard
    from rehearsal_cloud.kubernetes.pod_security.violations import Violation
    from rehearsal_cloud.kubernetes.state import ClusterState


def review(cluster: ClusterState, new: Document, old: Document | None) -> list[str]:
    """Return the warnings about an object that is stored. Raises Failure (403) for a pod, (422) for labels."""
    kind = new["kind"]
    if kind == "Namespace":
        return _review_namespace(cluster, new, old)
    _, template = pod_template(new)
    if template is None or (kind == "Pod" and old is not None and not _changed(new, old)):
        return []
    policy, _ = policy_of(cluster.objects.get("Namespace", new["metadata"]["namespace"]) or {"metadata": {}})
    if kind == "Pod" and (violations := policy.enforce.violations(new, cluster.minor)):
        why = f'violates PodSecurity "{policy.enforce}": {_listed(violations)}'
        raise forbidden(cluster.kinds.named("Pod"), new["metadata"]["name"], why)
    violations = policy.warn.violations(template, cluster.minor)
    return [f'would violate PodSecurity "{policy.warn}": {_listed(violations)}'] if violations else []


def _review_namespace(cluster: ClusterState, new: Document, old: Document | None) -> list[str]:
    policy, wrong = policy_of(new)
    before, wrong_before = policy_of(old) if old else (policy, [])
    if wrong and wrong != wrong_before:
        raise invalid(cluster.kinds.named("Namespace"), new["metadata"]["name"], wrong)
    enforce = policy.enforce
    relaxed = enforce.version == before.enforce.version and enforce.rank <= before.enforce.rank
    return [] if enforce.level == "privileged" or relaxed else _existing(cluster, new["metadata"]["name"], enforce)


def _existing(cluster: ClusterState, namespace: str, enforce: Standard) -> list[str]:
    """Return the warnings about the pods of a namespace that a stricter standard would refuse."""
    names: dict[str, list[str]] = {}
    for pod in cluster.objects.list("Pod", namespace):
        if violations := enforce.violations(pod, cluster.minor):
            reasons = ", ".join(violation.reason for violation in violations)
            names.setdefault(reasons, []).append(pod["metadata"]["name"])
    if not names:
        return []
    head = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{enforce}"'
    return [head, *sorted(f"{min(listed)}{_more(len(listed) - 1)}: {reasons}" for reasons, listed in names.items())]


def _more(count: int) -> str:
    return f" (and {count} other pod{'s' if count > 1 else ''})" if count else ""


def _changed(new: Document, old: Document) -> bool:
    """Tell whether an update of a pod is of interest: of its containers, only the images can change."""
    return [container["image"] for container in containers(new)] != [
        container["image"] for container in containers(old)
    ]


def _listed(violations: list[Violation]) -> str:
    return ", ".join(map(str, violations))
