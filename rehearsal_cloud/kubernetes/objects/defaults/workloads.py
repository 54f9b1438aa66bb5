"""Defaults of the groups apps, batch and autoscaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.objects.defaults import core, pods
from rehearsal_cloud.kubernetes.objects.defaults.pods import fill

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_MOST = 2**31 - 1
_PERIOD = 15
_SCALE_UP: Document = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": _PERIOD},
        {"type": "Percent", "value": 100, "periodSeconds": _PERIOD},
    ],
}
_SCALE_DOWN: Document = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": _PERIOD}],
}


def deployment(document: Document) -> None:
    """Set a deployment's replicas, strategy, deadlines and the defaults of its template."""
    spec = document.setdefault("spec", {})
    fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    pods.template(spec.setdefault("template", {}))


def replica_set(document: Document) -> None:
    """Set a replica set's replicas and the defaults of its template."""
    spec = document.setdefault("spec", {})
    fill(spec, replicas=1)
    pods.template(spec.setdefault("template", {}))


def stateful_set(document: Document) -> None:
    """Set a stateful set's policies and the defaults of its template and claims."""
    spec = document.setdefault("spec", {})
    fill(spec, podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        fill(strategy["rollingUpdate"], partition=0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    fill(retention, whenDeleted="Retain", whenScaled="Retain")
    for claim in spec.get("volumeClaimTemplates", ()):
        fill(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        core.persistent_volume_claim(claim)
    pods.template(spec.setdefault("template", {}))


def daemon_set(document: Document) -> None:
    """Set a daemon set's strategy and the defaults of its template."""
    spec = document.setdefault("spec", {})
    fill(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    pods.template(spec.setdefault("template", {}))


def job(document: Document) -> None:
    """Set a job's counts and modes, its selector (by the job's own uid) and the defaults of its template."""
    spec = document.setdefault("spec", {})
    _job_spec(spec)
    labels = spec["template"]["metadata"].get("labels", {})
    if not spec["manualSelector"] and document["metadata"].get("uid"):
        generated = generated_labels(document)
        labels = spec["template"]["metadata"]["labels"] = generated | labels
        key = "batch.kubernetes.io/controller-uid"
        spec.setdefault("selector", {}).setdefault("matchLabels", {}).setdefault(key, generated[key])
    # The server also defaults objects that it reads from its store, so a job also inherits its generated labels.
    if labels and not document["metadata"].get("labels"):
        document["metadata"]["labels"] = dict(labels)


def generated_labels(document: Document) -> dict[str, str]:
    """Return the labels that select a job's pods, unless the job has a manual selector."""
    labels = {"controller-uid": document["metadata"]["uid"], "job-name": document["metadata"]["name"]}
    return {**{f"batch.kubernetes.io/{name}": value for name, value in labels.items()}, **labels}


def cron_job(document: Document) -> None:
    """Set a cron job's policies and the defaults of its template."""
    spec = document.setdefault("spec", {})
    fill(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    pods.template(spec.setdefault("jobTemplate", {}).setdefault("spec", {}).setdefault("template", {}))


def horizontal_pod_autoscaler(document: Document) -> None:
    """Set an autoscaler's minimum, its metric and its unset scaling rules."""
    spec = document.setdefault("spec", {})
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    fill(spec, minReplicas=1)
    if not spec.get("metrics"):
        spec["metrics"] = [{"type": "Resource", "resource": cpu}]
    if "behavior" in spec:
        rules: dict[str, Any] = {"scaleUp": _SCALE_UP, "scaleDown": _SCALE_DOWN}
        spec["behavior"] = {name: {**rule, **spec["behavior"].get(name, {})} for name, rule in rules.items()}


def _job_spec(spec: Document) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    limit = _MOST if "backoffLimitPerIndex" in spec else 6
    policy = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    fill(
        spec,
        parallelism=1,
        backoffLimit=limit,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy=policy,
    )
    pods.template(spec.setdefault("template", {}))
