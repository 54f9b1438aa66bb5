"""Step 2: the container registry, Airflow's image in it, and the cluster's right to pull it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.registry import ContainerRegistry, RegistryImage
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.checks import Checks, observe
from airflowaks.resource import converge
from airflowaks.steps import cluster

if TYPE_CHECKING:
    from airflowaks.changes import Changes
    from airflowaks.session import Session

_KUBELET = "properties.identityProfile.kubeletidentity.objectId"


class Resources:
    """What step 2 makes, in order."""

    def __init__(self, session: Session) -> None:
        step1 = session.once(cluster.Resources)
        self.registry = ContainerRegistry(session, session.environment.registry.name, within=step1.group)
        self.image = RegistryImage(self.registry)
        # Nodes pull images as the kubelet's identity, not as the cluster's own.
        self.pull_access = RoleAssignment(
            Role.ACR_PULL,
            self.registry,
            f"kubelet of {step1.cluster.name}",
            (step1.cluster, _KUBELET),
            "ServicePrincipal",
        )


def registry(session: Session) -> Changes:
    """Make the registry."""
    return converge(session, session.once(Resources).registry)


def image(session: Session, *, force: bool = False) -> Changes:
    """Import Airflow's image, unless its tag is there; `force` imports what the source's tag is now."""
    step = session.once(Resources)
    return converge(session, RegistryImage(step.registry, force=True) if force else step.image)


def pull_access(session: Session) -> Changes:
    """Let the cluster's nodes pull from the registry."""
    return converge(session, session.once(Resources).pull_access)


def everything(session: Session) -> Changes:
    """Do the whole step."""
    return registry(session) + image(session) + pull_access(session)


def checks(session: Session) -> Checks:
    """Look from outside: the registry itself, asked as a node would ask it, has the image's manifest."""
    image = session.once(Resources).image

    def manifest() -> str:
        found = image.registry.images.get_manifest_properties(image.repository, image.known("digest"))
        return f"{image.id} is {found.digest}"

    return observe(session, {"image has a manifest": manifest})
