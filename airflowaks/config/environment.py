"""The environment file: one deployment, validated against Azure's name rules before anything is created."""

import json
from difflib import get_close_matches
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from airflowaks.config import backend_schema, limits, messages, naming, schema, types
from airflowaks.config.airflow_schema import Airflow
from airflowaks.config.paths import manifests_folder
from airflowaks.errors import InvalidEnvironment, InvalidParameter

FINGERPRINT_LENGTH = 12


class Environment(schema.Section):
    """One deployment, as `manifests/environments/<name>.yaml` describes it.

    A name that the file omits is derived from the environment's name. A globally unique name also gets a suffix, the
    hash of subscription, resource group and environment.
    """

    name: types.EnvironmentName
    subscription_id: types.SubscriptionId = Field(
        description="the subscription that holds and pays for everything: az account show --query id"
    )
    tenant_id: types.TenantId = Field(
        description="the Entra tenant of the subscription: az account show --query tenantId"
    )
    location: types.Location = Field(
        description="the region, such as westeurope: az account list-locations --query [].name"
    )
    resource_group: types.ResourceGroupName
    tags: types.Tags
    cloud: Literal["azure", "rehearsal"] = "azure"
    # How the runbook connects to PostgreSQL and the broker: through a pod in the cluster, or from this machine.
    access: Literal["through_cluster", "direct"] = "through_cluster"
    proxy: types.ProxyUrl | None = None
    ca_bundle: types.File | None = None
    trace: bool = False
    entra: schema.Entra
    cluster: schema.Cluster
    registry: schema.Registry
    postgresql: backend_schema.Postgresql
    broker: backend_schema.Broker
    key_vault: schema.KeyVault
    identities: schema.Identities
    airflow: Airflow = Field(default_factory=Airflow)

    @property
    def is_local(self) -> bool:
        """Whether this is the rehearsal cloud on this machine, which costs nothing."""
        return self.cloud == "rehearsal"

    @property
    def names(self) -> set[str]:
        """The names of all resources and groups that the environment makes or uses."""
        cluster, registry, postgresql = self.cluster, self.registry, self.postgresql
        sections = (cluster, *cluster.pools.values(), registry, postgresql, self.broker, self.key_vault)
        names = {section.name for section in sections} | {self.resource_group, cluster.namespace}
        names |= {self.entra.admin_group, self.entra.developer_group, self.entra.viewer_group or ""}
        names |= {self.entra.application}
        names |= {self.identities.cluster, self.identities.pods}
        names |= {postgresql.database, postgresql.role, *postgresql.firewall, registry.repository}
        names |= {postgresql.celery_database, postgresql.celery_role}
        names |= {getattr(self.broker, "resource_group", ""), registry.source.partition("/")[2].partition(":")[0]}
        return names - {""}

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that identify the content of the deployment.

        `proxy`, `ca_bundle` and `trace` are left out: they differ between machines that deploy the same environment.
        """
        content = self.model_dump(mode="json", exclude={"proxy", "ca_bundle", "trace"})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sha256(canonical.encode()).hexdigest()[:FINGERPRINT_LENGTH]

    @property
    def mark(self) -> str:
        """The mark on what the runbook creates for this environment, such as `dev-x2k9qd`, unlike any other's."""
        return f"{self.name}-{naming.name_suffix(self.name, self.subscription_id, self.resource_group)}"

    @property
    def registers_application(self) -> bool:
        """Whether step 1 registers the application that people sign in to: else another one did, or nobody does."""
        return self.airflow.login == "entra" and self.entra.application_id is None

    @field_validator("postgresql")
    @classmethod
    def _admits_addresses_of_the_internet(
        cls, value: backend_schema.Postgresql, info: ValidationInfo
    ) -> backend_schema.Postgresql:
        # On the rehearsal cloud, loopback is how this machine reaches the server.
        rules = value.firewall if info.data.get("cloud") == "azure" else {}
        for name, rule in rules.items():
            first, last = IPv4Address(rule.start), IPv4Address(rule.end)
            if name == backend_schema.EVERYONE or not int(last):
                continue
            if special := types.special_network(first, last):
                raise ValueError(
                    f'the firewall rule "{name}" ({first} to {last}) overlaps {special}; use public addresses'
                )
        return value

    @field_validator("postgresql")
    @classmethod
    def _has_roles_besides_the_administrators(
        cls, value: backend_schema.Postgresql, info: ValidationInfo
    ) -> backend_schema.Postgresql:
        group = info.data["entra"].admin_group if "entra" in info.data else ""
        for key, role in (("role", value.role), ("celery_role", value.celery_role)):
            if role == group.casefold():
                raise ValueError(
                    f'{key} "{role}" is also entra.admin_group, and the group is a role of the server; '
                    "use another name for one of them"
                )
        return value

    @field_validator("airflow")
    @classmethod
    def _has_nodes_for_its_queues(cls, value: Airflow, info: ValidationInfo) -> Airflow:
        spot = [name for name, queue in value.queues.items() if queue.spot]
        if spot and "cluster" in info.data and info.data["cluster"].spot_pool is None:
            raise ValueError(
                f"queues.{spot[0]} has spot: true, and the cluster has no pool of spot machines; "
                "add cluster.spot_pool, or use spot: false"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _derive_names(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        name = str(content.get("name"))
        group = _with_default(content.get("resource_group"), f"airflow-{name}")
        suffix = naming.name_suffix(name, str(content.get("subscription_id")), str(group))
        derived: dict[str, Any] = {
            "resource_group": group,
            "entra": {
                "admin_group": f"airflow-{name}-admins",
                "developer_group": f"airflow-{name}-developers",
                "application": f"airflow-{name}",
            },
            "cluster": {"name": f"airflow-{name}"},
            "registry": {"name": naming.global_name("registry", "acr", name, suffix)},
            "postgresql": {"name": naming.global_name("postgresql", "pg", name, suffix)},
            "broker": {"name": naming.global_name("managed_redis", "redis", name, suffix)},
            "key_vault": {"name": naming.global_name("key_vault", "kv", name, suffix)},
            "identities": {"cluster": f"airflow-{name}-cluster", "pods": f"airflow-{name}-pods"},
        }
        if isinstance(entra := content.get("entra"), dict) and entra.get("viewer_members"):
            derived["entra"]["viewer_group"] = f"airflow-{name}-viewers"
        if isinstance(broker := content.get("broker"), dict) and broker.get("kind") == "existing_cache":
            del derived["broker"]
        names = {key: _with_default(content.get(key), default) for key, default in derived.items()}
        if content.get("tags") is None:
            names["tags"] = {"environment": name, "managed-by": "airflowaks"}
        return content | names


def _with_default(value: Any, default: Any) -> Any:
    if isinstance(value, dict) and isinstance(default, dict):
        return value | {key: each for key, each in default.items() if value.get(key) is None}
    return default if value is None else value


def environment_names(folder: Path | None = None) -> list[str]:
    """Return the names of the environment files in `folder`, by default the checkout's `manifests/environments`."""
    return sorted(path.stem for path in (folder or manifests_folder("environments")).glob("*.yaml"))


def load_environment(name: str, folder: Path | None = None) -> Environment:
    """Read and validate `<name>.yaml` in `folder`, by default the checkout's `manifests/environments`.

    Raises:
        InvalidEnvironment: the file does not exist or breaks rules; the message lists every problem, one per line.

    """
    folder = folder or manifests_folder("environments")
    existing = environment_names(folder)
    if name not in existing:
        near = get_close_matches(name.lower(), existing, n=1)
        try:
            create = f", or create {naming.RULES['environment'].check(name)}.yaml"
        except ValueError:
            create = ""
        raise InvalidEnvironment(
            f'There is no environment "{name}" in {folder}; it has {", ".join(existing) or "no environments"}.',
            f'Did you mean "{near[0]}"?' if near else f"Choose one of these{create}.",
        )
    path = folder / f"{name}.yaml"
    try:
        document = messages.parse(limits.read(path))
    except (OSError, ValueError) as error:
        raise InvalidEnvironment(f"{path.name} cannot be read: {error}.", f"Correct {path} and run again.") from error
    if not isinstance(document.content, dict):
        raise InvalidEnvironment(
            f"{path.name} is not a mapping of keys.", f'Begin {path} with the line "subscription_id: …".'
        )
    invalid = None
    try:
        environment = Environment.model_validate({**document.content, "name": name}, context={"folder": folder})
    except ValidationError as error:
        invalid = error
    problems = messages.sentences(document, invalid, Environment)
    if "name" in document.content:
        line = document.lines["name",]
        problems.append(f"name (line {line}): the file name is the environment's name; remove this key")
    if problems:
        # Raised outside the handler: pydantic's own report repeats every value, and a proxy URL may hold a password.
        rules = "1 rule" if len(problems) == 1 else f"{len(problems)} rules"
        raise InvalidEnvironment(
            "\n  ".join([f"{path.name} breaks {rules}; nothing was created.", *problems]),
            f"Correct {path} and run again.",
        )
    return environment


def check_component(component: str, environment: Environment) -> None:
    """Check that workers of a queue, such as `worker-reports`, are the environment's. Raises InvalidParameter."""
    workers = environment.airflow.workers_of
    if component.startswith("worker-") and component not in workers:
        message = f'component: {environment.name} has no "{component}"; its workers are: {", ".join(workers)}.'
        file = f"manifests/environments/{environment.name}.yaml"
        raise InvalidParameter(
            message, f"Set `component` to one of them, or add the queue under airflow.queues in {file}."
        )


def check_operator_address(operator_address: str, environment: Environment) -> None:
    """Check the public address of the operator's machine, for PostgreSQL's firewall. Raises InvalidParameter."""
    if environment.access != "direct":
        message = f"operator_address: {environment.name} connects to PostgreSQL through the cluster, not from here."
        file = f"manifests/environments/{environment.name}.yaml"
        raise InvalidParameter(message, f"Leave `operator_address` out, or set `access: direct` in {file}.")
    problem = ""
    try:
        address = IPv4Address(operator_address)
    except ValueError:
        problem = "is not an IPv4 address"
    else:
        # As a firewall rule, 0.0.0.0 would admit all services of Azure, those of other subscriptions included.
        if (special := types.special_network(address, address)) and not (environment.is_local and address.is_loopback):
            problem = f"belongs to {special}"
    if problem:
        message = f'operator_address: "{operator_address}" {problem}.'
        raise InvalidParameter(message, "Pass the public address of this machine, such as 203.0.113.10.")
