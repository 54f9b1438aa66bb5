"""The activity log and the quotas are read to the end, through the filter that Azure allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.entra import Group
from airflowaks.azure.identities import ManagedIdentity
from airflowaks.azure.kubernetes_service import ManagedCluster
from airflowaks.diagnosis.readers.azure import operations, quotas
from airflowaks.diagnosis.readers.scope import Scope
from airflowaks.engine.converge import converge

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup
    from tests.support.rehearsal import Rehearsal


@pytest.mark.parametrize("days", [0, 365])  # the log keeps 90 days, and refuses to be asked for more
def test_a_failed_write_is_read_behind_a_page_of_others(group: ResourceGroup, rehearsal: Rehearsal, days: int) -> None:
    session = group.session
    failing = ManagedIdentity(session, "failing", parent=group)
    since = datetime.now(UTC) - timedelta(days=days, seconds=1)
    rehearsal.control("POST", {"status": 403, "path": "failing", "code": "RequestDisallowedByPolicy", "message": "No."})
    with pytest.raises(Exception, match="RequestDisallowedByPolicy"):
        failing.write(None)
    rehearsal.control("DELETE")
    busy = ManagedIdentity(session, "busy", parent=group)
    for _ in range(60):
        busy.write(None)
    (operation,) = operations(session, Scope(since, "airflow"))["operations"]
    assert operation.resource == "failing"
    assert operation.message.startswith("RequestDisallowedByPolicy")


def test_the_quota_of_every_family_is_read(group: ResourceGroup) -> None:
    session = group.session
    admins = Group(session, f"{group.name}-admins", "a test's")
    acts_as = ManagedIdentity(session, "cluster", parent=group)
    converge(session, admins, acts_as)
    converge(session, ManagedCluster(session, identity=acts_as, admins=admins, depends_on=(group,)))
    read = quotas(session, Scope(datetime.now(UTC), "airflow"))["quotas"]
    assert read.keys() >= {"Total Regional vCPUs", "Standard DDSv5 Family vCPUs"}
