"""The cluster's pods reach PostgreSQL: a firewall rule for each address that they go out by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.arm import merge, rest
from airflowaks.azure.postgresql import FirewallRule
from airflowaks.engine.assessment import assess
from airflowaks.engine.changes import AFTER_APPLY, Action
from airflowaks.engine.converge import converge
from airflowaks.steps import backend, cluster

if TYPE_CHECKING:
    from airflowaks.azure.subscription import ResourceGroup
    from airflowaks.session import Session
    from tests.support.rehearsal import Rehearsal


def make_cluster(session: Session, *, addresses: int) -> None:
    """Make the cluster of step 1, with so many outbound addresses."""
    step = session.memoize(cluster.Resources)
    converge(session, step.admins, step.identity)
    balancer = {"loadBalancerProfile": {"managedOutboundIPs": {"count": addresses}}}
    body = merge(step.cluster.desired(), {"properties": {"networkProfile": balancer}})
    body["properties"]["agentPoolProfiles"][0]["count"] = 1
    step.cluster.put(body)
    step.cluster.refresh()


def test_before_the_cluster_its_address_is_not_known(group: ResourceGroup) -> None:
    rules = backend.cluster_rules(group.session)
    assert list(rules) == ["cluster"]
    action, differences = assess(rules["cluster"])
    assert action is Action.CREATE
    assert [one.after for one in differences] == [AFTER_APPLY, AFTER_APPLY]


def test_each_outbound_address_has_a_rule(group: ResourceGroup) -> None:
    session = group.session
    make_cluster(session, addresses=2)
    profile = session.memoize(cluster.Resources).cluster.require("properties.networkProfile.loadBalancerProfile")
    addresses = [
        session.resources.resources.get_by_id(one["id"], api_version="2024-05-01", cls=rest)["properties"]["ipAddress"]
        for one in profile["effectiveOutboundIPs"]
    ]

    rules = backend.cluster_rules(session)
    converge(session, session.memoize(backend.Resources).server, *rules.values())

    assert {name: rule.facts and rule.facts["properties"] for name, rule in rules.items()} == {
        name: {"startIpAddress": address, "endIpAddress": address}
        for name, address in zip(("cluster", "cluster-2"), addresses, strict=True)
    }


def test_an_address_that_was_exchanged_is_let_in_by_the_same_rule(group: ResourceGroup) -> None:
    session = group.session
    make_cluster(session, addresses=1)
    server, before = session.memoize(backend.Resources).server, "198.51.100.1"
    converge(session, server, FirewallRule(server, backend.CLUSTER_RULE, before, before))

    (change,) = converge(session, *backend.cluster_rules(session).values())

    assert (change.action, change.name) == (Action.UPDATE, "cluster")
    assert {one.before for one in change.differences} == {before}


def test_pods_that_go_out_by_other_means_need_no_rule(group: ResourceGroup) -> None:
    session = group.session
    make_cluster(session, addresses=1)
    managed_cluster = session.memoize(cluster.Resources).cluster
    routed = {"properties": {"networkProfile": {"outboundType": "userDefinedRouting"}}}
    managed_cluster._facts = merge(managed_cluster.facts or {}, routed)
    assert backend.cluster_rules(session) == {}


@pytest.mark.parametrize("refusal", [{"code": "ServerBusy", "later": True}, {"code": "ServerIsBusy"}])
def test_a_server_that_is_busy_is_asked_again(
    group: ResourceGroup, rehearsal: Rehearsal, refusal: dict[str, Any]
) -> None:
    session = group.session
    server = session.memoize(backend.Resources).server
    rule = FirewallRule(server, "office", "203.0.113.1", "203.0.113.1")
    message = "Cannot complete operation while server is busy processing another operation. Try again later."
    fault = {"methods": ["PUT"], "path": "/firewallRules/office$", "status": 409, "message": message, "times": 2}
    rehearsal.control("POST", {**fault, **refusal})

    converge(session, server, rule)

    assert [fault["matched"] for fault in rehearsal.control("GET")] == [3]
    rehearsal.control("DELETE")
    assert rule.facts is not None
