"""The sections of an environment file about PostgreSQL and the Celery broker."""

from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator
from pydantic import ValidationInfo as Info

from airflowaks.config import types
from airflowaks.config.schema import Section

PostgresqlTier = Literal["Burstable", "GeneralPurpose", "MemoryOptimized"]
POSTGRESQL_TIERS: dict[str, PostgresqlTier] = {"B": "Burstable", "D": "GeneralPurpose", "E": "MemoryOptimized"}
# The name of the one firewall rule that may admit more than a /8.
EVERYONE = "everyone"


class FirewallRule(Section):
    """A range of public IPv4 addresses that may reach the server, both ends included; `end` defaults to `start`.

    0.0.0.0 alone admits all services of Azure, of every subscription (believed).
    """

    start: types.Address = Field(description="the first allowed address")
    end: types.Address = Field(default_factory=lambda data: data["start"])

    @field_validator("end")
    @classmethod
    def _not_before_start(cls, value: str, info: Info) -> str:
        if "start" in info.data and IPv4Address(value) < IPv4Address(info.data["start"]):
            raise ValueError(f'"{value}" is lower than start "{info.data["start"]}"; swap the two')
        return value


def _family(sku: str) -> str:
    return sku.removeprefix("Standard_")[0]


class Postgresql(Section):
    """The PostgreSQL flexible server of Airflow's metadata and Celery's results; storage in GiB, backups in days."""

    name: types.PostgresqlName
    version: types.PostgresqlVersion = "17"
    sku: types.VmSize = "Standard_D2ds_v5"
    # Derived from the SKU; an explicit value must match.
    tier: PostgresqlTier = Field(default_factory=lambda data: POSTGRESQL_TIERS[_family(data["sku"])])
    # The sizes of Premium SSD; 4095 and 32767 are the largest of their disk tiers.
    storage_gb: Literal[32, 64, 128, 256, 512, 1024, 2048, 4095, 4096, 8192, 16384, 32767] = 64
    high_availability: Literal["Disabled", "SameZone", "ZoneRedundant"] = "Disabled"
    backup_days: int = Field(default=7, ge=7, le=35)
    database: types.DatabaseName = "airflow"
    role: types.RoleName = "airflow"
    # Celery's result backend, whose password workers hold.
    celery_database: types.DatabaseName = "airflow_celery"
    celery_role: types.RoleName = "airflow_celery"
    port: int = Field(default=5432, ge=1, le=65535)
    firewall: dict[types.FirewallRuleName, FirewallRule] = Field(default_factory=dict)

    @field_validator("sku")
    @classmethod
    def _has_a_tier(cls, value: str) -> str:
        if _family(value) not in POSTGRESQL_TIERS:
            raise ValueError(
                f'"{value}" is not a PostgreSQL size (series B, D and E); use, for example, "Standard_D2ds_v5"'
            )
        return value

    @field_validator("tier")
    @classmethod
    def _matches_the_sku(cls, value: str, info: Info) -> str:
        sku = info.data.get("sku")
        if sku and value != (tier := POSTGRESQL_TIERS[_family(sku)]):
            raise ValueError(f'"{value}" is not the tier of {sku} ("{tier}"); remove tier, the SKU determines it')
        return value

    @field_validator("high_availability")
    @classmethod
    def _is_available(cls, value: str, info: Info) -> str:
        if value != "Disabled" and info.data.get("tier") == "Burstable":
            raise ValueError(
                f'"{value}" is not available in the Burstable tier; use a sku such as "Standard_D2ds_v5", or "Disabled"'
            )
        return value

    @field_validator("firewall")
    @classmethod
    def _names_differ(cls, value: dict[str, FirewallRule]) -> dict[str, FirewallRule]:
        # Resource Manager's names ignore case: two such rules would replace each other at every run.
        names = [name.lower() for name in value]
        if twice := [name for name in value if names.count(name.lower()) > 1]:
            raise ValueError(f'the rules "{twice[0]}" and "{twice[1]}" differ only in case; rename one')
        return value

    @field_validator("firewall")
    @classmethod
    def _admits_everyone_only_by_name(cls, value: dict[str, FirewallRule]) -> dict[str, FirewallRule]:
        for name, rule in value.items():
            first, last = IPv4Address(rule.start), IPv4Address(rule.end)
            if name == EVERYONE or not int(last):  # 0.0.0.0 alone stands for Azure's services
                continue
            if int(last) - int(first) >= 2 ** (32 - types.WIDEST_PREFIX):
                raise ValueError(
                    f'the rule "{name}" ({first} to {last}) is larger than a /{types.WIDEST_PREFIX}; narrow it, '
                    f'or call it "{EVERYONE}" to admit everyone'
                )
        return value

    @field_validator("celery_database", "celery_role")
    @classmethod
    def _is_of_its_own(cls, value: str, info: Info) -> str:
        key = str(info.field_name).removeprefix("celery_")
        # Resource Manager's names ignore case.
        if value.lower() == info.data.get(key, "").lower():
            example = next(name for name in ("airflow_celery", "airflow_results") if name != value.lower())
            raise ValueError(
                f'"{value}" is also the {key} of Airflow\'s metadata, which workers must not reach; '
                f'use another name such as "{example}"'
            )
        return value


_Balanced = Literal["Balanced_B0", "Balanced_B1", "Balanced_B3", "Balanced_B5", "Balanced_B10", "Balanced_B20"]
_MemoryOptimized = Literal["MemoryOptimized_M10", "MemoryOptimized_M20"]
_ComputeOptimized = Literal[
    "ComputeOptimized_X3", "ComputeOptimized_X5", "ComputeOptimized_X10", "ComputeOptimized_X20"
]


class ManagedRedis(Section):
    """The Celery broker on Azure Managed Redis, up to 24 GB: larger sizes have no NoCluster policy.

    Celery needs that policy: with a clustered policy its transactions fail with CROSSSLOT.
    """

    kind: Literal["managed_redis"] = "managed_redis"
    name: types.ManagedRedisName
    sku: Literal[_Balanced, _MemoryOptimized, _ComputeOptimized] = "Balanced_B0"
    high_availability: bool = True


class ExistingCache(Section):
    """The Celery broker on an existing Azure Cache for Redis, which the runbook uses but never creates or deletes."""

    kind: Literal["existing_cache"] = "existing_cache"
    resource_group: types.ResourceGroupName = Field(description="the cache's resource group")
    name: types.RedisCacheName = Field(description="the cache's name: az redis list --query [].name")


def _kind_of_broker(broker: Any) -> str:
    kind = broker.get("kind") if isinstance(broker, dict) else getattr(broker, "kind", None)
    return "managed_redis" if kind is None else str(kind)


Broker = Annotated[
    Annotated[ManagedRedis, Tag("managed_redis")] | Annotated[ExistingCache, Tag("existing_cache")],
    Discriminator(_kind_of_broker),
]
