"""Microsoft Graph's applications: made, listed and deleted, and their passwords.

Source: https://learn.microsoft.com/graph/api/resources/application.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.graph_answers import CONTEXT, conditions_of, directory_of, matches, missing, now, page
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra

_PASSWORD_DAYS = 180


class Applications:
    """The applications of the tenant; each may have a service principal, which goes with it."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Return method, path and handler of each operation."""
        return [
            ("GET", "/applications", self._list),
            ("POST", "/applications", self._create),
            ("GET", "/applications/{id}", self._get),
            ("DELETE", "/applications/{id}", self._delete),
            ("POST", "/applications/{id}/addPassword", self._add_password),
        ]

    async def _list(self, request: Request) -> Response:
        conditions = conditions_of(request)
        bodies = [_body(application) for application in _registered(request)]
        return page(request, "applications", [body for body in bodies if matches(body, conditions)])

    async def _create(self, request: Request) -> Response:
        name = str((await request.json()).get("displayName") or "")
        if not name:
            text = "A value is required for property 'displayName' of resource 'Application'."
            raise ServiceError(400, "Request_BadRequest", text)
        app_id = str(uuid.uuid4())
        application = {"appId": app_id, "id": str(uuid.uuid4()), "name": name, "passwords": [], "created": now()}
        self._entra.store.put("applications", app_id, application)
        return JSONResponse(_entity(application), 201)

    async def _get(self, request: Request) -> Response:
        return JSONResponse(_entity(self._existing(request)))

    async def _delete(self, request: Request) -> Response:
        application = self._existing(request)
        principal = self._entra.by_app_id(application["appId"])
        if principal is not None:
            self._entra.remove(principal.object_id)
        self._entra.store.delete("applications", application["appId"])
        return Response(None, 204)

    async def _add_password(self, request: Request) -> Response:
        application = self._existing(request)
        password, key_id = secrets.token_urlsafe(30), str(uuid.uuid4())
        self._entra.set_password(application["appId"], key_id, password)
        body = {
            "keyId": key_id,
            "secretText": password,
            "hint": password[:3],
            "startDateTime": now(),
            "endDateTime": (datetime.now(UTC) + timedelta(days=_PASSWORD_DAYS)).isoformat(),
        }
        return JSONResponse({"@odata.context": f"{CONTEXT}#microsoft.graph.passwordCredential", **body})

    def _existing(self, request: Request) -> Document:
        object_id = request.path_params["id"].lower()
        for application in _registered(request):
            if application["id"] == object_id:
                return application
        raise missing(object_id)


def _registered(request: Request) -> list[Document]:
    """Return the applications made here; the operator's own is of another tenant."""
    return [application for application in directory_of(request).store.scan("applications") if application.get("id")]


def _body(application: Document) -> Document:
    return {
        "id": application["id"],
        "appId": application["appId"],
        "displayName": application["name"],
        "createdDateTime": application.get("created"),
        "identifierUris": [],
        "passwordCredentials": [
            {"keyId": credential["name"], "displayName": None} for credential in application["passwords"]
        ],
        "keyCredentials": [],
        "signInAudience": "AzureADMyOrg",
    }


def _entity(application: Document) -> Document:
    return {"@odata.context": f"{CONTEXT}#applications/$entity", **_body(application)}
