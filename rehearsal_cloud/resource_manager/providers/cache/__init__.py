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
        """Return the check of names."""
        return {("post", "checknameavailability"): self._check_name}

    async def _check_name(self, call: Call) -> Answer:
        """Answer 200 without a body where the name is free, as Azure does. Raises ServiceError."""
        action = "Microsoft.Cache/checknameavailability/action"
        call.cloud.authorization.require(call.principal, action, call.id.scope)
        name, kind = str(call.body.get("name", "")), str(call.body.get("type", "")).lower()
        kinds = {f"microsoft.cache/{name}": self.types[name] for name in ("redis", "redisenterprise")}
        if kind not in kinds:
            raise ServiceError(400, "InvalidRequestBody", "The parameter type must be 'Microsoft.Cache/redis'.")
        if not re.fullmatch(kinds[kind].name_rule, name):
            raise ServiceError(400, "InvalidRequestBody", f"The name '{name}' is not valid. {kinds[kind].name_text}")
        caches = (cache for cache in call.cloud.top_resources("") if cache["type"].lower() == kind)
        if any(cache["name"].lower() == name.lower() for cache in caches):
            code, text = kinds[kind].taken
            raise ServiceError(409, code, text.format(name=name))
        return Answer()
