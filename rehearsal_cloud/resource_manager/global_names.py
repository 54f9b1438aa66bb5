"""Global names: unique in all of Azure because they become DNS names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError

if TYPE_CHECKING:
    from rehearsal_cloud.resource_manager.resource_ids import ResourceId
    from rehearsal_cloud.store import Store


class Names:
    """The owners of global names, by DNS suffix."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def owner(self, suffix: str, name: str) -> str | None:
        """Return the folded ID of the resource that owns `name`.`suffix`, or None for a free name."""
        claim = self._store.get("names", f"{suffix}/{name.lower()}")
        return None if claim is None else str(claim["owner"])

    def claim(self, suffix: str, rid: ResourceId, taken: tuple[str, str]) -> None:
        """Claim the name for `rid`. Raises ServiceError (409), with the code and text of `taken`, if it is taken."""
        if self.owner(suffix, rid.name) not in (None, rid.key):
            code, text = taken
            raise ServiceError(409, code, text.format(name=rid.name))
        self._store.put("names", f"{suffix}/{rid.name.lower()}", {"owner": rid.key})

    def release(self, suffix: str, name: str) -> None:
        """Release the name."""
        self._store.delete("names", f"{suffix}/{name.lower()}")
