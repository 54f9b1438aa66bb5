"""The container registry, and Airflow's image in it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource, rest
from airflowaks.changes import AFTER_APPLY
from airflowaks.resource import Facts, Resource

if TYPE_CHECKING:
    from azure.containerregistry import ContainerRegistryClient


class ContainerRegistry(ArmResource):
    """A registry that is signed in to with Entra alone: no admin user, no anonymous pull."""

    kind = "container registry"
    type = "Microsoft.ContainerRegistry/registries"
    immutable = ("location",)

    @property
    def login_server(self) -> Any:
        """Return the registry's host name, or AFTER_APPLY."""
        return self.fact("properties.loginServer")

    @cached_property
    def images(self) -> ContainerRegistryClient:
        """Return a client of the registry's own API. Raises MissingDependency while there is no registry."""
        from azure.containerregistry import ContainerRegistryClient

        return ContainerRegistryClient(
            f"https://{self.known('properties.loginServer')}",
            self.session.connection.credential,
            audience="https://management.azure.com",
            **self.session.connection.transport,
        )

    def get(self) -> Facts:
        """Read the registry."""
        facts: Facts = self.session.registries.registries.get(self.group, self.name, cls=rest)
        return facts

    def want(self) -> Facts:
        """Want the SKU of the environment, and no sign-in but Entra's."""
        environment = self.session.environment
        return {
            "location": environment.location,
            "tags": environment.tags,
            "sku": {"name": environment.registry.sku},
            "properties": {"adminUserEnabled": False, "anonymousPullEnabled": False},
        }

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the registry."""
        parameters: Any = body
        self.session.registries.registries.begin_create(self.group, self.name, parameters).result()


class RegistryImage(Resource):
    """A tag in the registry, imported from another registry by Azure itself: nothing passes through this machine."""

    kind = "image"
    decided_by_service = ("digest",)

    def __init__(self, registry: ContainerRegistry, *, force: bool = False) -> None:
        settings = registry.session.environment.registry
        super().__init__(registry.session, f"{settings.repository}:{settings.tag}", within=registry)
        self.registry = registry
        self.repository, self.tag, self.source = settings.repository, settings.tag, settings.source
        self._force = force

    @property
    def id(self) -> str:
        """Return the image's reference, by its tag."""
        return f"{self.registry.login_server}/{self.name}"

    @property
    def reference(self) -> Any:
        """Return what pods pull: the tag, and the digest that it has now, or AFTER_APPLY.

        With the digest every pod runs the same, and pods are rolled when the tag is imported anew.
        """
        digest = self.fact("digest")
        return AFTER_APPLY if digest is AFTER_APPLY else f"{self.id}@{digest}"

    def read(self) -> Facts | None:
        """Return the tag's digest as the registry itself answers it."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found = self.registry.images.get_tag_properties(self.repository, self.tag)
        except ResourceNotFoundError:
            return None
        return {"digest": found.digest}

    def want(self) -> Facts:
        """Want the tag to be there; a forced import wants whatever the source holds now."""
        return {"digest": self.fact("digest")}

    def broken(self, facts: Facts) -> bool:
        """Tell whether the import is forced although the tag is there."""
        del facts
        return self._force

    def write(self, facts: Facts | None) -> None:
        """Import the image from its source."""
        self._force = False
        host, _, image = self.source.partition("/")
        parameters: Any = {
            "source": {"registryUri": host, "sourceImage": image},
            "targetTags": [self.name],
            "mode": "NoForce" if facts is None else "Force",
        }
        operation = self.session.registries.registries.begin_import_image
        operation(self.registry.group, self.registry.name, parameters).result()
