"""Applications that users sign in to: registered through Microsoft Graph, as the runbook does."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.azure_requests import GRAPH, when_replicated

if TYPE_CHECKING:
    from azure.core.rest import HttpResponse

    from tests.support.azure_requests import Sender

DEFAULT_ACCESS = "00000000-0000-0000-0000-000000000000"
ADMINISTRATOR, DEVELOPER, VIEWER, OUTSIDER = (f"77777777-7777-4777-8777-77777777770{number}" for number in range(1, 5))


@dataclass(frozen=True)
class Registration:
    """An application and its service principal."""

    send: Sender
    id: str
    app_id: str
    principal: str

    @property
    def url(self) -> str:
        return f"{GRAPH}/applications/{self.id}"

    def change(self, **properties: Any) -> HttpResponse:
        return self.send("PATCH", self.url, properties)

    def require_assignment(self) -> None:
        url = f"{GRAPH}/servicePrincipals/{self.principal}"
        assert self.send("PATCH", url, {"appRoleAssignmentRequired": True}).status_code == 204

    def assign(self, principal: str, role: str = DEFAULT_ACCESS) -> None:
        answer = when_replicated(partial(self.ask_to_assign, principal, role))
        assert answer.status_code == 201, answer.text()

    def ask_to_assign(self, principal: str, role: str = DEFAULT_ACCESS) -> HttpResponse:
        body = {"principalId": principal, "resourceId": self.principal, "appRoleId": role}
        return self.send("POST", f"{GRAPH}/servicePrincipals/{self.principal}/appRoleAssignedTo", body)

    def secret(self, **about: Any) -> str:
        answer = self.send("POST", f"{self.url}/addPassword", {"passwordCredential": about})
        assert answer.status_code == 200, answer.text()
        return str(answer.json()["secretText"])


def register(send: Sender, **properties: Any) -> Registration:
    body = {"displayName": f"app-{uuid.uuid4().hex[:8]}", "signInAudience": "AzureADMyOrg", **properties}
    made = send("POST", f"{GRAPH}/applications", body)
    assert made.status_code == 201, made.text()
    application = made.json()
    url, principal = f"{GRAPH}/servicePrincipals", {"appId": application["appId"]}
    answer = when_replicated(partial(send, "POST", url, principal))
    assert answer.status_code == 201, answer.text()
    when_replicated(partial(send, "GET", f"{url}/{answer.json()['id']}"))
    return Registration(send, application["id"], application["appId"], answer.json()["id"])


def make_group(send: Sender, *members: str) -> str:
    """Create a security group and return its object ID."""
    name = f"group-{uuid.uuid4().hex[:8]}"
    body = {"displayName": name, "mailNickname": name, "mailEnabled": False, "securityEnabled": True}
    group = str(send("POST", f"{GRAPH}/groups", body).json()["id"])
    for member in members:
        reference = {"@odata.id": f"{GRAPH}/directoryObjects/{member}"}
        url = f"{GRAPH}/groups/{group}/members/$ref"
        assert when_replicated(partial(send, "POST", url, reference)).status_code == 204
    return group
