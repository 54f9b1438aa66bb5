"""Step 2: the container registry, Airflow's image in it, and the cluster's right to pull it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflowaks.azure.image_build import BuildContext, BuiltImage
from airflowaks.azure.registry import DIGEST_PREFIX, ContainerRegistry, ImportedImage, RegistryImage
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.config.naming import RULES
from airflowaks.config.paths import manifests_folder
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.resource import set_step
from airflowaks.errors import InvalidParameter
from airflowaks.steps import cluster

if TYPE_CHECKING:
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.session import Session

CONTEXT = "image"
"""The folder of `manifests/` that the image is built from."""

_KUBELET = "properties.identityProfile.kubeletidentity.objectId"


class Resources:
    """The resources of step 2, in order."""

    def __init__(self, session: Session) -> None:
        step1 = session.memoize(cluster.Resources)
        self.registry = ContainerRegistry(session, session.environment.registry.name, parent=step1.group)
        self.registry.needs = step1.provider_of(self.registry)
        self.image = self.chosen()
        # Nodes pull images as the kubelet's identity, not as the cluster's own.
        self.pull_access = RoleAssignment(
            Role.ACR_PULL,
            self.registry,
            f"kubelet of {step1.cluster.name}",
            (step1.cluster, _KUBELET),
            "ServicePrincipal",
        )
        set_step(2, self)

    def chosen(self, *, force: bool = False) -> RegistryImage:
        """Return the session's image, else the environment's. Raises InvalidParameter."""
        settings = self.registry.session.environment.registry
        image = self.registry.session.image or settings.image
        check_image(image)
        if image == "import":
            return ImportedImage(self.registry, force=force)
        if image == "build":
            base = ImportedImage(self.registry, force=force)
            return BuiltImage(self.registry, BuildContext(manifests_folder(CONTEXT)), base)
        return RegistryImage(self.registry, settings.tag if image == "existing" else image)


def check_image(image: str) -> None:
    """Check that `image` is `import`, `build`, `existing`, a digest or a tag, not that it exists.

    Raises InvalidParameter.
    """
    if not re.fullmatch(rf"{DIGEST_PREFIX}[0-9a-f]{{64}}", image):
        try:
            RULES["image_tag"].check(image)
        except ValueError:
            message = f'image: "{image}" is neither import, build nor existing, nor a tag or digest.'
            action = f"Set `image` to one of these; a digest is {DIGEST_PREFIX} and 64 of the digits 0-9 and a-f."
            raise InvalidParameter(message, action) from None


def registry(session: Session) -> Changes:
    """Create the registry."""
    return converge(session, session.memoize(Resources).registry)


def image(session: Session, *, force: bool = False) -> Changes:
    """Import or build the session's image where it is missing; `force` imports it in any case."""
    step = session.memoize(Resources)
    source = step.chosen(force=True) if force else step.image
    base = [source.base] if isinstance(source, BuiltImage) else []
    return converge(session, *base, source)


def pull_access(session: Session) -> Changes:
    """Allow the cluster's nodes to pull from the registry."""
    return converge(session, session.memoize(Resources).pull_access)


def everything(session: Session) -> Changes:
    """Run all functions of the step."""
    return registry(session) + image(session) + pull_access(session)


def checks(session: Session) -> Checks:
    """Check that the registry has the manifest of the session's image, as a node asks for it."""
    source = session.memoize(Resources).image

    def manifest() -> str:
        source.refresh()
        properties = source.registry.images.get_manifest_properties(source.repository, source.require("digest"))
        return f"{source.id} is {properties.digest}"

    return observe(session, {"image has a manifest": manifest})
