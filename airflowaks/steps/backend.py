"""Step 3: the PostgreSQL server with the databases and roles of Airflow and Celery, and the Redis broker.

The roles have no passwords yet: step 4 generates them, in the vault first. Workers run the code of DAG authors and hold
the password of Celery's role alone, which does not reach Airflow's metadata.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflowaks.azure.database import Database, DatabasePrivileges
from airflowaks.azure.database_role import DatabaseRole
from airflowaks.azure.postgresql import EntraAdministrator, FirewallRule, FlexibleServer
from airflowaks.azure.redis import Broker, ExistingRedis, RedisCluster, RedisDatabase, broker_url, ping
from airflowaks.cloud.routes import Direct
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.resource import set_step
from airflowaks.errors import CheckFailed
from airflowaks.steps import cluster
from airflowaks.steps.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.arm import ArmResource
    from airflowaks.cloud.routes import Route
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.engine.resource import Facts, Resource
    from airflowaks.session import Session

OPERATOR_RULE = "operator"
CLUSTER_RULE = "cluster"


class Resources:
    """The resources of step 3, in order."""

    def __init__(self, session: Session) -> None:
        step1, environment = session.memoize(cluster.Resources), session.environment
        self.route: Route = Direct() if environment.access == "direct" else Tunnel(session, self._servers)
        self.server = FlexibleServer(session, parent=step1.group, route=self.route)
        self.administrator = EntraAdministrator(self.server, step1.admins)
        self.firewall = {
            name: FirewallRule(self.server, name, rule.start, rule.end)
            for name, rule in environment.postgresql.firewall.items()
        }
        if address := session.operator_address:
            self.firewall[OPERATOR_RULE] = FirewallRule(self.server, OPERATOR_RULE, address, address)
        self.role, self.database, self.privileges = self._owned("role", "database")
        self.celery_role, self.celery_database, self.celery_privileges = self._owned("celery_role", "celery_database")
        self.broker, self.broker_parts = _broker(session, step1.group)
        for resource in (self.server, *self.broker_parts[:1]):
            resource.needs = step1.provider_of(resource)
        set_step(3, self)

    def rules(self) -> list[FirewallRule]:
        """Return all firewall rules: the environment's, the operator's and the cluster's, whose address is read."""
        session = self.server.session
        return [*self.firewall.values(), *cluster_rules(session).values()]

    def servers(self) -> list[Resource]:
        """Return the resources that Resource Manager creates. The roles come after the firewall rules."""
        rules = self.rules()
        for role in (self.role, self.celery_role):
            role.needs = (*rules,)
        return [self.server, self.administrator, *rules, *self.broker_parts]

    def databases(self) -> list[Resource]:
        """Return the resources that are created in SQL."""
        airflow = (self.role, self.database, self.privileges)
        return [*airflow, self.celery_role, self.celery_database, self.celery_privileges]

    def _servers(self) -> list[tuple[str, int]]:
        return [(server.host, server.port) for server in (self.server, self.broker) if server.has_host]

    def _owned(self, role_key: str, database_key: str) -> tuple[DatabaseRole, Database, DatabasePrivileges]:
        role = DatabaseRole(self.server, self.administrator, self.rules, role_key)
        database = Database(role, database_key)
        return role, database, DatabasePrivileges(database)


def _broker(session: Session, group: Resource) -> tuple[Broker, list[ArmResource]]:
    settings = session.environment.broker
    if settings.kind == "managed_redis":
        instance = RedisCluster(session, settings, parent=group)
        database = RedisDatabase(instance)
        return database, [instance, database]
    existing = ExistingRedis(session, settings.name, group=settings.resource_group)
    return existing, [existing]


def cluster_rules(session: Session) -> dict[str, FirewallRule]:
    """Return a firewall rule for each outbound address of the cluster's pods: `cluster`, `cluster-2` and so on.

    Without a cluster it is a single rule, whose address is AFTER_APPLY.
    """
    managed_cluster = session.memoize(cluster.Resources).cluster
    with session.translated(managed_cluster):
        addresses = managed_cluster.outbound_addresses()
    rules = [session.memoize(_ClusterRule, index, address) for index, address in enumerate(addresses)]
    return {rule.name: rule for rule in rules}


class _ClusterRule(FirewallRule):
    """The rule for an outbound address of the cluster's pods. An unknown one is read when the cluster is there."""

    def __init__(self, session: Session, index: int, address: Any) -> None:
        name = f"{CLUSTER_RULE}-{index + 1}" if index else CLUSTER_RULE
        super().__init__(session.memoize(Resources).server, name, address, address)
        self.cluster, self.index = session.memoize(cluster.Resources).cluster, index
        self.needs = (self.cluster,)

    def desired(self) -> Facts:
        """Return the address as the first and the last of the range."""
        if self.start is AFTER_APPLY:
            addresses = self.cluster.outbound_addresses()[self.index :]
            self.start = self.end = addresses[0] if addresses else AFTER_APPLY
        return super().desired()


def servers(session: Session) -> Changes:
    """Create the server and the broker in parallel; on Azure this takes about ten minutes.

    The firewall admits the cluster's pods, the addresses of the environment file, and that of the session's operator.
    """
    step = session.memoize(Resources)
    return converge(session, *step.servers())


def database(session: Session) -> Changes:
    """Create the roles of Airflow and Celery, without passwords, and the database that each of them owns."""
    return converge(session, *session.memoize(Resources).databases())


def everything(session: Session) -> Changes:
    """Create all of these: each as soon as what it depends on exists, so that a slow broker delays no database."""
    step = session.memoize(Resources)
    changes = converge(session, *step.servers(), *step.databases())
    # A cluster that was not there at the beginning may have more than one address.
    more = [rule for rule in cluster_rules(session).values() if not rule.settled] if session.applies else []
    return changes + converge(session, *more) if more else changes


def checks(session: Session) -> Checks:
    """Check over TLS: sign in to the server with an Entra token, and PING the broker with an access key."""
    step = session.memoize(Resources)

    def owned(privileges: DatabasePrivileges) -> str:
        privileges.refresh()
        if left := privileges.differences():
            message = f"Database {privileges.name}: {'; '.join(map(str, left))}."
            raise CheckFailed(message, "Run step 3 again with mode=apply: it sets the owner and the privileges.")
        return f"signed in with a token; {privileges.role.name} owns {privileges.name} and can create tables"

    def answers() -> str:
        return ping(broker_url(step.broker, step.broker.keys().primary), session.connection.ca_file, step.route)

    observations: dict[str, Callable[[], str]] = {
        "database is Airflow's": partial(owned, step.privileges),
        "result backend is Celery's": partial(owned, step.celery_privileges),
        "broker answers": answers,
    }
    return observe(session, observations)
