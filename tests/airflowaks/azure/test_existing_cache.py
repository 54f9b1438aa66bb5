from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.redis import ping
from airflowaks.cloud.routes import Direct
from airflowaks.engine.changes import Action
from airflowaks.errors import MissingDependency
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


def test_rotating_its_key_leaves_the_one_in_use_good(open_here: Callable[[], Session]) -> None:
    session = open_here()
    before = session.memoize(key_vault.Resources).broker_url.require("value").reveal()

    key_vault.rotate(session, key_vault.BROKER_URL)

    after = session.memoize(key_vault.Resources).broker_url.require("value").reveal()
    assert after != before
    assert ping(after, session.connection.ca_file, Direct()).startswith("PONG")
    assert ping(before, session.connection.ca_file, Direct()).startswith("PONG")
