"""Airflow's broker: Azure Managed Redis, or an Azure Cache for Redis that is already there.

Source: https://learn.microsoft.com/azure/redis and .../azure-cache-for-redis. Celery's transport asks for several keys
in one transaction, so the database must be of clustering policy NoCluster; the others fail with CROSSSLOT or MOVED.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from urllib.parse import quote

from airflowaks.azure.arm import ArmResource, merge, rest
from airflowaks.errors import CheckFailed, MissingDependency

if TYPE_CHECKING:
    from airflowaks.cloud.redaction import Secret
    from airflowaks.config.environment import ManagedRedis
    from airflowaks.engine.resource import Facts, Resource
    from airflowaks.session import Session

Rank = Literal["Primary", "Secondary"]
_PORT = 10000


class Keys(NamedTuple):
    """The two access keys; either opens the broker, so that one can be renewed while the other is in use."""

    primary: Secret
    secondary: Secret


class Broker(ArmResource):
    """What Airflow's broker can be: a Redis with a host name, a TLS port and two access keys."""

    _keys: Keys | None = None

    @property
    @abstractmethod
    def host(self) -> str:
        """Return the host name that the broker's certificate bears. Raises MissingDependency."""

    @property
    @abstractmethod
    def port(self) -> int:
        """Return the TLS port. Raises MissingDependency."""

    @abstractmethod
    def list_keys(self) -> Any:
        """Ask the service for the access keys."""

    @abstractmethod
    def renew(self, rank: Rank) -> None:
        """Have the service make one key anew."""

    def keys(self) -> Keys:
        """Return the access keys as last read. Raises MissingDependency where access keys are switched off."""
        if self._keys is None:
            found = self.list_keys()
            if not found.get("primaryKey"):
                message = f"{self.kind} {self.name} has no access keys."
                raise MissingDependency(message, "Switch access keys on: step 3 with mode=apply does it.")
            learn = self.session.redactor.learn
            self._keys = Keys(learn(found["primaryKey"]), learn(found["secondaryKey"]))
        return self._keys

    def forget_keys(self) -> None:
        """Ask for the keys anew when they are next needed."""
        self._keys = None

    def regenerate(self, rank: Rank) -> Keys:
        """Make one key anew and return both; who still uses the old one is locked out."""
        self.renew(rank)
        self._keys = None
        return self.keys()


class RedisCluster(ArmResource):
    """An Azure Managed Redis instance: the machines, without the database on them."""

    kind = "Managed Redis"
    type = "Microsoft.Cache/redisEnterprise"
    immutable = ("location",)

    def __init__(self, session: Session, settings: ManagedRedis, *, parent: Resource) -> None:
        super().__init__(session, settings.name, parent=parent)
        self.settings = settings

    def get(self) -> Facts:
        """Read the instance."""
        return cast("Facts", self.session.managed_redis.redis_enterprise.get(self.group, self.name, cls=rest))

    def desired(self) -> Facts:
        """Want the environment's size, TLS 1.2 and a public endpoint: it has no IP firewall, its keys guard it."""
        environment = self.session.environment
        return {
            "location": environment.location,
            "tags": environment.tags,
            "sku": {"name": self.settings.sku},
            "properties": {
                "minimumTlsVersion": "1.2",
                "highAvailability": "Enabled" if self.settings.high_availability else "Disabled",
                "publicNetworkAccess": "Enabled",
            },
        }

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the instance, on Azure in some ten minutes."""
        parameters: Any = body
        self.session.managed_redis.redis_enterprise.begin_create(self.group, self.name, parameters).result()

    def kept(self, facts: Facts | None) -> Facts:
        """Keep what an update would otherwise take away, of what can be written."""
        return _kept(facts, ("tags", "zones", "identity"), ("encryption", "maintenanceConfiguration"))


class RedisDatabase(Broker):
    """The one database of a Managed Redis instance, as Celery needs it."""

    kind = "Redis database"
    type = "databases"
    immutable = ("properties.clusteringPolicy", "properties.clientProtocol")

    def __init__(self, cluster: RedisCluster) -> None:
        super().__init__(cluster.session, "default", parent=cluster)
        self.cluster = cluster

    @property
    def id(self) -> str:
        """Return the resource ID."""
        return f"{self.cluster.id}/databases/{self.name}"

    @property
    def host(self) -> str:
        """Return the host name that the broker's certificate bears."""
        return str(self.cluster.require("properties.hostName"))

    @property
    def port(self) -> int:
        """Return the TLS port."""
        return int(self.require("properties.port"))

    def get(self) -> Facts:
        """Read the database."""
        operations = self.session.managed_redis.databases
        return cast("Facts", operations.get(self.group, self.cluster.name, self.name, cls=rest))

    def desired(self) -> Facts:
        """Want TLS, no clustering, no eviction (a broker must not forget) and access keys, which are off by default."""
        return {
            "properties": {
                "clientProtocol": "Encrypted",
                "clusteringPolicy": "NoCluster",
                "evictionPolicy": "NoEviction",
                "accessKeysAuthentication": "Enabled",
            }
        }

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the database."""
        parameters: Any = merge({"properties": {"port": _PORT}}, body)
        operations = self.session.managed_redis.databases
        operations.begin_create(self.group, self.cluster.name, self.name, parameters).result()

    def kept(self, facts: Facts | None) -> Facts:
        """Keep what an update would otherwise take away, of what can be written."""
        return _kept(facts, (), ("port", "modules", "persistence", "geoReplication", "deferUpgrade"))

    def list_keys(self) -> Any:
        """Ask for the database's keys."""
        return self.session.managed_redis.databases.list_keys(self.group, self.cluster.name, self.name, cls=rest)

    def renew(self, rank: Rank) -> None:
        """Regenerate one of the database's keys."""
        operations, parameters = self.session.managed_redis.databases, _key_type(rank)
        operations.begin_regenerate_key(self.group, self.cluster.name, self.name, parameters).result()


class ExistingRedis(Broker):
    """An Azure Cache for Redis of the tenant's own; it is used as it is and never written."""

    kind = "Azure Cache for Redis"
    type = "Microsoft.Cache/redis"

    def get(self) -> Facts:
        """Read the cache."""
        return cast("Facts", self.session.redis.redis.get(self.group, self.name, cls=rest))

    def read(self) -> Facts:
        """Return the cache. Raises MissingDependency where there is none: the runbook does not create it."""
        facts = super().read()
        if facts is None:
            message = f"There is no Azure Cache for Redis {self.name} in resource group {self.group}."
            raise MissingDependency(message, "Correct `broker` in the environment file, or use `kind: managed_redis`.")
        return facts

    def desired(self) -> Facts:
        """Want nothing of it."""
        return {}

    def put(self, body: dict[str, Any]) -> None:
        """Write nothing: the cache belongs to somebody else."""

    @property
    def host(self) -> str:
        """Return the host name that the broker's certificate bears."""
        return str(self.require("properties.hostName"))

    @property
    def port(self) -> int:
        """Return the TLS port."""
        return int(self.require("properties.sslPort"))

    def list_keys(self) -> Any:
        """Ask for the cache's keys."""
        return self.session.redis.redis.list_keys(self.group, self.name, cls=rest)

    def renew(self, rank: Rank) -> None:
        """Regenerate one of the cache's keys."""
        self.session.redis.redis.regenerate_key(self.group, self.name, _key_type(rank))


def broker_url(broker: Broker, key: Secret) -> str:
    """Return the URL that Celery opens the broker with.

    `ssl_cert_reqs=required` is not the default: a bare `rediss://` URL verifies no certificate.
    """
    return f"rediss://:{quote(key.reveal(), safe='')}@{broker.host}:{broker.port}/0?ssl_cert_reqs=required"


def ping(url: str, ca_bundle: str | None = None) -> str:
    """PING the broker that `url` opens and return what it is; `ca_bundle` is a file, None the system's own CAs.

    Raises:
        CheckFailed: the URL is not well-formed.
        redis.RedisError: the broker cannot be reached, or refuses.

    """
    import redis

    try:
        client = redis.Redis.from_url(url, ssl_ca_certs=ca_bundle, socket_connect_timeout=30, socket_timeout=30)
    except ValueError:
        # Its text repeats a piece of the URL, which may be a piece of the key.
        raise CheckFailed("The broker's URL is not well-formed.", "Run step 4 with mode=apply: it writes it.") from None
    with client:
        client.ping()
        info: dict[str, Any] = client.info("server")
    return f"PONG from Redis {info.get('redis_version', 'of unknown version')}"


def _kept(facts: Facts | None, keys: tuple[str, ...], properties: tuple[str, ...]) -> Facts:
    known: Facts = facts or {}
    kept = {key: known[key] for key in keys if key in known}
    return {**kept, "properties": {key: one for key, one in known.get("properties", {}).items() if key in properties}}


def _key_type(rank: Rank) -> Any:
    return {"keyType": rank}
