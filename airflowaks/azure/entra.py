"""Entra groups and their members, through Microsoft Graph.

Source: https://learn.microsoft.com/graph/api/resources/group. Graph is eventually consistent: a group that was just
made may not be found by a filter for some seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import Facts, Resource
from airflowaks.errors import AzureError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.session import Session

_NOT_FOUND = 404
_GROUP_PROPERTIES = "id,displayName,description,mailNickname,securityEnabled,createdDateTime"


class Group(Resource):
    """A security group of the tenant, found by its display name."""

    kind = "Entra group"
    created_path = "createdDateTime"

    def __init__(self, session: Session, name: str, description: str) -> None:
        super().__init__(session, name)
        self.description = description

    @property
    def id(self) -> str:
        """Return the group's object ID, once it is known."""
        return str(self.fact("id"))

    @property
    def object_id(self) -> Any:
        """Return the group's object ID, or AFTER_APPLY."""
        return self.fact("id")

    def read(self) -> Facts | None:
        """Return the group of that display name. Raises AzureError where several bear it: Entra allows that."""
        quoted = self.name.replace("'", "''")
        query = {"$filter": f"displayName eq '{quoted}'", "$select": _GROUP_PROPERTIES}
        found = _send(self.session, "GET", "/groups", params=query)["value"]
        if len(found) > 1:
            message = f"{len(found)} groups are called {self.name}: {', '.join(one['id'] for one in found)}."
            raise AzureError(message, "Name another in the environment file under `entra`, or rename the others.")
        group: Facts | None = found[0] if found else None
        return group

    def desired(self) -> Facts:
        """Want a security group with that description."""
        return {"displayName": self.name, "description": self.description, "securityEnabled": True}

    def write(self, facts: Facts | None) -> None:
        """Create the group, or set what is not as wanted."""
        if facts is None:
            nickname = "".join(letter for letter in self.name if letter.isalnum() or letter in "-_")[:64]
            body = {**self.desired(), "mailEnabled": False, "mailNickname": nickname}
            _send(self.session, "POST", "/groups", json=body)
        else:
            _send(self.session, "PATCH", f"/groups/{facts['id']}", json=self.desired())

    def delete(self) -> None:
        """Delete the group; Entra keeps it for 30 days for those who want it back."""
        _send(self.session, "DELETE", f"/groups/{self.require('id')}")


class GroupMembers(Resource):
    """That certain principals are in a group; others, put there by other means, stay."""

    kind = "group members"

    def __init__(self, group: Group, members: Iterable[str]) -> None:
        super().__init__(group.session, group.name, parent=group)
        self.group = group
        self.members = set(members)

    @property
    def id(self) -> str:
        """Return the path of the membership in Graph."""
        return f"/groups/{self.group.id}/members"

    def read(self) -> Facts:
        """Return the object IDs of the direct members."""
        members: set[str] = set()
        page = self._ask("GET", self.id, params={"$select": "id", "$top": "999"})
        while True:
            members |= {one["id"] for one in page["value"]}
            if "@odata.nextLink" not in page:
                return {"members": sorted(members)}
            page = _send(self.session, "GET", page["@odata.nextLink"])

    def desired(self) -> Facts:
        """Want the members that there are and those that are missing."""
        present = self.fact("members")
        return {"members": sorted(self.members.union(() if present is AFTER_APPLY else present))}

    def write(self, facts: Facts | None) -> None:
        """Add those who are missing."""
        present = set((facts or {}).get("members", ()))
        for member in sorted(self.members - present):
            reference = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{member}"}
            self._ask("POST", f"{self.id}/$ref", json=reference)

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Send one request; a group that was just made is not there for every server of Graph at once."""
        return retry_on(
            lambda: _send(self.session, method, path, **arguments),
            lambda error: self.group.fresh and getattr(error, "status_code", None) == _NOT_FOUND,
        )


def _send(session: Session, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    """Send one request to Graph and return its JSON. Raises azure-core's HttpResponseError with Graph's own code."""
    from azure.core.rest import HttpRequest

    response = session.graph.send_request(HttpRequest(method, session.graph.format_url(path), **arguments))
    response.raise_for_status()
    body: dict[str, Any] = response.json() if response.content else {}
    return body
