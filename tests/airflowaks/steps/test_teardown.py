"""Teardown against the rehearsal: what it says first, what it removes, and that one can deploy again afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.engine.changes import Action
from airflowaks.errors import InvalidParameter, NotConfirmed, PermissionDenied
from airflowaks.session import Session, open_session
from airflowaks.steps import backend, cluster, key_vault, teardown
from tests.support.deployment import describe_environment, is_write, state
from tests.support.principals import principal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

NAME = "shortlived"
STEPS = (cluster, backend, key_vault)


@pytest.fixture(scope="module")
def open_here(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Session]]:
    """Opens sessions on a deployment of its own; each is as one of another process."""
    folder = tmp_path_factory.mktemp("checkout")
    describe_environment(folder, NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(rehearsal.home))
        patch.chdir(folder)
        yield lambda mode="apply": open_session(NAME, mode)


@pytest.fixture
def deployed(open_here: Callable[..., Session]) -> Session:
    """A session that has deployed."""
    session = open_here()
    for step in STEPS:
        step.everything(session)
    return session


def fernet_key(session: Session) -> str:
    """What the vault holds as Fernet keys."""
    return session.memoize(key_vault.Resources).vault.secrets.get_secret(key_vault.FERNET_KEY).value or ""


def test_a_plan_names_what_would_go_and_writes_nothing(
    deployed: Session, open_here: Callable[..., Session], rehearsal: Rehearsal
) -> None:
    before = len(rehearsal.requests())
    session = open_here("plan")
    changes = teardown.everything(session, confirm="", purge=True)
    assert [(one.kind, one.action, one.applied) for one in changes] == [
        ("resource group", Action.DELETE, False),
        ("Entra application", Action.DELETE, False),
        *[("Entra group", Action.DELETE, False)] * 3,
        ("soft-deleted vault", Action.NONE, False),
    ]
    listed = str(teardown.contents(session))
    for name in (deployed.environment.cluster.name, deployed.environment.key_vault.name):
        assert name in listed
    assert not [one for one in rehearsal.requests()[before:] if is_write(one)]


@pytest.mark.parametrize("confirm", ["", "local", NAME.upper()])
def test_nothing_goes_without_the_environments_name(
    deployed: Session, open_here: Callable[..., Session], confirm: str
) -> None:
    before = state(deployed)
    with pytest.raises(NotConfirmed, match="Nothing was removed"):
        teardown.everything(open_here(), confirm=confirm)
    assert state(deployed) == before


@pytest.mark.usefixtures("deployed")
def test_everything_goes_and_can_be_deployed_again_with_the_vaults_secrets(open_here: Callable[..., Session]) -> None:
    before, key = state(open_here()), fernet_key(open_here())

    gone = teardown.everything(open_here(), confirm=NAME)
    assert all(one.applied for one in gone)
    assert len(gone) == 5
    looked = teardown.checks(open_here())
    assert not looked.failed
    assert "can be recovered until" in str(looked)
    again = teardown.everything(open_here(), confirm=NAME)
    assert {one.action for one in again} == {Action.NONE}

    session = open_here()
    for step in STEPS:
        step.everything(session)
        assert not step.checks(session).failed
    assert state(open_here()) == before
    assert fernet_key(open_here()) == key, "what it has encrypted can be read again"


@pytest.mark.usefixtures("deployed")
def test_purging_leaves_nothing_and_the_next_deployment_makes_new_secrets(open_here: Callable[..., Session]) -> None:
    key = fernet_key(open_here())
    gone = teardown.everything(open_here(), confirm=NAME, purge=True)
    assert [one.kind for one in gone if one.applied][-1] == "soft-deleted vault"
    assert "purged, and its name free" in str(teardown.checks(open_here()))
    session = open_here()
    for step in STEPS:
        step.everything(session)
    assert fernet_key(open_here()) != key


def test_who_may_not_purge_is_told_before_anything_goes(
    deployed: Session, open_here: Callable[..., Session], rehearsal: Rehearsal
) -> None:
    """Contributor on the resource group deletes a vault, and does not purge it."""
    subscription = f"/subscriptions/{deployed.environment.subscription_id}"
    roles = [("Reader", subscription), ("Contributor", deployed.memoize(teardown.Resources).group.id)]
    rights = ("Group.ReadWrite.All", "Application.ReadWrite.All")
    contributor = principal_of(rehearsal, deployed, roles, rights, "apply")
    purger = principal_of(rehearsal, deployed, [*roles, ("Key Vault Purge Operator", subscription)], rights, "apply")

    def tear_down(operator: Session, *, purge: bool) -> list[str]:
        session = Session(operator.environment, "apply", operator.connection)
        return [one.kind for one in teardown.everything(session, confirm=NAME, purge=purge) if one.applied]

    before = state(deployed)
    with pytest.raises(PermissionDenied, match="lacks the right to purge it; nothing was removed") as refused:
        tear_down(contributor, purge=True)
    assert state(open_here()) == before
    assert refused.value.needs == "Microsoft.KeyVault/locations/deletedVaults/purge/action"
    assert "Key Vault Purge Operator on the subscription" in refused.value.action
    teardown.everything(Session(contributor.environment, "plan", contributor.connection), confirm="", purge=True)

    assert "resource group" in tear_down(contributor, purge=False)
    with pytest.raises(PermissionDenied, match="lacks the right to purge it"):
        tear_down(contributor, purge=True)
    assert tear_down(purger, purge=True) == ["soft-deleted vault"]
    assert tear_down(contributor, purge=True) == []


def test_a_vault_protected_from_purging_is_named_before_anything_goes(
    deployed: Session, open_here: Callable[..., Session]
) -> None:
    step = deployed.memoize(key_vault.Resources)
    parameters = {"properties": {"enablePurgeProtection": True}}
    deployed.vaults.vaults.update(step.vault.group, step.vault.name, parameters)  # type: ignore[arg-type]
    before = state(deployed)
    with pytest.raises(InvalidParameter, match="purge protection, so it cannot be purged; nothing was removed"):
        teardown.everything(open_here(), confirm=NAME, purge=True)
    assert state(deployed) == before
