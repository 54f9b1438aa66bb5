"""What one deployment should be: typed, validated, every name rule of Azure checked before anything is created."""

import json
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from airflowaks.config import messages, naming, types
from airflowaks.config.airflow_schema import Airflow
from airflowaks.config.paths import manifests_folder
from airflowaks.config.schema import (
    Broker,
    Cluster,
    Entra,
    ExistingCache,
    Identities,
    KeyVault,
    ManagedRedis,
    Postgresql,
    Registry,
    Section,
)
from airflowaks.errors import InvalidEnvironment

__all__ = ["Environment", "ExistingCache", "ManagedRedis", "load_environment"]

FINGERPRINT_LENGTH = 12


class Environment(Section):
    """One deployment, as `manifests/environments/<name>.yaml` describes it.

    Names that the file leaves out are derived from the environment's own; those that must be unique in the world carry
    a suffix hashed from subscription, resource group and environment.
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
    proxy: types.ProxyUrl | None = None
    ca_bundle: types.File | None = None
    entra: Entra
    cluster: Cluster
    registry: Registry
    postgresql: Postgresql
    broker: Broker
    key_vault: KeyVault
    identities: Identities
    airflow: Airflow = Field(default_factory=Airflow)

    @property
    def is_local(self) -> bool:
        """Whether this is the rehearsal cloud on this machine, where nothing costs anything."""
        return self.cloud == "rehearsal"

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with what is to be deployed.

        How the cloud is reached (`proxy`, `ca_bundle`) does not count: machines that deploy the same differ in it.
        """
        content = self.model_dump(mode="json", exclude={"proxy", "ca_bundle"})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sha256(canonical.encode()).hexdigest()[:FINGERPRINT_LENGTH]

    @model_validator(mode="before")
    @classmethod
    def _derive_names(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name = str(given.get("name"))
        group = _filled_in(given.get("resource_group"), f"airflow-{name}")
        suffix = naming.name_suffix(name, str(given.get("subscription_id")), str(group))
        derived: dict[str, Any] = {
            "resource_group": group,
            "entra": {"admin_group": f"airflow-{name}-admins", "developer_group": f"airflow-{name}-developers"},
            "cluster": {"name": f"airflow-{name}"},
            "registry": {"name": naming.global_name(naming.REGISTRY, "acr", name, suffix)},
            "postgresql": {"name": naming.global_name(naming.POSTGRESQL, "pg", name, suffix)},
            "broker": {"name": naming.global_name(naming.MANAGED_REDIS, "redis", name, suffix)},
            "key_vault": {"name": naming.global_name(naming.KEY_VAULT, "kv", name, suffix)},
            "identities": {"cluster": f"airflow-{name}-cluster", "pods": f"airflow-{name}-pods"},
        }
        if isinstance(broker := given.get("broker"), dict) and broker.get("kind") == "existing_cache":
            del derived["broker"]
        filled = {key: _filled_in(given.get(key), default) for key, default in derived.items()}
        return {"tags": {"environment": name, "managed-by": "airflowaks"}, **given, **filled}


def _filled_in(given: Any, default: Any) -> Any:
    if given is None:
        return default
    if isinstance(given, dict) and isinstance(default, dict):
        return given | {key: value for key, value in default.items() if given.get(key) is None}
    return given


def load_environment(name: str, folder: Path | None = None) -> Environment:
    """Read and check `<name>.yaml` in `folder`.

    Without `folder` it is the checkout's `manifests/environments`.

    Raises:
        InvalidEnvironment: there is no such file, or it breaks rules; all of them are named, one a line.

    """
    folder = folder or manifests_folder("environments")
    existing = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in existing:
        near = get_close_matches(name, existing, n=1)
        raise InvalidEnvironment(
            f'There is no environment "{name}" in {folder}, only: {", ".join(existing) or "none at all"}.',
            f'Did you mean "{near[0]}"?' if near else f"Choose one of them, or describe a new one in {name}.yaml.",
        )
    path = folder / f"{name}.yaml"
    try:
        document = messages.parse(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InvalidEnvironment(f"{path.name} cannot be read: {error}.", f"Correct {path} and run again.") from error
    if not isinstance(document.content, dict):
        raise InvalidEnvironment(
            f"{path.name} holds no mapping of keys.", f'Begin {path} with "subscription_id: …" on a line of its own.'
        )
    refused = None
    try:
        environment = Environment.model_validate({**document.content, "name": name}, context={"folder": folder})
    except ValidationError as error:
        refused = error
    found = messages.sentences(document, refused, Environment)
    if "name" in document.content:
        found.append(f"name (line {document.lines['name',]}): the environment is called as its file is; remove the key")
    if found:
        # Raised outside of the handler: pydantic's own report repeats every value, which a proxy's URL must not be.
        rules = "1 rule" if len(found) == 1 else f"{len(found)} rules"
        raise InvalidEnvironment(
            "\n".join([f"{path.name} breaks {rules}; nothing was created.", *(f"  {sentence}" for sentence in found)]),
            f"Correct {path} and run again.",
        )
    return environment
