"""Rules of pods and of pod templates."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.validation import containers, volumes
from rehearsal_cloud.kubernetes.objects.validation.causes import forbidden, in_range, invalid, not_supported, required
from rehearsal_cloud.kubernetes.objects.validation.names import (
    annotated,
    checked,
    dns_label,
    dns_subdomain,
    label_key,
    labels,
    selector,
    supported,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_MOST = 2**31 - 1
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_UPDATABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a pod."""
    spec = document["spec"]
    if old:
        yield from _updated(spec, old["spec"])
        return
    yield from pod_spec("spec", spec)
    if spec.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(spec.get("volumes", ())):
            for at, source in enumerate(volume.get("projected", {}).get("sources", ())):
                if "serviceAccountToken" in source:
                    path = f"spec.volumes[{index}].projected.sources[{at}].serviceAccountToken"
                    yield forbidden(path, "must not be specified when serviceAccountName is not set")


def ephemeral_containers(new: Document, old: Document) -> list[Cause]:
    """Return the validation errors of a pod to which containers for debugging are added.

    Those that are there stay as they are: ValidatePodEphemeralContainersUpdate in pkg/apis/core/validation.
    """
    path, wrong = "spec.ephemeralContainers", list(containers.ephemeral("spec", new["spec"]))
    kept = {container["name"]: container for container in new["spec"].get("ephemeralContainers", ())}
    for container in old["spec"].get("ephemeralContainers", ()):
        name = container["name"]
        if name not in kept:
            wrong.append(forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif kept[name] != container:
            wrong.append(forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n'))
    return wrong


def template(path: str, pod_template: Document) -> Iterator[Cause]:
    """Yield the validation errors of a pod template."""
    yield from labels(f"{path}.labels", pod_template["metadata"].get("labels", {}))
    yield from annotated(f"{path}.annotations", pod_template["metadata"].get("annotations", {}))
    yield from pod_spec(f"{path}.spec", pod_template["spec"])


def pod_spec(path: str, spec: Document) -> Iterator[Cause]:
    """Yield the validation errors of a pod's spec."""
    yield from volumes.volumes(f"{path}.volumes", spec.get("volumes", []))
    yield from containers.containers(path, spec)
    yield from supported(f"{path}.restartPolicy", spec["restartPolicy"], "Always", "OnFailure", "Never")
    policies = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    yield from supported(f"{path}.dnsPolicy", spec["dnsPolicy"], *policies)
    yield from labels(f"{path}.nodeSelector", spec.get("nodeSelector", {}))
    yield from _security(f"{path}.securityContext", spec["securityContext"])
    yield from _affinity(f"{path}.affinity", spec.get("affinity", {}))
    for index, constraint in enumerate(spec.get("topologySpreadConstraints", ())):
        yield from _spread(f"{path}.topologySpreadConstraints[{index}]", constraint)
    if spec.get("serviceAccountName"):
        yield from checked(f"{path}.serviceAccountName", spec["serviceAccountName"], dns_subdomain)
    if spec.get("nodeName"):
        yield from checked(f"{path}.nodeName", spec["nodeName"], dns_subdomain)
    yield from in_range(f"{path}.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), 1, _MOST)
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            yield from checked(f"{path}.{name}", spec[name], dns_label)
    for index, toleration in enumerate(spec.get("tolerations", ())):
        yield from _toleration(f"{path}.tolerations[{index}]", toleration)
    if spec.get("priorityClassName"):
        yield from checked(f"{path}.priorityClassName", spec["priorityClassName"], dns_subdomain)


def _security(path: str, context: Document) -> Iterator[Cause]:
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        yield from in_range(f"{path}.{name}", context.get(name), 0, _MOST)
    for index, group in enumerate(context.get("supplementalGroups", ())):
        yield from in_range(f"{path}.supplementalGroups[{index}]", group, 0, _MOST)
    yield from containers.seccomp(f"{path}.seccompProfile", context.get("seccompProfile"))


def _affinity(path: str, affinity: Document) -> Iterator[Cause]:
    node = affinity.get("nodeAffinity", {})
    needed = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    where = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    if needed is not None and not needed.get("nodeSelectorTerms"):
        yield required(where, "must have at least one node selector term")
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind, {})
        for name in (
            "requiredDuringSchedulingIgnoredDuringExecution",
            "preferredDuringSchedulingIgnoredDuringExecution",
        ):
            for index, rule in enumerate(rules.get(name, ())):
                at, term = f"{path}.{kind}.{name}[{index}]", rule
                if name.startswith("preferred"):
                    yield from in_range(f"{at}.weight", rule.get("weight"), 1, 100)
                    at, term = f"{at}.podAffinityTerm", rule.get("podAffinityTerm", {})
                yield from selector(f"{at}.labelSelector", term.get("labelSelector", {}))
                if not term.get("topologyKey"):
                    yield required(f"{at}.topologyKey", "can not be empty")


def _spread(path: str, constraint: Document) -> Iterator[Cause]:
    if constraint.get("maxSkew", 0) <= 0:
        yield invalid(f"{path}.maxSkew", constraint.get("maxSkew", 0), "must be greater than zero")
    if not constraint.get("topologyKey"):
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from checked(f"{path}.topologyKey", constraint["topologyKey"], label_key)
    yield from supported(
        f"{path}.whenUnsatisfiable", constraint.get("whenUnsatisfiable"), "DoNotSchedule", "ScheduleAnyway"
    )
    yield from selector(f"{path}.labelSelector", constraint.get("labelSelector", {}))


def _toleration(path: str, toleration: Document) -> Iterator[Cause]:
    key, operator, effect = toleration.get("key", ""), toleration.get("operator", ""), toleration.get("effect", "")
    if key:
        yield from checked(f"{path}.key", key, label_key)
    elif operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid(f"{path}.operator", operator, text)
    if "tolerationSeconds" in toleration and effect != "NoExecute":
        yield invalid(f"{path}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if operator == "Exists":
        if toleration.get("value"):
            yield invalid(f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'")
    elif operator not in ("", "Equal"):
        yield not_supported(f"{path}.operator", operator, ["Equal", "Exists"])
    if effect and effect not in _EFFECTS:
        yield not_supported(f"{path}.effect", effect, _EFFECTS)


def _updated(new: Document, old: Document) -> Iterator[Cause]:
    for name in ("containers", "initContainers"):
        if len(new.get(name, ())) != len(old.get(name, ())):
            yield forbidden(f"spec.{name}", "pod updates may not add or remove containers")
            return
    allowed = copy.deepcopy(new)
    for name in ("containers", "initContainers"):
        for container, old_container in zip(allowed.get(name, ()), old.get(name, ()), strict=True):
            container["image"] = old_container.get("image")
    for name in ("activeDeadlineSeconds", "terminationGracePeriodSeconds"):
        allowed.pop(name, None)
    kept = {name: value for name, value in old.items() if name in allowed or name == "tolerations"}
    if all(toleration in new.get("tolerations", ()) for toleration in old.get("tolerations", ())):
        allowed.pop("tolerations", None)
        kept.pop("tolerations", None)
    removed = [name for name in old if name not in new and name not in ("activeDeadlineSeconds", "tolerations")]
    if removed or allowed != kept:
        yield forbidden("spec", _UPDATABLE)
