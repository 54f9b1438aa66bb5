"""The subscription: requests for its resource groups, its providers, and listings of resources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError, not_found
from rehearsal_cloud.home import SUBSCRIPTION_ID, TENANT_ID
from rehearsal_cloud.resource_manager.policies import check_policies
from rehearsal_cloud.resource_manager.resource_groups import SUBSCRIPTION
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_location, canonical_scope
from rehearsal_cloud.resource_manager.resource_types import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Principal
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.registrations import Registrations

_GROUP_NAME = r"[\w.()-]{0,89}[\w()-]"
_DELETE_SECONDS = 300.0
_DELETE_EMPTY_SECONDS = 15.0


@dataclass(frozen=True)
class _ListRequest:
    """A read request or a registration: its principal, path and query."""

    principal: Principal
    path: str
    parts: list[str]
    query: Mapping[str, str]


class Subscription:
    """Answers the requests that do not belong to a provider."""

    def __init__(self, cloud: Cloud, registrations: Registrations) -> None:
        self._cloud = cloud
        self._registrations = registrations
        self._groups = cloud.resource_groups

    async def answer(
        self, principal: Principal, method: str, path: str, query: Mapping[str, str], body: Document
    ) -> Answer:
        """Answer a request below `/subscriptions` that names no provider's resource. Raises ServiceError."""
        parts = [part for part in path.strip("/").split("/") if part]
        shape = "/".join(part.lower() if index % 2 == 0 else "*" for index, part in enumerate(parts))
        if shape == "subscriptions/*/resourcegroups/*":
            return self._group(principal, method, parts[3], body)
        registrations = self._registrations
        served: dict[str, Callable[[_ListRequest], Answer]] = {
            "GET tenants": _tenants,
            "GET subscriptions": self._subscriptions,
            "GET subscriptions/*": self._read_subscription,
            "GET subscriptions/*/resourcegroups": self._list_groups,
            "GET subscriptions/*/resourcegroups/*/resources": self._list,
            "GET subscriptions/*/resources": self._list,
            "GET subscriptions/*/providers": lambda _asked: registrations.list(),
            "GET subscriptions/*/providers/*": lambda request: registrations.read(request.parts[3]),
            "POST subscriptions/*/providers/*/register": lambda request: registrations.register(
                request.principal, request.parts[3]
            ),
            "POST subscriptions/*/providers/*/unregister": lambda request: registrations.unregister(
                request.principal, request.parts[3]
            ),
            "GET subscriptions/*/operationresults/*": self._operation,
        }
        serve = served.get(f"{method} {shape}")
        if serve is None:
            raise not_found(path)
        return serve(_ListRequest(principal, path, parts, query))

    # Groups

    def _group(self, principal: Principal, method: str, name: str, body: Document) -> Answer:
        scope = f"{SUBSCRIPTION}/resourceGroups/{name}"
        verb = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}.get(method, "")
        self._cloud.authorization.require(principal, f"Microsoft.Resources/subscriptions/resourceGroups/{verb}", scope)
        existing = self._groups.get(name)
        if method == "PUT":
            return self._put(name, body, existing)
        if existing is None:
            if method == "HEAD":
                return Answer(status=404)
            raise ServiceError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        match method:
            case "HEAD":
                return Answer(status=204)
            case "GET":
                return Answer(_view(existing))
            case "PATCH":
                changed = {**existing, **({"tags": body["tags"]} if "tags" in body else {})}
                self._groups.keep(changed)
                return Answer(_view(changed))
            case "DELETE":
                self._cloud.locks.check(existing["id"], "delete")
                return self._delete(existing)
        raise ServiceError(405, "MethodNotAllowed", f"The method {method} is not served at a resource group.")

    def _put(self, name: str, body: Document, existing: Document | None) -> Answer:
        if not re.fullmatch(_GROUP_NAME, name):
            text = (
                f"The provided resource group name '{name}' has these invalid characters: it may have 1 to 90"
                " letters, digits, '-', '.', '_' and parentheses, and no '.' at its end."
            )
            raise ServiceError(400, "InvalidResourceGroup", text)
        check_policies(self._cloud.faults, "Microsoft.Resources/subscriptions/resourceGroups", name)
        if not body.get("location"):
            raise ServiceError(400, "LocationRequired", "The location property is required for this definition.")
        location = canonical_location(body["location"])
        if existing is not None and existing["_state"] == "Deleting":
            text = f"The resource group '{name}' is in deprovisioning state and cannot perform this operation."
            raise ServiceError(409, "ResourceGroupBeingDeleted", text)
        if existing is not None and existing["location"] != location:
            text = (
                f"Invalid resource group location '{location}'. The Resource group already exists in location"
                f" '{existing['location']}'."
            )
            raise ServiceError(409, "InvalidResourceGroupLocation", text)
        document = {
            "id": (existing or {}).get("id", f"{SUBSCRIPTION}/resourceGroups/{name}"),
            "name": (existing or {}).get("name", name),
            "type": "Microsoft.Resources/resourceGroups",
            "location": location,
            "_state": "Succeeded",
            **({"managedBy": body["managedBy"]} if body.get("managedBy") else {}),
            **({"tags": body["tags"]} if body.get("tags") is not None else {}),
        }
        self._groups.keep(document)
        return Answer(_view(document), 201 if existing is None else 200)

    def _delete(self, group: Document) -> Answer:
        seconds = self._cloud.settings.scaled(
            _DELETE_SECONDS if self._cloud.resources(group["id"]) else _DELETE_EMPTY_SECONDS
        )
        with self._cloud.store.transaction():
            self._groups.keep({**group, "_state": "Deleting"})
            operation = self._cloud.operations.begin("delete", group["id"], seconds)
        location = f"https://management.azure.com{SUBSCRIPTION}/operationresults/{operation.id}?api-version=2025-04-01"
        return Answer(None, 202, {"Location": location, **operation.poll_headers})

    def _list_groups(self, request: _ListRequest) -> Answer:
        self._require(request, "Microsoft.Resources/subscriptions/resourceGroups/read")
        return Answer({"value": [_view(group) for group in self._groups.list()]})

    def _operation(self, request: _ListRequest) -> Answer:
        operation = self._cloud.operations.get(request.parts[3])
        if operation is None:
            raise not_found(request.path)
        if operation.running:
            again = f"https://management.azure.com{request.path}?api-version=2025-04-01"
            return Answer(None, 202, {"Location": again, **operation.poll_headers})
        if operation.error is not None:
            return Answer({"error": operation.error}, 409)
        return Answer(status=204)

    def _require(self, request: _ListRequest, action: str) -> None:
        self._cloud.authorization.require(request.principal, action, SUBSCRIPTION)

    # Listings

    def _subscriptions(self, request: _ListRequest) -> Answer:
        visible = self._cloud.authorization.holds_any(request.principal)
        subscriptions = [self._view_subscription()] if visible else []
        return Answer({"value": subscriptions, "count": {"type": "Total", "value": len(subscriptions)}})

    def _read_subscription(self, request: _ListRequest) -> Answer:
        self._require(request, "Microsoft.Resources/subscriptions/read")
        return Answer(self._view_subscription())

    def _view_subscription(self) -> Document:
        """Return the subscription with its offer; one on free credit, whose registries may not build, says so.

        The offers' IDs: https://learn.microsoft.com/azure/cost-management-billing/costs/understand-cost-mgt-data
        """
        paid = self._cloud.settings.acr_tasks
        return {
            "id": SUBSCRIPTION,
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": SUBSCRIPTION_ID,
            "tenantId": TENANT_ID,
            "displayName": "rehearsal",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Internal_2014-09-01",
                "quotaId": "Internal_2014-09-01" if paid else "FreeTrial_2014-09-01",
                "spendingLimit": "Off" if paid else "On",
            },
        }

    def _list(self, request: _ListRequest) -> Answer:
        scope = canonical_scope(request.path.rpartition("/")[0])
        condition = request.query.get("$filter", "")
        self._cloud.authorization.require(request.principal, "Microsoft.Resources/subscriptions/resources/read", scope)
        conditions = {field.lower(): value.lower() for field, value in re.findall(r"(\w+)\s+eq\s+'([^']*)'", condition)}
        listed = [
            {
                key: resource[key]
                for key in ("id", "name", "type", "location", "tags", "sku", "kind", "identity")
                if key in resource
            }
            for resource in self._cloud.top_resources(scope)
            if _meets(resource, conditions)
        ]
        return Answer({"value": listed})


def _meets(resource: Document, conditions: Mapping[str, str]) -> bool:
    """Tell whether a resource meets a filter's conditions, all in lower case.

    https://learn.microsoft.com/rest/api/resources/resources/list; `az resource list` sends resourceGroup and tagName.
    """
    rid = ResourceId.parse(resource["id"])
    tags = {name.lower(): str(value).lower() for name, value in (resource.get("tags") or {}).items()}
    tag = conditions.get("tagname")
    values = {
        "resourcetype": resource["type"],
        "name": resource["name"],
        "location": canonical_location(resource.get("location") or ""),
        "resourcegroup": rid.group if rid else "",
        "tagname": tag if tag in tags else "",
        "tagvalue": tags.get(tag or "", ""),
    }
    return all(values[field].lower() == value for field, value in conditions.items() if field in values)


def _tenants(_asked: _ListRequest) -> Answer:
    return Answer({"value": [{"id": f"/tenants/{TENANT_ID}", "tenantId": TENANT_ID}]})


def _view(group: Document) -> Document:
    shown = {key: value for key, value in group.items() if not key.startswith("_")}
    return {**shown, "properties": {"provisioningState": group["_state"]}}
