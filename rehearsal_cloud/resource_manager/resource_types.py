"""What a kind of Azure resource is to the rehearsal: its rules, its durations, and what really happens behind it.

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
    """One request to Resource Manager, read and authorised."""

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
    """What an action or a provider function answers; `operation_seconds` (Azure's) makes it a long-running one.

    Such an operation runs `ResourceType.perform` with `arguments`, or, where the action changes the resource into
    `updated`, what an update of it runs.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    operation_seconds: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    updated: Document | None = None


class ResourceType:
    """One type of resource. A document is what Azure answers plus keys that start with `_`, which are never answered.

    `_state` is the provisioning state; `_secret` holds what only the service knows (passwords, keys, ports).
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
    """Code and text of the 409 that answers a write while an operation runs."""
    exclusive: ClassVar[bool] = False
    """Whether a top resource and all of its children together stand one operation at a time."""

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Check what is special to the type. Raises ServiceError."""

    def validate_delete(self, call: Call, document: Document) -> None:
        """Check whether the resource may go. Raises ServiceError."""

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the document to keep: the request's body and what the service adds to it."""
        del call, existing
        return body

    async def refresh(self, cloud: Cloud, rid: ResourceId) -> None:
        """Before a request is served: bring the documents up to what really is, where it changes in other ways too."""

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Make real what `document` says (`verb` is create or update). Runs as an operation; may be run twice."""

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Undo what `provision` made. Runs as an operation; may be run twice."""

    async def perform(self, cloud: Cloud, document: Document, action: str, arguments: Mapping[str, Any]) -> None:
        """Do what a long-running action (in lower case) is for. Runs as an operation; may be run twice."""

    def settle(self, cloud: Cloud, document: Document) -> None:
        """Take note that a create or update has ended; `_state` tells how."""

    async def start(self, cloud: Cloud, document: Document) -> None:
        """Bring back, at the rehearsal's start, what runs behind a resource that is provisioned."""

    async def stop(self, cloud: Cloud, document: Document) -> None:
        """Stop, at the rehearsal's end, what runs behind the resource."""

    def actions(self) -> Mapping[str, Callable[[Call, Document], Awaitable[Answer]]]:
        """Return the POST actions by name; one for which the principal lacks the role is never called."""
        return {}

    def view(self, document: Document) -> Document:
        """Return what a GET answers."""
        shown = {key: value for key, value in document.items() if not key.startswith("_")}
        shown["properties"] = {**document.get("properties", {}), "provisioningState": document["_state"]}
        return shown

    def written(self, document: Document) -> Document:
        """Return what a PUT or PATCH answers, where that is more than a GET does."""
        return self.view(document)

    def check_name(self, name: str) -> None:
        """Raise ServiceError (400) where the name breaks the type's rule."""
        if not re.fullmatch(self.name_rule, name):
            raise ServiceError(400, "InvalidResourceName", f"Resource name '{name}' is invalid. {self.name_text}")

    def check_required(self, body: Document) -> None:
        """Raise ServiceError (400) where the body lacks something required."""
        for path in (*(("location",) if self.tracked else ()), *self.required):
            if find(body, path) in (None, "", {}, []):
                if path == "location":
                    text = "The location property is required for this definition."
                    raise ServiceError(400, "LocationRequired", text)
                text = f"The value of parameter {path} is missing or empty; it is required."
                raise ServiceError(400, "InvalidParameter", text)


class Provider:
    """A resource provider: its types, and the functions that belong to no resource."""

    namespace: ClassVar[str]

    def __init__(self, *types: ResourceType) -> None:
        self.types = {one.type.lower(): one for one in types}

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return functions by method and lower-case type path: `("post", "checknameavailability")`."""
        return {}

    def other(self, kind: str) -> ResourceType:
        """Return the behaviour of a type that the provider says nothing special about. Raises ServiceError (404)."""
        text = f"The resource type '{kind}' could not be found in the namespace '{self.namespace}'."
        raise ServiceError(404, "InvalidResourceType", text)


def find(body: Document, path: str) -> Any:
    """Return what stands at a dotted path, or None."""
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def merge(old: Document, new: Document) -> Document:
    """Return `old` with `new` merged into it as by RFC 7396: objects are merged, null deletes, all else replaces."""
    merged = dict(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def defaults(given: Document | None, values: Document) -> Document:
    """Return `given` with `values` wherever it says nothing, at every depth."""
    return merge(values, {key: value for key, value in (given or {}).items() if value is not None})


def system_data(call: Call, existing: Document | None) -> Document:
    """Return who made and last changed the resource, and when."""
    now = datetime.now(UTC).isoformat()
    who = call.principal.app_id or call.principal.object_id
    made = (existing or {}).get("systemData") or {"createdBy": who, "createdByType": "Application", "createdAt": now}
    return {**made, "lastModifiedBy": who, "lastModifiedByType": "Application", "lastModifiedAt": now}


def new_etag() -> str:
    """Return a fresh entity tag."""
    return f'"{uuid.uuid4()}"'
