"""Entra groups and their members, through Microsoft Graph.

Source: https://learn.microsoft.com/graph/api/resources/group. Graph reads from replicas that are behind by seconds: a
new object is not found, or not by every request:
https://devblogs.microsoft.com/identity/designing-for-eventual-consistency-for-microsoft-entra.
"""

from __future__ import annotations

import itertools
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import ADOPTED, MADE_HERE, Facts, Resource
from airflowaks.errors import AzureError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from airflowaks.session import Session

_FORBIDDEN, _NOT_FOUND = 403, 404
_ALREADY = "already exist"
"""In the message of a 400: for a `uniqueName`, and for a member or an owner."""
_GROUP_PROPERTIES = "id,displayName,description,mailNickname,securityEnabled,createdDateTime"


class Group(Resource):
    """A security group of the tenant, identified by its display name."""

    kind = "Entra group"
    created_path = "createdDateTime"

    def __init__(self, session: Session, name: str, description: str) -> None:
        super().__init__(session, name)
        self.description = description

    @property
    def id(self) -> str:
        """Return the group's object ID as text."""
        return str(self.fact("id"))

    @property
    def origin(self) -> str:
        """Return whether the description ends with the environment's mark.

        The description is what any creator of a group may set, and what its owner may set by hand. The alternate key
        `uniqueName` takes a permission on all groups, and cannot be changed.
        """
        if self.facts is None:
            return ""
        return MADE_HERE if self._is_marked(self.facts) else ADOPTED

    def _is_marked(self, facts: Facts) -> bool:
        return str(facts.get("description") or "").endswith(self._mark)

    @property
    def _mark(self) -> str:
        return f"(airflowaks {self.session.environment.mark})"

    @property
    def object_id(self) -> Any:
        """Return the group's object ID, or AFTER_APPLY."""
        return self.fact("id")

    def read(self) -> Facts | None:
        """Return the group with the display name. Raises AzureError if several groups have it, which Entra allows."""
        groups = self._called("/groups", _GROUP_PROPERTIES)
        if len(groups) > 1:
            # The ID decides within a second, so that two operators are told to delete the same group.
            raise self._ambiguous(sorted(groups, key=lambda group: (str(group["createdDateTime"]), group["id"])))
        return groups[0] if groups else None

    def _called(self, path: str, properties: str) -> list[Facts]:
        """Return the groups below `path` that have the display name."""
        quoted = self.name.replace("'", "''")
        query = {"$filter": f"displayName eq '{quoted}'", "$select": properties}
        return list(_items(self.session, _send(self.session, "GET", path, params=query)))

    def _ambiguous(self, groups: list[Facts]) -> AzureError:
        """Return the error for several groups, oldest first. Two runs at once may both have created theirs."""
        marked = [group for group in groups if self._is_marked(group)]
        listed = ", ".join(
            f"{group['id']} of {group['createdDateTime']}, {'' if group in marked else 'not '}made for this environment"
            for group in groups
        )
        action = "Set another name under `entra` in the environment file, or rename the others."
        if len(marked) > 1:
            action = f"Delete the newest: `az ad group delete --group {marked[-1]['id']}`; then run the step again."
        return AzureError(f"Entra group {self.name}: {len(groups)} groups have this display name: {listed}.", action)

    def desired(self) -> Facts:
        """Return a security group with the description and the mark; an adopted one has a description of its own."""
        described = {} if self.origin == ADOPTED else {"description": f"{self.description} {self._mark}"}
        return {"displayName": self.name, "securityEnabled": True, **described}

    def write(self, facts: Facts | None) -> None:
        """Create the group, or update its properties."""
        if facts is None:
            self._create()
        else:
            _send(self.session, "PATCH", f"/groups/{facts['id']}", json=self.desired())

    def _create(self, held: Collection[str] = ()) -> None:
        """Create the group by a key of its own, by which two runs at once, or one after a lost answer, make one group.

        A key that exists already belongs to another run's group, which the next reads find, or to a deleted group, and
        then the next number is free. Without Group.ReadWrite.All an application creates the group by its name alone.
        Sources: https://learn.microsoft.com/graph/api/group-upsert,
        https://learn.microsoft.com/graph/templates/known-issues-graph-bicep (keys of deleted objects; for groups
        believed). Where older pages are right and Group.Create is enough, the application needs to be the owner.
        """
        from azure.core.exceptions import HttpResponseError

        nickname = "".join(letter for letter in self.name if letter.isalnum() or letter in "-_")[:64]
        body = {**self.desired(), "mailEnabled": False, "mailNickname": nickname, **self._owners()}
        words = f"airflowaks {self.session.environment.mark} {self.name}"
        keys = (str(uuid.uuid5(uuid.NAMESPACE_URL, f"{words} {number}")) for number in itertools.count(1))
        free = next(key for key in keys if key not in held)
        upsert = {"headers": {"Prefer": "create-if-missing"}, "json": body}
        try:
            _send(self.session, "PATCH", f"/groups(uniqueName='{free}')", **upsert)
        except HttpResponseError as error:
            if error.status_code == _FORBIDDEN:
                _send(self.session, "POST", "/groups", json=body)
            elif _ALREADY not in str(error):
                raise
            elif not held and (deleted := self._called("/directory/deletedItems/microsoft.graph.group", "uniqueName")):
                self._create([str(group.get("uniqueName")) for group in deleted])

    def _owners(self) -> dict[str, list[str]]:
        """Return the operator as the owner of a new group; a person becomes the owner of itself.

        A service principal whose one permission is Group.Create can change and delete only the groups that it owns:
        https://learn.microsoft.com/graph/api/group-post-groups and the API permissions of Terraform's azuread_group.
        """
        operator = self.session.operator
        return {} if operator.kind == "User" else {"owners@odata.bind": [_reference(operator.object_id)]}

    def delete(self) -> None:
        """Delete the group, which Entra can restore for 30 days. It may be gone already: a read may be behind."""
        from azure.core.exceptions import ResourceNotFoundError

        with suppress(ResourceNotFoundError):
            _send(self.session, "DELETE", f"/groups/{self.require('id')}")


class GroupMembers(Resource):
    """The membership of certain principals in a group. Other members stay."""

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
        page = self._ask("GET", self.id, params={"$select": "id", "$top": "999"})
        return {"members": sorted({member["id"] for member in _items(self.session, page)})}

    def desired(self) -> Facts:
        """Return the present members and the missing ones."""
        present = self.fact("members")
        return {"members": sorted(self.members.union(() if present is AFTER_APPLY else present))}

    def write(self, facts: Facts | None) -> None:
        """Add the missing members, of whom another run may have added some that the read did not find."""
        from azure.core.exceptions import HttpResponseError

        present = set((facts or {}).get("members", ()))
        for member in sorted(self.members - present):
            try:
                self._ask("POST", f"{self.id}/$ref", json={"@odata.id": _reference(member)})
            except HttpResponseError as error:
                if _ALREADY not in str(error):
                    raise

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Send a request; repeat it while a new group is not yet replicated to every server of Graph."""
        return retry_on(
            lambda: _send(self.session, method, path, **arguments),
            lambda error: self.group.recently_written and getattr(error, "status_code", None) == _NOT_FOUND,
        )


def _reference(object_id: str) -> str:
    return f"https://graph.microsoft.com/v1.0/directoryObjects/{object_id}"


def _items(session: Session, page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the items of a page and of those after it; a page may be empty and not the last."""
    yield from page["value"]
    while link := page.get("@odata.nextLink"):
        page = _send(session, "GET", link)
        yield from page["value"]


def _send(session: Session, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    """Send a request to Graph and return its JSON. Raises azure-core's HttpResponseError with Graph's error code."""
    from azure.core.rest import HttpRequest

    response = session.graph.send_request(HttpRequest(method, session.graph.format_url(path), **arguments))
    response.raise_for_status()
    body: dict[str, Any] = response.json() if response.content else {}
    return body
