"""The operations on management locks, which `az lock` calls.

https://learn.microsoft.com/rest/api/resources/management-locks
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.locks import LEVELS
from rehearsal_cloud.resource_manager.resource_ids import canonical_scope
from rehearsal_cloud.resource_manager.resource_types import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.resource_manager.resource_types import Call


def functions() -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
    """Return the operations at every scope."""
    return {("get", "locks"): _read, ("put", "locks"): _write, ("delete", "locks"): _delete}


async def _read(call: Call) -> Answer:
    scope = _allowed(call, "read")
    if not call.id.is_instance:
        return Answer({"value": call.cloud.locks.below(scope)})
    lock = call.cloud.locks.get(scope, call.id.name)
    if lock is None:
        raise ServiceError(404, "LockNotFound", f"The lock '{call.id.name}' could not be found.")
    return Answer(lock)


async def _write(call: Call) -> Answer:
    scope = _allowed(call, "write")
    properties = call.body.get("properties") or {}
    if properties.get("level") not in LEVELS:
        text = f"The lock level '{properties.get('level')}' is invalid: it must be one of {', '.join(LEVELS)}."
        raise ServiceError(400, "InvalidLockLevel", text)
    status = 201 if call.cloud.locks.get(scope, call.id.name) is None else 200
    return Answer(call.cloud.locks.put(scope, call.id.name, properties), status)


async def _delete(call: Call) -> Answer:
    lock = call.cloud.locks.get(_allowed(call, "delete"), call.id.name)
    if lock is None:
        return Answer(status=204)
    call.cloud.locks.delete(lock)
    return Answer(status=200)


def _allowed(call: Call, verb: str) -> str:
    scope = canonical_scope(call.id.scope)
    call.cloud.authorization.require(call.principal, f"Microsoft.Authorization/locks/{verb}", scope)
    return scope
