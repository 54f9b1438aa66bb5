"""Airflow's broker: Azure Managed Redis, or an existing Azure Cache for Redis.

Source: https://learn.microsoft.com/azure/redis and .../azure-cache-for-redis. Celery's transport uses several keys in
one transaction, so the database needs the clustering policy NoCluster; the others fail with CROSSSLOT or MOVED.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from airflowaks.azure.arm import ArmChild, ArmResource, merge, rest
from airflowaks.engine.resource import ADOPTED, value_at
from airflowaks.errors import CheckFailed, MissingDependency

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from airflowaks.cloud.redaction import Secret
    from airflowaks.cloud.routes import Route
    from airflowaks.config.backend_schema import ManagedRedis
    from airflowaks.engine.resource import Facts, Resource
    from airflowaks.session import Session

Rank = Literal["Primary", "Secondary"]
_PORT = 10000
_SECONDS = 30


class Keys(NamedTuple):
    """The two access keys. Both are valid, so that one can be regenerated while clients use the other."""

    primary: Secret
    secondary: Secret


class Broker(ArmResource):
    """A Redis that can be Airflow's broker: it has a host name, a TLS port and two access keys."""

    port_path: ClassVar[str]
    """Dotted path of the fact that is the TLS port."""
    keyless: ClassVar[tuple[str, Any]]
    """Dotted path and value of the fact that says that access keys are disabled."""
    _keys: Keys | None = None

    @property
    def has_host(self) -> bool:
        """Return whether it exists and has a host name; that of one whose creation failed does not count."""
        instance = (self.parent or self).facts
        named = bool(value_at(instance, "properties.hostName")) and not creation_failed(instance)
        return named and self.facts is not None

    @property
    def host(self) -> str:
        """Return the host name in the certificate: its cluster's, if it has one. Raises MissingDependency."""
        return str((self.parent or self).require("properties.hostName"))

    @property
    def port(self) -> int:
        """Return the TLS port. Raises MissingDependency."""
        return int(self.require(self.port_path))

    def keys(self) -> Keys:
        """Return the access keys, cached. Raises MissingDependency if access keys are disabled."""
        if self._keys is None:
            path, disabled = self.keyless
            keys = {} if self.fact(path) == disabled else self.operations.list_keys(*self.place, cls=rest)
            if not keys.get("primaryKey"):
                message = f"{self.kind} {self.name}: access keys are disabled."
                adopted = "Ask the owner of the broker to enable them."
                action = adopted if self.origin == ADOPTED else "Run step 3 with mode=apply: it enables them."
                raise MissingDependency(message, action)
            learn = self.session.redactor.learn
            self._keys = Keys(learn(keys["primaryKey"]), learn(keys["secondaryKey"]))
        return self._keys

    def forget_keys(self) -> None:
        """Clear the cached keys."""
        self._keys = None

    def regenerate(self, rank: Rank) -> Keys:
        """Regenerate one key and return both. Raises TypeError: only the keys of what was made here are regenerated."""
        raise TypeError(f"{rank} key of {self} cannot be regenerated")


class RedisCluster(ArmResource):
    """An Azure Managed Redis instance, without its database; creating it takes ten minutes on Azure."""

    kind = "Managed Redis"
    type = "Microsoft.Cache/redisEnterprise"
    sdk = "managed_redis.redis_enterprise"
    creation = "begin_create"
    immutable = ("location",)
    _created_again = False

    def __init__(self, session: Session, settings: ManagedRedis, *, parent: Resource) -> None:
        super().__init__(session, settings.name, parent=parent)
        self.settings = settings

    def desired(self) -> Facts:
        """Return the SKU, TLS 1.2 and a public endpoint: the service has no IP firewall, access keys protect it."""
        environment = self.session.environment
        return {
            "location": environment.location,
            "tags": self.tags(),
            "sku": {"name": self.settings.sku},
            "properties": {
                "minimumTlsVersion": "1.2",
                "highAvailability": "Enabled" if self.settings.high_availability else "Disabled",
                "publicNetworkAccess": "Enabled",
            },
        }

    @property
    def note(self) -> str:
        """Return that an apply deletes and creates it, or has done so, because its creation had failed."""
        again = self._created_again or (creation_failed(self.facts) and self.origin != ADOPTED)
        return f"{self}: its creation failed, so an apply deletes it and creates it again." if again else ""

    def write(self, facts: Facts | None) -> None:
        """Create or update the instance; one whose creation failed is deleted first, as no update completes it."""
        self._created_again = creation_failed(facts)
        if self._created_again:
            self.delete()
        super().write(None if self._created_again else facts)


def creation_failed(facts: Facts | None) -> bool:
    """Tell whether an instance was never created, and so holds no data; one whose update failed has another state.

    https://github.com/hashicorp/terraform-provider-azurerm/pull/32610 and
    https://github.com/Azure-Samples/ai-hub-gateway-solution-accelerator/pull/148 delete such an instance.
    """
    states = [value_at(facts, f"properties.{state}") for state in ("provisioningState", "resourceState")]
    return states == ["Failed", "CreateFailed"]


class RedisDatabase(ArmChild, Broker):
    """The database of a Managed Redis instance, with the settings that Celery needs."""

    kind = "Redis database"
    type = "databases"
    sdk = "managed_redis.databases"
    creation = "begin_create"
    port_path = "properties.port"
    keyless = ("properties.accessKeysAuthentication", "Disabled")
    immutable = ("properties.clusteringPolicy", "properties.clientProtocol")

    def __init__(self, cluster: RedisCluster) -> None:
        super().__init__(cluster, "default")

    @property
    def origin(self) -> str:
        """Return the instance's origin: the service gives the one database its name."""
        return self.parent.origin if self.facts is not None else ""

    def desired(self) -> Facts:
        """Return TLS, NoCluster, NoEviction (a broker must not lose messages) and access keys (off by default)."""
        return {
            "properties": {
                "clientProtocol": "Encrypted",
                "clusteringPolicy": "NoCluster",
                "evictionPolicy": "NoEviction",
                "accessKeysAuthentication": "Enabled",
            }
        }

    def put(self, body: dict[str, Any]) -> None:
        """Create or update the database, at its present port or at the default one."""
        super().put(merge({"properties": {"port": _PORT}}, body))

    def regenerate(self, rank: Rank) -> Keys:
        """Regenerate one key and return both. Clients that use the old key lose access."""
        self.call("begin_regenerate_key", {"keyType": rank})
        self.forget_keys()
        return self.keys()


class ExistingRedis(Broker):
    """An existing Azure Cache for Redis; the runbook reads it and never writes it."""

    kind = "Azure Cache for Redis"
    type = "Microsoft.Cache/redis"
    sdk = "redis.redis"
    port_path = "properties.sslPort"
    keyless = ("properties.disableAccessKeyAuthentication", True)

    @property
    def origin(self) -> str:
        """Return ADOPTED, whatever its tags say."""
        return ADOPTED

    def read(self) -> Facts:
        """Return the cache. Raises MissingDependency if it does not exist: the runbook does not create it."""
        facts = super().read()
        if facts is None:
            message = f"Azure Cache for Redis {self.name}: it does not exist in resource group {self.group}."
            raise MissingDependency(message, "Correct `broker` in the environment file, or set `kind: managed_redis`.")
        return facts

    def desired(self) -> Facts:
        """Return nothing: the runbook sets none of its properties."""
        return {}

    def put(self, body: dict[str, Any]) -> None:
        """Write nothing: the cache belongs to another team."""


def broker_url(broker: Broker, key: Secret) -> str:
    """Return Celery's broker URL.

    A `rediss://` URL verifies the certificate only with `ssl_cert_reqs=required`.
    """
    return f"rediss://:{quote(key.reveal(), safe='')}@{broker.host}:{broker.port}/0?ssl_cert_reqs=required"


@contextmanager
def opened(url: str, ca_file: str, route: Route) -> Iterator[redis.Redis]:
    """Yield a client of the broker by its URL, over verified TLS; `ca_file` has the root certificates.

    Raises:
        CheckFailed: the URL is malformed, or lacks TLS, so that it would send the access key in clear text.
        redis.RedisError: the broker is unreachable or refuses the connection.

    """
    import redis

    class Routed(redis.SSLConnection):
        """Connects where the route says, and verifies the certificate for the URL's host."""

        def _connect(self) -> socket.socket:
            address, port = route.address(self.host, int(self.port))
            connection = socket.create_connection((address or self.host, port), _SECONDS)
            return self._wrap_socket_with_ssl(connection)  # type: ignore[no-untyped-call, no-any-return]

    rewrite = "Run step 4 with mode=apply: it writes the URL."
    if not url.startswith("rediss:"):
        raise CheckFailed("The vault's URL calls the broker without TLS.", rewrite)
    options: dict[str, Any] = {"ssl_ca_certs": ca_file, "socket_timeout": _SECONDS, "connection_class": Routed}
    try:
        client = redis.Redis.from_url(url, **options)
    except ValueError:
        # The error's text repeats a part of the URL, which may be a part of the key.
        raise CheckFailed("The broker's URL is malformed.", rewrite) from None
    with client, route.explained(urlsplit(url).hostname or ""):
        yield client


def ping(url: str, ca_file: str, route: Route) -> str:
    """Send PING to the broker and return its version. Raises as `opened` does."""
    with opened(url, ca_file, route) as client:
        client.ping()
        info: dict[str, Any] = client.info("server")
    return f"PONG from Redis {info.get('redis_version', 'of unknown version')}"
