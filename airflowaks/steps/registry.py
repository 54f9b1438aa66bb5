"""Step 2: the container registry, Airflow's image in it, and the cluster's right to pull it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.azure.image_build import BuildContext, BuiltImage
from airflowaks.azure.registry import ContainerRegistry, ImportedImage, RegistryImage
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.config.paths import manifests_folder
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.steps import cluster

if TYPE_CHECKING:
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.session import Session

CONTEXT = "image"
"""The folder of `manifests/` that the image is built from."""

_KUBELET = "properties.identityProfile.kubeletidentity.objectId"


class Resources:
    """What step 2 makes, in order."""

    def __init__(self, session: Session) -> None:
        step1 = session.memoize(cluster.Resources)
        self.registry = ContainerRegistry(session, session.environment.registry.name, parent=step1.group)
        self.image = self.named(session.environment.registry.image)
        # Nodes pull images as the kubelet's identity, not as the cluster's own.
        self.pull_access = RoleAssignment(
            Role.ACR_PULL,
            self.registry,
            f"kubelet of {step1.cluster.name}",
            (step1.cluster, _KUBELET),
            "ServicePrincipal",
        )

    def named(self, image: str) -> RegistryImage:
        """Return the image that is meant by `import`, `build` or `existing`, by a digest, or by a tag."""
        if image == "import":
            return ImportedImage(self.registry)
        if image == "build":
            return BuiltImage(self.registry, BuildContext(manifests_folder(CONTEXT)), ImportedImage(self.registry))
        wanted = self.registry.session.environment.registry.tag if image == "existing" else image
        return RegistryImage(self.registry, wanted)


def choose(session: Session, image: str) -> RegistryImage:
    """Have this session use another image than the environment says, unless `image` is empty; return what it uses.

    Such are `import`, `build` and `existing`, a digest (`sha256:…`) or a tag in the repository.
    """
    step = session.memoize(Resources)
    if image:
        step.image = step.named(image)
    return step.image


def registry(session: Session) -> Changes:
    """Make the registry."""
    return converge(session, session.memoize(Resources).registry)


def image(session: Session, *, force: bool = False) -> Changes:
    """Import Airflow's image, or build it, unless it is there; `force` imports what the source's tag is now."""
    wanted = session.memoize(Resources).image
    imported = [one for one in (*wanted.depends_on, wanted) if isinstance(one, ImportedImage)]
    for one in imported:
        one.forced = force
    return converge(session, *dict.fromkeys([*imported, wanted]))


def pull_access(session: Session) -> Changes:
    """Let the cluster's nodes pull from the registry."""
    return converge(session, session.memoize(Resources).pull_access)


def everything(session: Session) -> Changes:
    """Do the whole step."""
    return registry(session) + image(session) + pull_access(session)


def checks(session: Session) -> Checks:
    """Look from outside: the registry itself, asked as a node would ask it, has the image's manifest."""
    image = session.memoize(Resources).image

    def manifest() -> str:
        found = image.registry.images.get_manifest_properties(image.repository, image.require("digest"))
        return f"{image.id} is {found.digest}"

    return observe(session, {"image has a manifest": manifest})
