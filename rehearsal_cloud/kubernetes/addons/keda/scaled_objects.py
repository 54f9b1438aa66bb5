"""KEDA's operator: polls the triggers of each ScaledObject, and scales its target from and to zero.

Between one and the maximum the HorizontalPodAutoscaler scales, which the operator creates. Polling interval and
cool-down period are the ScaledObject's, without the time scale. https://keda.sh/docs/latest/concepts/scaling-deployments/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.addons.keda import scaled_object_status as conditions
from rehearsal_cloud.kubernetes.addons.keda.scalers import Scaler, ScalerFailed, scalers
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import annotations_of, key_of, labels_of, with_metadata
from rehearsal_cloud.kubernetes.controllers.owners import reference_to
from rehearsal_cloud.kubernetes.controllers.timestamps import seconds_since, stamp
from rehearsal_cloud.kubernetes.objects.objects import Write
from rehearsal_cloud.kubernetes.quantities import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event

_FINALIZER = "finalizer.keda.sh"
_LABEL = "scaledobject.keda.sh/name"
_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
_POLLING_SECONDS = 30
_COOLDOWN_SECONDS = 300
_MOST_REPLICAS = 100
_LONGEST_LABEL = 63
_MANAGER = "keda"


class _InvalidScaledObject(Exception):
    """The ScaledObject is invalid."""


class ScaledObjects(Controller):
    """Keeps each ScaledObject's autoscaler and conditions, and scales its target from and to zero."""

    component = "keda-operator"
    watches: ClassVar[tuple[str, ...]] = ("ScaledObject", "HorizontalPodAutoscaler", "Deployment", "StatefulSet")

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the ScaledObject when its spec changed, or when its autoscaler or target was created or deleted."""
        document, kind = event.document, event.document["kind"]
        if kind == "ScaledObject":
            if event.previous is None or _asks(event.previous) != _asks(document):
                yield key_of(document)
        elif event.type != "MODIFIED":
            for scaled in self.objects.list("ScaledObject", document["metadata"]["namespace"]):
                if document["metadata"]["name"] in (scaled["spec"]["scaleTargetRef"]["name"], _autoscaler_name(scaled)):
                    yield key_of(scaled)

    async def reconcile(self, key: Key) -> float | None:
        """Validate the ScaledObject, keep its autoscaler, measure, scale; return the polling interval."""
        namespace, name = key
        scaled = self.objects.get("ScaledObject", name, namespace)
        if scaled is None:
            return None
        if "deletionTimestamp" in scaled["metadata"]:
            self._finalize(scaled)
            return None
        scaled = self._marked(scaled)
        try:
            target = self._target(scaled)
            built = scalers(self.objects, scaled, target, self.cluster.cloud.home.ca_file)
        except (_InvalidScaledObject, ScalerFailed) as fault:
            self._fail(scaled, str(fault))
            return float(scaled["spec"].get("pollingInterval", _POLLING_SECONDS))
        scaled = self._ready(scaled, target, built)
        if self._is_paused(scaled, target):
            return None
        self._keep_autoscaler(scaled, target, built)
        await self._poll(scaled, built)
        return float(scaled["spec"].get("pollingInterval", _POLLING_SECONDS))

    # Validation

    def _marked(self, scaled: Document) -> Document:
        labels = labels_of(scaled) | {_LABEL: scaled["metadata"]["name"][:_LONGEST_LABEL]}
        finalizers = scaled["metadata"].get("finalizers") or []
        finalizers = finalizers if _FINALIZER in finalizers else [*finalizers, _FINALIZER]
        return self.objects.update(with_metadata(scaled, labels=labels, finalizers=finalizers), manager=_MANAGER)

    def _target(self, scaled: Document) -> Document:
        reference, spec = scaled["spec"]["scaleTargetRef"], scaled["spec"]
        kind, namespace = reference.get("kind") or "Deployment", scaled["metadata"]["namespace"]
        target_kind = next(
            (
                kind_info
                for kind_info in self.cluster.kinds
                if kind_info.kind == kind and "scale" in kind_info.subresources
            ),
            None,
        )
        target = self.objects.get(kind, reference["name"], namespace) if target_kind else None
        if target_kind is None or target is None:
            resource = target_kind.resource if target_kind else kind
            text = "ScaledObject doesn't have correct scaleTargetRef specification"
            raise _InvalidScaledObject(f'{text}: {resource} "{reference["name"]}" not found')
        least, most = spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", _MOST_REPLICAS)
        text = "ScaledObject doesn't have correct Idle/Min/Max Replica Counts specification"
        if least > most:
            raise _InvalidScaledObject(f"{text}: MinReplicaCount={least} must be less than MaxReplicaCount={most}")
        if spec.get("idleReplicaCount") is not None and spec["idleReplicaCount"] >= least:
            idle = spec["idleReplicaCount"]
            raise _InvalidScaledObject(f"{text}: IdleReplicaCount={idle} must be less than MinReplicaCount={least}")
        return target

    def _ready(self, scaled: Document, target: Document, built: list[Scaler]) -> Document:
        status = scaled.get("status") or {}
        kind = self.cluster.kinds.of(target)
        triggers = ",".join(sorted({trigger["type"] for trigger in scaled["spec"]["triggers"]}))
        fresh = {
            **status,
            "scaleTargetKind": f"{kind.api_version}.{kind.kind}",
            "scaleTargetGVKR": {
                "group": kind.group,
                "version": kind.version,
                "kind": kind.kind,
                "resource": kind.plural,
            },
            "originalReplicaCount": status.get("originalReplicaCount", target["spec"]["replicas"]),
            "externalMetricNames": [scaler.metric for scaler in built],
            "hpaName": _autoscaler_name(scaled),
            "triggersTypes": triggers,
        }
        ready = conditions.ready(fresh)
        if conditions.state(status, "Ready") != conditions.state(ready, "Ready"):
            self.recorder.normal(scaled, "KEDAScalersStarted", "Started scalers watch")
            self.recorder.normal(scaled, "ScaledObjectReady", "ScaledObject is ready for scaling")
        return self._write(scaled, ready)

    def _fail(self, scaled: Document, message: str) -> None:
        self._write(scaled, conditions.failed(scaled.get("status") or {}, message))
        self.recorder.warning(scaled, "ScaledObjectCheckFailed", message)

    def _write(self, scaled: Document, status: Document) -> Document:
        if status == scaled.get("status"):
            return scaled
        current = self.objects.get("ScaledObject", scaled["metadata"]["name"], scaled["metadata"]["namespace"])
        if current is None or current["metadata"]["uid"] != scaled["metadata"]["uid"]:
            return scaled
        return self.objects.update_status({**current, "status": status}, manager=_MANAGER)

    def _finalize(self, scaled: Document) -> None:
        finalizers = scaled["metadata"].get("finalizers") or []
        if _FINALIZER not in finalizers:
            return
        original = (scaled.get("status") or {}).get("originalReplicaCount")
        if (scaled["spec"].get("advanced") or {}).get("restoreToOriginalReplicaCount") and original is not None:
            self._scale(scaled, original)
        self.recorder.normal(scaled, "KEDAScalersStopped", "Stopped scalers watch")
        self.recorder.normal(scaled, "ScaledObjectDeleted", "ScaledObject was deleted")
        kept = [name for name in finalizers if name != _FINALIZER]
        self.objects.update(with_metadata(scaled, finalizers=kept), manager=_MANAGER)

    # Pausing

    def _is_paused(self, scaled: Document, target: Document) -> bool:
        """Tell whether it is paused: it then has no autoscaler, and keeps its paused number of replicas."""
        annotations = annotations_of(scaled)
        replicas = annotations.get(_PAUSED_REPLICAS)
        paused = replicas is not None or annotations.get(_PAUSED, "false").lower() == "true"
        self._write(scaled, conditions.paused(scaled.get("status") or {}, paused=paused, replicas=replicas))
        if paused:
            namespace, name = scaled["metadata"]["namespace"], _autoscaler_name(scaled)
            if self.objects.get("HorizontalPodAutoscaler", name, namespace) is not None:
                self.objects.delete("HorizontalPodAutoscaler", name, namespace)
            if replicas is not None and target["spec"]["replicas"] != int(replicas):
                self._scale(scaled, int(replicas))
        return paused

    # Scaling

    def _keep_autoscaler(self, scaled: Document, target: Document, built: list[Scaler]) -> None:
        spec, metadata = scaled["spec"], scaled["metadata"]
        name, namespace = _autoscaler_name(scaled), metadata["namespace"]
        config = (spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
        selector = {"matchLabels": {_LABEL: metadata["name"][:_LONGEST_LABEL]}}
        autoscaler_spec = {
            "scaleTargetRef": {
                "apiVersion": target["apiVersion"],
                "kind": target["kind"],
                "name": target["metadata"]["name"],
            },
            "minReplicas": spec.get("minReplicaCount") or 1,
            "maxReplicas": spec.get("maxReplicaCount", _MOST_REPLICAS),
            "metrics": [_metric(scaler, selector) for scaler in built],
        } | ({"behavior": config["behavior"]} if config.get("behavior") else {})
        existing = self.objects.get("HorizontalPodAutoscaler", name, namespace)
        if existing is None:
            labels = {
                "app.kubernetes.io/name": name,
                "app.kubernetes.io/part-of": metadata["name"][:_LONGEST_LABEL],
                "app.kubernetes.io/managed-by": "keda-operator",
            }
            autoscaler = {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": labels_of(scaled) | labels,
                    "ownerReferences": [reference_to(scaled)],
                },
                "spec": autoscaler_spec,
            }
            self.objects.create(autoscaler, manager=_MANAGER)
        elif existing["spec"] != {**existing["spec"], **autoscaler_spec}:
            self.objects.update({**existing, "spec": {**existing["spec"], **autoscaler_spec}}, manager=_MANAGER)

    async def _poll(self, scaled: Document, built: list[Scaler]) -> None:
        active, failed = False, ""
        status = scaled.get("status") or {}
        for scaler in built:
            try:
                active = await scaler.value() > scaler.activation or active
                status = conditions.healthy(status, scaler.metric)
            except ScalerFailed as fault:
                failed = str(fault)
                status = conditions.unhealthy(status, scaler.metric)
                self.recorder.warning(scaled, "KEDAScalerFailed", failed)
        status = conditions.triggered(status, failed=bool(failed))
        target = self.objects.get(
            scaled["spec"]["scaleTargetRef"].get("kind") or "Deployment",
            scaled["spec"]["scaleTargetRef"]["name"],
            scaled["metadata"]["namespace"],
        )
        if target is None:
            return
        spec, current = scaled["spec"], target["spec"]["replicas"]
        least = spec.get("minReplicaCount", 0)
        resting = spec.get("idleReplicaCount", least)
        if active:
            status = conditions.active({**status, "lastActiveTime": stamp()}, "True")
            if current in (0, spec.get("idleReplicaCount")):
                self._scale(
                    scaled, max(least, 1), "KEDAScaleTargetActivated", "Scaled {}, triggered by postgresqlScaler"
                )
        elif current > resting and resting in (0, spec.get("idleReplicaCount")) and not failed:
            last = status.get("lastActiveTime")
            waits = last is not None and seconds_since(last) < spec.get("cooldownPeriod", _COOLDOWN_SECONDS)
            status = conditions.active(status, "Cooling" if waits else "False")
            if not waits:
                self._scale(scaled, resting, "KEDAScaleTargetDeactivated", "Deactivated {}")
        else:
            status = conditions.active(status, "False")
            if current < resting:
                self._scale(scaled, resting)
        self._write(scaled, status)

    def _scale(self, scaled: Document, replicas: int, reason: str = "", text: str = "") -> None:
        reference, namespace = scaled["spec"]["scaleTargetRef"], scaled["metadata"]["namespace"]
        target = self.objects.get(reference.get("kind") or "Deployment", reference["name"], namespace)
        if target is None or target["spec"]["replicas"] == replicas:
            return
        before = target["spec"]["replicas"]
        scale = Write(manager=_MANAGER, managed_as="scale")
        self.objects.update_as({**target, "spec": {**target["spec"], "replicas": replicas}}, scale)
        if reason:
            kind = f"{target['apiVersion']}.{target['kind']}"
            change = f"{kind} {namespace}/{reference['name']} from {before} to {replicas}"
            self.recorder.normal(scaled, reason, text.format(change))


def _asks(scaled: Document) -> tuple[object, ...]:
    """Return the part that the operator acts upon: not the status, which it writes itself."""
    metadata = scaled["metadata"]
    return scaled["spec"], metadata.get("annotations"), metadata.get("deletionTimestamp")


def _autoscaler_name(scaled: Document) -> str:
    config = (scaled["spec"].get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    return str(config.get("name") or f"keda-hpa-{scaled['metadata']['name']}")[:_LONGEST_LABEL]


def _metric(scaler: Scaler, selector: Document) -> Document:
    field = "averageValue" if scaler.metric_type == "AverageValue" else "value"
    target = {"type": scaler.metric_type, field: canonical(str(scaler.target))}
    metric = {"name": scaler.metric, "selector": selector}
    return {"type": "External", "external": {"metric": metric, "target": target}}
