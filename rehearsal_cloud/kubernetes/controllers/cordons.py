"""The node controller's taint of nodes that are cordoned: doNoScheduleTaintingPass in pkg/controller/nodelifecycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import key_of
from rehearsal_cloud.kubernetes.controllers.node_fit import CORDONED
from rehearsal_cloud.kubernetes.controllers.timestamps import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event


class Cordons(Controller):
    """Taints the nodes that `kubectl cordon` made unschedulable, and takes the taint from the others."""

    component = "node-controller"
    watches: ClassVar[tuple[str, ...]] = ("Node",)

    def keys(self, event: Event) -> Iterator[Key]:
        """Return the node."""
        yield key_of(event.document)

    async def reconcile(self, key: Key) -> None:
        """Add or remove the taint."""
        node = self.objects.get("Node", key[1])
        if node is None:
            return
        spec = node.get("spec") or {}
        taints = spec.get("taints") or []
        others = [taint for taint in taints if taint["key"] != CORDONED["key"]]
        if bool(spec.get("unschedulable")) is (len(others) < len(taints)):
            return
        if spec.get("unschedulable"):
            others.append({**CORDONED, "timeAdded": stamp()})
        kept = {name: value for name, value in spec.items() if name != "taints"}
        self.objects.update({**node, "spec": {**kept, **({"taints": others} if others else {})}})
