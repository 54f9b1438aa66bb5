from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis import AuthenticationError

from airflowaks.azure.redis import ping
from airflowaks.cloud.database_urls import password_of
from airflowaks.cloud.routes import Direct
from airflowaks.engine.changes import Action
from airflowaks.errors import InvalidParameter, MissingDependency
from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault
from tests.support.deployment import describe_environment, is_write
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflowaks.session import Session

pytestmark = pytest.mark.broad

BROKER = """
broker:
  kind: existing_cache
  resource_group: shared-caches
  name: somebodys-cache
"""


@pytest.fixture(scope="module")
def old_tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A tenant that may still create Azure Cache for Redis."""
    home = tmp_path_factory.mktemp("old-tenant")
    yield start_rehearsal(home, "--time-scale", "0.00002", "--classic-redis")
    run_rehearsal(home, "reset")


@pytest.fixture
def open_here(old_tenant: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Session]:
    describe_environment(tmp_path, "adopting")
    described = tmp_path / "manifests" / "environments" / "adopting.yaml"
    described.write_text(described.read_text() + BROKER)
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(old_tenant.home))
    monkeypatch.chdir(tmp_path)
    return lambda: open_session("adopting")


def test_a_cache_that_is_not_there_is_named_and_nothing_is_made_in_its_place(
    old_tenant: Rehearsal, open_here: Callable[[], Session]
) -> None:
    session = open_here()
    cluster.everything(session)

    with pytest.raises(
        MissingDependency,
        match="Azure Cache for Redis somebodys-cache: it does not exist in resource group shared-caches",
    ):
        backend.servers(session)

    assert not [one for one in old_tenant.requests() if is_write(one) and "/Microsoft.Cache/redis" in one["path"]]


def test_an_existing_cache_becomes_the_broker_and_is_never_written(
    old_tenant: Rehearsal, open_here: Callable[[], Session]
) -> None:
    session = open_here()
    cluster.everything(session)
    location = session.environment.location
    session.resources.resource_groups.create_or_update("shared-caches", {"location": location})
    cache = {"location": location, "properties": {"sku": {"name": "Standard", "family": "C", "capacity": 1}}}
    session.redis.redis.begin_create("shared-caches", "somebodys-cache", cache).result()
    before = len(old_tenant.requests())

    adopted = backend.everything(session)
    key_vault.everything(session)

    assert {one.name: one.action for one in adopted}["somebodys-cache"] is Action.NONE
    assert not backend.checks(session).failed
    assert not key_vault.checks(session).failed
    served = old_tenant.requests()[before:]
    assert not [one for one in served if is_write(one) and "/Microsoft.Cache/" in one["path"]]


def test_rotating_its_key_is_left_to_its_owner(old_tenant: Rehearsal, open_here: Callable[[], Session]) -> None:
    """A regenerated key would lock out the other team's clients that use it."""
    before, listed = len(old_tenant.requests()), open_here().memoize(key_vault.Resources).broker.keys()

    with pytest.raises(InvalidParameter, match="its owner regenerates the access keys") as refused:
        key_vault.rotate(open_here(), key_vault.BROKER_URL)

    assert "then run step 4 without `rotate`" in refused.value.action
    assert open_here().memoize(key_vault.Resources).broker.keys() == listed
    assert not [one for one in old_tenant.requests()[before:] if is_write(one)]
    changes = key_vault.rotate(open_here(), key_vault.JWT_SECRET)
    assert {one.name for one in changes if one.applied} == {key_vault.JWT_SECRET}


def test_a_key_that_its_owner_has_regenerated_is_replaced_by_step_4(open_here: Callable[[], Session]) -> None:
    session = open_here()
    step = session.memoize(key_vault.Resources)
    held = step.broker_url.require("value").reveal()
    rank = "Primary" if password_of(held) == step.broker.keys().primary.reveal() else "Secondary"
    session.redis.redis.regenerate_key("shared-caches", "somebodys-cache", {"keyType": rank})
    with pytest.raises(AuthenticationError):
        ping(held, session.connection.ca_file, Direct())

    session = open_here()
    changes = key_vault.secrets(session)

    assert {one.name for one in changes if one.applied} == {key_vault.BROKER_URL}
    assert not key_vault.checks(session).failed
