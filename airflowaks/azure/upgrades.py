"""Upgrades as resources: the control plane, a node pool, a pool's node image, PostgreSQL's major version.

Each changes one thing of a resource of steps 1 and 3, which leave versions as they are, so that the machinery of all
resources plans, applies, resumes and repeats it. Sources: https://learn.microsoft.com/azure/aks/upgrade-aks-cluster,
https://learn.microsoft.com/azure/aks/upgrade-aks-node-pools-rolling, https://learn.microsoft.com/azure/aks/node-image-upgrade,
https://learn.microsoft.com/azure/postgresql/configure-maintain/concepts-major-version-upgrade
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmChild, rest
from airflowaks.azure.kubernetes_service import ManagedCluster, reaches
from airflowaks.azure.postgresql import FlexibleServer
from airflowaks.engine.resource import value_at
from airflowaks.errors import AirflowAksError, UpgradeBlocked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.engine.changes import Difference
    from airflowaks.engine.resource import Facts

_READY = "ready"
_USE = re.compile(r"usage has been detected on API ([^,]+), and was recently seen at: ([^,]+), which")


class ControlPlane(ManagedCluster):
    """The version of a cluster's control plane; its node pools keep theirs."""

    def outdated(self) -> tuple[Difference, ...]:
        """Return nothing: this is the upgrade."""
        return ()

    @property
    def version(self) -> str:
        """Return the version that the control plane runs, or nothing without a cluster."""
        return str(value_at(self.facts, "properties.currentKubernetesVersion") or "")

    @property
    def target(self) -> str:
        """Return the environment's version, or nothing where the control plane has reached it."""
        wanted = self.session.environment.cluster.kubernetes_version
        return "" if not self.version or reaches(self.version, wanted) else wanted

    def desired(self) -> Facts:
        """Return the version alone, and the identity, without which an update is refused."""
        version = self.target or value_at(self.facts, "properties.kubernetesVersion")
        return {"identity": super().desired()["identity"], "properties": {"kubernetesVersion": version}}

    def write(self, facts: Facts | None) -> None:
        """Upgrade the control plane. Raises UpgradeBlocked where an API is in use that the new version has not.

        AKS refuses for twelve hours: https://learn.microsoft.com/azure/aks/stop-cluster-upgrade-api-breaking-changes
        """
        from azure.core.exceptions import HttpResponseError

        try:
            super().write(facts)
        except HttpResponseError as error:
            if not (uses := _USE.findall(str(error))):
                raise
            apis = ", ".join(f"{api} (last used {when})" for api, when in uses)
            raise UpgradeBlocked(
                f"{self}: {self.target} has no longer what was used in the last twelve hours: {apis}.",
                "Move what uses it to a newer version of the API, and run 10_upgrade twelve hours later; or force it: "
                f"`az aks update --name {self.name} --resource-group {self.group} --enable-force-upgrade"
                " --upgrade-override-until …`.",
            ) from error

    def blocked(self) -> Iterator[str]:
        """Yield why the upgrade cannot be made: AKS's upgrade profile names the versions that are one step away."""
        if not self.target:
            return
        profile: Any = self.operations.get_upgrade_profile(*self.place, cls=rest)
        offered = [
            each["kubernetesVersion"] for each in value_at(profile, "properties.controlPlaneProfile.upgrades") or ()
        ]
        if not any(reaches(each, self.target) for each in offered):
            possible = ", ".join(offered) or "no version"
            yield f"{self.version} cannot be upgraded to {self.target} in one step, only to {possible}"


class PoolVersion(ArmChild):
    """The Kubernetes version of the environment's node pool: its nodes are replaced, with the newest image."""

    kind = "node pool"
    type = "agentPools"
    sdk = "clusters.agent_pools"
    parent: ControlPlane

    def fact_of(self, path: str) -> str:
        """Return the text of a property, or nothing."""
        return str(value_at(self.facts, f"properties.{path}") or "")

    @property
    def target(self) -> str:
        """Return the environment's version, or nothing where the pool has reached it."""
        wanted = self.session.environment.cluster.kubernetes_version
        return "" if not self.facts or reaches(self.fact_of("currentOrchestratorVersion"), wanted) else wanted

    def desired(self) -> Facts:
        """Return the version."""
        return {"properties": {"orchestratorVersion": self.target or self.fact_of("orchestratorVersion")}}

    def kept(self, facts: Facts | None) -> Facts:
        """Return what an update has to send back: what one of the cluster would."""
        del facts
        self.parent.refresh()
        pools = value_at(self.parent.kept(self.parent.facts), "properties.agentPoolProfiles") or []
        pool: Facts = next((pool for pool in pools if pool["name"] == self.name), {})
        return {"properties": {key: value for key, value in pool.items() if key != "name"}}


class NodeImage(PoolVersion):
    """The image of a pool's nodes: they are replaced."""

    kind = "node image of pool"
    _newest = ""

    @property
    def newest(self) -> str:
        """Return the newest image of the pool's kind, as AKS's upgrade profile says it; read once."""
        if not self._newest and self.facts:
            profile: Any = self.operations.get_upgrade_profile(*self.place, cls=rest)
            self._newest = str(value_at(profile, "properties.latestNodeImageVersion") or "")
        return self._newest

    @property
    def target(self) -> str:
        """Return the newest image, or nothing where the pool has it."""
        return "" if self.newest == self.fact_of("nodeImageVersion") else self.newest

    def desired(self) -> Facts:
        """Return the newest image."""
        return {"properties": {"nodeImageVersion": self.newest or self.fact_of("nodeImageVersion")}}

    def write(self, facts: Facts | None) -> None:
        """Replace the nodes, one after the other or as many as the pool's surge allows."""
        del facts
        self.call("begin_upgrade_node_image_version")


class MajorVersion(FlexibleServer):
    """The major version of a PostgreSQL server: it is down for the time of the upgrade, and there is no way back."""

    kind = "PostgreSQL version of server"

    def outdated(self) -> tuple[Difference, ...]:
        """Return nothing: this is the upgrade."""
        return ()

    @property
    def version(self) -> str:
        """Return the version that the server runs, or nothing without a server."""
        return str(value_at(self.facts, "properties.version") or "")

    @property
    def target(self) -> str:
        """Return the environment's version, or nothing where the server has it."""
        wanted = self.session.environment.postgresql.version
        return "" if self.version in ("", wanted) else wanted

    def desired(self) -> Facts:
        """Return the version."""
        return {"properties": {"version": self.target or self.version}}

    def write(self, facts: Facts | None) -> None:
        """Send the version alone, as `az postgres flexible-server upgrade` does."""
        del facts
        self.call("begin_update", self.desired())

    def blocked(self) -> Iterator[str]:
        """Yield why the upgrade cannot be made, but for what `precheck` finds."""
        if not self.target:
            return
        if (state := str(value_at(self.facts, "properties.state"))).lower() != _READY:
            yield f"the server is {state}"
            return
        versions = [
            version
            for capability in self.session.postgresql.capabilities_by_server.list(*self.place)
            for offered in capability.supported_server_versions or ()
            if offered.name == self.version
            for version in offered.supported_versions_to_upgrade or ()
        ]
        if self.target not in versions:
            yield f"{self.version} cannot be upgraded to {self.target}, only to {', '.join(versions) or 'no version'}"
            return
        if replicas := [str(replica.name) for replica in self.session.postgresql.replicas.list_by_server(*self.place)]:
            yield f"delete its read replicas, and create them again afterwards: {', '.join(replicas)}"

    def precheck(self) -> tuple[list[str], str]:
        """Return what Azure's precheck finds in the databases, which changes nothing; or why it could not be made.

        It is a preview (https://learn.microsoft.com/azure/postgresql/configure-maintain/how-to-run-upgrade-validation-checks),
        and nothing depends on it: "If a precheck operation fails during an in-place major version upgrade, the upgrade
        is blocked" (concepts-major-version-upgrade).
        """
        try:
            with self.session.translated(self):
                return list(self._failed_policies()), ""
        except AirflowAksError as error:
            return [], error.message

    def _failed_policies(self) -> Iterator[str]:
        begun: Any = self.operations.begin_start_major_version_upgrade_precheck(
            *self.place, {"targetVersion": self.target}
        )
        precheck = self.session.postgresql.major_version_upgrade_precheck.get(*self.place, begun.result().name)
        for policy in value_at(precheck.as_dict(), "properties.policyDetails") or ():
            if not policy["passed"]:
                yield f"{policy['policyName']}: {policy.get('errorMessage') or policy['policyDescription']}"
