"""What all resources of Azure Resource Manager have in common: an ID, JSON facts, and a provisioning state."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflowaks.engine.resource import Facts, Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.session import Session


def rest(response: Any, _model: Any, _headers: Any) -> Any:
    """Return the answer's JSON as the service wrote it: the `cls` that every operation of the SDKs takes.

    Models of different generations spell and drop properties differently; the JSON is what Azure documents, and what an
    update has to send back whole.
    """
    return json.loads(response.http_response.text())


class ArmResource(Resource):
    """A resource of Resource Manager, named by its environment."""

    type: ClassVar[str]
    """Provider and type: `Microsoft.KeyVault/vaults`."""
    state_path: ClassVar[str] = "properties.provisioningState"
    settled_states: ClassVar[frozenset[str]] = frozenset({"", "succeeded", "failed", "canceled"})
    """The states in which nothing is under way, in lower case; Resource Manager lets providers invent all others."""

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

    def read(self) -> Facts | None:
        """Return the resource as Azure answers it, or None where Azure says 404."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self.get()
        except ResourceNotFoundError:
            return None

    @abstractmethod
    def get(self) -> Facts:
        """Ask the service for the resource, with `cls=rest`."""

    @abstractmethod
    def put(self, body: dict[str, Any]) -> None:
        """Send the whole resource and return when the service is done."""

    def write(self, facts: Facts | None) -> None:
        """Send what there is with what is wanted merged into it: what the runbook does not know survives."""
        self.put(merge(self.kept(facts), self.desired()))

    def kept(self, facts: Facts | None) -> Facts:
        """Return the part of the facts that an update has to send back."""
        return facts or {}

    def unfinished(self, facts: Facts) -> bool:
        """Tell whether Azure still works on it."""
        return self._state(facts) not in self.settled_states

    def needs_rewrite(self, facts: Facts) -> bool:
        """Tell whether the last write failed on Azure's side."""
        return self._state(facts) in ("failed", "canceled")

    def _state(self, facts: Facts) -> str:
        value: Any = facts
        for part in self.state_path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return str(value or "").lower()


def group_id(session: Session, group: str) -> str:
    """Return the resource ID of a resource group."""
    return f"/subscriptions/{session.environment.subscription_id}/resourceGroups/{group}"


def merge(old: Facts, new: Facts) -> dict[str, Any]:
    """Return `old` with `new` merged into it: objects key by key, whatever their case, all else replaced."""
    merged, spellings = dict(old), {key.lower(): key for key in old}
    for name, value in new.items():
        key = spellings.get(name.lower(), name)
        before = merged.get(key)
        merged[key] = merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged
