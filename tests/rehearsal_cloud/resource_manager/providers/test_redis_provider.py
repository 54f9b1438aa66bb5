"""Both kinds of caches through the real SDKs, and what is behind them through redis-py over verified TLS."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import redis
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.redis import RedisManagementClient
from azure.mgmt.redisenterprise import RedisEnterpriseManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.rehearsal import kill_rehearsal, reset_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from azure.core.credentials import TokenCredential

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

GROUP = "test-redis"
BROKER = "test-broker"
NO_CLUSTER = {"clusteringPolicy": "NoCluster", "evictionPolicy": "NoEviction", "accessKeysAuthentication": "Enabled"}


def cluster_body(sku: str = "Balanced_B0", **properties: Any) -> dict[str, Any]:
    return {
        "location": "westeurope",
        "sku": {"name": sku},
        "properties": {"publicNetworkAccess": "Enabled", "highAvailability": "Disabled"} | properties,
    }


def prepare(rehearsal: Rehearsal, credential: TokenCredential) -> None:
    with ResourceManagementClient(credential, rehearsal.subscription, **rehearsal.transport) as client:
        client.providers.register("Microsoft.Cache")
        while client.providers.get("Microsoft.Cache").registration_state != "Registered":
            time.sleep(0.05)
        client.resource_groups.create_or_update(GROUP, {"location": "westeurope"})


class Managed:
    """Azure Managed Redis in one rehearsal."""

    def __init__(self, rehearsal: Rehearsal, client: RedisEnterpriseManagementClient) -> None:
        self.rehearsal, self.client = rehearsal, client

    def make(self, name: str, database: dict[str, Any], **properties: Any) -> None:
        self.client.redis_enterprise.begin_create(GROUP, name, cluster_body(**properties)).result()
        body = {"properties": {"port": 10000, "clientProtocol": "Encrypted"} | database}
        self.client.databases.begin_create(GROUP, name, "default", body).result()

    def connect(self, key: str | None, name: str = BROKER) -> redis.Redis:
        host = self.client.redis_enterprise.get(GROUP, name).host_name
        port = self.client.databases.get(GROUP, name, "default").port
        return connect(self.rehearsal, host, port, key)

    def keys(self, name: str = BROKER) -> Any:
        return self.client.databases.list_keys(GROUP, name, "default")


def connect(rehearsal: Rehearsal, host: str, port: int, key: str | None) -> redis.Redis:
    return redis.Redis(
        host=host,
        port=port,
        password=key,
        ssl=True,
        ssl_ca_certs=rehearsal.connection["REQUESTS_CA_BUNDLE"],
        retry=Retry(NoBackoff(), 0),
    )


def servers(home: Path) -> list[int]:
    """The Valkey processes that work below the home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "valkey-server" and str(home) in process.cwd():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def managed(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[Managed]:
    prepare(rehearsal, operator)
    with RedisEnterpriseManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        made = Managed(rehearsal, client)
        made.make(BROKER, NO_CLUSTER)
        yield made
        before = len(servers(rehearsal.home))
        client.redis_enterprise.begin_delete(GROUP, BROKER).result()
        with pytest.raises(ResourceNotFoundError):
            client.databases.get(GROUP, BROKER, "default")
        assert len(servers(rehearsal.home)) == before - 1


def test_a_cluster_answers_what_azure_answers_and_no_key(managed: Managed, send: Sender) -> None:
    cluster = managed.client.redis_enterprise.get(GROUP, BROKER)
    assert (cluster.sku.name, cluster.kind, cluster.host_name) == ("Balanced_B0", "v2", "localhost")
    assert (cluster.provisioning_state, cluster.resource_state) == ("Succeeded", "Running")
    assert (cluster.high_availability, cluster.redundancy_mode) == ("Disabled", "None")
    assert cluster.location == "West Europe"
    database = managed.client.databases.get(GROUP, BROKER, "default")
    assert (database.clustering_policy, database.eviction_policy) == ("NoCluster", "NoEviction")
    assert database.port != 10000
    answer = send("GET", f"{database.id}?api-version=2025-07-01").text()
    keys = managed.keys()
    assert keys.primary_key not in answer
    assert keys.secondary_key not in answer


def test_the_broker_works_over_verified_tls(managed: Managed) -> None:
    with managed.connect(managed.keys().primary_key) as client:
        assert client.ping()
        client.lpush("celery", "task")
        assert client.brpop(["celery", "celery\x06\x163", "celery\x06\x166"], timeout=1) == (b"celery", b"task")
        with pytest.raises(redis.ResponseError, match="has no permissions"):
            client.config_get("maxmemory")
        assert client.info("memory")["maxmemory"] == 64 * 1024 * 1024
        assert client.info("memory")["maxmemory_policy"] == "noeviction"
    with managed.connect("wrong") as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with managed.connect(None) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_keys_are_regenerated_one_at_a_time(managed: Managed) -> None:
    before = managed.keys()
    body = {"keyType": "Primary"}
    after = managed.client.databases.begin_regenerate_key(GROUP, BROKER, "default", body).result()
    assert after.primary_key != before.primary_key
    assert after.secondary_key == before.secondary_key == managed.keys().secondary_key
    with managed.connect(before.primary_key) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    for key in (after.primary_key, after.secondary_key):
        with managed.connect(key) as client:
            assert client.ping()


def regenerate_at_once(regenerate: Callable[[str], Any]) -> None:
    """Regenerate both keys by turns in many threads."""
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(regenerate, ["Primary", "Secondary"] * 12))


def test_keys_that_are_regenerated_at_once_all_open_the_broker(managed: Managed) -> None:
    def regenerate(kind: str) -> Any:
        return managed.client.databases.begin_regenerate_key(GROUP, BROKER, "default", {"keyType": kind}).result()

    regenerate_at_once(regenerate)
    keys = managed.keys()
    for key in (keys.primary_key, keys.secondary_key):
        with managed.connect(key) as client:
            assert client.ping()


def test_access_keys_are_disabled_unless_asked_for(managed: Managed) -> None:
    managed.make("test-keyless", {"clusteringPolicy": "NoCluster"})
    databases = managed.client.databases
    assert databases.get(GROUP, "test-keyless", "default").access_keys_authentication == "Disabled"
    assert databases.get(GROUP, "test-keyless", "default").eviction_policy == "VolatileLRU"
    with pytest.raises(HttpResponseError, match="Access keys authentication is disabled"):
        managed.keys("test-keyless")
    with pytest.raises(HttpResponseError, match="Access keys authentication is disabled"):
        databases.begin_regenerate_key(GROUP, "test-keyless", "default", {"keyType": "Primary"})
    enabled = {"properties": {"accessKeysAuthentication": "Enabled"}}
    databases.begin_update(GROUP, "test-keyless", "default", enabled).result()
    key = managed.keys("test-keyless").primary_key
    with managed.connect(key, "test-keyless") as client:
        assert client.ping()
        disabled = {"properties": {"accessKeysAuthentication": "Disabled"}}
        databases.begin_update(GROUP, "test-keyless", "default", disabled).result()
        with pytest.raises(redis.ConnectionError):
            client.ping()
    managed.client.redis_enterprise.begin_delete(GROUP, "test-keyless").result()


def test_a_clustered_database_refuses_what_spans_hash_slots(managed: Managed) -> None:
    managed.make("test-clustered", {"accessKeysAuthentication": "Enabled"})
    assert managed.client.databases.get(GROUP, "test-clustered", "default").clustering_policy == "OSSCluster"
    with managed.connect(managed.keys("test-clustered").primary_key, "test-clustered") as client:
        assert client.set("one", 1)
        with pytest.raises(redis.ResponseError, match="hash to the same slot"):
            client.brpop(["celery", "celery\x06\x163"], timeout=1)
    managed.client.redis_enterprise.begin_delete(GROUP, "test-clustered").result()


def test_flush_forgets_everything(managed: Managed) -> None:
    with managed.connect(managed.keys().primary_key) as client:
        client.set("kept", "not for long")
        managed.client.databases.begin_flush(GROUP, BROKER, "default", {}).result()
        assert client.get("kept") is None


def test_a_cluster_is_scaled_and_its_network_closed(managed: Managed) -> None:
    clusters, key = managed.client.redis_enterprise, managed.keys().primary_key
    clusters.begin_update(GROUP, BROKER, {"sku": {"name": "Balanced_B3"}, "tags": {"team": "data"}}).result()
    assert clusters.get(GROUP, BROKER).tags == {"team": "data"}
    with managed.connect(key) as client:
        assert client.info("memory")["maxmemory"] == 192 * 1024 * 1024
    clusters.begin_update(GROUP, BROKER, {"properties": {"publicNetworkAccess": "Disabled"}}).result()
    with managed.connect(key) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    clusters.begin_update(GROUP, BROKER, {"properties": {"publicNetworkAccess": "Enabled"}}).result()
    with managed.connect(key) as client:
        assert client.ping()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (cluster_body("Enterprise_E10"), "Creation of new Azure Cache for Redis Enterprise resources is no longer"),
        (cluster_body("EnterpriseFlash_F300"), "please create Azure Managed Redis instead"),
        (cluster_body("Balanced_B4"), "The SKU 'Balanced_B4' is not valid"),
        (cluster_body(publicNetworkAccess=None), "publicNetworkAccess"),
        (cluster_body(minimumTlsVersion="1.0"), "minimumTlsVersion"),
        (cluster_body() | {"sku": {"name": "Balanced_B1", "capacity": 2}}, "capacity"),
        (cluster_body() | {"sku": None}, "sku.name"),
    ],
)
def test_clusters_that_azure_refuses(managed: Managed, body: dict[str, Any], text: str) -> None:
    with pytest.raises(HttpResponseError, match=text) as refused:
        managed.client.redis_enterprise.begin_create(GROUP, "test-refused", body)
    assert refused.value.status_code == 400


def test_a_cluster_whose_creation_failed_is_deleted_before_it_is_created_again(managed: Managed) -> None:
    clusters, name = managed.client.redis_enterprise, "test-failed"
    fault = {"methods": ["PUT", "PATCH"], "path": f"/{name}$", "status": 409, "code": "OperationFailed", "later": True}
    managed.rehearsal.control("POST", {**fault, "message": "The operation failed."})
    with pytest.raises(HttpResponseError, match=r"\(OperationFailed\) The operation failed."):
        clusters.begin_create(GROUP, name, cluster_body()).result()
    failed = clusters.get(GROUP, name)
    assert (failed.provisioning_state, failed.resource_state, failed.host_name) == (
        "Failed",
        "CreateFailed",
        "localhost",
    )
    with pytest.raises(ResourceExistsError, match="conflicting state"):
        clusters.begin_create(GROUP, name, cluster_body())
    clusters.begin_delete(GROUP, name).result()

    clusters.begin_create(GROUP, name, cluster_body()).result()
    managed.rehearsal.control("POST", {**fault, "message": "The operation failed."})
    with pytest.raises(HttpResponseError, match="OperationFailed"):
        clusters.begin_update(GROUP, name, {"tags": {"team": "data"}}).result()
    assert clusters.get(GROUP, name).resource_state == "UpdateFailed"
    managed.rehearsal.control("DELETE")
    clusters.begin_create(GROUP, name, cluster_body()).result()
    assert clusters.get(GROUP, name).resource_state == "Running"
    clusters.begin_delete(GROUP, name).result()


def test_databases_that_azure_refuses(managed: Managed) -> None:
    create = managed.client.databases.begin_create
    for name, properties, text in (
        ("other", {}, "must be 'default'"),
        ("default", {"clusteringPolicy": "OSSCluster"}, "cannot be changed after"),
        ("default", {"evictionPolicy": "Sometimes"}, "evictionPolicy"),
        ("default", {"port": 6380}, "must be 10000"),
        ("default", {"clientProtocol": "Plaintext"}, "clientProtocol"),
    ):
        with pytest.raises(HttpResponseError, match=text):
            create(GROUP, BROKER, name, {"properties": properties})
    with pytest.raises(ResourceNotFoundError, match="ParentResourceNotFound"):
        create(GROUP, "nobody-home", "default", {"properties": {}})
    managed.client.redis_enterprise.begin_create(GROUP, "test-large", cluster_body("Balanced_B50")).result()
    with pytest.raises(HttpResponseError, match="up to 25 GB"):
        create(GROUP, "test-large", "default", {"properties": {"clusteringPolicy": "NoCluster"}})
    managed.client.redis_enterprise.begin_delete(GROUP, "test-large").result()


def test_cluster_names_are_unique_in_their_region(managed: Managed, group: str, send: Sender) -> None:
    create = managed.client.redis_enterprise.begin_create
    with pytest.raises(ResourceExistsError, match="NameNotAvailable"):
        create(group, BROKER, cluster_body())
    create(group, BROKER, cluster_body() | {"location": "northeurope"}).result()
    managed.client.redis_enterprise.begin_delete(group, BROKER).result()
    path = f"/subscriptions/{managed.rehearsal.subscription}/providers/Microsoft.Cache/checkNameAvailability"
    for name, status in ((BROKER, 409), ("nobody-has-this", 200), ("-", 400)):
        body = {"name": name, "type": "Microsoft.Cache/redisEnterprise"}
        assert send("POST", f"{path}?api-version=2024-11-01", body).status_code == status


def classic_body(**properties: Any) -> dict[str, Any]:
    sku = {"name": "Standard", "family": "C", "capacity": 1}
    return {"location": "westeurope", "properties": {"sku": sku, "enableNonSslPort": False} | properties}


def test_a_tenant_of_today_cannot_create_a_classic_cache(managed: Managed, operator: TokenCredential) -> None:
    rehearsal = managed.rehearsal
    with RedisManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        text = "Azure Cache for Redis is retiring, create Azure Managed Redis instance instead. https://aka.ms/Azure"
        with pytest.raises(HttpResponseError, match=text) as refused:
            client.redis.begin_create(GROUP, "test-classic", classic_body())
    assert (refused.value.status_code, refused.value.error.code) == (400, "BadRequest")


@pytest.fixture(scope="module")
def old_tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A slower cloud whose tenant may still create Azure Cache for Redis; it may be killed and started again."""
    home = tmp_path_factory.mktemp("old-tenant")
    yield start_rehearsal(home, "--time-scale", "0.001", "--classic-redis")
    reset_rehearsal(home)


@pytest.fixture(scope="module")
def classic(old_tenant: Rehearsal) -> Iterator[RedisManagementClient]:
    rehearsal = old_tenant
    with (
        closing(rehearsal.credential()) as credential,
        RedisManagementClient(credential, rehearsal.subscription, **rehearsal.transport) as client,
    ):
        prepare(rehearsal, credential)
        yield client


def test_a_classic_cache(old_tenant: Rehearsal, classic: RedisManagementClient) -> None:
    made = classic.redis.begin_create(GROUP, "test-classic", classic_body()).result()
    assert (made.provisioning_state, made.host_name, made.port) == ("Succeeded", "localhost", 6379)
    assert made.access_keys is None
    assert [one.is_primary for one in made.instances] == [True, False]
    keys = classic.redis.list_keys(GROUP, "test-classic")
    with connect(old_tenant, made.host_name, made.ssl_port, keys.primary_key) as client:
        assert client.ping()
        assert client.info("memory")["maxmemory_policy"] == "volatile-lru"

        after = classic.redis.regenerate_key(GROUP, "test-classic", {"key_type": "Secondary"})
        assert after.secondary_key != keys.secondary_key
        assert after.primary_key == keys.primary_key

        rule = {"start_ip": "10.0.0.1", "end_ip": "10.0.0.9"}
        classic.firewall_rules.create_or_update(GROUP, "test-classic", "office", rule)
        with (
            connect(old_tenant, made.host_name, made.ssl_port, keys.primary_key) as outside,
            pytest.raises(redis.ConnectionError),
        ):
            outside.ping()
        classic.firewall_rules.delete(GROUP, "test-classic", "office")

        changes = {"disable_access_key_authentication": True, "tags": {"team": "data"}}
        classic.redis.begin_update(GROUP, "test-classic", changes).result()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        policy = {"redis_configuration": {"maxmemory-policy": "noeviction"}}
        again = {"disable_access_key_authentication": False, **policy}
        changed = classic.redis.begin_update(GROUP, "test-classic", again).result()
        assert changed.redis_configuration.maxmemory_policy == "noeviction"
        assert changed.tags == {"team": "data"}
        assert client.info("memory")["maxmemory_policy"] == "noeviction"

        regenerate_at_once(lambda kind: classic.redis.regenerate_key(GROUP, "test-classic", {"key_type": kind}))
        keys = classic.redis.list_keys(GROUP, "test-classic")
        for key in (keys.primary_key, keys.secondary_key):
            with connect(old_tenant, made.host_name, made.ssl_port, key) as renewed:
                assert renewed.ping()


def test_classic_caches_that_azure_refuses(classic: RedisManagementClient) -> None:
    def sku(name: str, family: str, capacity: int) -> dict[str, Any]:
        return {"sku": {"name": name, "family": family, "capacity": capacity}}

    for properties in (
        sku("Standard", "P", 1),
        sku("Premium", "P", 0),
        sku("Basic", "C", 7),
        sku("Huge", "C", 1),
        {"shardCount": 2},
        {"redisConfiguration": {"maxmemory-policy": "forget-it"}},
    ):
        with pytest.raises(HttpResponseError, match="InvalidRequestBody"):
            classic.redis.begin_create(GROUP, "test-refused", classic_body(**properties))
    with pytest.raises(HttpResponseError, match="InvalidResourceName"):
        classic.redis.begin_create(GROUP, "under_score", classic_body())


def test_classic_names_are_unique_in_all_of_azure(classic: RedisManagementClient) -> None:
    kind = "Microsoft.Cache/redis"
    classic.redis.begin_create(GROUP, "test-taken", classic_body()).result()
    classic.redis.check_name_availability({"name": "nobody-has-this", "type": kind})
    with pytest.raises(ResourceExistsError, match="NameNotAvailable"):
        classic.redis.check_name_availability({"name": "test-taken", "type": kind})
    classic.redis.begin_delete(GROUP, "test-taken").result()
    classic.redis.check_name_availability({"name": "test-taken", "type": kind})
    with pytest.raises(ResourceNotFoundError):
        classic.redis.get(GROUP, "test-taken")


def test_kill_9_loses_nothing(old_tenant: Rehearsal, classic: RedisManagementClient) -> None:
    """A creation that is interrupted, and a daemon that is killed: same port, same key, same data."""
    rehearsal, home = old_tenant, old_tenant.home
    classic.redis.begin_create(GROUP, "test-survivor", classic_body()).result()
    with (
        closing(rehearsal.credential()) as credential,
        RedisEnterpriseManagementClient(credential, rehearsal.subscription, **rehearsal.transport) as client,
    ):
        managed, databases = Managed(rehearsal, client), client.databases
        client.redis_enterprise.begin_create(GROUP, BROKER, cluster_body())
        with pytest.raises(ResourceExistsError, match="Conflict"):
            databases.begin_create(GROUP, BROKER, "default", {"properties": NO_CLUSTER})
        while client.redis_enterprise.get(GROUP, BROKER).provisioning_state != "Succeeded":
            time.sleep(0.1)
        databases.begin_create(GROUP, BROKER, "default", {"properties": NO_CLUSTER})
        kill_rehearsal(home)
        start_rehearsal(home)
        while databases.get(GROUP, BROKER, "default").provisioning_state != "Succeeded":
            time.sleep(0.1)
        port, key = databases.get(GROUP, BROKER, "default").port, managed.keys().primary_key
        cache, cache_key = classic.redis.get(GROUP, "test-survivor"), classic.redis.list_keys(GROUP, "test-survivor")
        with managed.connect(key) as connection:
            connection.set("kept", "for ever")
        before = servers(home)
        kill_rehearsal(home)
        assert servers(home) == before
        start_rehearsal(home)
        assert servers(home) == before
        assert databases.get(GROUP, BROKER, "default").port == port
        with managed.connect(key) as connection:
            assert connection.get("kept") == b"for ever"
        with connect(rehearsal, "localhost", cache.ssl_port, cache_key.secondary_key) as connection:
            assert connection.ping()
