"""The types of Azure resources in the rehearsal: their rules, durations and backends.

`ResourceType` is the generic behaviour; a provider module subclasses it for what its service does differently.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Principal
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resource_ids import ResourceId

PENDING = ("Creating", "Updating", "Deleting")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to Resource Manager, parsed and authorised."""

    cloud: Cloud
    principal: Principal
    method: str
    id: ResourceId
    query: Mapping[str, str]
    body: Document = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        """Return the request's api-version."""
        return self.query.get("api-version", "")


@dataclass(frozen=True)
class Answer:
    """The answer of an action or a provider function; `operation_seconds` (Azure's) starts a long-running operation.

    Such an operation runs `ResourceType.perform` with `arguments`, or, if the action changes the resource to
    `updated`, an update of it.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    operation_seconds: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    updated: Document | None = None


class ResourceType:
    """A type of resource. A document has Azure's answer plus keys that start with `_`, which are never answered.

    `_state` is the provisioning state, `_ended` the verb of the last operation that ended; `_secret` has the service's
    secrets (passwords, keys, ports).
    """

    namespace: ClassVar[str]
    """The provider: `Microsoft.KeyVault`."""
    type: ClassVar[str]
    """The type below it, children with their parents: `flexibleServers/databases`."""
    name_rule: ClassVar[str] = r"[\w.()-]{1,90}"
    name_text: ClassVar[str] = "Resource names have 1 to 90 letters, digits, '-', '.', '_' and parentheses."
    global_name: ClassVar[str] = ""
    """The DNS suffix under which names must be unique in all of Azure; empty where they need not.

    `{location}` in it stands for the resource's: such names are unique in a region.
    """
    taken: ClassVar[tuple[str, str]] = ("NameNotAvailable", "The name '{name}' is already in use.")
    """Code and text of the 409 that answers a global name which belongs to somebody else."""
    soft_deletes: ClassVar[bool] = False
    """Whether a deleted resource keeps its global name, until the provider gives it up."""
    required: ClassVar[tuple[str, ...]] = ()
    """Dotted paths that a PUT must carry."""
    tracked: ClassVar[bool] = True
    """Tracked resources have a location, tags and a resource group of their own; children do not."""
    seconds: ClassVar[Mapping[str, float]] = {"create": 0, "update": 0, "delete": 0}
    """How long Azure typically takes. Zero means that the answer to the request is already the end."""
    polling: ClassVar[Literal["operation", "state"]] = "operation"
    """Whether clients learn the end from an operation's URL or by reading the resource."""
    created_status: ClassVar[int] = 201
    updated_status: ClassVar[int] = 200
    status_type: ClassVar[str] = "operationStatuses"
    busy: ClassVar[tuple[str, str]] = ("Conflict", "Another operation on resource '{name}' is in progress.")
    """Code and text of the 409 that answers a write while an operation runs, see `busy_error`: this is believed."""
    exclusive: ClassVar[bool] = False
    """Whether a top resource and all of its children together stand one operation at a time."""

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Validate the rules of the type. Raises ServiceError."""

    def validate_delete(self, call: Call, document: Document) -> None:
        """Validate the deletion of the resource. Raises ServiceError."""

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the document to store: the request's body with the service's defaults."""
        del call, existing
        return body

    async def refresh(self, cloud: Cloud, rid: ResourceId) -> None:
        """Before a request is served: update the documents from the backend, if it can change on its own."""

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Apply `document` to the backend (`verb` is create or update). Runs as an operation; it must be idempotent."""

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Remove the backend. Runs as an operation; it must be idempotent."""

    async def perform(self, cloud: Cloud, document: Document, action: str, arguments: Mapping[str, Any]) -> None:
        """Run a long-running action (in lower case). Runs as an operation; it must be idempotent."""

    def settle(self, cloud: Cloud, document: Document) -> None:
        """Handle the end of a create or update; `_state` has the outcome."""

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Start the backend of a provisioned resource when the rehearsal starts."""

    async def stop(self, cloud: Cloud, document: Document) -> None:
        """Stop the backend of the resource when the rehearsal ends."""

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the POST actions by name; the caller has checked the principal's permission."""
        return {}

    def view(self, document: Document) -> Document:
        """Return the answer to a GET."""
        shown = {key: value for key, value in document.items() if not key.startswith("_")}
        shown["properties"] = {**document.get("properties", {}), "provisioningState": document["_state"]}
        return shown

    def written(self, document: Document) -> Document:
        """Return the answer to a PUT or PATCH, by default that of a GET."""
        return self.view(document)

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) for an invalid name."""
        if not re.fullmatch(self.name_rule, name):
            raise ServiceError(400, "InvalidResourceName", f"Resource name '{name}' is invalid. {self.name_text}")

    def check_required(self, body: Document) -> None:
        """Raise ServiceError (400) where a required property is missing."""
        for path in (*(("location",) if self.tracked else ()), *self.required):
            if find(body, path) in (None, "", {}, []):
                if path == "location":
                    text = "The location property is required for this definition."
                    raise ServiceError(400, "LocationRequired", text)
                text = f"The value of parameter {path} is missing or empty; it is required."
                raise ServiceError(400, "InvalidParameter", text)


class Provider:
    """A resource provider: its types, and its functions without a resource."""

    namespace: ClassVar[str]

    def __init__(self, *types: ResourceType) -> None:
        self.types = {resource_type.type.lower(): resource_type for resource_type in types}

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return functions by method and lower-case type path: `("post", "checknameavailability")`."""
        return {}

    def default_type(self, kind: str) -> ResourceType:
        """Return the behaviour of an unlisted type. Raises ServiceError (404)."""
        text = f"The resource type '{kind}' could not be found in the namespace '{self.namespace}'."
        raise ServiceError(404, "InvalidResourceType", text)


def find(body: Document, path: str) -> Any:
    """Return the value at a dotted path, or None."""
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def merge(old: Document, new: Document) -> Document:
    """Return `old` merged with `new` by RFC 7396: objects are merged, null deletes, all else replaces."""
    merged = dict(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def defaults(requested: Document | None, values: Document) -> Document:
    """Return `requested` with the defaults `values`, at every depth."""
    return merge(values, {key: value for key, value in (requested or {}).items() if value is not None})


def failed_verb(document: Document) -> str:
    """Return the verb of the resource's last operation if that failed, or nothing."""
    return str(document.get("_ended", "create")) if document["_state"] == "Failed" else ""


def busy_error(busy: tuple[str, str], document: Document) -> ServiceError:
    """Return the 409 with the code and text `busy`, while an operation runs on `document`.

    The text may name the resource (`{name}`, `{id}`), its top resource (`{top}`) and the operation (`{operation}`).
    """
    name, top, state = document["name"], document["id"].split("/")[8], document["_state"]
    operation = state if name == top else f"{name} - {state}"
    return ServiceError(409, busy[0], busy[1].format(name=name, id=document["id"], top=top, operation=operation))


def system_data(call: Call, existing: Document | None) -> Document:
    """Return the creator and the last modifier of the resource, with times."""
    now = datetime.now(UTC).isoformat()
    identity = call.principal.app_id or call.principal.object_id
    created = (existing or {}).get("systemData") or {
        "createdBy": identity,
        "createdByType": "Application",
        "createdAt": now,
    }
    return {**created, "lastModifiedBy": identity, "lastModifiedByType": "Application", "lastModifiedAt": now}


def new_etag() -> str:
    """Return a new entity tag."""
    return f'"{uuid.uuid4()}"'
