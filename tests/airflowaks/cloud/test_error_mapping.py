"""What the operator is told when Azure says no: real refusals, raised by the real SDKs."""

from __future__ import annotations

import socket
import uuid
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.core.rest import HttpRequest

from airflowaks import errors
from airflowaks.azure.database_role import connect
from airflowaks.azure.entra import Group, GroupMembers
from airflowaks.azure.identities import ManagedIdentity
from airflowaks.azure.key_vault import Vault
from airflowaks.azure.postgresql import FlexibleServer
from airflowaks.azure.redis import ping
from airflowaks.azure.registry import ContainerRegistry
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.azure.subscription import ProviderRegistration, ResourceGroup
from airflowaks.azure.vault_secret import VaultSecret
from airflowaks.cloud import error_mapping
from airflowaks.cloud.certificates import public_roots
from airflowaks.cloud.cluster import Address
from airflowaks.cloud.connection import Connection
from airflowaks.cloud.routes import Direct
from airflowaks.config.environment import load_environment
from airflowaks.engine.changes import Difference
from airflowaks.engine.converge import converge
from airflowaks.errors import AzureError
from airflowaks.kube.client import Kube
from airflowaks.session import Session
from tests.support.rehearsal import run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflowaks.engine.resource import Resource
    from tests.support.rehearsal import Rehearsal

SECRET = "not-to-be-seen/in+any=refusal"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A subscription of its own: no provider is registered but those that these tests register."""
    home = tmp_path_factory.mktemp("fresh")
    yield start_rehearsal(home, "--time-scale", "0.00005")
    run_rehearsal(home, "down")


def session_of(rehearsal: Rehearsal, credential: Any, environment: Any = None) -> Session:
    reach = {"proxy": rehearsal.connection["HTTPS_PROXY"], "ca_bundle": rehearsal.connection["REQUESTS_CA_BUNDLE"]}
    connection = Connection(credential=credential, **reach)
    session = Session(environment or load_environment("local"), "apply", connection)
    session.redactor.learn(SECRET)
    return session


@pytest.fixture
def session(fresh: Rehearsal, group_name: str) -> Iterator[Session]:
    """The operator's session, in an environment of the test's own, as no name in it is anybody else's."""
    local = load_environment("local")
    name = uuid.uuid4().hex[:12]
    changes = {
        "resource_group": group_name,
        "registry": local.registry.model_copy(update={"name": f"acr{name}"}),
        "postgresql": local.postgresql.model_copy(update={"name": f"pg-{name}"}),
        "key_vault": local.key_vault.model_copy(update={"name": f"kv-{name}"}),
    }
    with closing(fresh.credential()) as credential:
        yield session_of(fresh, credential, local.model_copy(update=changes))
    fresh.control("DELETE")


@pytest.fixture
def group(session: Session) -> ResourceGroup:
    made = ResourceGroup(session, session.environment.resource_group)
    converge(session, made)
    return made


def registered(session: Session, *namespaces: str) -> None:
    converge(session, *(ProviderRegistration(session, namespace) for namespace in namespaces))


@contextmanager
def refused(error: type[AzureError], code: str, *, by: str, action: str) -> Iterator[None]:
    """Expect what is raised inside: its class, Azure's code, a part of its sentence, and a part of its action."""
    with pytest.raises(AzureError) as caught:
        yield
    known = caught.value
    assert (type(known), known.azure_code) == (error, code)
    assert by in known.message
    assert f"({code})" in known.message
    assert known.message.count("\n") == 0
    assert action in known.action
    assert isinstance(known.__cause__, HttpResponseError)
    assert SECRET not in f"{known}{known!r}{known.args}"


# By the rehearsal's own behaviour


def test_an_unregistered_provider(session: Session, group: ResourceGroup) -> None:
    # A cluster's PUT is one of those on which the SDKs register nothing by themselves.
    parameters: Any = {"location": "westeurope"}
    begin = session.clusters.managed_clusters.begin_create_or_update
    with (
        refused(
            errors.ProviderNotRegistered,
            "MissingSubscriptionRegistration",
            by="Microsoft.ContainerService",
            action="Run step 1",
        ),
        session.translated(group),
    ):
        begin(group.name, "cluster", parameters).result()


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_provider_that_answers_404_where_it_is_not_registered(
    fresh: Rehearsal, session: Session, group: ResourceGroup, method: str
) -> None:
    identity = ManagedIdentity(session, "unregistered", parent=group)
    fault = {"status": 404, "code": "SubscriptionNotRegistered", "message": "The subscription is not registered."}
    fresh.control("POST", {"methods": [method], "path": "userAssignedIdentities", "times": 9, **fault})
    if method == "GET":
        assert identity.read() is None
        return
    with pytest.raises(errors.ProviderNotRegistered, match=r"lacks Microsoft\.ManagedIdentity") as caught:
        identity.put(identity.desired())
    assert "--namespace Microsoft.ManagedIdentity" in caught.value.action


def test_a_soft_deleted_vault_of_somebody_else(session: Session, group: ResourceGroup) -> None:
    registered(session, "Microsoft.KeyVault")
    vault = Vault(session, session.environment.key_vault.name, parent=group)
    converge(session, vault)
    session.vaults.vaults.delete(vault.group, vault.name)
    elsewhere = ResourceGroup(session, f"{group.name}-b")
    namesake = Vault(session, vault.name, group=elsewhere.name, parent=elsewhere)
    with refused(
        errors.SoftDeleted, "ConflictError", by=f"key vault {vault.name}: Azure refused", action="az keyvault recover"
    ):
        converge(session, elsewhere, namesake)


def test_a_locked_group(session: Session, group: ResourceGroup) -> None:
    lock: Any = {"properties": {"level": "CanNotDelete"}}
    path = f"{group.id}/providers/Microsoft.Authorization/locks/keep"
    session.resources.resources.begin_create_or_update_by_id(path, lock, api_version="2016-09-01").wait()
    with (
        refused(errors.AzureError, "ScopeLocked", by="are locked", action="az lock delete"),
        session.translated(group),
    ):
        session.resources.resource_groups.begin_delete(group.name)


@pytest.fixture
def secret(session: Session, group: ResourceGroup) -> VaultSecret:
    """A secret that may be written."""
    registered(session, "Microsoft.KeyVault")
    vault = Vault(session, session.environment.key_vault.name, parent=group)
    operator = session.operator
    access = RoleAssignment(Role.KEY_VAULT_SECRETS_OFFICER, vault, operator.name, operator.object_id, operator.kind)
    made = VaultSecret(vault, access, "one", "a test's", lambda held: held or SECRET)
    converge(session, vault, access, made)
    return made


def test_a_soft_deleted_secret(session: Session, secret: VaultSecret) -> None:
    secret.vault.secrets.begin_delete_secret(secret.name).wait()
    with (
        refused(errors.SoftDeleted, "Conflict", by="deleted but recoverable", action="az keyvault secret recover"),
        session.translated(secret),
    ):
        secret._set()


def test_a_soft_deleted_secret_comes_back_as_it_was(session: Session, secret: VaultSecret) -> None:
    secret.vault.secrets.begin_delete_secret(secret.name).wait()
    another = VaultSecret(secret.vault, secret.access, secret.name, secret.purpose, lambda held: held or "made anew")
    converge(session, another)
    assert another.value is not None
    assert another.value.reveal() == SECRET


def test_a_disabled_secret(session: Session, secret: VaultSecret) -> None:
    secret.vault.secrets.update_secret_properties(secret.name, enabled=False)
    with refused(AzureError, "Forbidden", by="disabled secret", action="Enable it with"):
        converge(session, secret)


@pytest.mark.parametrize(
    ("kind", "namespace", "code"),
    [
        (ContainerRegistry, "Microsoft.ContainerRegistry", "AlreadyInUse"),
        (Vault, "Microsoft.KeyVault", "VaultAlreadyExists"),
        (FlexibleServer, "Microsoft.DBforPostgreSQL", "ServerNameAlreadyExists"),
    ],
)
def test_a_name_that_is_taken(
    session: Session, group: ResourceGroup, group_name: str, kind: Any, namespace: str, code: str
) -> None:
    registered(session, namespace)

    def named(parent: ResourceGroup) -> Any:
        if kind is FlexibleServer:
            return FlexibleServer(session, parent=parent, route=Direct())
        settings = session.environment.registry if kind is ContainerRegistry else session.environment.key_vault
        return kind(session, settings.name, group=parent.name, parent=parent)

    converge(session, named(group))
    other = ResourceGroup(session, f"{group_name}-2")
    converge(session, other)
    elsewhere = named(other)
    elsewhere.group = other.name
    with refused(errors.NameTaken, code, by=elsewhere.name, action="unique in all of Azure"):
        converge(session, elsewhere)


@pytest.mark.parametrize(
    ("create", "by", "action"),
    [
        (
            lambda session, group, parameters: session.redis.redis.begin_create(group, "classic", parameters),
            "Azure Cache for Redis is retiring",
            "broker.kind: managed_redis",
        ),
        (
            lambda session, group, parameters: session.managed_redis.redis_enterprise.begin_create(
                group, "enterprise", parameters
            ),
            "Enterprise resources is no longer supported",
            "Balanced_",
        ),
    ],
    ids=["classic", "enterprise"],
)
def test_a_retired_service(
    session: Session, group: ResourceGroup, create: Callable[..., Any], by: str, action: str
) -> None:
    registered(session, "Microsoft.Cache")
    sku = {"name": "Basic", "family": "C", "capacity": 0}
    parameters = {
        "location": "westeurope",
        "sku": {"name": "Enterprise_E10", "capacity": 2},
        "properties": {"sku": sku, "publicNetworkAccess": "Enabled"},
    }
    with refused(errors.ServiceRetired, "BadRequest", by=by, action=action), session.translated(group):
        create(session, group.name, parameters).result()


@pytest.fixture
def newcomer(fresh: Rehearsal, session: Session) -> Iterator[Session]:
    """The session of an application that may do nothing yet."""

    def graph(path: str, body: dict[str, Any]) -> Any:
        url = session.graph.format_url(path)
        return session.graph.send_request(HttpRequest("POST", url, json=body)).json()

    application = graph("/applications", {"displayName": "newcomer"})
    password = graph(f"/applications/{application['id']}/addPassword", {})["secretText"]
    graph("/servicePrincipals", {"appId": application["appId"]})
    with closing(fresh.credential(application["appId"], password)) as credential:
        yield session_of(fresh, credential, session.environment)


def test_a_principal_without_a_role(newcomer: Session, group_name: str) -> None:
    with refused(
        errors.PermissionDenied, "AuthorizationFailed", by="resourceGroups/read", action="Owner on the subscription"
    ):
        converge(newcomer, ResourceGroup(newcomer, group_name))


def test_a_principal_that_may_not_make_groups(newcomer: Session, group_name: str) -> None:
    group = Group(newcomer, group_name, "a test's")
    with refused(
        errors.PermissionDenied, "Authorization_RequestDenied", by="Insufficient", action="Groups Administrator"
    ):
        converge(newcomer, group)


def test_a_principal_that_may_not_read_secrets(newcomer: Session, secret: VaultSecret) -> None:
    vault, known = Vault(newcomer, secret.vault.name), secret.vault.facts
    vault._facts = known
    with (
        refused(errors.PermissionDenied, "Forbidden", by="not authorized", action="Key Vault Secrets Officer"),
        newcomer.translated(vault),
    ):
        vault.secrets.get_secret(secret.name)


def test_a_principal_that_entra_does_not_know(session: Session, group: ResourceGroup) -> None:
    nobody = RoleAssignment(Role.ACR_PULL, group, "nobody", str(uuid.uuid4()), "ServicePrincipal")
    scope = f"/subscriptions/{session.environment.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
    body: Any = {
        "properties": {
            "roleDefinitionId": f"{scope}/{nobody.role.definition}",
            "principalId": nobody.principal_id,
            "principalType": "ServicePrincipal",
        }
    }
    create = session.authorization.role_assignments.create
    with (
        refused(errors.PrincipalNotFound, "PrincipalNotFound", by="does not exist in", action="Wait a few minutes"),
        session.translated(nobody),
    ):
        create(group.id, nobody.assignment_name, body)


# By fault


@pytest.mark.parametrize(
    ("error", "status", "code", "message", "action"),
    [
        (
            errors.QuotaExceeded,
            409,
            "OperationNotAllowed",
            "Operation could not be completed as it results in exceeding approved Total Regional Cores quota.",
            "more quota",
        ),
        (
            errors.QuotaExceeded,
            400,
            "ErrCode_InsufficientVCPUQuota",
            "Insufficient vcpu quota requested 8, remaining 4 for family standardDASv5Family for region eastus.",
            "more quota",
        ),
        (
            errors.OperationInProgress,
            409,
            "OperationNotAllowed",
            "Operation is not allowed because there's an in progress update managed cluster operation.",
            "once it has ended",
        ),
        (
            errors.OperationInProgress,
            409,
            "StorageAccountOperationInProgress",
            "An operation is currently performing on this storage account that requires exclusive access.",
            "once it has ended",
        ),
        (
            errors.OperationInProgress,
            409,
            "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
            "Concurrent Federated Identity Credentials writes under the same managed identity are not supported.",
            "once it has ended",
        ),
        (
            errors.OperationInProgress,
            409,
            "AadAuthOperationCannotBePerformedWhenServerIsNotAccessible",
            "The server 'pg' is not in an accessible state to perform Azure AD Principal operation.",
            "az postgres flexible-server start",
        ),
        (
            errors.SkuNotAvailable,
            409,
            "SkuNotAvailable",
            "The requested VM size for resource 'Standard_B2s' is currently not available in location 'eastus'.",
            "another size, zone or region",
        ),
        (
            errors.SkuNotAvailable,
            400,
            "AvailabilityZoneNotSupported",
            "Availability zone '3' is not supported in this region.",
            "another size, zone or region",
        ),
        (
            errors.SkuNotAvailable,
            400,
            "AKSCapacityHeavyUsage",
            "AKS is currently experiencing heavy usage in this region.",
            "another size, zone or region",
        ),
        (
            errors.SkuNotAvailable,
            400,
            "LocationIsOfferRestricted",
            "Subscriptions are restricted from provisioning in location 'westeurope'.",
            "`airflowaks preflight`",
        ),
        (
            errors.SkuNotAvailable,
            400,
            "RegionIsOfferRestricted",
            "Subscriptions are restricted from provisioning in this region. Please choose a different region.",
            "`airflowaks preflight`",
        ),
        (
            errors.SkuNotAvailable,
            400,
            "BadRequest",
            "The VM size of Standard_D4ds_v5 is not allowed in your subscription in location 'westeurope'.",
            "`airflowaks preflight`",
        ),
        (
            errors.PolicyViolation,
            403,
            "RequestDisallowedByPolicy",
            "Resource 'airflow' was disallowed by policy. Policy identifiers: 'tags'.",
            "the owner of the policy",
        ),
        (
            errors.PermissionDenied,
            403,
            "LinkedAuthorizationFailed",
            "The client has permission to perform action 'write', however the linked scope is not authorized.",
            "the role that the message names",
        ),
        (
            errors.Throttled,
            429,
            "TooManyRequests",
            "The request is being throttled as the limit has been reached for operation type - Write.",
            "Wait a few minutes",
        ),
        (AzureError, 400, "InvalidParameter", "Agent pool name must start with a lowercase letter.", "Azure's message"),
    ],
)
def test_a_refusal_on_writing(
    fresh: Rehearsal, group: ResourceGroup, error: type[AzureError], status: int, code: str, message: str, action: str
) -> None:
    session = group.session
    registered(session, "Microsoft.ManagedIdentity")
    fault = {"methods": ["PUT"], "path": "userAssignedIdentities", "times": 9, "status": status, "code": code}
    headers = {"x-ms-retry-after-ms": "1"} if status == 429 else {}
    fresh.control("POST", {**fault, "message": f"{message} {SECRET}", "headers": headers})

    class Impatient(ManagedIdentity):
        finishing_seconds = 1.0  # it waits for another operation

    identity = Impatient(session, "identity", parent=group)
    with refused(
        error, code, by=f"managed identity identity: Azure refused the request ({code}): {message}", action=action
    ):
        converge(session, identity)


def test_a_long_refusal_is_cut(fresh: Rehearsal, session: Session, group_name: str) -> None:
    text = "every word of it\n" * 100
    fresh.control("POST", {"methods": ["GET"], "path": group_name, "status": 400, "code": "Odd", "message": text})
    with pytest.raises(AzureError) as caught:
        converge(session, ResourceGroup(session, group_name))
    assert len(caught.value.message) < 500
    assert caught.value.message.endswith("…")


def test_a_group_that_was_just_made_is_asked_for_again(fresh: Rehearsal, session: Session, group_name: str) -> None:
    group = Group(session, group_name, "a test's")
    converge(session, group)
    missing = {"status": 404, "code": "Request_ResourceNotFound", "message": "Resource does not exist."}
    fresh.control("POST", {"methods": ["GET", "POST"], "path": "/members", "times": 2, **missing})
    (change,) = converge(session, GroupMembers(group, [session.operator.object_id]))
    assert change.differences == (Difference("members", [], [session.operator.object_id]),)


def test_a_group_of_long_ago_that_is_gone_is_not_waited_for(
    fresh: Rehearsal, session: Session, group_name: str
) -> None:
    group = Group(session, group_name, "a test's")
    converge(session, group)
    group.written = False
    group._facts = {**(group.facts or {}), "createdDateTime": "2020-01-01T00:00:00Z"}
    missing = {"status": 404, "code": "Request_ResourceNotFound", "message": "Resource does not exist."}
    fresh.control("POST", {"methods": ["GET"], "path": "/members", **missing})
    with refused(AzureError, "Request_ResourceNotFound", by="does not exist", action="Azure's message"):
        converge(session, GroupMembers(group, []))


# By what stands around Azure

PORTAL = "<!DOCTYPE html><html><style>p {}</style><title>Guest network</title><p>Please sign in</p></html>"


PAGE_SEEN = '{host}: a web page came instead of the API\'s answer (status {status}): "Guest network Please sign in".'


def kubernetes_api(session: Session) -> Kube:
    """The client of a cluster; any host does where only its web page is seen."""
    authority = Path(str(session.connection.ca_bundle)).read_text()
    return Kube(session, Address("cluster", "https://management.azure.com", authority))


@pytest.mark.parametrize(
    ("host", "ask"),
    [
        ("management.azure.com", lambda session: session.resources.resource_groups.get("any")),
        ("graph.microsoft.com", lambda session: Group(session, "any", "a test's").read()),
        ("registry-1.docker.io", lambda session: session.fetch("https://registry-1.docker.io/v2/")),
        ("management.azure.com", lambda session: kubernetes_api(session).request("GET", "/api/v1/pods")),
        ("login.microsoftonline.com", lambda session: session.token("https://management.azure.com/.default")),
        ("login.microsoftonline.com", lambda session: session.resources.resource_groups.get("any")),
    ],
)
@pytest.mark.parametrize(("status", "action"), [(200, "in a browser"), (502, "in a few minutes")])
def test_a_web_page_instead_of_an_answer(
    fresh: Rehearsal, session: Session, host: str, ask: Callable[[Session], Any], status: int, action: str
) -> None:
    page = {"methods": ["GET", "POST"], "host": host, "times": 99, "status": status, "page": PORTAL}
    fresh.control("POST", page)
    with pytest.raises((AzureError, errors.ClusterUnreachable)) as caught:
        ask_once(fresh, session, ask)
    assert PAGE_SEEN.format(host=host, status=status) in caught.value.message
    assert action in caught.value.action


@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_web_page_instead_of_a_token(fresh: Rehearsal, session: Session, status: int) -> None:
    host = "login.microsoftonline.com"
    fresh.control("POST", {"host": host, "path": "/token$", "times": 99, "status": status, "page": PORTAL})
    with pytest.raises(AzureError) as caught:
        ask_once(fresh, session, lambda session: session.token("https://management.azure.com/.default"))
    assert PAGE_SEEN.format(host=host, status=status) in caught.value.message
    assert "in a few minutes" in caught.value.action


def ask_once(fresh: Rehearsal, session: Session, ask: Callable[[Session], Any]) -> None:
    quick = session.connection.transport | {"retry_total": 0}

    class Impatient(Connection):
        transport = quick  # type: ignore[assignment]  # ten retries of a 502 take minutes

    reach = {"proxy": session.connection.proxy, "ca_bundle": session.connection.ca_bundle}
    impatient = Session(session.environment, "apply", Impatient(credential=fresh.credential(**quick), **reach))
    with impatient.translated("its subject"):
        ask(impatient)


@pytest.mark.parametrize(("status", "headers"), [(503, {}), (429, {"x-ms-retry-after-ms": "1"})])
@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("roleAssignments", lambda session: list(session.authorization.role_assignments.list_for_subscription())),
        ("resourcegroups", lambda session: list(session.resources.resource_groups.list())),
        ("vaults", lambda session: list(session.vaults.vaults.list_by_subscription())),
    ],
)
def test_a_refusal_that_is_repeated(
    fresh: Rehearsal, session: Session, path: str, ask: Callable[[Session], Any], status: int, headers: dict[str, str]
) -> None:
    fault = {
        "methods": ["GET"],
        "path": path,
        "status": status,
        "code": "Busy",
        "message": "Later.",
        "headers": headers,
    }
    fresh.control("POST", fault)
    ask(session)
    assert [fault["matched"] for fault in fresh.control("GET")] == [2]


def test_an_answer_that_is_cut(fresh: Rehearsal, session: Session, group_name: str) -> None:
    group = Group(session, group_name, "a test's")
    fresh.control("POST", {"methods": ["PATCH"], "path": "/groups", "cut": True})
    with (
        pytest.raises(AzureError, match=r"graph\.microsoft\.com ended in the middle") as caught,
        session.translated(group),
    ):
        group.write(None)
    assert "refused" not in caught.value.message
    assert caught.value.action.startswith("Run the step again")


def test_a_cut_answer_of_a_cluster(fresh: Rehearsal, session: Session) -> None:
    fresh.control("POST", {"methods": ["POST"], "path": "/api/v1/pods", "cut": True})
    with pytest.raises(errors.ClusterUnreachable, match="ended in the middle") as caught:
        kubernetes_api(session).request("POST", "/api/v1/pods")
    assert caught.value.action.startswith("Run the step again")


def test_a_web_page_instead_of_a_secret(fresh: Rehearsal, secret: VaultSecret) -> None:
    fresh.control("POST", {"methods": ["GET"], "host": r"vault\.azure\.net", "status": 200, "page": PORTAL})
    with pytest.raises(AzureError, match=r"vault\.azure\.net: a web page came"):
        secret.read()


def test_a_sign_in_that_is_refused(fresh: Rehearsal, group_name: str) -> None:
    with closing(fresh.credential(secret="wrong")) as credential:
        session = session_of(fresh, credential)
        with pytest.raises(errors.SignInFailed, match="AADSTS7000215") as caught:
            converge(session, ResourceGroup(session, group_name))
        assert "az login" in caught.value.action
        with pytest.raises(errors.SignInFailed, match="AADSTS7000215"):
            session.token("https://management.azure.com/.default")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: it is bound, and nobody listens."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_network_that_is_down(fresh: Rehearsal, session: Session, closed_port: int, group_name: str) -> None:
    del fresh
    reach = replace(session.connection, proxy=f"http://127.0.0.1:{closed_port}")
    cut_off = Session(session.environment, "apply", reach)
    client = cut_off.resources
    with (
        pytest.raises(AzureError, match="Azure is unreachable") as caught,
        cut_off.translated(ResourceGroup(cut_off, group_name)),
    ):
        client.resource_groups.get(group_name, retry_total=0)
    assert "proxy" in caught.value.action
    assert isinstance(caught.value.__cause__, ServiceRequestError)


def test_a_server_that_cannot_be_reached(session: Session, group: ResourceGroup, closed_port: int) -> None:
    server = FlexibleServer(session, parent=group, route=Direct())
    server._facts = {"properties": {"fullyQualifiedDomainName": f"localhost:{closed_port}"}}
    with pytest.raises(AzureError, match="PostgreSQL refused") as caught, session.translated(server):
        connect(server, "postgres", "airflow", SECRET)
    assert "firewall" in caught.value.action
    assert SECRET not in str(caught.value)


def test_a_broker_that_cannot_be_reached(session: Session, group: ResourceGroup, closed_port: int) -> None:
    with pytest.raises(AzureError, match="the broker refused") as caught, session.translated(group):
        ping(f"rediss://:{quote(SECRET, safe='')}@localhost:{closed_port}/0", str(public_roots()), Direct())
    assert "access keys" in caught.value.action
    assert SECRET not in str(caught.value)


def test_a_url_that_is_none_shows_no_piece_of_its_secret(session: Session, group: ResourceGroup) -> None:
    with pytest.raises(errors.CheckFailed, match="malformed") as caught, session.translated(group):
        ping("rediss://:half/of-a-secret@localhost/0", str(public_roots()), Direct())
    assert caught.value.__cause__ is None
    assert "half" not in str(caught.value)


def test_anything_else_is_unexpected(session: Session, group: ResourceGroup) -> None:
    with pytest.raises(errors.Unexpected, match=r"resource group .*: ZeroDivisionError: division by zero") as caught:
        translated(session, group, lambda: 1 / 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def translated(session: Session, resource: Resource, act: Callable[[], object]) -> None:
    with session.translated(resource):
        act()


def test_every_code_that_is_known_can_be_acted_on() -> None:
    mappings = error_mapping._mappings()
    codes = [(code, mapping.words) for mapping in mappings for code in mapping.codes]
    assert len(codes) == len(set(codes))
    leaves = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AzureError)}
    assert {getattr(errors, mapping.error) for mapping in mappings} == leaves
    for mapping in mappings:
        assert mapping.action.endswith(".")
