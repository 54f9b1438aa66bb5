"""Microsoft.ContainerRegistry: registries, and the import and build of images. `registry/` serves their images."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.backends.image_store import Image, Images, public_image
from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.kubernetes.images.recipes import recipe_of
from rehearsal_cloud.resource_manager.providers import docker_hub, registry_runs
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_location
from rehearsal_cloud.resource_manager.resource_types import Answer, Call, Provider, ResourceType, defaults, system_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

HOST_SUFFIX = ".azurecr.io"
_IMPORT_SECONDS = 60.0
_NAME = r"[A-Za-z0-9]{5,50}"
_NAME_TEXT = (
    "Invalid resource name: it must have 5 to 50 alphanumeric characters. See"
    " https://aka.ms/acr/registry-name for more details."
)
_TAKEN = (
    "AlreadyInUse",
    (
        "The registry DNS name {name}.azurecr.io is already in use. You can check if the name is already claimed using"
        " following API: https://docs.microsoft.com/en-us/rest/api/containerregistry/registries/checknameavailability"
    ),
)
_READ_ONLY = ("provisioningState", "loginServer", "creationDate", "status", "privateEndpointConnections")
_GIB = 1024**3
_TIERS = {"basic": ("Basic", 10), "standard": ("Standard", 100), "premium": ("Premium", 500)}


class ContainerRegistry(ResourceType):
    """A container registry; its passwords are valid while the admin user is enabled."""

    namespace = "Microsoft.ContainerRegistry"
    type = "registries"
    name_rule = _NAME
    name_text = _NAME_TEXT
    global_name = HOST_SUFFIX.lstrip(".")
    taken = _TAKEN
    required = ("sku.name",)
    seconds: ClassVar[Mapping[str, float]] = {"create": 15, "delete": 10}

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Check the SKU."""
        del call, existing
        if str(body["sku"]["name"]).lower() not in _TIERS:
            text = f"The SKU '{body['sku']['name']}' is invalid: it must be one of Basic, Standard and Premium."
            raise ServiceError(400, "InvalidSku", text)

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the registry with ACR's defaults."""
        tier, _ = _TIERS[body["sku"]["name"].lower()]
        requested = {key: value for key, value in (body.get("properties") or {}).items() if key not in _READ_ONLY}
        document = {key: value for key, value in body.items() if key not in ("id", "name", "type")}
        # "ABAC-enabled mode (rbac-abac) will become the default":
        # https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions
        mode = call.cloud.faults.newest("registry-mode", "LegacyRegistryPermissions")
        standard = {**_defaults(call.id.name), "roleAssignmentMode": mode}
        return document | {
            "location": canonical_location(body["location"]),
            "sku": {"name": tier, "tier": tier},
            "properties": defaults(requested, (existing or {}).get("properties") or standard),
            "systemData": system_data(call, existing),
            "_secret": (existing or {}).get("_secret")
            or {name: secrets.token_urlsafe(36) for name in ("password", "password2")},
        }

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Delete the images."""
        Images(cloud.store, document["id"]).clear()

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the actions that import images, build images, and list or renew the admin user's passwords."""
        return {
            "importImage": _import_image,
            "listBuildSourceUploadUrl": registry_runs.upload_url,
            "listCredentials": _list_credentials,
            "regenerateCredential": _regenerate_credential,
            "scheduleRun": registry_runs.schedule_run,
        }

    async def perform(self, cloud: Cloud, document: Document, action: str, arguments: Mapping[str, Any]) -> None:
        """Build an image, or import it and start to build its environment. Raises ServiceError if it is missing."""
        if action == "schedulerun":
            await registry_runs.build(cloud, arguments["run"])
            return
        if arguments["refusal"]:
            raise ServiceError(400, "InvalidParameters", arguments["refusal"])
        image = _source_image(cloud, arguments)
        if image is None:
            named = f"{arguments['registry']}/{arguments['repository']}:{arguments['reference']}"
            text = (
                f"Operation failed. Resource {document['id']} Invalid message NotFound Not Found"
                f' {{"errors":[{{"code":"MANIFEST_UNKNOWN","message":"manifest of \\"{named}\\" is not found"}}]}}'
            )
            raise ServiceError(400, "InvalidParameters", text)
        images = Images(cloud.store, document["id"])
        for target in arguments["targets"]:
            repository, _, tag = target.partition(":")
            images.put(repository, tag, image)
        for repository in arguments["untagged"]:
            images.put(repository, None, image)
        # Only if a cluster can run it; an unpinned version has not run here yet.
        recipe = recipe_of(image.configuration)
        clusters = [
            resource
            for resource in cloud.resources("")
            if resource["type"] == "Microsoft.ContainerService/managedClusters"
        ]
        if clusters and recipe.constraints:
            cloud.image_builds.begin(recipe)


class ContainerRegistries(Provider):
    """The provider of container registries."""

    namespace = "Microsoft.ContainerRegistry"

    def __init__(self) -> None:
        super().__init__(ContainerRegistry(), registry_runs.RegistryRun())

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the check of names, and a registry's usages, which are read with GET."""
        return {
            ("post", "checknameavailability"): _check_name_availability,
            ("get", "registries/listusages"): _list_usages,
        }


def registry_named(cloud: Cloud, name: str) -> Document | None:
    """Return the registry that owns the global name and is there already, or None."""
    document = cloud.named(ContainerRegistry.global_name, name)
    return None if document is None or document["_state"] == "Creating" else document


async def _check_name_availability(call: Call) -> Answer:
    action = "Microsoft.ContainerRegistry/checkNameAvailability/read"
    call.cloud.authorization.require(call.principal, action, call.id.scope)
    name = str(call.body.get("name") or "")
    if not re.fullmatch(_NAME, name):
        return Answer({"nameAvailable": False, "reason": "Invalid", "message": _NAME_TEXT})
    if call.cloud.names.owner(ContainerRegistry.global_name, name) is not None:
        message = f"The registry {name} is already in use."
        return Answer({"nameAvailable": False, "reason": "AlreadyExists", "message": message})
    return Answer({"nameAvailable": True})


async def _list_usages(call: Call) -> Answer:
    registry = call.id.parent
    document = call.cloud.resource(registry) if registry else None
    if registry is None or document is None:
        text = (
            f"The Resource '{call.id.namespace}/{call.id.type}' under resource group '{call.id.group}' was not found."
        )
        raise ServiceError(404, "ResourceNotFound", text)
    call.cloud.authorization.require(call.principal, f"{registry.full_type}/listUsages/read", registry.path)
    images = Images(call.cloud.store, document["id"])
    kept = [manifest for repository in images.repositories() for manifest in images.manifests(repository)]
    blobs = {digest: len(content) // 2 for manifest in kept for digest, content in manifest["blobs"].items()}
    _, gibibytes = _TIERS[document["sku"]["name"].lower()]
    usages = [
        {"name": "Size", "limit": gibibytes * _GIB, "currentValue": sum(blobs.values()), "unit": "Bytes"},
        {"name": "Webhooks", "limit": 100, "currentValue": 0, "unit": "Count"},
    ]
    return Answer({"value": usages})


async def _list_credentials(call: Call, document: Document) -> Answer:
    del call
    if not document["properties"]["adminUserEnabled"]:
        text = (
            f"Cannot perform credential operations for {document['id']} as admin user is disabled. Kindly enable admin"
            " user as per docs:"
            " https://docs.microsoft.com/en-us/azure/container-registry/container-registry-authentication#admin-account"
        )
        raise ServiceError(400, "UnAuthorizedForCredentialOperations", text)
    passwords = [{"name": name, "value": value} for name, value in document["_secret"].items()]
    return Answer({"username": document["name"], "passwords": passwords})


async def _regenerate_credential(call: Call, document: Document) -> Answer:
    name = str(call.body.get("name") or "")
    if name not in document["_secret"]:
        text = f"The password name '{name}' is invalid: it must be one of {', '.join(document['_secret'])}."
        raise ServiceError(400, "InvalidParameter", text)
    listed = await _list_credentials(call, document)  # refuses while the admin user is disabled
    document["_secret"][name] = secrets.token_urlsafe(36)
    call.cloud.keep(document)
    passwords = [{"name": kept, "value": value} for kept, value in document["_secret"].items()]
    return Answer({**listed.body, "passwords": passwords})


async def _import_image(call: Call, document: Document) -> Answer:
    source = call.body.get("source") or {}
    named = re.fullmatch(r"([^:@]+)(?:@(sha256:[0-9a-f]{64})|:([\w.-]+))?", str(source.get("sourceImage") or ""))
    if named is None:
        raise ServiceError(
            400, "InvalidParameters", "Source image is missing or is not of the form repository[:tag|@digest]."
        )
    if bool(source.get("registryUri")) == bool(source.get("resourceId")):
        raise ServiceError(
            400, "InvalidParameters", "Exactly one of registryUri and resourceId must name the source registry."
        )
    repository, digest, tag = named[1], named[2], named[3] or "latest"
    untagged = call.body.get("untaggedTargetRepositories") or []
    targets = call.body.get("targetTags") or ([] if untagged or digest else [f"{repository}:{tag}"])
    targets = [target if ":" in target else f"{target}:{tag}" for target in targets]
    images = Images(call.cloud.store, document["id"])
    if call.body.get("mode", "NoForce") != "Force":
        for target in targets:
            if images.tag(*target.split(":", 1)) is not None:
                raise ServiceError(409, "Conflict", f"Tag {target} already exists in target registry.")
    registry = _source_registry(call, source)
    refusal = docker_hub.refusal(call.cloud.settings, registry, repository, source.get("credentials"), document["id"])
    arguments = {"registry": registry, "repository": repository, "reference": digest or tag, "refusal": refusal}
    return Answer(operation_seconds=_IMPORT_SECONDS, arguments={**arguments, "targets": targets, "untagged": untagged})


def _source_registry(call: Call, source: Document) -> str:
    """Return the host, or the resource ID, of an import's source registry. Raises ServiceError."""
    if source.get("registryUri"):
        return str(source["registryUri"]).removeprefix("https://").rstrip("/")
    rid = ResourceId.parse(source["resourceId"])
    if rid is None or call.cloud.resource(rid) is None:
        raise ServiceError(400, "InvalidParameters", f"The source registry '{source['resourceId']}' is not found.")
    call.cloud.authorization.require(call.principal, f"{rid.full_type}/pull/read", rid.path)
    return rid.path


def _source_image(cloud: Cloud, arguments: Mapping[str, Any]) -> Image | None:
    registry, repository, reference = (str(arguments[key]) for key in ("registry", "repository", "reference"))
    if registry.startswith("/"):
        return Images(cloud.store, registry).image(repository, reference)
    return public_image(registry, repository, reference)


def _defaults(name: str) -> Document:
    now = datetime.now(UTC).isoformat()
    return {
        "loginServer": f"{name.lower()}{HOST_SUFFIX}",
        "creationDate": now,
        "adminUserEnabled": False,
        "networkRuleSet": {"defaultAction": "Allow", "ipRules": []},
        "policies": {
            "quarantinePolicy": {"status": "disabled"},
            "trustPolicy": {"type": "Notary", "status": "disabled"},
            "retentionPolicy": {"days": 7, "lastUpdatedTime": now, "status": "disabled"},
            "exportPolicy": {"status": "enabled"},
            "azureADAuthenticationAsArmPolicy": {"status": "enabled"},
        },
        "encryption": {"status": "disabled"},
        "status": None,
        "dataEndpointEnabled": False,
        "dataEndpointHostNames": [],
        "privateEndpointConnections": [],
        "publicNetworkAccess": "Enabled",
        "networkRuleBypassOptions": "AzureServices",
        "networkRuleBypassAllowedForTasks": False,
        "zoneRedundancy": "Disabled",
        "anonymousPullEnabled": False,
    }
