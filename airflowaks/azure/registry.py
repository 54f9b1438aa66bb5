"""The container registry, the images in it, and the images that it imports."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflowaks.azure.arm import ArmResource
from airflowaks.azure.key_vault import read_secret
from airflowaks.cloud.connection import Login
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import MissingDependency, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.containerregistry import ContainerRegistryClient

DIGEST_PREFIX = "sha256:"
_REPOSITORY_READ = "Microsoft.ContainerRegistry/registries/repositories/metadata/read"


class ContainerRegistry(ArmResource):
    """A registry that accepts Entra tokens only: no admin user, no anonymous pull."""

    kind = "container registry"
    type = "Microsoft.ContainerRegistry/registries"
    sdk = "registries.registries"
    creation = "begin_create"
    immutable = ("location",)

    @property
    def login_server(self) -> Any:
        """Return the registry's host name, or AFTER_APPLY."""
        return self.fact("properties.loginServer")

    @cached_property
    def images(self) -> ContainerRegistryClient:
        """Return a client of the registry's own API. Raises MissingDependency where the registry does not exist."""
        from azure.containerregistry import ContainerRegistryClient

        from airflowaks.cloud.thread_safety import thread_safe

        client = ContainerRegistryClient(
            f"https://{self.require('properties.loginServer')}",
            self.session.connection.credential,
            audience="https://management.azure.com",
            **self.session.connection.transport,
        )
        return thread_safe(client)

    def desired(self) -> Facts:
        """Want the environment's SKU, no admin user and no anonymous pull; a new registry honours AcrPull.

        An existing one keeps its role assignment mode. That which ignores AcrPull "will become the default":
        https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions
        """
        environment = self.session.environment
        mode = {"roleAssignmentMode": "LegacyRegistryPermissions"} if self.facts is None else {}
        return {
            "location": environment.location,
            "tags": self.tags(),
            "sku": {"name": environment.registry.sku},
            "properties": {"adminUserEnabled": False, "anonymousPullEnabled": False, **mode},
        }

    @property
    def ignores_acr_pull(self) -> bool:
        """Whether its role assignment mode is RBAC + ABAC, in which AcrPull, Contributor and Owner read no image."""
        return bool(self.fact("properties.roleAssignmentMode") == "AbacRepositoryPermissions")


class RegistryImage(Resource):
    """An image in the registry, by its tag or its digest."""

    kind = "image"
    decided_by_service = ("digest",)

    def __init__(self, registry: ContainerRegistry, version: str, *, depends_on: Sequence[Resource] = ()) -> None:
        self.repository, self.version = registry.session.environment.registry.repository, version
        self.is_pinned = version.startswith(DIGEST_PREFIX)
        name = f"{self.repository}{'@' if self.is_pinned else ':'}{version}"
        super().__init__(registry.session, name, parent=registry, depends_on=depends_on)
        self.registry = registry

    @property
    def id(self) -> str:
        """Return the image's reference by its tag or digest."""
        return f"{self.registry.login_server}/{self.name}"

    @property
    def reference(self) -> Any:
        """Return the reference by digest, which pods pull, or AFTER_APPLY.

        So all pods run the same image, and they are rolled when the tag moves to another image, and only then.
        """
        digest = self.fact("digest")
        return AFTER_APPLY if digest is AFTER_APPLY else f"{self.registry.login_server}/{self.repository}@{digest}"

    def read(self) -> Facts | None:
        """Ask the registry for the image's digest. Raises PermissionDenied where it ignores the caller's roles."""
        from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError

        images = self.registry.images
        ask = images.get_manifest_properties if self.is_pinned else images.get_tag_properties
        try:
            return {"digest": ask(self.repository, self.version).digest}
        except ResourceNotFoundError:
            return None
        except ClientAuthenticationError as error:
            if not self.registry.ignores_acr_pull:
                raise
            message = (
                f"Image {self.id}: you have no right to read it, for the registry is in the role assignment mode"
                " RBAC + ABAC, which ignores AcrPull, Contributor and Owner."
            )
            action = (
                "Assign Container Registry Repository Reader on the registry to yourself and to the cluster's kubelet"
                " identity, or set its mode to RBAC with `az acr update --name … --role-assignment-mode rbac`."
            )
            raise PermissionDenied(message, action, needs=_REPOSITORY_READ) from error

    def desired(self) -> Facts:
        """Want the image to exist, with any digest."""
        return {"digest": self.fact("digest")}

    def write(self, facts: Facts | None) -> None:
        """Raise MissingDependency: something else has to push the image."""
        del facts
        message = f"Image {self.id}: it does not exist."
        raise MissingDependency(
            message, "Push it, or choose an existing image; `az acr manifest list-metadata` lists them."
        )


class ImportedImage(RegistryImage):
    """An image that the registry imports from its source; with `force`, even if the registry has the tag."""

    def __init__(self, registry: ContainerRegistry, *, force: bool = False) -> None:
        settings = registry.session.environment.registry
        tag = settings.tag if settings.image == "import" else settings.source_tag
        super().__init__(registry, tag)
        self.source = settings.source
        self.force = force

    def needs_rewrite(self, facts: Facts) -> bool:
        """Tell whether the import is forced."""
        del facts
        return self.force

    def write(self, facts: Facts | None) -> None:
        """Import the image from its source; a source with a digest imports exactly that image."""
        host, _, image = self.source.partition("/")
        repository, _, digest = image.partition("@")
        source: dict[str, Any] = {
            "registryUri": host,
            "sourceImage": f"{repository.rpartition(':')[0]}@{digest}" if digest else repository,
        }
        if login := self._login():
            source["credentials"] = {"username": login.username, "password": login.token.reveal()}
        parameters = {
            "source": source,
            "targetTags": [self.name],
            "mode": "NoForce" if facts is None else "Force",
        }
        self.registry.operations.begin_import_image(*self.registry.place, parameters).result()

    def _login(self) -> Login | None:
        """Return the login at the source: of the environment variables, else of the vault that the file names.

        Docker Hub limits what all that share an address pull anonymously, and imports come from Azure's addresses:
        https://docs.docker.com/docker-hub/usage/, https://github.com/Azure/bicep-registry-modules/issues/3069
        """
        secrets = self.session.environment.registry.source_credentials
        if self.session.source_login or secrets is None:
            return self.session.source_login
        return Login(read_secret(self.session, secrets.username).reveal(), read_secret(self.session, secrets.token))
