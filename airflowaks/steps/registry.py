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
        self.image = self.named(session.image or session.environment.registry.image)
        # Nodes pull images as the kubelet's identity, not as the cluster's own.
        self.pull_access = RoleAssignment(
            Role.ACR_PULL,
            self.registry,
            f"kubelet of {step1.cluster.name}",
            (step1.cluster, _KUBELET),
            "ServicePrincipal",
        )
        set_step(2, self)

    def named(self, image: str, *, force: bool = False) -> RegistryImage:
        """Return the image of that name, for `resolve` and `image`. Raises InvalidParameter."""
        check_image(image)
        if image == "import":
            return ImportedImage(self.registry, force=force)
        if image == "build":
            base = ImportedImage(self.registry, force=force)
            return BuiltImage(self.registry, BuildContext(manifests_folder(CONTEXT)), base)
        tag = self.registry.session.environment.registry.tag if image == "existing" else image
        return RegistryImage(self.registry, tag)


def check_image(image: str) -> None:
    """Check that `image` is written as `resolve` takes it, not that it exists. Raises InvalidParameter."""
    if not re.fullmatch(rf"{DIGEST_PREFIX}[0-9a-f]{{64}}", image):
        try:
            RULES["image_tag"].check(image)
        except ValueError:
            message = f'image: "{image}" is neither import, build nor existing, nor a tag or digest.'
            action = f"Set `image` to one of these; a digest is {DIGEST_PREFIX} and 64 of the digits 0-9 and a-f."
            raise InvalidParameter(message, action) from None


def resolve(session: Session, image: str = "") -> RegistryImage:
    """Return the image that `image` names: the run's, else the environment's, where it is empty.

    Otherwise it is `import`, `build` or `existing`, or a digest (`sha256:…`) or a tag in the repository. Raises
    InvalidParameter where it is written like none of these.
    """
    if image in ("", session.image):
        return session.memoize(Resources).image
    return session.memoize(_named, image)


def _named(session: Session, image: str) -> RegistryImage:
    chosen = session.memoize(Resources).named(image)
    chosen.step = 2
    return chosen


def registry(session: Session) -> Changes:
    """Create the registry."""
    return converge(session, session.memoize(Resources).registry)


def image(session: Session, image: str = "", *, force: bool = False) -> Changes:
    """Import or build an image (see `resolve`) where it is missing; `force` imports it in any case."""
    if force:
        image = image or session.image or session.environment.registry.image
        source = session.memoize(Resources).named(image, force=True)
    else:
        source = resolve(session, image)
    base = [source.base] if isinstance(source, BuiltImage) else []
    return converge(session, *base, source)


def pull_access(session: Session) -> Changes:
    """Allow the cluster's nodes to pull from the registry."""
    return converge(session, session.memoize(Resources).pull_access)


def everything(session: Session) -> Changes:
    """Run all functions of the step."""
    return registry(session) + image(session) + pull_access(session)


def checks(session: Session, image: str = "") -> Checks:
    """Check that the registry has the manifest of an image (see `resolve`), as a node asks for it."""
    source = resolve(session, image)

    def manifest() -> str:
        source.refresh()
        properties = source.registry.images.get_manifest_properties(source.repository, source.require("digest"))
        return f"{source.id} is {properties.digest}"

    return observe(session, {"image has a manifest": manifest})
