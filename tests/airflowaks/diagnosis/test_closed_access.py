"""What somebody has closed is opened once, and a plan says what that would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.config.naming import MARK
from airflowaks.diagnosis.access import enable_secrets, open_registry
from airflowaks.engine.converge import converge
from airflowaks.session import Session
from airflowaks.steps import key_vault, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflowaks.azure.subscription import ResourceGroup
    from airflowaks.engine.changes import Changes
    from airflowaks.session import Mode

pytestmark = pytest.mark.broad
MODES: tuple[Mode, ...] = ("plan", "apply", "apply")


def told(group: ResourceGroup, fix: Callable[[Session], Changes]) -> list[list[str]]:
    """Return what a plan, an apply and another apply tell, each in a session of its own."""
    rest = group.session.environment, group.session.connection
    changes = [fix(Session(rest[0], mode, rest[1])) for mode in MODES]
    assert [[change.applied for change in each] for each in changes] == [[False], [True], []]
    return [[str(difference) for change in each for difference in change.differences] for each in changes]


def close(group: ResourceGroup, tags: Any = None, **properties: Any) -> None:
    known = group.session.memoize(registry.Resources).registry
    body: Any = {"properties": {"publicNetworkAccess": "Disabled", **properties}, **({"tags": tags} if tags else {})}
    group.session.registries.registries.begin_update(known.group, known.name, body).result()


def test_a_closed_registry_is_opened_once(group: ResourceGroup) -> None:
    known = group.session.memoize(registry.Resources).registry
    converge(group.session, known)
    close(group, networkRuleSet={"defaultAction": "Deny"})
    planned, applied, again = told(group, open_registry)
    assert planned == ["properties.publicNetworkAccess: Disabled → Enabled"]
    assert (applied, again) == (planned, [])
    facts = known.refresh() or {}
    assert facts["properties"]["publicNetworkAccess"] == "Enabled"
    assert facts["properties"]["networkRuleSet"]["defaultAction"] == "Deny"


def test_a_registry_of_another_team_stays_closed(group: ResourceGroup) -> None:
    converge(group.session, group.session.memoize(registry.Resources).registry)
    close(group, tags={MARK: "another team"})
    assert not open_registry(Session(group.session.environment, "apply", group.session.connection))


def test_a_disabled_secret_is_enabled_once_and_keeps_its_value(group: ResourceGroup) -> None:
    step4 = group.session.memoize(key_vault.Resources)
    converge(group.session, step4.vault, step4.access, step4.jwt_secret)
    value, name = step4.jwt_secret.require("value").reveal(), step4.jwt_secret.name
    step4.vault.secrets.update_secret_properties(name, enabled=False)
    planned, applied, again = told(group, enable_secrets)
    assert (planned, applied, again) == (["enabled: false → true"], planned, [])
    assert step4.vault.secrets.get_secret(name).value == value
