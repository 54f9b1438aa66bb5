"""The horizontal pod autoscaler: sets replicas from external metrics, between a minimum and a maximum.

The algorithm: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details
Metrics come from KEDA's scalers; it does not read those of pods, so a CPU or memory target reports a failed metric.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Protocol

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import key_of
from rehearsal_cloud.kubernetes.controllers.timestamps import stamp
from rehearsal_cloud.kubernetes.objects.objects import Write
from rehearsal_cloud.kubernetes.quantities import amount, canonical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event
    from rehearsal_cloud.kubernetes.state import ClusterState

_SYNC_SECONDS = 15.0
_STABILIZATION_SECONDS = 300
_TOLERANCE = 0.1
_FEWEST_ADDED = 4


class MetricFailed(Exception):
    """A metric has no value; the message is the autoscaler's event."""


class ExternalMetrics(Protocol):
    """What serves the external metrics of a cluster: KEDA."""

    async def value(self, autoscaler: Document, target: Document, name: str) -> Decimal:
        """Return the value of one of the autoscaler's metrics now. Raises MetricFailed."""


class Autoscalers(Controller):
    """Keeps the scale of each autoscaler's target."""

    component = "horizontal-pod-autoscaler"
    watches: ClassVar[tuple[str, ...]] = ("HorizontalPodAutoscaler",)

    def __init__(self, cluster: ClusterState, external_metrics: ExternalMetrics) -> None:
        super().__init__(cluster)
        self._external_metrics = external_metrics
        self._recommended: dict[Key, deque[tuple[float, int]]] = {}

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the autoscaler when it is new or its spec has changed."""
        if event.type == "DELETED":
            self._recommended.pop(key_of(event.document), None)
        elif event.previous is None or event.previous["spec"] != event.document["spec"]:
            yield key_of(event.document)

    async def reconcile(self, key: Key) -> float | None:
        """Measure, decide and scale every 15 seconds, the real controller's sync period."""
        namespace, name = key
        autoscaler = self.objects.get("HorizontalPodAutoscaler", name, namespace)
        if autoscaler is None or "deletionTimestamp" in autoscaler["metadata"]:
            return None
        reference = autoscaler["spec"]["scaleTargetRef"]
        target = self.objects.get(reference["kind"], reference["name"], namespace)
        if target is None:
            resource = self.cluster.kinds.named(reference["kind"]).resource
            text = f'{resource} "{reference["name"]}" not found'
            text = f"the HPA controller was unable to get the target's current scale: {text}"
            self._report(autoscaler, {}, ("AbleToScale", "False", "FailedGetScale", text))
            self.recorder.warning(autoscaler, "FailedGetScale", text)
            return _SYNC_SECONDS
        able = (
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        if target["spec"]["replicas"] == 0:
            text = "scaling is disabled since the replica count of the target is zero"
            self._report(autoscaler, self._counts(target, 0), able, ("ScalingActive", "False", "ScalingDisabled", text))
            return _SYNC_SECONDS
        least, most = autoscaler["spec"].get("minReplicas", 1), autoscaler["spec"]["maxReplicas"]
        if not least <= target["spec"]["replicas"] <= most:  # decided without metrics, as `reconcileAutoscaler` does
            above = target["spec"]["replicas"] > most
            why = f"Current number of replicas {'above' if above else 'below'} Spec.M{'ax' if above else 'in'}Replicas"
            self._scale(autoscaler, target, most if above else least, why)
            return _SYNC_SECONDS
        if ambiguous := self._ambiguous(autoscaler):
            self._report(
                autoscaler, self._counts(target, 0), able, ("ScalingActive", "False", "AmbiguousSelector", ambiguous)
            )
            self.recorder.warning(autoscaler, "AmbiguousSelector", ambiguous)
            return _SYNC_SECONDS
        try:
            measured = [
                await self._measure(autoscaler, target, metric) for metric in autoscaler["spec"].get("metrics") or ()
            ]
        except MetricFailed as fault:
            reason = "FailedGetExternalMetric"
            text = f"the HPA was unable to compute the replica count: {fault}"
            self._report(autoscaler, self._counts(target, 0), able, ("ScalingActive", "False", reason, text))
            self.recorder.warning(autoscaler, reason, str(fault))
            return _SYNC_SECONDS
        self._rescale(key, autoscaler, measured)
        return _SYNC_SECONDS

    def _ambiguous(self, autoscaler: Document) -> str:
        """Return what is said of an autoscaler whose pods another one scales, too; neither of them does then."""
        namespace, reference = autoscaler["metadata"]["namespace"], autoscaler["spec"]["scaleTargetRef"]
        every = self.objects.list("HorizontalPodAutoscaler", namespace)
        same = [each for each in every if each["spec"]["scaleTargetRef"]["name"] == reference["name"]]
        names = " ".join(f"{namespace}/{each['metadata']['name']}" for each in same)
        target = self.objects.get(reference["kind"], reference["name"], namespace) or {}
        labels = (target.get("spec", {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        return f"pods by selector {selector} are controlled by multiple HPAs: [{names}]" if len(same) > 1 else ""

    def _scale(self, autoscaler: Document, target: Document, desired: int, why: str) -> None:
        scale = Write(managed_as="scale")
        self.objects.update_as({**target, "spec": {**target["spec"], "replicas": desired}}, scale)
        self.recorder.normal(autoscaler, "SuccessfulRescale", f"New size: {desired}; reason: {why}")

    async def _measure(self, autoscaler: Document, target: Document, metric: Document) -> tuple[str, Decimal, int]:
        """Return a metric's name and value, and the replicas that it recommends. Raises MetricFailed."""
        if metric["type"] != "External":
            name = (metric.get("resource") or {}).get("name", metric["type"])
            raise MetricFailed(
                f"failed to get {name} utilization: unable to get metrics for resource {name}: unable to fetch metrics"
                " from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
            )
        name, goal = metric["external"]["metric"]["name"], metric["external"]["target"]
        value = await self._external_metrics.value(autoscaler, target, name)
        replicas = (target.get("status") or {}).get("replicas", 0) or target["spec"]["replicas"]
        if "averageValue" in goal:
            usage = float(value) / float(amount(goal["averageValue"]))
            ratio = usage / replicas
        else:
            ratio = float(value) / float(amount(goal["value"]))
            usage = ratio * replicas
        count = target["spec"]["replicas"] if abs(ratio - 1) <= _TOLERANCE else math.ceil(usage)
        return f"external metric {name}", value, count

    def _rescale(self, key: Key, autoscaler: Document, measured: list[tuple[str, Decimal, int]]) -> None:
        """Scale the target, which may have changed while its metrics were measured."""
        namespace, reference = autoscaler["metadata"]["namespace"], autoscaler["spec"]["scaleTargetRef"]
        target = self.objects.get(reference["kind"], reference["name"], namespace)
        current_autoscaler = self.objects.get("HorizontalPodAutoscaler", autoscaler["metadata"]["name"], namespace)
        if target is None or current_autoscaler is None or target["spec"]["replicas"] == 0:
            return
        autoscaler, spec = current_autoscaler, current_autoscaler["spec"]
        current = target["spec"]["replicas"]
        why, _, proposed = max(measured, key=lambda measurement: measurement[2])
        stable = self._stabilized(key, spec, current, proposed)
        fastest = max(current * 2, current + _FEWEST_ADDED)
        least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
        desired = max(least, min(stable, most, fastest))
        limited = _limited(stable, least, most, fastest)
        if desired != current:
            reason = f"{why} above target" if desired > current else "All metrics below target"
            self._scale(autoscaler, target, desired, reason)
            text = f"the HPA controller was able to update the target scale to {desired}"
            able = ("AbleToScale", "True", "SucceededRescale", text)
        elif stable > proposed:
            text = "recent recommendations were higher than current one, applying the highest recent recommendation"
            able = ("AbleToScale", "True", "ScaleDownStabilized", text)
        else:
            able = ("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")
        text = f"the HPA was able to successfully calculate a replica count from {why}"
        active = ("ScalingActive", "True", "ValidMetricFound", text)
        status = self._counts(target, desired) | {"currentMetrics": _shown(spec, measured, current)}
        if desired != current:
            status["lastScaleTime"] = stamp()
        self._report(autoscaler, status, able, active, limited)

    def _stabilized(self, key: Key, spec: Document, current: int, proposed: int) -> int:
        """Return the highest recommendation of the scale-down stabilization window."""
        rules = (spec.get("behavior") or {}).get("scaleDown") or {}
        window = rules.get("stabilizationWindowSeconds")
        window = _STABILIZATION_SECONDS if window is None else window
        now = time.monotonic()
        # A newly started controller has no recommendations, so the current size counts as recommended.
        recent = self._recommended.setdefault(key, deque([(now, current)]))
        recent.append((now, proposed))
        while recent and recent[0][0] < now - window:
            recent.popleft()
        return max((count for _, count in recent), default=proposed) if proposed < current else proposed

    @staticmethod
    def _counts(target: Document, desired: int) -> Document:
        return {"currentReplicas": (target.get("status") or {}).get("replicas", 0), "desiredReplicas": desired}

    def _report(self, autoscaler: Document, changes: Document, *states: tuple[str, str, str, str]) -> None:
        status = autoscaler.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
        for kind, state, reason, message in states:
            before = pods.condition(autoscaler, kind)
            since = before["lastTransitionTime"] if before and before["status"] == state else stamp()
            conditions[kind] = {
                "type": kind,
                "status": state,
                "lastTransitionTime": since,
                "reason": reason,
                "message": message,
            }
        fresh = {"currentMetrics": None, **status, **changes, "conditions": list(conditions.values())}
        fresh["observedGeneration"] = autoscaler["metadata"].get("generation", 1)
        if fresh != status:
            self.objects.update_status({**autoscaler, "status": fresh})


def _limited(stable: int, least: int, most: int, fastest: int) -> tuple[str, str, str, str]:
    if stable < least:
        text = "the desired replica count is less than the minimum replica count"
        return "ScalingLimited", "True", "TooFewReplicas", text
    if stable > most:
        text = "the desired replica count is more than the maximum replica count"
        return "ScalingLimited", "True", "TooManyReplicas", text
    if stable > fastest:
        text = "the desired replica count is increasing faster than the maximum scale rate"
        return "ScalingLimited", "True", "ScaleUpLimit", text
    return "ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the acceptable range"


def _shown(spec: Document, measured: list[tuple[str, Decimal, int]], replicas: int) -> list[Document]:
    shown = []
    for metric, (_, value, _) in zip(spec["metrics"], measured, strict=True):
        average = "averageValue" in metric["external"]["target"]
        current = (
            {"averageValue": canonical(f"{value / replicas:.3f}")} if average else {"value": canonical(str(value))}
        )
        shown.append({"type": "External", "external": {"metric": metric["external"]["metric"], "current": current}})
    return shown
