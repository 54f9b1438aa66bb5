"""Microsoft Graph's applications: registered, changed, listed and deleted.

Sources: https://learn.microsoft.com/graph/api/resources/application and the pages of its operations. A deleted
application is kept for 30 days, and its `uniqueName` with it:
https://learn.microsoft.com/graph/templates/known-issues-graph-bicep.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph_answers import (
    CONTEXT,
    conditions_of,
    directory_of,
    matches,
    missing,
    now,
    objects_of,
    of_either_key,
    page,
)
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra

_DEFAULTS: Document = {
    "appRoles": [],
    "description": None,
    "groupMembershipClaims": None,
    "identifierUris": [],
    "isFallbackPublicClient": None,
    "notes": None,
    "optionalClaims": None,
    "requiredResourceAccess": [],
    "signInAudience": "AzureADMyOrg",
    "tags": [],
    "web": {
        "homePageUrl": None,
        "logoutUrl": None,
        "redirectUris": [],
        "implicitGrantSettings": {"enableIdTokenIssuance": False, "enableAccessTokenIssuance": False},
    },
}
"""What may be changed, and what a new application has of it."""
_MEMBERSHIPS = {"None", "SecurityGroup", "DirectoryRole", "ApplicationGroup", "All"}
_AUDIENCES = {"AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"}
_LOOPBACK = ("localhost", "127.0.0.1")
_LONGEST_URI = 256


class Applications:
    """The applications of the tenant; each may have a service principal, which goes with it."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Return method, path and handler of each operation."""
        return [
            ("GET", "/applications", self._list),
            ("POST", "/applications", self._create),
            ("PATCH", "/applications(uniqueName='{unique_name}')", self._upsert),
            *of_either_key("applications", ("GET", "", self._get), ("PATCH", "", self._update)),
            *of_either_key("applications", ("DELETE", "", self._delete), ("GET", "/owners", self._owners)),
            ("GET", "/directory/deletedItems/microsoft.graph.application", self._deleted),
        ]

    async def _list(self, request: Request) -> Response:
        return _page(request, [application_body(application) for application in _registered(request)])

    async def _create(self, request: Request) -> Response:
        return self._made(request, await request.json())

    def _made(self, request: Request, body: Document, **key: str) -> Response:
        if not body.get("displayName"):
            text = "A value is required for property 'displayName' of resource 'Application'."
            raise ServiceError(400, "Request_BadRequest", text)
        app_id, object_id = str(uuid.uuid4()), str(uuid.uuid4())
        application: Document = {"appId": app_id, "id": object_id, "name": "", "passwords": [], "created": now(), **key}
        application = _changed({**application, "properties": deepcopy(_DEFAULTS)}, body)
        self._entra.store.put("applications", app_id, application)
        # An application that registers another one owns it: https://learn.microsoft.com/graph/permissions-reference.
        self._entra.permissions.own(object_id, [request.state.principal])
        return JSONResponse(_entity(application), 201)

    async def _upsert(self, request: Request) -> Response:
        """Update the application with this key, or with `Prefer: create-if-missing` create it (201).

        https://learn.microsoft.com/graph/api/application-upsert; on keys that a replica does not know, see `Groups`.
        """
        key, body = request.path_params["unique_name"], await request.json()
        for application in _registered(request):
            if application.get("uniqueName") == key and self._entra.store.get("applications", application["appId"]):
                return self._written(application["appId"], body)
        if "create-if-missing" not in request.headers.get("prefer", ""):
            raise missing(key)
        store = self._entra.store
        if any(kept.get("uniqueName") == key for kept in (*store.scan("applications"), *store.scan("deleted-apps"))):
            text = "Another object with the same value for property uniqueName already exists."
            raise ServiceError(400, "Request_BadRequest", text)
        return self._made(request, body, uniqueName=key)

    async def _get(self, request: Request) -> Response:
        return JSONResponse(_entity(registered(request)))

    async def _update(self, request: Request) -> Response:
        return self._written(registered(request)["appId"], await request.json())

    def _written(self, app_id: str, body: Document) -> Response:
        application = self._entra.store.get("applications", app_id)
        if application is None:
            raise missing(app_id)
        self._entra.store.put("applications", app_id, _changed(application, body))
        return Response(None, 204)

    async def _delete(self, request: Request) -> Response:
        application = registered(request)
        principal = self._entra.by_app_id(application["appId"])
        if principal is not None:
            self._entra.remove(principal.object_id)
        for credential in self._entra.store.scan("federated", f"{application['appId']}/"):
            self._entra.store.delete("federated", f"{application['appId']}/{credential['id']}")
        self._entra.store.delete("applications", application["appId"])
        self._entra.store.put("deleted-apps", application["id"], application_body(application))
        return Response(None, 204)

    async def _owners(self, request: Request) -> Response:
        owners = self._entra.permissions.owners(registered(request)["id"])
        return page(request, "directoryObjects", objects_of(request, owners))

    async def _deleted(self, request: Request) -> Response:
        return _page(request, directory_of(request).store.scan("deleted-apps"))


def registered(request: Request) -> Document:
    """Return the application that the path names by `id` or `appId`. Raises ServiceError (404)."""
    key = request.path_params["id"].lower()
    for application in _registered(request):
        if key == application["appId" if "appId=" in request.url.path else "id"]:
            return application
    raise missing(key)


def _registered(request: Request) -> list[Document]:
    """Return the applications made here; the operator's own is of another tenant."""
    return [application for application in directory_of(request).store.scan("applications") if application.get("id")]


def _changed(application: Document, body: Document) -> Document:
    """Return the application with the changes of a request's body, a `web` merged. Raises ServiceError (400)."""
    _check(body)
    properties = application.get("properties") or deepcopy(_DEFAULTS)
    changes = {name: body[name] for name in _DEFAULTS if name in body}
    if "web" in changes:
        changes["web"] = {**properties["web"], **(changes["web"] or {})}
    name = str(body.get("displayName") or application["name"])
    return {**application, "name": name, "properties": {**properties, **changes}}


def _check(body: Document) -> None:
    """Raise ServiceError (400) for a value that no application may have; the messages are believed.

    Redirect URIs: https://learn.microsoft.com/entra/identity-platform/reply-url.
    """
    if "passwordCredentials" in body:
        text = "Property passwordCredentials is read-only; use addPassword and removePassword."
        raise ServiceError(400, "Request_BadRequest", text)
    memberships = {name.strip() for name in str(body.get("groupMembershipClaims") or "None").split(",")}
    if not memberships <= _MEMBERSHIPS:
        raise _invalid("groupMembershipClaims")
    if body.get("signInAudience", "AzureADMyOrg") not in _AUDIENCES:
        raise _invalid("signInAudience")
    uris = (body.get("web") or {}).get("redirectUris") or []
    if len(set(uris)) != len(uris) or not all(map(_is_redirect_uri, uris)):
        raise _invalid("redirectUris")


def _is_redirect_uri(uri: str) -> bool:
    parts = urlsplit(uri)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    return secure and bool(parts.hostname) and len(uri) <= _LONGEST_URI and "#" not in uri


def _invalid(name: str) -> ServiceError:
    text = f"Invalid value specified for property '{name}' of resource 'Application'."
    return ServiceError(400, "Request_BadRequest", text)


def application_body(application: Document) -> Document:
    """Return an application as Graph shows it, its passwords without their text."""
    return {
        "id": application["id"],
        "appId": application["appId"],
        "displayName": application["name"],
        "createdDateTime": application.get("created"),
        "uniqueName": application.get("uniqueName"),
        **(application.get("properties") or _DEFAULTS),
        "passwordCredentials": [
            {"keyId": credential["name"], **credential.get("about", {})} for credential in application["passwords"]
        ],
        "keyCredentials": [],
    }


def _page(request: Request, bodies: list[Document]) -> Response:
    conditions = conditions_of(request)
    return page(request, "applications", [body for body in bodies if matches(body, conditions)])


def _entity(application: Document) -> Document:
    return {"@odata.context": f"{CONTEXT}#applications/$entity", **application_body(application)}
