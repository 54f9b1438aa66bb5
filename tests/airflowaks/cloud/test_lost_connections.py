"""A connection that a machine on the way resets is named as what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.entra import Group
from airflowaks.azure.subscription import ProviderRegistration
from airflowaks.config.environment import load_environment
from airflowaks.errors import AzureError
from airflowaks.session import Session, open_session
from tests.support.torture.kinds import Kind
from tests.support.torture.middle import UNCLOSED, Disturbance, Middle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.engine.resource import Resource
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.filterwarnings(UNCLOSED)

REGISTRATION = Kind("POST", "management.azure.com", "/subscriptions/{}/providers/{}/register")
GROUPS = Kind("PATCH", "graph.microsoft.com", "/v1.0/groups(uniqueName='{}')")


@pytest.fixture
def middle(rehearsal: Rehearsal) -> Iterator[Middle]:
    with Middle(rehearsal.home, rehearsal.connection["HTTPS_PROXY"]) as started:
        yield started


@pytest.fixture
def session(middle: Middle) -> Session:
    connection = replace(open_session("local").connection, proxy=middle.proxy, ca_bundle=str(middle.ca_file))
    return Session(load_environment("local"), "apply", connection)


@pytest.mark.parametrize("fault", ["reset before", "reset after"])
@pytest.mark.parametrize("kind", [REGISTRATION, GROUPS], ids=str)
def test_a_reset_connection(middle: Middle, session: Session, group_name: str, fault: str, kind: Kind) -> None:
    resource: Resource = Group(session, group_name, "a test's")
    if kind is REGISTRATION:
        resource = ProviderRegistration(session, "Microsoft.Cache")
    middle.watch(Disturbance(kind, fault))
    ended = rf"The connection to {kind.host} ended before the answer; what was asked may have been done\."
    with pytest.raises(AzureError, match=ended) as caught, session.translated(resource):
        resource.write(None)
    assert middle.struck
    assert caught.value.action.startswith("Run the step again, which reads first what is there")
