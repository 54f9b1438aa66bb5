"""The controller that fills cluster roles with an `aggregationRule` from the roles that it selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.objects.selectors import matches_selector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.objects import Event


class RoleAggregation(Controller):
    """Keeps the rules of aggregated cluster roles: those of the selected roles, in the order of their names."""

    component = "clusterrole-aggregation-controller"
    watches = ("ClusterRole",)

    def keys(self, event: Event) -> Iterable[Key]:
        """Return all aggregated roles: a role's old or new labels may concern any of them."""
        del event
        return [(role["metadata"]["name"],) for role in self.objects.list("ClusterRole") if role.get("aggregationRule")]

    async def reconcile(self, key: Key) -> float | None:
        """Write the role's rules again where they differ."""
        role = self.objects.get("ClusterRole", *key)
        if role is None or not role.get("aggregationRule"):
            return None
        selectors = role["aggregationRule"].get("clusterRoleSelectors") or []
        rules: list[object] = []
        for other_role in self.objects.list("ClusterRole"):
            labels = other_role["metadata"].get("labels") or {}
            selected = any(matches_selector(selector, labels) for selector in selectors)
            if selected and other_role["metadata"]["name"] != role["metadata"]["name"]:
                rules += [rule for rule in other_role.get("rules") or [] if rule not in rules]
        if rules != (role.get("rules") or []):
            self.objects.update({**role, "rules": rules}, manager=self.component)
        return None
