"""Imports from Docker Hub, which refuses anonymous ones at times: waited for, said with the remedy, or with a login."""

from __future__ import annotations

import gc
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.registry import ContainerRegistry, ImportedImage
from airflowaks.azure.subscription import ProviderRegistration, ResourceGroup
from airflowaks.engine.converge import converge
from airflowaks.errors import AzureError, InvalidEnvironment, InvalidParameter, Throttled
from airflowaks.session import Session, open_session
from tests.support.deployment import describe_environment
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflowaks.engine.changes import Changes

pytestmark = pytest.mark.broad

USERNAME, TOKEN = "AIRFLOWAKS_SOURCE_USERNAME", "AIRFLOWAKS_SOURCE_TOKEN"
VAULT = "https://shared-secrets.vault.azure.net/secrets"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A rehearsal whose Docker Hub each test closes in its own way."""
    home = tmp_path_factory.mktemp("hub")
    yield start_rehearsal(home, "--time-scale", "0.00005")
    run_rehearsal(home, "reset")


@pytest.fixture(autouse=True)
def place(hub: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment of the test's own, where a session finds the rehearsal."""
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(hub.home))
    monkeypatch.chdir(tmp_path)
    describe_environment(tmp_path, tmp_path.name.replace("_", "-")[-12:].strip("-"))
    return tmp_path


def token(hub: Rehearsal) -> str:
    """The token of the account that the rehearsed Docker Hub has."""
    return str(json.loads((hub.home / "settings.json").read_text())["docker_hub_token"])


def opened(place: Path) -> tuple[Session, ImportedImage]:
    """A session, with a registry that waits for its image."""
    (environment,) = (place / "manifests" / "environments").glob("*.yaml")
    session = open_session(environment.stem)
    group = ResourceGroup(session, session.environment.resource_group)
    registry = ContainerRegistry(session, session.environment.registry.name, parent=group)
    converge(session, group, ProviderRegistration(session, "Microsoft.ContainerRegistry"), registry)
    return session, ImportedImage(registry)


def run(place: Path) -> Changes:
    session, image = opened(place)
    return converge(session, image)


@pytest.mark.parametrize("docker_hub", ["throttled", "exhausted"])
def test_a_pull_limit_ends_in_two_lines_with_the_remedy(hub: Rehearsal, place: Path, docker_hub: str) -> None:
    start_rehearsal(hub.home, "--docker-hub", docker_hub)
    with pytest.raises(Throttled) as caught:
        run(place)
    assert "You have reached your unauthenticated pull rate limit" in caught.value.message
    for words in (USERNAME, TOKEN, "`registry.source_credentials`", "`registry.source`", "az acr import"):
        assert words in caught.value.action
    assert "\n" not in caught.value.message + caught.value.action
    del caught
    gc.collect()  # an answer that was repeated without being read leaves its connection open: a ResourceWarning


def test_a_pull_limit_is_waited_for_as_the_answer_asks(hub: Rehearsal, place: Path) -> None:
    start_rehearsal(hub.home, "--docker-hub", "open")
    session, image = opened(place)
    fault = {"path": "importImage", "status": 429, "code": "TooManyRequests", "message": "pull rate limit"}
    hub.control("POST", {**fault, "headers": {"Retry-After": "2"}})
    began = time.monotonic()
    converge(session, image)
    assert time.monotonic() - began >= 2
    hub.control("DELETE")


def test_six_hours_are_not_waited_for(hub: Rehearsal, place: Path) -> None:
    start_rehearsal(hub.home, "--docker-hub", "open")
    session, image = opened(place)
    fault = {"path": "importImage", "status": 429, "code": "TooManyRequests", "message": "pull rate limit"}
    hub.control("POST", {**fault, "times": 9, "headers": {"Retry-After": "21600"}})
    began = time.monotonic()
    with pytest.raises(Throttled, match="pull rate limit"):
        converge(session, image)
    assert time.monotonic() - began < 60
    hub.control("DELETE")


@pytest.mark.parametrize("docker_hub", ["throttled", "exhausted", "private"])
def test_a_login_of_the_environment_variables_imports(
    hub: Rehearsal, place: Path, docker_hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_rehearsal(hub.home, "--docker-hub", docker_hub)
    monkeypatch.setenv(USERNAME, "rehearsal")
    monkeypatch.setenv(TOKEN, token(hub))
    session, image = opened(place)
    changes = converge(session, image)
    assert image.require("digest").startswith("sha256:")
    assert session.redactor.redact(f"with {token(hub)}") == "with (secret)"
    assert token(hub) not in repr(changes) + json.dumps(changes._repr_mimebundle_(), default=str)


def test_a_login_of_a_vault_imports(hub: Rehearsal, place: Path) -> None:
    start_rehearsal(hub.home, "--docker-hub", "private")
    (file,) = (place / "manifests" / "environments").glob("*.yaml")
    names = f"{{username: {VAULT}/docker-hub-user, token: {VAULT}/docker-hub-token}}"
    file.write_text(f"{file.read_text()}\nregistry:\n  source_credentials: {names}\n")
    session, image = opened(place)
    with pytest.raises(AzureError, match=f"Secret {VAULT}/docker-hub-user: "):
        converge(session, image)
    keep_in_vault(session, {"docker-hub-user": "rehearsal", "docker-hub-token": token(hub)})
    converge(session, image)
    assert session.redactor.redact(f"with {token(hub)}") == "with (secret)"


def keep_in_vault(session: Session, values: dict[str, str]) -> None:
    """Make the shared vault that a company has already."""
    from azure.keyvault.secrets import SecretClient

    group = session.environment.resource_group
    properties: Any = {
        "location": "westeurope",
        "properties": {
            "tenantId": session.environment.tenant_id,
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": False,
            "accessPolicies": [
                {
                    "tenantId": session.environment.tenant_id,
                    "objectId": session.operator.object_id,
                    "permissions": {"secrets": ["all"]},
                }
            ],
        },
    }
    converge(session, ProviderRegistration(session, "Microsoft.KeyVault"))
    session.vaults.vaults.begin_create_or_update(group, "shared-secrets", properties).result()
    url = "https://shared-secrets.vault.azure.net"
    with SecretClient(url, session.connection.credential, **session.connection.transport) as secrets:
        for name, value in values.items():
            secrets.set_secret(name, value)


def test_a_wrong_login_is_refused_by_the_source(hub: Rehearsal, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_rehearsal(hub.home, "--docker-hub", "open")
    monkeypatch.setenv(USERNAME, "rehearsal")
    monkeypatch.setenv(TOKEN, "dckr_pat_of-somebody-else")
    with pytest.raises(AzureError, match="authentication required") as caught:
        run(place)
    assert TOKEN in caught.value.action
    assert "az login" not in caught.value.action
    assert "somebody-else" not in str(caught.value)


def test_half_a_login_is_refused_before_anything_is_created(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "dckr_pat_alone")
    with pytest.raises(InvalidParameter, match=f"{USERNAME} is not set, though {TOKEN} is"):
        opened(place)


def test_a_pipeline_without_these_variables_has_no_login(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USERNAME, f"$({USERNAME})")
    monkeypatch.setenv(TOKEN, f"$({TOKEN})")
    assert opened(place)[0].source_login is None


def test_the_file_takes_no_secret(place: Path) -> None:
    (file,) = (place / "manifests" / "environments").glob("*.yaml")
    names = f"{{username: {VAULT}/docker-hub-user, token: dckr_pat_in-the-file}}"
    file.write_text(f"{file.read_text()}\nregistry:\n  source_credentials: {names}\n")
    with pytest.raises(InvalidEnvironment, match="must be the URL of a secret in a vault") as caught:
        opened(place)
    assert "in-the-file" not in str(caught.value)
