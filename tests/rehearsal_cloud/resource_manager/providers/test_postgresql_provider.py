"""Flexible servers through the real SDK, and what is behind them through psycopg over verified TLS."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.postgresqlflexibleservers import PostgreSQLManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from psycopg import sql

from tests.support.rehearsal import kill_rehearsal, reset_rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.core.credentials import TokenCredential

    from tests.support.azure_requests import Newcomer, Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

OPERATOR = "rehearsal-operator"
OPERATOR_ID = "44444444-4444-4444-8444-444444444444"
TENANT = "22222222-2222-4222-8222-222222222222"
TOKEN_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
PASSWORD = "Correct-horse-1"
GROUP = "test-postgresql"
SERVER = "test-postgresql-server"


def server_body(**properties: Any) -> dict[str, Any]:
    return {
        "location": "westeurope",
        "sku": {"name": "Standard_B1ms", "tier": "Burstable"},
        "properties": {
            "version": "17",
            "createMode": "Create",
            "storage": {"storageSizeGB": 32},
            "authConfig": {"activeDirectoryAuth": "Enabled", "passwordAuth": "Enabled", "tenantId": TENANT},
            "administratorLogin": "pgadmin",
            "administratorLoginPassword": PASSWORD,
        }
        | properties,
    }


class Cloud:
    """A rehearsal with a client for servers, and the server that most tests share."""

    def __init__(self, rehearsal: Rehearsal, credential: TokenCredential, client: PostgreSQLManagementClient) -> None:
        self.rehearsal, self.credential, self.client = rehearsal, credential, client

    def address(self, server: str = SERVER, group: str = GROUP) -> tuple[str, int]:
        name = self.client.servers.get(group, server).properties.fully_qualified_domain_name
        host, _, port = name.partition(":")
        return host, int(port)

    def connect(self, user: str, password: str, database: str = "postgres", server: str = SERVER) -> psycopg.Connection:
        host, port = self.address(server)
        return psycopg.connect(
            host=host,
            port=port,
            user=user,
            password=password,
            dbname=database,
            sslmode="verify-full",
            sslrootcert=self.rehearsal.connection["REQUESTS_CA_BUNDLE"],
            autocommit=True,
        )

    def value(self, user: str, password: str, statement: str, database: str = "postgres") -> object:
        with self.connect(user, password, database) as connection:
            row = connection.execute(sql.SQL(statement)).fetchone()
        return row and row[0]

    def token(self, credential: TokenCredential | None = None, scope: str = TOKEN_SCOPE) -> str:
        return (credential or self.credential).get_token(scope).token

    def open_firewall(self, group: str = GROUP, server: str = SERVER) -> None:
        body = {"properties": {"startIpAddress": "127.0.0.1", "endIpAddress": "127.0.0.1"}}
        self.client.firewall_rules.begin_create_or_update(group, server, "here", body).result()

    def add_administrator(self, name: str, object_id: str, kind: str, group: str = GROUP, server: str = SERVER) -> Any:
        body = {"properties": {"principalName": name, "principalType": kind, "tenantId": TENANT}}
        administrators = self.client.administrators_microsoft_entra
        return administrators.begin_create_or_update(group, server, object_id, body).result()


def prepare(rehearsal: Rehearsal, credential: TokenCredential, group: str) -> None:
    with ResourceManagementClient(credential, rehearsal.subscription, **rehearsal.transport) as client:
        client.providers.register("Microsoft.DBforPostgreSQL")
        while client.providers.get("Microsoft.DBforPostgreSQL").registration_state != "Registered":
            time.sleep(0.05)
        client.resource_groups.create_or_update(group, {"location": "westeurope"})


@pytest.fixture(scope="module")
def cloud(rehearsal: Rehearsal, operator: TokenCredential) -> Iterator[Cloud]:
    prepare(rehearsal, operator, GROUP)
    with PostgreSQLManagementClient(operator, rehearsal.subscription, **rehearsal.transport) as client:
        made = Cloud(rehearsal, operator, client)
        client.servers.begin_create_or_update(GROUP, SERVER, server_body()).result()
        made.open_firewall()
        made.add_administrator(OPERATOR, OPERATOR_ID, "ServicePrincipal")
        yield made
        client.servers.begin_delete(GROUP, SERVER).result()
        assert not processes(rehearsal.home, SERVER)
        assert not list((rehearsal.home / "services").glob(f"*{SERVER}*"))


def processes(home: Path, server: str) -> list[int]:
    """The PostgreSQL processes that work in the server's folder."""
    place = (home / "services" / f"postgresql-{server}" / "store" / "data").resolve()
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(place):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_a_server_answers_what_azure_answers_and_no_password(cloud: Cloud, send: Sender) -> None:
    server = cloud.client.servers.get(GROUP, SERVER)
    assert (server.sku.name, server.properties.version, server.properties.state) == ("Standard_B1ms", "17", "Ready")
    assert server.properties.storage.as_dict() == {
        "storageSizeGB": 32,
        "autoGrow": "Disabled",
        "type": "",
        "tier": "P4",
        "iops": 120,
    }
    assert server.properties.auth_config.tenant_id == TENANT
    assert PASSWORD not in send("GET", f"{server.id}?api-version=2025-08-01").text()
    state = list(cloud.rehearsal.home.glob("cloud.sqlite*"))
    assert cloud.rehearsal.home / "cloud.sqlite-wal" in state
    assert [one for one in state if PASSWORD.encode() in one.read_bytes()] == []


def test_the_secrets_flow_of_the_runbook(cloud: Cloud) -> None:
    with cloud.connect(OPERATOR, cloud.token()) as connection:
        connection.execute("CREATE ROLE airflow LOGIN")
        connection.execute("GRANT airflow TO CURRENT_USER")
        connection.execute("CREATE DATABASE airflow OWNER airflow ENCODING 'UTF8'")
        connection.execute("ALTER ROLE airflow PASSWORD 'made-in-step-4'")
    with cloud.connect(OPERATOR, cloud.token(), "airflow") as connection:
        connection.execute("GRANT ALL ON SCHEMA public TO airflow")
    with cloud.connect("airflow", "made-in-step-4", "airflow") as connection:
        connection.execute("CREATE TABLE dag (id int)")
    assert cloud.client.databases.get(GROUP, SERVER, "airflow").properties.charset == "UTF8"
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "airflow"'):
        cloud.connect("airflow", "not-the-password", "airflow")
    with cloud.connect(OPERATOR, cloud.token()) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE ROLE above SUPERUSER")


def test_a_database_of_resource_manager_belongs_to_the_administrator_login(cloud: Cloud) -> None:
    cloud.client.databases.begin_create(GROUP, SERVER, "logins", {"properties": {"charset": "UTF8"}}).result()
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'logins'"
    assert cloud.value(OPERATOR, cloud.token(), owner) == "pgadmin"
    with cloud.connect(OPERATOR, cloud.token()) as connection:
        connection.execute("CREATE ROLE theirs")
        connection.execute("GRANT theirs TO CURRENT_USER")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner of database logins"):
            connection.execute("ALTER DATABASE logins OWNER TO theirs")


def test_tokens_of_others_do_not_open_the_administrators_role(cloud: Cloud, newcomer: Newcomer) -> None:
    with pytest.raises(psycopg.OperationalError, match="oid mismatch for role"):
        cloud.connect(OPERATOR, cloud.token(newcomer.credential))
    with pytest.raises(psycopg.OperationalError, match="error occurred while validating the access token"):
        cloud.connect(OPERATOR, cloud.token(scope="https://management.azure.com/.default"))
    with pytest.raises(psycopg.OperationalError, match="error occurred while validating the access token"):
        cloud.connect(OPERATOR, PASSWORD)


def test_members_of_an_administrator_group_log_in_as_the_group(cloud: Cloud, send: Sender, newcomer: Newcomer) -> None:
    graph = "https://graph.microsoft.com/v1.0"
    body = {"displayName": "dbas", "mailNickname": "dbas", "mailEnabled": False, "securityEnabled": True}
    group = send("POST", f"{graph}/groups", body).json()
    cloud.add_administrator("dbas", group["id"], "Group")
    with pytest.raises(psycopg.OperationalError, match="oid mismatch"):
        cloud.connect("dbas", cloud.token(newcomer.credential))
    member = {"@odata.id": f"{graph}/directoryObjects/{newcomer.object_id}"}
    assert send("POST", f"{graph}/groups/{group['id']}/members/$ref", member).status_code == 204
    assert cloud.value("dbas", cloud.token(newcomer.credential), "SELECT current_user") == "dbas"
    cloud.client.administrators_microsoft_entra.begin_delete(GROUP, SERVER, group["id"]).result()
    with pytest.raises(psycopg.OperationalError, match='authentication failed for user "dbas"'):
        cloud.connect("dbas", cloud.token(newcomer.credential))


def test_without_a_firewall_rule_nobody_comes_in(cloud: Cloud) -> None:
    cloud.client.firewall_rules.begin_delete(GROUP, SERVER, "here").result()
    with pytest.raises(psycopg.OperationalError, match=r'no pg_hba.conf entry for host "127.0.0.1", user "pgadmin"'):
        cloud.connect("pgadmin", PASSWORD)
    cloud.open_firewall()
    assert cloud.value("pgadmin", PASSWORD, "SELECT current_user") == "pgadmin"


def test_databases_are_those_that_postgresql_has(cloud: Cloud) -> None:
    with cloud.connect("pgadmin", PASSWORD) as connection:
        connection.execute("CREATE DATABASE made_with_sql")
    names = {one.name for one in cloud.client.databases.list_by_server(GROUP, SERVER)}
    assert names >= {"postgres", "azure_maintenance", "azure_sys", "made_with_sql"}
    cloud.client.databases.begin_delete(GROUP, SERVER, "made_with_sql").result()
    with pytest.raises(psycopg.OperationalError, match='database "made_with_sql" does not exist'):
        cloud.connect("pgadmin", PASSWORD, "made_with_sql")
    cloud.client.databases.begin_create(GROUP, SERVER, "dropped", {}).result()
    with cloud.connect("pgadmin", PASSWORD) as connection:
        connection.execute("DROP DATABASE dropped")
    with pytest.raises(ResourceNotFoundError):
        cloud.client.databases.get(GROUP, SERVER, "dropped")


def test_parameters_are_really_set(cloud: Cloud) -> None:
    configurations = cloud.client.configurations
    names = {one.name for one in configurations.list_by_server(GROUP, SERVER)}
    assert names >= {"azure.extensions", "require_secure_transport", "max_connections", "work_mem"}
    configurations.begin_update(GROUP, SERVER, "work_mem", {"properties": {"value": "8192"}}).result()
    assert cloud.value("pgadmin", PASSWORD, "SHOW work_mem") == "8MB"
    assert configurations.get(GROUP, SERVER, "work_mem").properties.source == "user-override"
    configurations.begin_update(GROUP, SERVER, "azure.extensions", {"properties": {"value": "hstore,pg_trgm"}}).result()
    assert configurations.get(GROUP, SERVER, "azure.extensions").properties.value == "hstore,pg_trgm"


def test_a_static_parameter_takes_effect_after_a_restart(cloud: Cloud) -> None:
    configurations = cloud.client.configurations
    configurations.begin_update(GROUP, SERVER, "max_connections", {"properties": {"value": "77"}}).result()
    assert configurations.get(GROUP, SERVER, "max_connections").properties.is_config_pending_restart
    assert cloud.value("pgadmin", PASSWORD, "SHOW max_connections") == "100"
    cloud.client.servers.begin_restart(GROUP, SERVER, {"restartWithFailover": False}).result()
    assert cloud.value("pgadmin", PASSWORD, "SHOW max_connections") == "77"
    assert not configurations.get(GROUP, SERVER, "max_connections").properties.is_config_pending_restart


def test_a_patch_changes_size_version_and_password(cloud: Cloud) -> None:
    changes = {
        "sku": {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"},
        "properties": {"storage": {"storageSizeGB": 128}, "administratorLoginPassword": "Battery-staple-2"},
        "tags": {"team": "data"},
    }
    cloud.client.servers.begin_update(GROUP, SERVER, changes).result()
    server = cloud.client.servers.get(GROUP, SERVER)
    assert (server.sku.name, server.tags) == ("Standard_D2ds_v5", {"team": "data"})
    assert (server.properties.storage.tier, server.properties.storage.iops) == ("P10", 500)
    assert cloud.value("pgadmin", "Battery-staple-2", "SELECT 1") == 1
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        cloud.connect("pgadmin", PASSWORD)
    cloud.client.servers.begin_update(
        GROUP, SERVER, {"properties": {"administratorLoginPassword": PASSWORD, "version": "18"}}
    ).result()
    assert cloud.client.servers.get(GROUP, SERVER).properties.version == "18"
    for smaller, code in (
        ({"version": "17"}, "ParameterOutOfRange"),
        ({"storage": {"storageSizeGB": 64}}, "InvalidParameterValue"),
    ):
        with pytest.raises(HttpResponseError, match=code):
            cloud.client.servers.begin_update(GROUP, SERVER, {"properties": smaller})


def test_a_precheck_finds_what_blocks_an_upgrade_and_the_upgrade_is_blocked_by_it(cloud: Cloud, group: str) -> None:
    client, server = cloud.client, "old-server"
    client.servers.begin_create_or_update(group, server, server_body(version="16")).result()
    cloud.open_firewall(group, server)
    name, port = client.servers.get(group, server).properties.fully_qualified_domain_name.split(":")

    def run(statement: str) -> None:
        ca_file = cloud.rehearsal.connection["REQUESTS_CA_BUNDLE"]
        signed_in = {"user": "pgadmin", "password": PASSWORD, "dbname": "postgres", "sslrootcert": ca_file}
        with psycopg.connect(host=name, port=port, sslmode="verify-full", autocommit=True, **signed_in) as connection:
            connection.execute(sql.SQL(statement))

    def failed(target: str) -> list[Any]:
        begun = client.servers.begin_start_major_version_upgrade_precheck(group, server, {"targetVersion": target})
        result = client.major_version_upgrade_precheck.get(group, server, begun.result().name or "").properties
        assert (result.target_version, result.status) == (target, "Succeeded")
        return [policy for policy in result.policy_details or [] if not policy.passed]

    try:
        assert not failed("18")
        run("CREATE VIEW who AS SELECT pid FROM pg_stat_activity")
        (policy,) = failed("18")
        assert policy.policy_name == "NoViewDependentObjectsPrecheckPolicy"
        assert "Found dependent object who in database postgres" in policy.error_message
        with pytest.raises(HttpResponseError, match="Please drop this view prior to reattempting the upgrade"):
            client.servers.begin_update(group, server, {"properties": {"version": "18"}}).result()
        left = client.servers.get(group, server).properties
        assert (left.version, left.minor_version, left.state) == ("16", "11", "Ready")
        run("DROP VIEW who")
        client.servers.begin_update(group, server, {"properties": {"version": "18"}}).result()
        now = client.servers.get(group, server).properties
        assert (now.version, now.minor_version, now.state) == ("18", "1", "Ready")
        for target in ("18", "15", "klingon"):
            with pytest.raises(HttpResponseError, match="ParameterOutOfRange"):
                client.servers.begin_start_major_version_upgrade_precheck(group, server, {"targetVersion": target})
    finally:
        client.servers.begin_delete(group, server).result()


def test_passwords_can_be_turned_off(cloud: Cloud) -> None:
    servers = cloud.client.servers
    servers.begin_update(GROUP, SERVER, {"properties": {"authConfig": {"passwordAuth": "Disabled"}}}).result()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        cloud.connect("pgadmin", PASSWORD)
    cloud.client.databases.begin_create(GROUP, SERVER, "of_azure", {"properties": {"charset": "UTF8"}}).result()
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'of_azure'"
    assert cloud.value(OPERATOR, cloud.token(), owner) == "azuresu"
    again = {"authConfig": {"passwordAuth": "Enabled"}}
    with pytest.raises(HttpResponseError, match="administratorLoginPassword"):
        servers.begin_update(GROUP, SERVER, {"properties": again})
    servers.begin_update(GROUP, SERVER, {"properties": {**again, "administratorLoginPassword": PASSWORD}}).result()
    assert cloud.value("pgadmin", PASSWORD, "SELECT 1") == 1


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("Upper-Case", {}, "InvalidResourceName"),
        ("double--hyphen", {}, "InvalidResourceName"),
        ("ok", {}, "InvalidResourceName"),
        ("new-server", {"sku": {"name": "Standard_B1ms", "tier": "GeneralPurpose"}}, "InvalidParameterValue"),
        ("new-server", {"sku": {"name": "Standard_B1ms", "tier": "Cheap"}}, "InvalidParameterValue"),
        ("new-server", {"sku": None}, "InvalidParameterValue"),
        ("new-server", {"location": None}, "LocationRequired"),
        ("new-server", {"version": "13"}, "InvalidParameterValue"),
        ("new-server", {"storage": {"storageSizeGB": 100}}, "InvalidParameterValue"),
        ("new-server", {"storage": {"storageSizeGB": 128, "tier": "P4"}}, "InvalidParameterValue"),
        ("new-server", {"highAvailability": {"mode": "ZoneRedundant"}}, "InvalidParameterValue"),
        ("new-server", {"backup": {"backupRetentionDays": 6}}, "InvalidParameterValue"),
        ("new-server", {"createMode": "Replica"}, "InvalidParameterValue"),
        ("new-server", {"administratorLogin": "postgres"}, "InvalidParameterValue"),
        ("new-server", {"administratorLogin": "azure_superuser"}, "InvalidParameterValue"),
        ("new-server", {"administratorLogin": "pg_mine"}, "InvalidParameterValue"),
        ("new-server", {"administratorLogin": None}, "InvalidParameterValue"),
        ("new-server", {"administratorLoginPassword": None}, "InvalidParameterValue"),
        ("new-server", {"administratorLoginPassword": "Sh0rt!"}, "PasswordTooShort"),
        ("new-server", {"administratorLoginPassword": "onlylowercase"}, "PasswordNotComplex"),
        ("new-server", {"administratorLoginPassword": "My-pgadmin-1"}, "PasswordNotComplex"),
        ("new-server", {"authConfig": {"activeDirectoryAuth": "Disabled", "passwordAuth": "Disabled"}}, "InvalidParam"),
        ("new-server", {"authConfig": {"activeDirectoryAuth": "Maybe"}}, "InvalidParameterValue"),
        (
            "new-server",
            {"network": {"delegatedSubnetResourceId": "/a/subnet", "publicNetworkAccess": "Enabled"}},
            "ConflictingPublicNetworkAccess",
        ),
    ],
)
def test_servers_that_azure_refuses(cloud: Cloud, name: str, change: dict[str, Any], code: str) -> None:
    top = {key: change[key] for key in ("sku", "location") if key in change}
    body = server_body(**{key: value for key, value in change.items() if key not in top}) | top
    with pytest.raises(HttpResponseError, match=code) as refused:
        cloud.client.servers.begin_create_or_update(GROUP, name, body)
    assert refused.value.status_code == 400
    with pytest.raises(ResourceNotFoundError):
        cloud.client.servers.get(GROUP, name)


def test_children_that_azure_refuses(cloud: Cloud) -> None:
    client = cloud.client
    for name, start, end in (
        ("bad!", "1.1.1.1", "1.1.1.1"),
        ("r", "2.2.2.2", "1.1.1.1"),
        ("r", "localhost", "1.1.1.1"),
    ):
        body = {"properties": {"startIpAddress": start, "endIpAddress": end}}
        with pytest.raises(HttpResponseError, match="Invalid"):
            client.firewall_rules.begin_create_or_update(GROUP, SERVER, name, body)
    for name, value in (("no_such_thing", "on"), ("max_connections", "7"), ("row_security", "maybe"), ("ssl", "off")):
        with pytest.raises(HttpResponseError, match="InvalidParameterValue"):
            client.configurations.begin_put(GROUP, SERVER, name, {"properties": {"value": value}})
    with pytest.raises(HttpResponseError, match="reserved"):
        client.databases.begin_create(GROUP, SERVER, "template1", {})
    with pytest.raises(HttpResponseError, match="cannot be deleted"):
        client.databases.begin_delete(GROUP, SERVER, "azure_maintenance")
    with pytest.raises(HttpResponseError, match=r"InvalidParameterValue.*charset"):
        client.databases.begin_create(GROUP, SERVER, "odd", {"properties": {"charset": "klingon"}}).result()
    with pytest.raises(HttpResponseError, match="objectId"):
        cloud.add_administrator("somebody", "not-a-guid", "User")
    with pytest.raises(ResourceNotFoundError, match="ParentResourceNotFound"):
        cloud.open_firewall(server="nobody-home")


def test_administrators_need_entra_authentication(cloud: Cloud) -> None:
    body = server_body(authConfig={"activeDirectoryAuth": "Disabled", "passwordAuth": "Enabled"})
    cloud.client.servers.begin_create_or_update(GROUP, "no-entra-server", body).result()
    with pytest.raises(HttpResponseError, match="Entra authentication is not enabled"):
        cloud.add_administrator(OPERATOR, OPERATOR_ID, "ServicePrincipal", server="no-entra-server")
    assert len(processes(cloud.rehearsal.home, "no-entra-server")) > 1
    cloud.client.servers.begin_delete(GROUP, "no-entra-server").result()
    assert not processes(cloud.rehearsal.home, "no-entra-server")


def test_a_private_server_has_no_firewall(cloud: Cloud) -> None:
    subnet = {"delegatedSubnetResourceId": "/subscriptions/x/subnets/db", "privateDnsZoneArmResourceId": "/zones/db"}
    servers = cloud.client.servers
    servers.begin_create_or_update(GROUP, "private-server", server_body(network=subnet)).result()
    assert servers.get(GROUP, "private-server").properties.network.public_network_access == "Disabled"
    with pytest.raises(HttpResponseError, match="private access enabled server"):
        cloud.open_firewall(server="private-server")
    cloud.connect("pgadmin", PASSWORD, server="private-server").close()
    servers.begin_delete(GROUP, "private-server").result()


def test_names_are_unique_in_all_of_azure(cloud: Cloud, group: str) -> None:
    check = cloud.client.name_availability.check_globally
    assert check({"name": SERVER}).reason == "AlreadyExists"
    assert check({"name": "Not_A_Name"}).reason == "Invalid"
    assert check({"name": "nobody-has-this"}).name_available
    assert cloud.client.name_availability.check_with_location("westeurope", {"name": "nobody-has-this"}).name_available
    with pytest.raises(ResourceExistsError, match="ServerNameAlreadyExists"):
        cloud.client.servers.begin_create_or_update(group, SERVER, server_body())


def test_a_group_that_goes_takes_a_server_in_the_making_with_it(
    cloud: Cloud, group: str, resources: ResourceManagementClient
) -> None:
    cloud.client.servers.begin_create_or_update(group, "short-lived-server", server_body())
    resources.resource_groups.begin_delete(group).result()
    assert not processes(cloud.rehearsal.home, "short-lived-server")
    assert not (cloud.rehearsal.home / "services" / "postgresql-short-lived-server").exists()
    assert cloud.client.name_availability.check_globally({"name": "short-lived-server"}).name_available


@pytest.mark.parametrize(
    ("restriction", "changes", "code"),
    [
        ({"restriction": "offer"}, {}, "LocationIsOfferRestricted"),
        ({"restriction": "version", "name": "PostgreSQL 17"}, {}, "InvalidParameterValue"),
        (
            {"restriction": "standby", "name": "ZoneRedundant"},
            {"highAvailability": {"mode": "ZoneRedundant"}},
            "InvalidParameterValue",
        ),
    ],
)
def test_what_the_region_does_not_offer_is_not_among_its_capabilities_and_refused(
    cloud: Cloud, group: str, restriction: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    body = server_body(**changes) | {"sku": {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"}}
    cloud.rehearsal.control("POST", restriction)
    try:
        (offered,) = cloud.client.capabilities_by_location.list("westeurope")
        with pytest.raises(HttpResponseError) as refused:
            cloud.client.servers.begin_create_or_update(group, "restricted-server", body)
    finally:
        cloud.rehearsal.control("DELETE")
    assert refused.value.error.code == code
    features = {feature.name: feature.status for feature in offered.supported_features}
    match restriction["restriction"]:
        case "offer":
            assert (offered.restricted, offered.supported_server_editions) == ("Enabled", [])
        case "version":
            assert "17" not in {version.name for version in offered.supported_server_versions}
        case "standby":
            assert (offered.zone_redundant_ha_supported, features["ZoneRedundantHa"]) == ("Disabled", "Disabled")


def test_a_server_lists_its_capabilities_its_backup_and_no_replica(cloud: Cloud) -> None:
    (offered,) = cloud.client.capabilities_by_server.list(GROUP, SERVER)
    assert "17" in [version.name for version in offered.supported_server_versions or []]
    (backup,) = cloud.client.backups_automatic_and_on_demand.list_by_server(GROUP, SERVER)
    assert backup.properties.source == "Automatic"
    assert not list(cloud.client.replicas.list_by_server(GROUP, SERVER))
    with pytest.raises(ResourceNotFoundError):
        list(cloud.client.capabilities_by_server.list(GROUP, "nowhere"))


def test_capabilities_offer_what_can_be_created(cloud: Cloud) -> None:
    (offered,) = cloud.client.capabilities_by_location.list("westeurope")
    assert {one.name: one.status for one in offered.supported_features}["OfferRestricted"] == "Disabled"
    assert [one.name for one in offered.supported_server_versions] == ["14", "15", "16", "17", "18"]
    burstable = next(one for one in offered.supported_server_editions if one.name == "Burstable")
    assert "Standard_B1ms" in {one.name for one in burstable.supported_server_skus}
    assert all(one.supported_zones for one in burstable.supported_server_skus)
    assert burstable.supported_storage_editions[0].name == "ManagedDisk"


INACCESSIBLE = "AadAuthOperationCannotBePerformedWhenServerIsNotAccessible"


def refused_administrator(cloud: Cloud) -> str:
    """Try to add the operator as an administrator; return the refusal's code, or nothing."""
    try:
        cloud.add_administrator(OPERATOR, OPERATOR_ID, "ServicePrincipal")
    except ResourceExistsError as refusal:
        return str(refusal.error and refusal.error.code)
    return ""


def test_one_operation_at_a_time_and_kill_9_loses_nothing(tmp_path: Path) -> None:
    """In a slow cloud of its own: busy servers, an interrupted creation, and a daemon that is killed."""
    home = tmp_path / "home"
    rehearsal = start_rehearsal(home, "--time-scale", "0.006")
    try:
        with (
            closing(rehearsal.credential()) as credential,
            PostgreSQLManagementClient(credential, rehearsal.subscription, **rehearsal.transport) as client,
        ):
            prepare(rehearsal, credential, GROUP)
            cloud = Cloud(rehearsal, credential, client)
            client.servers.begin_create_or_update(GROUP, SERVER, server_body())
            busy = rf"\(ServerBusy\) Server '{SERVER}' is busy with another operation"
            with pytest.raises(ResourceExistsError, match=busy):
                cloud.open_firewall()
            kill_rehearsal(home)
            start_rehearsal(home)
            refusals = [refused_administrator(cloud)]
            while refusals[-1]:
                refusals.append(refused_administrator(cloud))
            assert set(refusals) <= {"ServerBusy", INACCESSIBLE, ""}
            cloud.open_firewall()
            setting = client.configurations.begin_update(GROUP, SERVER, "work_mem", {"properties": {"value": "8192"}})
            with pytest.raises(ResourceExistsError, match=busy):
                client.databases.begin_create(GROUP, SERVER, "airflow", {})
            setting.result()
            update = client.servers.begin_update(GROUP, SERVER, {"tags": {"team": "data"}})
            for write in (
                lambda: client.servers.begin_update(GROUP, SERVER, {"tags": {}}),
                lambda: client.firewall_rules.begin_delete(GROUP, SERVER, "here"),
                lambda: client.servers.begin_delete(GROUP, SERVER),
                lambda: client.servers.begin_restart(GROUP, SERVER),
            ):
                with pytest.raises(ResourceExistsError, match=busy):
                    write()
            update.result()
            with cloud.connect("pgadmin", PASSWORD) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            address = cloud.address()
            kill_rehearsal(home)
            assert processes(home, SERVER)
            run_rehearsal(home, "down")
            assert not processes(home, SERVER)
            start_rehearsal(home)
            assert cloud.address() == address
            assert cloud.value("pgadmin", PASSWORD, "SHOW work_mem") == "8MB"
            assert cloud.value("pgadmin", PASSWORD, "SELECT answer FROM kept") == 42
    finally:
        reset_rehearsal(home)


def test_a_stopped_server_takes_no_connections_until_it_is_started(cloud: Cloud) -> None:
    cloud.client.servers.begin_stop(GROUP, SERVER).result()
    assert cloud.client.servers.get(GROUP, SERVER).properties.state == "Stopped"
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        cloud.connect("pgadmin", PASSWORD)
    assert refused_administrator(cloud) == INACCESSIBLE
    cloud.client.servers.begin_start(GROUP, SERVER).result()
    assert cloud.client.servers.get(GROUP, SERVER).properties.state == "Ready"
    cloud.connect("pgadmin", PASSWORD).close()
