"""Microsoft Graph's credentials of an application: passwords and federated credentials.

Sources: https://learn.microsoft.com/graph/api/resources/passwordcredential and
https://learn.microsoft.com/graph/api/resources/federatedidentitycredential.
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from rehearsal_cloud.entra.applications import registered
from rehearsal_cloud.entra.graph_answers import CONTEXT, directory_of, missing, now, of_either_key, page
from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.entra.directory import Entra
    from rehearsal_cloud.entra.graph_answers import Operation

_PASSWORD_DAYS = 2 * 365
"""Unless the request says when: https://learn.microsoft.com/graph/api/application-addpassword."""
_MOST_FEDERATED = 20
_REQUIRED = ("name", "issuer", "subject", "audiences")


class ApplicationCredentials:
    """What an application proves with that it is itself."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def routes(self) -> list[Operation]:
        """Return method, path and handler of each operation."""
        federated = "/federatedIdentityCredentials"
        return of_either_key(
            "applications",
            ("POST", "/addPassword", self._add_password),
            ("POST", "/removePassword", self._remove_password),
            ("GET", federated, self._list),
            ("POST", federated, self._create),
            ("GET", f"{federated}/{{credential}}", self._get),
            ("PATCH", f"{federated}/{{credential}}", self._update),
            ("DELETE", f"{federated}/{{credential}}", self._delete),
        )

    async def _add_password(self, request: Request) -> Response:
        application, wanted = registered(request), (await request.json()).get("passwordCredential") or {}
        password, key_id = secrets.token_urlsafe(30), str(uuid.uuid4())
        end = (datetime.now(UTC) + timedelta(days=_PASSWORD_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {
            "displayName": wanted.get("displayName"),
            "hint": password[:3],
            "startDateTime": wanted.get("startDateTime") or now(),
            "endDateTime": wanted.get("endDateTime") or end,
        }
        self._entra.set_password(application["appId"], key_id, password, about)
        body = {"@odata.context": f"{CONTEXT}#microsoft.graph.passwordCredential", "keyId": key_id, **about}
        return JSONResponse({**body, "secretText": password})

    async def _remove_password(self, request: Request) -> Response:
        application, key_id = registered(request), str((await request.json()).get("keyId"))
        if not self._entra.remove_password(application["appId"], key_id):
            raise ServiceError(400, "Request_BadRequest", f"No password credential found with keyId: {key_id}")
        return Response(None, 204)

    async def _list(self, request: Request) -> Response:
        app_id = registered(request)["appId"]
        kept = directory_of(request).store.scan("federated", f"{app_id}/")
        return page(request, f"applications('{app_id}')/federatedIdentityCredentials", [_body(each) for each in kept])

    async def _create(self, request: Request) -> Response:
        app_id, body = registered(request)["appId"], await request.json()
        _check(body)
        kept = self._entra.store.scan("federated", f"{app_id}/")
        if any(credential["name"] == body["name"] for credential in kept):
            text = f"FederatedIdentityCredential with name {body['name']} already exists."
            raise ServiceError(409, "Request_MultipleObjectsWithSameKeyValue", text)
        self._check_unique(body, kept)
        if len(kept) >= _MOST_FEDERATED:
            text = f"The application has {_MOST_FEDERATED} federated identity credentials, which is the limit."
            raise ServiceError(400, "Request_BadRequest", text)
        credential = self._put(app_id, {"id": str(uuid.uuid4()), "name": body["name"]}, body)
        return JSONResponse({"@odata.context": f"{CONTEXT}#federatedIdentityCredentials/$entity", **credential}, 201)

    async def _get(self, request: Request) -> Response:
        return JSONResponse(_body(_existing(request)))

    async def _update(self, request: Request) -> Response:
        app_id, credential, body = registered(request)["appId"], _existing(request), await request.json()
        changed = _body(credential) | body
        _check(changed)
        kept = self._entra.store.scan("federated", f"{app_id}/")
        self._check_unique(changed, [other for other in kept if other["id"] != credential["id"]])
        self._put(app_id, credential, changed)
        return Response(None, 204)

    async def _delete(self, request: Request) -> Response:
        self._entra.store.delete("federated", f"{registered(request)['appId']}/{_existing(request)['id']}")
        return Response(None, 204)

    def _check_unique(self, body: Document, kept: list[Document]) -> None:
        """Raise ServiceError (400) for a second trust in the same issuer and subject; the message is believed."""
        pairs = [(each["properties"]["issuer"], each["properties"]["subject"]) for each in kept]
        if (body["issuer"], body["subject"]) in pairs:
            text = "A federated identity credential with this issuer and subject already exists on the application."
            raise ServiceError(400, "Request_BadRequest", text)

    def _put(self, app_id: str, credential: Document, body: Document) -> Document:
        """Keep the credential, which the token endpoint knows after the replication delay."""
        properties = {name: body.get(name) for name in ("issuer", "subject", "audiences", "description")}
        fresh = {**credential, "properties": properties, "visible_at": time.time() + self._entra.delay}
        self._entra.store.put("federated", f"{app_id}/{credential['id']}", fresh)
        return _body(fresh)


def _existing(request: Request) -> Document:
    """Return the credential that the path names by `id` or `name`. Raises ServiceError (404)."""
    key = request.path_params["credential"]
    for credential in directory_of(request).store.scan("federated", f"{registered(request)['appId']}/"):
        if key in (credential["id"], credential["name"]):
            return credential
    raise missing(key)


def _check(body: Document) -> None:
    for name in _REQUIRED:
        if not body.get(name):
            text = f"A value is required for property '{name}' of resource 'FederatedIdentityCredential'."
            raise ServiceError(400, "Request_BadRequest", text)
    if len(body["audiences"]) != 1:
        raise ServiceError(400, "Request_BadRequest", "The property audiences takes one value.")


def _body(credential: Document) -> Document:
    return {"id": credential["id"], "name": credential["name"], **credential["properties"]}
