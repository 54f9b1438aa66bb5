"""Rules of deployments, replica sets, stateful sets and daemon sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.objects.selectors import matches_selector
from rehearsal_cloud.kubernetes.objects.validation import pods
from rehearsal_cloud.kubernetes.objects.validation.causes import (
    forbidden,
    invalid,
    not_negative,
    not_supported,
    required,
    unchanged,
)
from rehearsal_cloud.kubernetes.objects.validation.names import selector, supported
from rehearsal_cloud.kubernetes.objects.validation.scaling import share
from rehearsal_cloud.kubernetes.objects.validation.storage import claim_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.failures import Cause

_STATEFUL_SET_FREE = (
    "minReadySeconds", "ordinals", "persistentVolumeClaimRetentionPolicy", "replicas", "revisionHistoryLimit",
    "template", "updateStrategy",
)  # fmt: skip


def deployment(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a deployment."""
    spec = document["spec"]
    yield from not_negative("spec.replicas", spec["replicas"])
    yield from _selected("deployment", spec)
    yield from _template(spec)
    yield from _strategy(spec)
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    deadline = spec["progressDeadlineSeconds"]
    yield from not_negative("spec.progressDeadlineSeconds", deadline)
    if deadline <= spec.get("minReadySeconds", 0):
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    if old:
        yield from unchanged("spec.selector", spec.get("selector"), old["spec"].get("selector"))


def replica_set(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a replica set."""
    spec = document["spec"]
    yield from not_negative("spec.replicas", spec["replicas"])
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from _selected("deployment", spec)
    yield from _template(spec)
    if old:
        yield from unchanged("spec.selector", spec.get("selector"), old["spec"].get("selector"))


def daemon_set(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a daemon set."""
    spec = document["spec"]
    yield from _selected("daemonset", spec)
    yield from _template(spec)
    yield from supported("spec.updateStrategy", spec["updateStrategy"]["type"], "RollingUpdate", "OnDelete")
    if old:
        yield from unchanged("spec.selector", spec.get("selector"), old["spec"].get("selector"))


def stateful_set(document: Document, old: Document | None) -> Iterator[Cause]:
    """Yield the validation errors of a stateful set."""
    spec = document["spec"]
    policy, strategy = spec["podManagementPolicy"], spec["updateStrategy"]
    if policy not in ("OrderedReady", "Parallel"):
        yield invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    if strategy["type"] not in ("RollingUpdate", "OnDelete"):
        yield invalid("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'")
    yield from not_negative("spec.replicas", spec["replicas"])
    yield from _selected("statefulset", spec)
    yield from _template(spec)
    for index, claim in enumerate(spec.get("volumeClaimTemplates", ())):
        yield from claim_spec(f"spec.volumeClaimTemplates[{index}].spec", claim["spec"])
    if old and _without(spec, _STATEFUL_SET_FREE) != _without(old["spec"], _STATEFUL_SET_FREE):
        free = "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit',"
        free += " 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
        yield forbidden("spec", f"updates to statefulset spec for fields other than {free} are forbidden")


def template_labels(spec: Document) -> Iterator[Cause]:
    """Yield the cause where the spec's selector does not match the template's labels."""
    labels = spec["template"]["metadata"].get("labels", {})
    if not matches_selector(spec["selector"], labels):
        yield invalid("spec.template.metadata.labels", labels or None, "`selector` does not match template `labels`")


def _selected(name: str, spec: Document) -> Iterator[Cause]:
    path, label_selector = "spec.selector", spec.get("selector")
    if label_selector is None:
        yield required(path)
        labels = spec["template"]["metadata"].get("labels")
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        return
    wrong = list(selector(path, label_selector))
    yield from wrong
    if wrong:
        yield invalid(path, label_selector, "invalid label selector")
    elif not label_selector:
        yield invalid(path, label_selector, f"empty selector is invalid for {name}")
    else:
        yield from template_labels(spec)


def _template(spec: Document) -> Iterator[Cause]:
    path = "spec.template"
    yield from pods.template(path, spec["template"])
    policy = spec["template"]["spec"]["restartPolicy"]
    if policy in ("OnFailure", "Never"):
        yield not_supported(f"{path}.spec.restartPolicy", policy, ["Always"])
    if "activeDeadlineSeconds" in spec["template"]["spec"]:
        yield forbidden(f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")


def _strategy(spec: Document) -> Iterator[Cause]:
    path, strategy = "spec.strategy", spec["strategy"]
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate":
        if rolling is not None:
            yield forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif strategy["type"] != "RollingUpdate":
        yield not_supported(path, strategy, ["Recreate", "RollingUpdate"])
    elif rolling is not None:
        surge, unavailable = rolling["maxSurge"], rolling["maxUnavailable"]
        yield from (cause for cause in share(f"{path}.rollingUpdate.maxSurge", surge) if "100%" not in cause.message)
        yield from share(f"{path}.rollingUpdate.maxUnavailable", unavailable)
        if surge in (0, "0%") and unavailable in (0, "0%"):
            text = "may not be 0 when `maxSurge` is 0"
            yield invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, text)


def _without(spec: Document, names: tuple[str, ...]) -> Document:
    return {name: value for name, value in spec.items() if name not in names}
