"""The AKS cluster: what its tier brings with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.entra import Group
from airflowaks.azure.identities import ManagedIdentity
from airflowaks.azure.kubernetes_service import ManagedCluster
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.session import Session

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup


def test_long_term_support_comes_and_goes_with_the_tier(group: ResourceGroup) -> None:
    before = group.session

    def converged(tier: str) -> tuple[Action, str]:
        settings = before.environment.cluster.model_copy(update={"tier": tier})
        environment = before.environment.model_copy(update={"cluster": settings})
        session = Session(environment, "apply", before.connection)
        admins = Group(session, f"{group.name}-admins", "a test's")
        identity = ManagedIdentity(session, "cluster")
        cluster = ManagedCluster(session, identity=identity, admins=admins)
        *_, change = converge(session, admins, identity, cluster)
        return change.action, str(cluster.require("properties.supportPlan"))

    assert converged("Standard") == (Action.CREATE, "KubernetesOfficial")
    assert converged("Standard") == (Action.NONE, "KubernetesOfficial")
    assert converged("Premium") == (Action.UPDATE, "AKSLongTermSupport")
    assert converged("Premium") == (Action.NONE, "AKSLongTermSupport")
    assert converged("Free") == (Action.UPDATE, "KubernetesOfficial")
