"""The base of every Azure Resource Manager resource: its ID, its JSON facts and its provisioning state."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflowaks.cloud.error_mapping import is_busy
from airflowaks.config.naming import MARK
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import ADOPTED, MADE_HERE, Facts, Resource, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflowaks.engine.changes import Difference
    from airflowaks.session import Session

_WRITABLE = tomllib.loads(Path(__file__).with_name("writable_properties.toml").read_text(encoding="utf-8"))


def rest(response: Any, _model: Any, _headers: Any) -> Any:
    """Return the response's JSON as the service sent it; pass it as `cls` to any operation of an SDK.

    Generations of SDK models rename and drop properties. The JSON is what Azure documents, and the names by which an
    update sends it back.
    """
    return json.loads(response.http_response.text())


def listed(session: Session, path: str, **query: str) -> Iterator[Any]:
    """Yield the items of a pageable list in the order of its pages, to the last one.

    Raises azure-core's HttpResponseError.
    """
    from azure.core.rest import HttpRequest

    request = HttpRequest("GET", path, params=query)
    while True:
        response = session.resources.send_request(request)
        response.raise_for_status()
        page = response.json()
        yield from page["value"]
        if not page.get("nextLink"):
            return
        request = HttpRequest("GET", page["nextLink"])


class ArmResource(Resource):
    """A resource of Azure Resource Manager."""

    type: ClassVar[str]
    """Provider and type: `Microsoft.KeyVault/vaults`."""
    sdk: ClassVar[str]
    """The session's client, and its operations on this type: `vaults.vaults`."""
    creation: ClassVar[str] = "begin_create_or_update"
    """The operation that creates and updates."""
    state_path: ClassVar[str] = "properties.provisioningState"
    settled_states: ClassVar[frozenset[str]] = frozenset({"", "succeeded", "failed", "canceled"})
    """The states without an operation in progress, in lower case; providers may define any other state."""

    def __init__(
        self,
        session: Session,
        name: str,
        *,
        group: str = "",
        parent: Resource | None = None,
        depends_on: Sequence[Resource] = (),
    ) -> None:
        super().__init__(session, name, parent=parent, depends_on=depends_on)
        self.group = group or session.environment.resource_group

    @property
    def id(self) -> str:
        """Return the resource ID."""
        return f"{group_id(self.session, self.group)}/providers/{self.type}/{self.name}"

    @property
    def origin(self) -> str:
        """Return whether the resource has the environment's mark."""
        if self.facts is None:
            return ""
        return MADE_HERE if is_marked(self.session, self.facts.get("tags")) else ADOPTED

    def tags(self) -> dict[str, str]:
        """Return the environment's tags, and its mark."""
        return {**self.session.environment.tags, MARK: self.session.environment.mark}

    def differences(self) -> tuple[Difference, ...]:
        """Return where the facts are not what is wanted; the tags of an adopted resource are its owner's."""
        differences = super().differences()
        if self.origin != ADOPTED:
            return differences
        return tuple(difference for difference in differences if not difference.path.startswith("tags"))

    def delete(self) -> None:
        """Delete the resource and return once that is done."""
        self.call("begin_delete" if hasattr(self.operations, "begin_delete") else "delete")

    @property
    def operations(self) -> Any:
        """Return the SDK's operations on this type."""
        return attrgetter(self.sdk)(self.session)

    @property
    def place(self) -> tuple[str, ...]:
        """Return the names by which the operations address the resource: its group's, its parent's, its own."""
        return (self.group, self.name)

    def read(self) -> Facts | None:
        """Return the resource's JSON, or None if Azure answers 404."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            facts: Facts = self.operations.get(*self.place, cls=rest)
        except ResourceNotFoundError:
            return None
        return facts

    def put(self, body: dict[str, Any]) -> None:
        """Send the whole resource and return once the operation has ended."""
        self.call(self.creation, body)

    def call(self, operation: str, *body: Any) -> None:
        """Call one of the operations and return once it has ended; first, wait for another one on the resource.

        It may be this one, begun by a request whose answer was lost. It is waited for as an earlier run's write is.
        """

        def call() -> None:
            poller = getattr(self.operations, operation)(*self.place, *body)
            if operation.startswith("begin_"):
                poller.result()

        def waits(error: BaseException) -> bool:
            self.activity = "waiting for another operation on it to end" if is_busy(error) else ""
            return bool(self.activity)

        try:
            retry_on(call, waits, self.finishing_seconds)
        finally:
            self.activity = ""

    def write(self, facts: Facts | None) -> None:
        """Send the facts with the desired state merged into them, so that properties of other tools survive."""
        self.put(merge(self.kept(facts), self.desired()))

    def kept(self, facts: Facts | None) -> Facts:
        """Return the facts that an update has to send back."""
        parents = _WRITABLE.get(self.kind, {}).items()
        paths = [f"{parent}.{name}".removeprefix(".") for parent, names in parents for name in names]
        return _part(facts or {}, paths)

    def unfinished(self, facts: Facts) -> bool:
        """Return whether an operation on the resource is in progress."""
        return self._state(facts) not in self.settled_states

    def needs_rewrite(self, facts: Facts) -> bool:
        """Return whether the last operation failed or was canceled."""
        return self._state(facts) in ("failed", "canceled")

    def _state(self, facts: Facts) -> str:
        return str(value_at(facts, self.state_path) or "").lower()


class ArmChild(ArmResource):
    """A resource that belongs to another one: its ID and its operations name both.

    It has no tags and no mark. The runbook chose its name, so it manages it, on an adopted parent too.
    """

    parent: ArmResource

    def __init__(self, parent: ArmResource, name: str, *, depends_on: Sequence[Resource] = ()) -> None:
        super().__init__(parent.session, name, parent=parent, depends_on=depends_on)

    @property
    def id(self) -> str:
        """Return the resource ID."""
        return f"{self.parent.id}/{self.type}/{self.place[-1]}"

    @property
    def origin(self) -> str:
        """Return nothing."""
        return ""

    @property
    def finishing_seconds(self) -> float:
        """Return what the parent's operations are waited for: one on it, or on another child, may be under way."""
        return self.parent.finishing_seconds

    @property
    def place(self) -> tuple[str, ...]:
        """Return the names by which the operations address the resource."""
        return (self.group, self.parent.name, self.name)


def is_marked(session: Session, tags: Mapping[str, str] | None) -> bool:
    """Tell whether tags have the environment's mark. Azure ignores the case of a tag's name, not of its value."""
    marks = [value for name, value in (tags or {}).items() if name.lower() == MARK]
    return marks == [session.environment.mark]


def group_id(session: Session, group: str) -> str:
    """Return the resource ID of a resource group."""
    return f"/subscriptions/{session.environment.subscription_id}/resourceGroups/{group}"


def merge(old: Facts, new: Facts) -> dict[str, Any]:
    """Return `old` with `new` merged into it: objects key by key, ignoring case; any other value is replaced."""
    merged, spellings = dict(old), {key.lower(): key for key in old}
    for name, value in new.items():
        key = spellings.get(name.lower(), name)
        before = merged.get(key)
        merged[key] = merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


def _part(facts: Facts, paths: Sequence[str]) -> dict[str, Any]:
    """Return the part of `facts` at dotted paths."""
    inner: dict[str, list[str]] = {}
    for path in paths:
        key, _, rest_of_path = path.partition(".")
        inner.setdefault(key.removesuffix("[]"), []).append(rest_of_path)
    return {key: _value(facts[key], inner.get(key) or inner["*"]) for key in facts if key in inner or "*" in inner}


def _value(value: Any, paths: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_value(item, paths) for item in value]
    return _part(value, paths) if isinstance(value, Mapping) and "" not in paths else value
