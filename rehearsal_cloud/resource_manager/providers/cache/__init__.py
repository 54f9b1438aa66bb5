"""Microsoft.Cache: Azure Cache for Redis and Azure Managed Redis, with a real Valkey behind each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers.cache.redis import FirewallRule, Redis
from rehearsal_cloud.resource_manager.providers.cache.redis_databases import RedisDatabase
from rehearsal_cloud.resource_manager.providers.cache.redis_enterprise import RedisEnterprise
from rehearsal_cloud.resource_manager.resource_types import Answer, Call, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


class Cache(Provider):
    """The provider of caches."""

    namespace = "Microsoft.Cache"

    def __init__(self) -> None:
        databases = RedisDatabase()
        super().__init__(Redis(), FirewallRule(), RedisEnterprise(databases.configure), databases)

    def functions(self) -> Mapping[tuple[str, str], Callable[[Call], Awaitable[Answer]]]:
        """Return what belongs to no cache: whether a name is free."""
        return {("post", "checknameavailability"): self._check_name}

    async def _check_name(self, call: Call) -> Answer:
        """Answer 200 without a body where the name is free, as Azure does. Raises ServiceError."""
        action = "Microsoft.Cache/checknameavailability/action"
        call.cloud.authorization.require(call.principal, action, call.id.scope)
        name, wanted = str(call.body.get("name", "")), str(call.body.get("type", "")).lower()
        kinds = {f"microsoft.cache/{kind}": self.types[kind] for kind in ("redis", "redisenterprise")}
        if wanted not in kinds:
            raise ServiceError(400, "InvalidRequestBody", "The parameter type must be 'Microsoft.Cache/redis'.")
        if not re.fullmatch(kinds[wanted].name_rule, name):
            raise ServiceError(400, "InvalidRequestBody", f"The name '{name}' is not valid. {kinds[wanted].name_text}")
        caches = (one for one in call.cloud.top_resources("") if one["type"].lower() == wanted)
        if any(one["name"].lower() == name.lower() for one in caches):
            code, text = kinds[wanted].taken
            raise ServiceError(409, code, text.format(name=name))
        return Answer()
