"""A session: an environment, a mode, and the signed-in clients, each made when it is first used.

SDK imports take up to a second each, so they stand inside what needs them, and so does what reads environments. Every
client gets the same two settings, proxy and CA bundle, and nothing else differs between Azure and the rehearsal cloud.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, get_args

from airflowaks.cloud.answers import web_page_behind
from airflowaks.cloud.connection import (
    Connection,
    OneAtATime,
    Operator,
    azure_connection,
    rehearsal_connection,
    source_login,
    token_claims,
)
from airflowaks.cloud.once import Once
from airflowaks.cloud.redaction import Redactor
from airflowaks.config.paths import records_folder
from airflowaks.errors import AirflowAksError, InvalidParameter, SignInFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.core import PipelineClient
    from azure.keyvault.secrets import SecretClient
    from azure.mgmt.authorization import AuthorizationManagementClient
    from azure.mgmt.containerregistry import ContainerRegistryManagementClient
    from azure.mgmt.containerregistrytasks import ContainerRegistryTasksMgmtClient
    from azure.mgmt.containerservice import ContainerServiceClient
    from azure.mgmt.keyvault import KeyVaultManagementClient
    from azure.mgmt.msi import ManagedServiceIdentityClient
    from azure.mgmt.postgresqlflexibleservers import PostgreSQLManagementClient
    from azure.mgmt.redis import RedisManagementClient
    from azure.mgmt.redisenterprise import RedisEnterpriseManagementClient
    from azure.mgmt.resource.resources import ResourceManagementClient
    from kubernetes.client import ApiClient

    from airflowaks.cloud.policies import Correlation
    from airflowaks.config.environment import Environment

Mode = Literal["plan", "apply", "check"]
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

RESOURCE_MANAGER_SCOPE = "https://management.azure.com/.default"
GRAPH_SCOPE = "https://graph.microsoft.com/.default"
_DEFAULT_POLL_SECONDS = 2


def _client(package: str, name: str) -> Any:
    """Return a property that imports and makes a client of `azure.mgmt` at its first use."""

    def make(session: Session) -> Any:
        from airflowaks.cloud.policies import NoteCorrelation, RefuseRegistration, ShortRetries
        from airflowaks.cloud.thread_safety import thread_safe

        transport = session.connection.transport
        # The trace comes after the registration policy, which raises an error for some answers.
        policies = [RefuseRegistration(), *transport.pop("per_retry_policies", ())]
        client = getattr(import_module(f"azure.mgmt.{package}"), name)(
            session.connection.credential,
            session.environment.subscription_id,
            per_call_policies=[NoteCorrelation()],
            per_retry_policies=policies,
            polling_interval=_DEFAULT_POLL_SECONDS,
            retry_policy=ShortRetries(**transport),
            **transport,
        )
        return thread_safe(client)

    return cached_property(make)


class Session:
    """One run against one environment. Keeps every secret that it has seen, and what is made with `memoize`."""

    def __init__(
        self,
        environment: Environment,
        mode: Mode,
        connection: Connection,
        *,
        redactor: Redactor | None = None,
        operator_address: str = "",
        image: str = "",
        waits: bool = False,
    ) -> None:
        """Open a session; `redactor` is another session's, for two that show their output in the same place."""
        self.environment = environment
        self.mode = mode
        self.operator_address = operator_address
        """The public IPv4 address of this machine, if a firewall rule has to let it in."""
        self.image = image
        """Airflow's image in this run: `import`, `build`, `existing`, a digest (`sha256:…`) or a tag in the
        environment's repository; empty: the environment's."""
        self.waits = waits and mode == "apply"
        """Whether other steps run at the same time, so that what they make is waited for."""
        self.stopping = threading.Event()
        """Set while waits for other steps have to end."""
        self.closing = ExitStack()
        """What ends with the session."""
        self.redactor = redactor or Redactor()
        for secret in connection.secrets:
            self.redactor.learn(secret)
        self.source_login = source_login()
        if self.source_login:
            self.redactor.learn(self.source_login.token)
        trace = connection.trace
        if environment.trace and trace is None:
            from airflowaks.cloud.trace import Trace

            trace = Trace(environment, self.redactor, records_folder())
        self.connection = replace(connection, credential=OneAtATime(connection.credential, self.redactor), trace=trace)
        self._once = Once()

    def close(self) -> None:
        """End what the session has opened; used again, it opens it again."""
        self.closing.close()

    @property
    def applies(self) -> bool:
        """Whether this session writes."""
        return self.mode == "apply"

    def memoize(self, make: Callable[[Session, *Arguments], T], *arguments: *Arguments) -> T:
        """Return `make(session, *arguments)`, made once, so that steps share resources and read each of them once."""
        return self._once.get((make, *arguments), lambda: make(self, *arguments))

    @cached_property
    def operator(self) -> Operator:
        """Who is signed in. Raises SignInFailed."""
        claims, tenant = token_claims(self.token(RESOURCE_MANAGER_SCOPE)), self.environment.tenant_id
        if str(claims["tid"]).lower() != tenant.lower():
            message = f"You are signed in to tenant {claims['tid']}, and the environment is in tenant {tenant}."
            raise SignInFailed(message, f"Sign in with `az login --tenant {tenant}`, or correct `tenant_id`.")
        operator = Operator.of(claims)
        if self.connection.trace:
            self.connection.trace.note("operator", operator.object_id)
        return operator

    def token(self, scope: str) -> str:
        """Return an access token for `scope`. Raises SignInFailed, and AzureError where a web page comes instead."""
        from azure.core.exceptions import AzureError

        try:
            return self.connection.credential.get_token(scope).token
        except AzureError as error:
            if named := self.connection.stopped() or web_page_behind(error):
                raise named from error
            reason = next(iter(self.redactor.redact(str(error.message)).splitlines()), "")
            from airflowaks.cloud.error_mapping import sign_in_action

            raise SignInFailed(f"There is no access token for {scope}: {reason}", sign_in_action(error)) from error

    def correlated(self) -> AbstractContextManager[Correlation]:
        """Return a context that collects the correlation ID of the writes made inside."""
        from airflowaks.cloud.policies import correlated

        return correlated()

    @contextmanager
    def translated(self, subject: object) -> Iterator[None]:
        """Turn what is raised inside into what `translate` makes of it, chained."""
        try:
            yield
        except Exception as error:
            if (named := self.translate(error, subject)) is error:
                raise
            raise named from error

    def translate(self, error: Exception, subject: object) -> AirflowAksError:
        """Return the error of the tree about `subject`, without secrets, or that the rehearsal has ended under it."""
        from airflowaks.cloud.error_mapping import translate

        return self.connection.stopped() or translate(error, str(subject), self.redactor)

    # Clients

    resources: ResourceManagementClient = _client("resource.resources", "ResourceManagementClient")
    """Resource groups and providers."""
    authorization: AuthorizationManagementClient = _client("authorization", "AuthorizationManagementClient")
    """Role assignments."""
    identities: ManagedServiceIdentityClient = _client("msi", "ManagedServiceIdentityClient")
    """Managed identities."""
    clusters: ContainerServiceClient = _client("containerservice", "ContainerServiceClient")
    """AKS clusters."""
    registries: ContainerRegistryManagementClient = _client("containerregistry", "ContainerRegistryManagementClient")
    """Container registries."""
    registry_tasks: ContainerRegistryTasksMgmtClient = _client(
        "containerregistrytasks", "ContainerRegistryTasksMgmtClient"
    )
    """Builds in container registries."""
    postgresql: PostgreSQLManagementClient = _client("postgresqlflexibleservers", "PostgreSQLManagementClient")
    """PostgreSQL flexible servers."""
    redis: RedisManagementClient = _client("redis", "RedisManagementClient")
    """Azure Cache for Redis."""
    managed_redis: RedisEnterpriseManagementClient = _client("redisenterprise", "RedisEnterpriseManagementClient")
    """Azure Managed Redis."""
    vaults: KeyVaultManagementClient = _client("keyvault", "KeyVaultManagementClient")
    """Key vaults, without their secrets."""

    def secrets(self, vault: str) -> SecretClient:
        """Return a client of the secrets in the vault with that URL."""
        from azure.keyvault.secrets import SecretClient

        from airflowaks.cloud.policies import NoteCorrelation
        from airflowaks.cloud.thread_safety import thread_safe

        connection, policies = self.connection, [NoteCorrelation()]
        client = SecretClient(vault, connection.credential, per_call_policies=policies, **connection.transport)
        return thread_safe(client)

    @cached_property
    def graph(self) -> PipelineClient[Any, Any]:
        """Microsoft Graph, through azure-core's pipeline: msgraph-sdk would be 200 MB for four calls."""
        from azure.core.pipeline.policies import BearerTokenCredentialPolicy

        from airflowaks.cloud.policies import NoteCorrelation

        authentication = BearerTokenCredentialPolicy(self.connection.credential, GRAPH_SCOPE)
        return self.http_client("https://graph.microsoft.com/v1.0", NoteCorrelation(), authentication)

    def kubernetes_api(self) -> ApiClient:
        """Return the official Kubernetes client, for cells of your own: `CoreV1Api(run.session.kubernetes_api())`.

        It signs in as this session does, renews its tokens, and verifies the cluster by the CA that Azure names.
        Importing the package takes seconds, so the library's own requests go through `airflowaks.kube.client`.
        Raises AzureError where there is no cluster, or Azure does not return its address.
        """
        from airflowaks.cloud.cluster import SERVER_SCOPE, find_address, official_client

        with self.translated(f"AKS cluster {self.environment.cluster.name}"):
            address = find_address(self.clusters, self.environment, self.connection.ca_bundle)
        return official_client(address, self.connection.proxy, partial(self.token, SERVER_SCOPE))

    def fetch(self, url: str) -> Any:
        """Return the JSON at a public URL, reached as everything else is. Raises azure-core's HttpResponseError."""
        from azure.core.rest import HttpRequest

        with self.http_client(url) as client:
            response = client.send_request(HttpRequest("GET", url))
            response.raise_for_status()
            return response.json()

    def http_client(self, base_url: str, *more: Any) -> PipelineClient[Any, Any]:
        """Return a client for what no SDK is for; a bare PipelineClient would neither retry nor heed the proxy."""
        from azure.core import PipelineClient
        from azure.core.pipeline import policies

        from airflowaks.cloud.thread_safety import thread_safe

        transport = self.connection.transport
        usual = [policies.UserAgentPolicy(), policies.ProxyPolicy(**transport), policies.RetryPolicy(**transport)]
        chain = [*usual, *more, policies.CustomHookPolicy(**transport)]
        return thread_safe(PipelineClient(base_url, policies=chain, **transport))


def open_session(
    env: str = "local",
    mode: str = "apply",
    operator_address: str = "",
    *,
    image: str = "",
    component: str = "",
    waits: bool = False,
    connect: Callable[[Environment], Connection] = azure_connection,
) -> Session:
    """Return a session for the environment of that name; for a rehearsal, start the rehearsal cloud if needed.

    `operator_address` is the public IPv4 address of this machine, for an environment with `access: direct` whose
    firewall rules do not cover it. `image` is Airflow's image in this run, in place of the environment's. `component`
    is the one to look at, if not all. With `waits`, an apply waits for what other steps make. `connect` is how Azure is
    reached. Nothing is asked of it yet.

    Raises:
        InvalidEnvironment: there is no such environment, or it breaks rules.
        InvalidParameter: the mode is none of plan, apply and check; an invalid or needless address; another component.
        RehearsalUnavailable: the rehearsal cloud could not be started.

    """
    from airflowaks.config.environment import check_component, check_operator_address, load_environment

    if mode not in (modes := get_args(Mode)):
        raise InvalidParameter(f'There is no mode "{mode}", only: {", ".join(modes)}.', "Set `mode` to one of them.")
    environment = load_environment(env)
    check_component(component, environment)
    if operator_address:
        check_operator_address(operator_address, environment)
    connection = rehearsal_connection() if environment.is_local else connect(environment)
    options: Any = {"operator_address": operator_address, "image": image, "waits": waits}
    return Session(environment, mode, connection, **options)  # type: ignore[arg-type]  # it is in get_args(Mode)
