"""Microsoft.Resources: the tags of a group or resource, and the templates deployed to it, of which there are none.

https://learn.microsoft.com/rest/api/resources/tags, which `az tag list` and `az tag update` call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError, not_found
from rehearsal_cloud.resource_manager.resource_ids import ResourceId, canonical_scope
from rehearsal_cloud.resource_manager.resource_types import Answer, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Call

_OPERATIONS = ("Merge", "Replace", "Delete")


class Tags(Provider):
    """The provider of tags, and of deployments."""

    namespace = "Microsoft.Resources"

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return the operations on tags, and the listing of deployments."""
        return {
            ("get", "deployments"): self._deployments,
            ("get", "tags"): self._read,
            ("put", "tags"): self._replace,
            ("patch", "tags"): self._change,
        }

    async def _deployments(self, call: Call) -> Answer:
        call.cloud.authorization.require(call.principal, "Microsoft.Resources/deployments/read", call.id.scope)
        if call.id.is_instance:
            text = f"Deployment '{call.id.name}' could not be found."
            raise ServiceError(404, "DeploymentNotFound", text)
        return Answer({"value": []})

    async def _read(self, call: Call) -> Answer:
        tagged, _ = _tagged(call, "read")
        return _view(call, tagged.get("tags") or {})

    async def _replace(self, call: Call) -> Answer:
        return _write(call, "Replace")

    async def _change(self, call: Call) -> Answer:
        return _write(call, str(call.body.get("operation")))


def _write(call: Call, operation: str) -> Answer:
    tagged, keep = _tagged(call, "write")
    tags_sent = (call.body.get("properties") or {}).get("tags") or {}
    before = tagged.get("tags") or {}
    if operation not in _OPERATIONS:
        text = f"The operation '{operation}' is not valid: one of {', '.join(_OPERATIONS)}."
        raise ServiceError(400, "InvalidTagsPatchOperation", text)
    tags = {
        "Merge": {**before, **tags_sent},
        "Replace": tags_sent,
        "Delete": {name: value for name, value in before.items() if name not in tags_sent},
    }[operation]
    keep({**tagged, "tags": tags})
    return _view(call, tags)


def _tagged(call: Call, verb: str) -> tuple[Document, Callable[[Document], None]]:
    """Return the resource or group at the request's scope, and what keeps it changed. Raises ServiceError."""
    cloud, scope = call.cloud, canonical_scope(call.id.scope)
    cloud.authorization.require(call.principal, f"Microsoft.Resources/tags/{verb}", scope)
    rid = ResourceId.parse(scope)
    document = cloud.resource(rid) if rid else cloud.resource_groups.get(call.id.group)
    if document is None:
        raise not_found(scope)
    return document, cloud.keep if rid else cloud.resource_groups.keep


def _view(call: Call, tags: Mapping[str, str]) -> Answer:
    path = f"{canonical_scope(call.id.scope)}/providers/Microsoft.Resources/tags/default"
    return Answer({"id": path, "name": "default", "type": "Microsoft.Resources/tags", "properties": {"tags": tags}})
