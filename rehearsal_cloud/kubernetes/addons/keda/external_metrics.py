"""KEDA's external metrics, which the autoscaler of a ScaledObject reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.addons.keda.scalers import scalers
from rehearsal_cloud.kubernetes.controllers.autoscalers import MetricFailed
from rehearsal_cloud.kubernetes.controllers.owners import controller_of

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects


class ExternalMetrics:
    """The external metrics of a cluster; scalers trust the certificates in the file `authorities`."""

    def __init__(self, objects: Objects, authorities: Path) -> None:
        self._objects = objects
        self._authorities = authorities

    async def value(self, autoscaler: Document, target: Document, name: str) -> Decimal:
        """Return the metric's current value. Raises MetricFailed."""
        owner, namespace = controller_of(autoscaler), autoscaler["metadata"]["namespace"]
        scaled = self._objects.get("ScaledObject", owner["name"], namespace) if owner else None
        built = scalers(self._objects, scaled, target, self._authorities) if scaled else []
        scaler = next((scaler for scaler in built if scaler.metric == name), None)
        if scaler is None:
            raise MetricFailed(f"unable to get external metric {namespace}/{name}: no matching metrics found")
        return await scaler.value()
