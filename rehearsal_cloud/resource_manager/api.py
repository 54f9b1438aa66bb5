"""management.azure.com: the API of every provider's resources.

Statuses, headers and error codes follow the official SDKs and the service's documentation:
https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.directory import RESOURCE_MANAGER
from rehearsal_cloud.errors import ServiceError, not_found
from rehearsal_cloud.home import SUBSCRIPTION_ID
from rehearsal_cloud.resource_manager.operation_polling import Polling
from rehearsal_cloud.resource_manager.policies import check_policies
from rehearsal_cloud.resource_manager.registrations import Registrations
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_location
from rehearsal_cloud.resource_manager.resource_types import (
    PENDING,
    Answer,
    Call,
    Provider,
    ResourceType,
    busy_error,
    failed_verb,
    merge,
)
from rehearsal_cloud.resource_manager.subscription import Subscription

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.resources import Resources

_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview|-alpha|-beta|-privatepreview)?")


class ResourceManager:
    """Authenticates and authorizes a request, and dispatches it to the resource's type."""

    def __init__(self, cloud: Cloud, resources: Resources) -> None:
        self._cloud = cloud
        self._resources = resources
        self._registrations = Registrations(cloud, resources.providers)
        self._subscription = Subscription(cloud, self._registrations)
        self._polling = Polling(cloud, resources)

    async def answer(self, request: Request) -> Response:
        """Answer a request; a ServiceError becomes Azure's error body."""
        try:
            return await self._answer(request)
        except ServiceError as error:
            return error.response()

    async def _answer(self, request: Request) -> Response:
        path, method = request.url.path, request.method
        principal = self._cloud.entra.verify(request.headers.get("authorization", ""), RESOURCE_MANAGER)
        request.state.principal = principal.object_id
        self._cloud.throttle.check(principal.object_id, writing=method not in ("GET", "HEAD"))
        query = dict(request.query_params)
        if not _API_VERSION.fullmatch(query.get("api-version", "")):
            text = (
                "The api-version query parameter (?api-version=) is required for all requests; got"
                f" '{query.get('api-version', '')}'."
            )
            raise ServiceError(400, "MissingApiVersionParameter", text)
        _check_subscription(path)
        body = await _json(request)
        named = ResourceId.parse(path)
        if named is None or named.types[0] in ("register", "unregister"):
            return self._respond(await self._subscription.answer(principal, method, path, query, body), None)
        call = Call(cloud=self._cloud, principal=principal, method=method, id=named, query=query, body=body)
        return await self._provider(call)

    async def _provider(self, call: Call) -> Response:
        provider = self._resources.providers.get(call.id.namespace.lower())
        if provider is None:
            text = f"The resource namespace '{call.id.namespace}' is invalid."
            raise ServiceError(404, "InvalidResourceNamespace", text)
        if operation := self._polling.polled(call.id):
            return self._polling.answer(operation, call)
        function = provider.functions().get((call.method.lower(), call.id.type.lower()))
        if function is not None:
            return self._respond(await function(call), call)
        kind = provider.types.get(call.id.type.lower())
        if call.method == "POST":
            return await self._action(provider, call)
        if kind is None:
            kind = provider.default_type(call.id.type)
        await kind.refresh(self._cloud, call.id)
        if not call.id.is_instance:
            return self._list(kind, call)
        served = {"GET": self._get, "HEAD": self._get, "PUT": self._put, "PATCH": self._patch, "DELETE": self._delete}
        if call.method not in served:
            raise ServiceError(405, "MethodNotAllowed", f"The method {call.method} is not served at {call.id.path}.")
        return await served[call.method](kind, call)

    # One resource

    async def _get(self, kind: ResourceType, call: Call) -> Response:
        self._cloud.authorization.require(call.principal, f"{call.id.full_type}/read", call.id.path)
        document = self._existing(call.id)
        return JSONResponse(kind.view(document), headers=self._polling.retry_after(document))

    def _list(self, kind: ResourceType, call: Call) -> Response:
        self._cloud.authorization.require(call.principal, f"{call.id.full_type}/read", call.id.path)
        if call.id.parent is not None:
            self._existing(call.id.parent)
        listed = [
            kind.view(document)
            for document in self._cloud.resources(call.id.scope)
            if document["type"].lower() == call.id.full_type.lower()
            and document["id"].lower().startswith(call.id.key if call.id.parent else call.id.scope.lower())
        ]
        return JSONResponse({"value": listed})

    async def _patch(self, kind: ResourceType, call: Call) -> Response:
        existing = self._existing(call.id)
        shown = {key: value for key, value in existing.items() if not key.startswith("_")}
        return await self._put(kind, Call(**{**vars(call), "body": merge(shown, call.body)}))

    async def _put(self, kind: ResourceType, call: Call) -> Response:
        cloud, rid = self._cloud, call.id
        cloud.authorization.require(call.principal, f"{rid.full_type}/write", rid.path)
        cloud.locks.check(rid.path, "write")
        self._check_place(kind, call)
        self._check_idle(kind, rid)
        existing = cloud.resource(rid)
        check_policies(cloud.faults, rid.full_type, rid.name)
        if existing is None and kind.tracked:
            self._check_region(rid, call.body.get("location") or "")
        kind.check_name(rid.name)
        kind.check_required(call.body)
        kind.validate(call, call.body, existing)
        if existing is None and kind.global_name:
            location = canonical_location(call.body.get("location") or "")
            cloud.names.claim(kind.global_name.format(location=location), rid, kind.taken)
        _check_location(rid, call.body, existing)
        filled = kind.fill(call, dict(call.body), existing)
        identity = existing or {"id": rid.path, "name": rid.name, "type": rid.full_type}
        verb = "create" if existing is None or failed_verb(existing) == "create" else "update"
        seconds = kind.seconds.get(verb, 0)
        document = {
            "_secret": (existing or {}).get("_secret", {}),
            **filled,
            **{key: identity[key] for key in ("id", "name", "type")},
            "_state": {"create": "Creating", "update": "Updating"}[verb] if seconds else "Succeeded",
        }
        status = kind.created_status if existing is None else kind.updated_status
        if not seconds:
            await kind.provision(cloud, document, verb)
            cloud.keep(document)
            return JSONResponse(kind.written(document), status)
        with cloud.store.transaction():
            operation = cloud.operations.begin(verb, rid.path, cloud.settings.scaled(seconds))
            document["_operation"] = operation.id
            cloud.keep(document)
        headers = self._polling.headers(kind, operation, call)
        if status == 202:  # noqa: PLR2004 - HTTP's Accepted carries no resource
            return Response(None, status, headers)
        return JSONResponse(kind.written(document), status, headers)

    async def _delete(self, kind: ResourceType, call: Call) -> Response:
        cloud = self._cloud
        cloud.authorization.require(call.principal, f"{call.id.full_type}/delete", call.id.path)
        document = cloud.resource(call.id)
        if document is None:
            return Response(None, 204)
        cloud.locks.check(call.id.path, "delete")
        self._check_idle(kind, call.id)
        kind.validate_delete(call, document)
        seconds = kind.seconds.get("delete", 0)
        if not seconds:
            await self._resources.destroy(document)
            return Response(None, 200)
        with cloud.store.transaction():
            cloud.keep({**document, "_state": "Deleting"})
            operation = cloud.operations.begin("delete", call.id.path, cloud.settings.scaled(seconds))
        return Response(None, 202, self._polling.headers(kind, operation, call))

    async def _action(self, provider: Provider, call: Call) -> Response:
        parent = call.id.parent
        kind = provider.types.get(parent.type.lower()) if parent and not call.id.is_instance else None
        name = call.id.types[-1]
        actions = {name.lower(): (name, action) for name, action in (kind.actions() if kind else {}).items()}
        if parent is None or name.lower() not in actions:
            raise not_found(call.id.path)
        spelling, action = actions[name.lower()]
        verb = f"{parent.full_type}/{spelling}/action"
        self._cloud.authorization.require(call.principal, verb, parent.path)
        return self._respond(await action(call, self._existing(parent)), call)

    # Answers

    def _respond(self, answer: Answer, call: Call | None) -> Response:
        if answer.operation_seconds is not None and call is not None:
            seconds = self._cloud.settings.scaled(answer.operation_seconds)
            verb, path = ("update", answer.updated["id"]) if answer.updated else ("action", call.id.path)
            arguments = {"result": answer.body, **answer.arguments}
            with self._cloud.store.transaction():
                operation = self._cloud.operations.begin(verb, path, seconds, arguments)
                if answer.updated:
                    self._cloud.keep({**answer.updated, "_state": "Updating", "_operation": operation.id})
            return Response(None, 202, self._polling.headers(None, operation, call))
        if answer.body is None:
            return Response(None, answer.status, dict(answer.headers))
        return JSONResponse(answer.body, answer.status, dict(answer.headers))

    # Rules

    def _existing(self, rid: ResourceId) -> Document:
        if rid.group and not self._cloud.resource_groups.exists(rid.group):
            raise ServiceError(404, "ResourceGroupNotFound", f"Resource group '{rid.group}' could not be found.")
        document = self._cloud.resource(rid)
        if document is None:
            text = (
                f"The Resource '{rid.namespace}/{'/'.join(_interleave(rid))}' under resource group '{rid.group}' was"
                " not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            )
            raise ServiceError(404, "ResourceNotFound", text)
        return document

    def _check_place(self, kind: ResourceType, call: Call) -> None:
        rid, groups = call.id, self._cloud.resource_groups
        if not self._registrations.registered(rid.namespace):
            text = (
                f"The subscription is not registered to use namespace '{rid.namespace}'. See"
                " https://aka.ms/rps-not-found for how to register subscriptions."
            )
            raise ServiceError(409, "MissingSubscriptionRegistration", text)
        if not rid.group or not groups.exists(rid.group):
            raise ServiceError(404, "ResourceGroupNotFound", f"Resource group '{rid.group}' could not be found.")
        if groups.deleting(rid.group):
            text = f"The resource group '{rid.group}' is in deprovisioning state and cannot perform this operation."
            raise ServiceError(409, "ResourceGroupBeingDeleted", text)
        parent = rid.parent
        if parent is not None and not kind.tracked and self._cloud.resource(parent) is None:
            text = f"Can not perform requested operation on nested resource. Parent resource '{parent.name}' not found."
            raise ServiceError(404, "ParentResourceNotFound", text)

    def _check_region(self, rid: ResourceId, location: str) -> None:
        """Raise ServiceError (400) where the type is restricted to other regions; names of regions are not checked."""
        regions = [canonical_location(region) for region in self._registrations.regions(rid.full_type)]
        restricted = self._cloud.faults.restriction("region", rid.full_type)
        if restricted and canonical_location(location) not in regions:
            text = (
                f"The provided location '{location}' is not available for resource type '{rid.full_type}'. List of"
                f" available regions for the resource type is '{','.join(regions)}'."
            )
            raise ServiceError(400, "LocationNotAvailableForResourceType", text)

    def _check_idle(self, kind: ResourceType, rid: ResourceId) -> None:
        """Raise ServiceError (409) while an operation runs on the resource, its parent or, if exclusive, its family."""
        near = [rid.top] if kind.exclusive else [rid, *([rid.parent] if rid.parent else [])]
        resources = [self._cloud.resource(resource_id) for resource_id in near]
        for document in [*resources, *(self._cloud.resources(rid.top.path) if kind.exclusive else [])]:
            if document is not None and document["_state"] in PENDING:
                raise busy_error(self._resources.kind(document).busy, document)


async def _json(request: Request) -> Document:
    if request.method in ("GET", "HEAD", "DELETE") or not await request.body():
        return {}
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = "The request content was invalid and could not be deserialized: it must be a JSON object."
        raise ServiceError(400, "InvalidRequestContent", text)
    return body


def _check_subscription(path: str) -> None:
    segments = path.strip("/").split("/")
    if len(segments) > 1 and segments[0].lower() == "subscriptions" and segments[1].lower() != SUBSCRIPTION_ID:
        text = f"The subscription '{segments[1]}' could not be found."
        raise ServiceError(404, "SubscriptionNotFound", text)


def _check_location(rid: ResourceId, body: Document, existing: Document | None) -> None:
    old, new = (existing or {}).get("location"), body.get("location")
    if old and new and canonical_location(old) != canonical_location(new):
        text = (
            f"The resource '{rid.name}' already exists in location '{old}' in resource group '{rid.group}'. A resource"
            f" with the same name cannot be created in location '{new}'. Please select a new resource name."
        )
        raise ServiceError(409, "InvalidResourceLocation", text)


def _interleave(rid: ResourceId) -> list[str]:
    return [part for pair in zip(rid.types, rid.names, strict=True) for part in pair]
