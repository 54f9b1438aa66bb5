"""Entra's objects that a display name identifies, of them groups and their members, through Microsoft Graph.

Source: https://learn.microsoft.com/graph/api/resources/group. Graph reads from replicas that are behind by seconds: a
new object is not found, or not by every request:
https://devblogs.microsoft.com/identity/designing-for-eventual-consistency-for-microsoft-entra.
"""

from __future__ import annotations

import itertools
import uuid
from abc import abstractmethod
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflowaks.azure import duplicates
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import ADOPTED, MADE_HERE, Facts, Resource
from airflowaks.errors import AzureError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from airflowaks.session import Session

FORBIDDEN, _NOT_FOUND = 403, 404
_LISTED_SECONDS = 5.0
"""How long a replica may miss an object that the others list."""
ALREADY = "already exist"
"""In the message of a 400: for a `uniqueName`, for a member or an owner, and for an assignment."""


class DirectoryObject(Resource):
    """An object of the tenant, identified by its display name and marked at the end of its description.

    The description is what any creator of the object may set, and what its owner may set by hand. The alternate key
    `uniqueName` takes a permission on all objects, and cannot be changed.
    """

    created_path = "createdDateTime"
    path: ClassVar[str]
    """Of the collection in Graph."""
    noun: ClassVar[str]
    """The name of the type in Graph."""
    command: ClassVar[str]
    """The command of `az` that deletes one."""
    properties: ClassVar[str]

    def __init__(self, session: Session, name: str, description: str) -> None:
        super().__init__(session, name)
        self.description = description
        # The ID of the one that stays of several, and that of the one left here, which Entra did not let it delete.
        self._stays = self._left = ""

    @property
    def id(self) -> str:
        """Return the object ID as text."""
        return str(self.fact("id"))

    @property
    def origin(self) -> str:
        """Return whether the description ends with the environment's mark."""
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
        """Return the object ID, or AFTER_APPLY."""
        return self.fact("id")

    @property
    def note(self) -> str:
        """Return which object is left to delete."""
        if not self._left:
            return ""
        return f"{self}: this run has created a second one and may not delete it: run `{self.command} {self._left}`."

    def read(self) -> Facts | None:
        """Return the object with the display name. Raises AzureError if several have it, which Entra allows.

        Of several that were made for this environment the oldest counts, while a run may still delete its own.
        """
        named = duplicates.by_age(self._called(self.path, self.properties))
        if len(named) > 1:
            if not all(map(self._is_marked, named)) or not duplicates.being_removed(named[1:]):
                raise self._ambiguous(named)
            return next((each for each in named if each["id"] == self._stays), named[0])
        return named[0] if named else None

    def _called(self, path: str, properties: str) -> list[Facts]:
        """Return the objects below `path` that have the display name."""
        quoted = self.name.replace("'", "''")
        query = {"$filter": f"displayName eq '{quoted}'", "$select": properties}
        return list(items(self.session, send(self.session, "GET", path, params=query)))

    def _ambiguous(self, named: list[Facts]) -> AzureError:
        """Return the error for several objects, oldest first. Two runs at once may both have created theirs."""
        marked = [each for each in named if self._is_marked(each)]
        listed = ", ".join(
            f"{each['id']} of {each['createdDateTime']}, {'' if each in marked else 'not '}made for this environment"
            for each in named
        )
        action = "Set another name under `entra` in the environment file, or rename the others."
        if len(marked) > 1:
            action = f"Delete the newest: `{self.command} {marked[-1]['id']}`; then run the step again."
        return AzureError(f"{self}: {len(named)} {self.noun}s have this display name: {listed}.", action)

    def desired(self) -> Facts:
        """Return the properties, with the description and the mark; an adopted one has a description of its own."""
        described = {} if self.origin == ADOPTED else {"description": f"{self.description} {self._mark}"}
        return {"displayName": self.name, **self.settings(), **described}

    @abstractmethod
    def settings(self) -> Facts:
        """Return the properties of the type that matter."""

    def creation(self) -> Facts:
        """Return the properties that only a creation has."""
        return {}

    def write(self, facts: Facts | None) -> None:
        """Create the object, or update its properties."""
        if facts is None:
            self._create()
        else:
            send(self.session, "PATCH", f"{self.path}/{facts['id']}", json=self.desired())

    def _create(self, held: Collection[str] = ()) -> None:
        """Create the object by a key of its own, by which two runs at once, or one after a lost answer, make one.

        A key that exists already belongs to another run's object, which the next reads find, or to a deleted one, and
        then the next number is free. Without Group.ReadWrite.All an application creates a group by its name alone.
        Sources: https://learn.microsoft.com/graph/api/group-upsert and /application-upsert,
        https://learn.microsoft.com/graph/templates/known-issues-graph-bicep (keys of deleted objects; for groups
        believed). Where older pages are right and Group.Create is enough, the application needs to be the owner.
        """
        from azure.core.exceptions import HttpResponseError

        body = {**self.desired(), **self.creation()}
        words = f"airflowaks {self.session.environment.mark} {self.name}"
        keys = (str(uuid.uuid5(uuid.NAMESPACE_URL, f"{words} {number}")) for number in itertools.count(1))
        free = next(key for key in keys if key not in held)
        upsert = {"headers": {"Prefer": "create-if-missing"}, "json": body}
        try:
            send(self.session, "PATCH", f"{self.path}(uniqueName='{free}')", **upsert)
        except HttpResponseError as error:
            if error.status_code == FORBIDDEN:
                self._keep_oldest(send(self.session, "POST", self.path, json=body))
            elif ALREADY not in str(error):
                raise
            elif not held and (
                deleted := self._called(f"/directory/deletedItems/microsoft.graph.{self.noun}", "uniqueName")
            ):
                self._create([str(each.get("uniqueName")) for each in deleted])

    def _keep_oldest(self, own: Facts) -> None:
        """Delete `own`, just created, where there is an older one; else the newer ones, of runs that may have ended.

        Its creator owns it. Whether that is enough to delete a group, the sources in docs/azure.md differ; if not,
        `note` says so.
        """
        from azure.core.exceptions import HttpResponseError

        def made() -> list[Facts]:
            return [*filter(self._is_marked, self._called(self.path, self.properties))]

        oldest, *newer = duplicates.settled(own, made)
        self._stays = str(oldest["id"])
        for each in newer if self._stays == own["id"] else [own]:
            path = f"{self.path}/{each['id']}"
            try:
                retry_on(partial(send, self.session, "DELETE", path), is_missing, _LISTED_SECONDS)
            except HttpResponseError as error:
                self._left = str(own["id"]) if each is own and not is_missing(error) else ""

    def delete(self) -> None:
        """Delete the object, which Entra can restore for 30 days. It may be gone already: a read may be behind."""
        from azure.core.exceptions import ResourceNotFoundError

        with suppress(ResourceNotFoundError):
            send(self.session, "DELETE", f"{self.path}/{self.require('id')}")


class Group(DirectoryObject):
    """A security group."""

    kind = "Entra group"
    path = "/groups"
    noun = "group"
    command = "az ad group delete --group"
    properties = "id,displayName,description,mailNickname,securityEnabled,createdDateTime"

    def settings(self) -> Facts:
        """Return that it is a security group."""
        return {"securityEnabled": True}

    def creation(self) -> Facts:
        """Return its nickname, which Entra requires, and the operator as its owner; a person becomes that itself.

        A service principal whose one permission is Group.Create can change and delete only the groups that it owns:
        https://learn.microsoft.com/graph/api/group-post-groups and the API permissions of Terraform's azuread_group.
        """
        nickname = "".join(letter for letter in self.name if letter.isalnum() or letter in "-_")[:64]
        operator = self.session.operator
        owners = {} if operator.kind == "User" else {"owners@odata.bind": [_reference(operator.object_id)]}
        return {"mailEnabled": False, "mailNickname": nickname, **owners}


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
        return {"members": sorted({member["id"] for member in items(self.session, page)})}

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
                if ALREADY not in str(error):
                    raise

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Send a request; repeat it while a new group is not yet replicated to every server of Graph."""
        return retry_on(
            lambda: send(self.session, method, path, **arguments),
            lambda error: self.group.recently_written and is_missing(error),
        )


def user_names(group: Group) -> list[str]:
    """Return the user principal names of a group's members, of those who have one. Raises HttpResponseError.

    The group is read again: another session may have made it, as the notebooks that 00_deploy runs do.
    """
    if group.refresh() is None:
        return []
    page = send(group.session, "GET", f"/groups/{group.id}/members", params={"$select": "id,userPrincipalName"})
    return sorted(member["userPrincipalName"] for member in items(group.session, page) if "userPrincipalName" in member)


def _reference(object_id: str) -> str:
    return f"https://graph.microsoft.com/v1.0/directoryObjects/{object_id}"


def is_missing(error: BaseException) -> bool:
    """Tell whether Graph does not find an object."""
    return getattr(error, "status_code", None) == _NOT_FOUND


def items(session: Session, page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the items of a page and of those after it; a page may be empty and not the last."""
    yield from page["value"]
    while link := page.get("@odata.nextLink"):
        page = send(session, "GET", link)
        yield from page["value"]


def send(session: Session, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    """Send a request to Graph and return its JSON. Raises azure-core's HttpResponseError with Graph's error code."""
    from azure.core.rest import HttpRequest

    response = session.graph.send_request(HttpRequest(method, session.graph.format_url(path), **arguments))
    response.raise_for_status()
    body: dict[str, Any] = response.json() if response.content else {}
    return body
