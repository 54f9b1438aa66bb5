"""What the preflight sees: a healthy subscription, and each thing that stops a deployment before it begins."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.key_vault import Vault
from airflowaks.azure.region import quotas
from airflowaks.azure.subscription import ResourceGroup
from airflowaks.config.environment import Environment, load_environment
from airflowaks.config.schema import NodePool, SpotPool, SystemPool
from airflowaks.engine.converge import converge
from airflowaks.errors import PreflightStopped, SkuNotAvailable
from airflowaks.preflight.region import nodes
from airflowaks.preflight.run import preflight
from airflowaks.session import Mode, Session, open_session
from airflowaks.steps import cluster, key_vault, registry
from tests.support.azure_requests import Sender, make_service_principal
from tests.support.rehearsal import reset_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from azure.core.credentials import TokenCredential

    from airflowaks.preflight.rows import Preflight, Row
    from tests.support.rehearsal import Rehearsal

broad = pytest.mark.broad
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
READS = ("/checknameavailability", "/checkpolicyrestrictions", "/token")


def changed(environment: Environment, **sections: dict[str, Any]) -> Environment:
    """Return the environment with other values in some of its sections."""
    updates = {name: getattr(environment, name).model_copy(update=values) for name, values in sections.items()}
    return environment.model_copy(update=updates)


@pytest.fixture
def environment(rehearsal: Rehearsal) -> Environment:
    """An environment of the test's own, of which nothing exists."""
    del rehearsal
    name = f"flight-{uuid.uuid4().hex[:8]}"
    plain = name.replace("-", "")
    return changed(
        load_environment("local").model_copy(update={"resource_group": name}),
        entra={"admin_group": f"{name}-admins", "developer_group": f"{name}-developers", "application": name},
        cluster={"name": name},
        registry={"name": plain},
        postgresql={"name": name},
        broker={"name": name},
        key_vault={"name": name},
    )


@pytest.fixture
def session() -> Callable[..., Session]:
    """Opens sessions of the operator."""

    def make(environment: Environment, mode: Mode = "plan") -> Session:
        return Session(environment, mode, open_session("local").connection)

    return make


@pytest.fixture
def restricted(rehearsal: Rehearsal) -> Iterator[Callable[..., None]]:
    """Tells the rehearsal what the subscription may not have."""
    yield lambda **restriction: rehearsal.control("POST", restriction)
    rehearsal.control("DELETE")


@pytest.fixture
def reader(rehearsal: Rehearsal) -> TokenCredential:
    """The credential of a principal with the role Reader on the subscription."""
    with ExitStack() as opened:
        send = Sender(rehearsal, rehearsal.credential(), opened)
        client_id, secret, object_id = make_service_principal(send)
        scope = f"/subscriptions/{rehearsal.subscription}"
        roles = f"{scope}/providers/Microsoft.Authorization"
        properties = {"roleDefinitionId": f"{roles}/roleDefinitions/{READER}", "principalId": object_id}
        path = f"{roles}/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
        assert send("PUT", path, {"properties": properties}).status_code == 201
    return rehearsal.credential(client_id, secret)


def row(verdicts: Preflight, check: str) -> Row:
    (named,) = [each for each in verdicts.rows if each.check == check]
    return named


def test_a_healthy_subscription_is_told_and_nothing_is_written(
    rehearsal: Rehearsal, environment: Environment, session: Callable[..., Session]
) -> None:
    before = len(rehearsal.requests())
    verdicts = preflight(session(environment))
    assert {each.check: each.verdict for each in verdicts.rows if each.verdict != "ok"} == {
        "name of the Managed Redis": "unknown"
    }, str(verdicts)
    requests = [request for request in rehearsal.requests()[before:] if request["method"] not in ("GET", "HEAD")]
    assert [each["path"] for each in requests if not each["path"].lower().endswith(READS)] == []
    assert row(verdicts, "roles on Azure").seen == "Owner"
    assert row(verdicts, "vCPU quota").seen.endswith("free; 5 nodes and 1 in an upgrade take 24")
    verdicts.raise_stopped()


SIZE, QUOTA = "Standard_D4ds_v5", "standardDDSv5Family"
CLOSED: dict[str, tuple[list[dict[str, Any]], dict[str, dict[str, Any]], dict[str, str]]] = {
    "restricted in parts": (
        [
            {"restriction": "size", "name": SIZE, "zones": ["2"]},
            {"restriction": "quota", "name": QUOTA, "limit": 4},
            {"restriction": "version", "name": "Kubernetes 1.35"},
            {"restriction": "standby", "name": "ZoneRedundant"},
            {"restriction": "region", "name": "Microsoft.Cache/redisEnterprise"},
            {"restriction": "policy", "name": "Microsoft.KeyVault/vaults"},
            {"restriction": "clock", "limit": 3600},
        ],
        {
            "postgresql": {"high_availability": "ZoneRedundant"},
            "registry": {"source": "docker.io/apache/airflow:nothing"},
        },
        {
            "node size": f"{SIZE} is not available to the subscription in zone 2 of westeurope",
            "vCPU quota": " of 4 free; 5 nodes and 1 in an upgrade take 24, and 2 to begin with 8",
            "Kubernetes": "Kubernetes 1.35 is not available in westeurope; available are 1.34, 1.36.",
            "PostgreSQL": "no high availability of mode ZoneRedundant for Standard_D2ds_v5; it has SameZone",
            "services": "westeurope has no Managed Redis",
            "policies": "policyAssignments/not-allowed-types denies key vault",
            "this machine's clock": "s behind Azure's",
            "image": "docker.io/apache/airflow:nothing does not exist",
        },
    ),
    "closed for the size and the version": (
        [{"restriction": "size", "name": SIZE}, {"restriction": "version", "name": "PostgreSQL 17"}],
        {"cluster": {"kubernetes_version": "1.33"}},
        {
            "node size": f"{SIZE} is not available to the subscription in westeurope",
            "Kubernetes": "Kubernetes 1.33 is not available in westeurope; available are 1.34, 1.35, 1.36.",
            "PostgreSQL": "PostgreSQL 17 is not available in westeurope; available are 14, 15, 16, 18.",
        },
    ),
    **{
        f"closed for the offer in {flag} alone": (
            [{"restriction": "offer", "name": flag}],
            {},
            {"PostgreSQL": "westeurope: Subscriptions are restricted from provisioning in this location."},
        )
        for flag in ("restricted", "supportedFeatures.OfferRestricted", "supportedFeatures.Restricted")
    },
    "too small for a system pool": (
        [],
        {"cluster": {"node_pool": NodePool(vm_size="Standard_B2ts_v2", os_disk="Managed")}},
        {"node size": "Standard_B2ts_v2 has 1 GiB of memory, and a system pool needs 4"},
    ),
    "closed for the offer": (
        [{"restriction": "offer"}],
        {"cluster": {"node_pool": NodePool(vm_size="Standard_D2ds_v5")}},
        {
            "node size": "the local disk of Standard_D2ds_v5 has 75 GiB, and os_disk_gb is 128",
            "PostgreSQL": "westeurope: Subscriptions are restricted from provisioning in this location.",
        },
    ),
}


@pytest.mark.parametrize(
    "case", [each if each == "restricted in parts" else pytest.param(each, marks=broad) for each in CLOSED]
)
def test_what_stops_an_apply_is_told_before_it_begins(
    case: str, environment: Environment, session: Callable[..., Session], restricted: Callable[..., None]
) -> None:
    restrictions, sections, expected = CLOSED[case]
    for restriction in restrictions:
        restricted(**restriction)
    verdicts = preflight(session(changed(environment, **sections), "apply"))
    seen = {each.check: each.seen for each in verdicts.stopping}
    assert seen.keys() == expected.keys(), str(verdicts)
    assert [check for check, words in expected.items() if words not in seen[check]] == [], str(verdicts)
    assert all(each.action for each in verdicts.stopping)
    with pytest.raises(PreflightStopped) as stopped:
        verdicts.raise_stopped()
    assert all(f"{check}: {words.rstrip('.')}" in stopped.value.message for check, words in seen.items())
    replace(verdicts, applies=False).raise_stopped()


@broad
def test_who_may_only_read_is_told_what_is_missing_and_what_could_not_be_asked(
    environment: Environment, session: Callable[..., Session], reader: TokenCredential
) -> None:
    operator = session(environment)
    connection = replace(operator.connection, credential=reader)
    verdicts = preflight(Session(environment, "plan", connection))
    told = {each.check: each for each in verdicts.rows}
    assert told["roles on Azure"].verdict == told["rights in Entra"].verdict == "stops"
    assert told["roles on Azure"].seen.startswith("Reader; that does not allow Microsoft.Resources/subscriptions/")
    assert told["rights in Entra"].seen == "no permission that manages groups; nor may it read them"
    unknown = {each.check for each in verdicts.rows if each.verdict == "unknown"}
    # The cluster's content names the group of its administrators, which this principal may not read.
    assert unknown == {"name of the PostgreSQL server", "name of the Managed Redis", "policies"}
    assert "does not have authorization" in told["name of the PostgreSQL server"].seen


@broad
def test_what_is_scarce_warns(
    environment: Environment, session: Callable[..., Session], restricted: Callable[..., None]
) -> None:
    used = quotas(session(environment))[QUOTA.lower()].used  # the other tests' clusters
    restricted(restriction="quota", name=QUOTA, limit=used + 20)
    verdicts = preflight(session(changed(environment, cluster={"kubernetes_version": "1.36"})))
    warned = {each.check: each.seen for each in verdicts.rows if each.verdict == "warns"}
    assert warned.keys() == {"vCPU quota", "Kubernetes"}
    assert row(verdicts, "vCPU quota").action.startswith("Request 24 ")
    assert warned["Kubernetes"].endswith("; Airflow 3.3.2 is tested with 1.30 to 1.35")


@broad
def test_each_pool_counts_towards_its_quota(
    environment: Environment, session: Callable[..., Session], restricted: Callable[..., None]
) -> None:
    pools = {"system_pool": SystemPool(max_count=3), "spot_pool": SpotPool(vm_size="Standard_D8ds_v5")}
    restricted(restriction="quota", name="lowPriorityCores", limit=30)
    regular, spot = [each for each in nodes(session(changed(environment, cluster=pools))) if "quota" in each.check]
    assert regular.seen.endswith("free; 8 nodes and 2 in an upgrade take 40")
    assert (spot.verdict, spot.seen) == ("warns", "Total Regional Spot vCPUs: 30 of 30 free; 5 nodes take 40")


def test_long_term_support_keeps_a_version_that_has_ended(
    environment: Environment, session: Callable[..., Session]
) -> None:
    supported = changed(environment, cluster={"kubernetes_version": "1.33", "tier": "Premium"})
    told = row(preflight(session(supported)), "Kubernetes")
    assert (told.verdict, told.seen) == ("ok", "1.33 is one of 1.32, 1.33, 1.34, 1.35, 1.36, 1.37")


@broad
def test_names_are_free_ours_or_taken(environment: Environment, session: Callable[..., Session]) -> None:
    owner = session(environment, "apply")
    step1 = owner.memoize(cluster.Resources)
    vault = owner.memoize(key_vault.Resources).vault
    converge(owner, *step1.providers)
    converge(owner, step1.group, owner.memoize(registry.Resources).registry, vault)
    ours = preflight(session(environment))
    assert row(ours, "name of the container registry").seen == f"{environment.registry.name} is this environment's"
    assert row(ours, "existing resources").seen.startswith("an update can change: resource group ")

    elsewhere = environment.model_copy(update={"resource_group": f"{environment.resource_group}-2"})
    theirs = preflight(session(elsewhere))
    for kind in ("container registry", "key vault"):
        assert row(theirs, f"name of the {kind}").verdict == "stops"

    owner.vaults.vaults.delete(vault.group, vault.name)
    recovers = row(preflight(session(environment)), "name of the key vault")
    assert (recovers.verdict, recovers.seen) == (
        "ok",
        f"{vault.name} is soft-deleted; step 4 recovers it with its secrets",
    )
    other = row(preflight(session(elsewhere)), "name of the key vault")
    assert other.verdict == "stops"
    assert other.seen.startswith(f"{vault.name} is soft-deleted ({vault.id}) until ")
    assert f"az keyvault purge --name {vault.name}" in other.action


@broad
def test_what_no_update_can_change_stops(environment: Environment, session: Callable[..., Session]) -> None:
    owner = session(environment, "apply")
    converge(owner, *owner.memoize(cluster.Resources).providers)
    group = ResourceGroup(owner, environment.resource_group)
    converge(owner, group, Vault(owner, environment.key_vault.name, parent=group))
    shorter = changed(environment, key_vault={"soft_delete_days": 7})
    told = row(preflight(session(shorter)), "existing resources")
    assert told.verdict == "stops"
    assert "softDeleteRetentionInDays = 90 and cannot be changed to 7" in told.seen


@broad
def test_a_policy_does_not_stop_what_stays_as_it_is(
    environment: Environment, session: Callable[..., Session], restricted: Callable[..., None]
) -> None:
    owner = session(environment, "apply")
    converge(owner, *owner.memoize(cluster.Resources).providers)
    group = ResourceGroup(owner, environment.resource_group)
    vault = Vault(owner, environment.key_vault.name, parent=group)
    converge(owner, group)
    vault.put({**vault.desired(), "tags": {"team": "platform"}})
    restricted(restriction="policy", name="Microsoft.KeyVault/vaults")
    told = row(preflight(session(environment)), "policies")
    assert (told.verdict, told.seen) == ("ok", "none denies any of 6 resources")


@broad
def test_a_provider_that_is_not_registered_is_not_registered_by_asking(
    rehearsal: Rehearsal, environment: Environment, session: Callable[..., Session], restricted: Callable[..., None]
) -> None:
    text = "The subscription is not registered to use namespace 'Microsoft.DBforPostgreSQL'."
    fault = {"status": 409, "code": "MissingSubscriptionRegistration", "message": text, "times": 1_000}
    restricted(methods=["GET"], path="Microsoft.DBforPostgreSQL/locations", **fault)
    before = len(rehearsal.requests())
    told = row(preflight(session(environment, "apply")), "PostgreSQL")
    assert told.verdict == "unknown"
    assert told.seen.endswith("(MissingSubscriptionRegistration): the subscription lacks Microsoft.DBforPostgreSQL.")
    assert told.action.endswith("or `az provider register --namespace Microsoft.DBforPostgreSQL`.")
    assert not [each for each in rehearsal.requests()[before:] if each["path"].endswith("/register")]


@broad
@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (409, "MissingSubscriptionRegistration", "not registered to use namespace 'Microsoft.PolicyInsights'."),
        (404, "SubscriptionNotRegistered", "The subscription is not registered."),
    ],
)
def test_who_registers_the_policies_provider_is_told(
    environment: Environment,
    session: Callable[..., Session],
    restricted: Callable[..., None],
    status: int,
    code: str,
    text: str,
) -> None:
    restricted(methods=["POST"], path="checkPolicyRestrictions", status=status, code=code, message=text, times=1_000)
    told = row(preflight(session(environment, "apply")), "policies")
    assert told.verdict == "unknown"
    assert told.seen == f"Azure refused the request ({code}): the subscription lacks Microsoft.PolicyInsights."
    assert told.action.startswith("Run `az provider register --namespace Microsoft.PolicyInsights`")


@broad
def test_what_does_not_answer_in_time_is_unknown(
    environment: Environment, session: Callable[..., Session], restricted: Callable[..., None]
) -> None:
    restricted(methods=["GET"], path="/skus$", hold=True)
    told = row(preflight(session(environment), seconds=3), "nodes")
    assert (told.verdict, told.seen) == ("unknown", "no answer within 3 s")


@broad
def test_a_step_refuses_an_ended_version_with_the_live_ones_and_sends_nothing(
    rehearsal: Rehearsal, environment: Environment, session: Callable[..., Session], restricted: Callable[..., None]
) -> None:
    restricted(restriction="version", name="Kubernetes 1.35")
    owner = session(environment, "apply")
    cluster.providers(owner)
    cluster.resource_group(owner)
    cluster.groups(owner)
    cluster.identity(owner)
    before = len(rehearsal.requests())
    with pytest.raises(SkuNotAvailable) as refused:
        cluster.cluster(owner)
    assert "available are 1.34, 1.36." in refused.value.message
    assert not [each for each in rehearsal.requests()[before:] if each["method"] == "PUT"]


@broad
def test_a_subscription_on_free_credit_and_a_throttled_docker_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_rehearsal(tmp_path, "--no-acr-tasks", "--docker-hub", "throttled")
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(tmp_path))
    try:
        verdicts = preflight(open_session("local", "plan", image="build"))
        monkeypatch.setenv("AIRFLOWAKS_SOURCE_USERNAME", "somebody")
        monkeypatch.setenv("AIRFLOWAKS_SOURCE_TOKEN", "a-token")
        with_login = preflight(open_session("local", "plan"))
    finally:
        reset_rehearsal(tmp_path)
    builds, source = row(verdicts, "builds in the registry"), row(verdicts, "image")
    assert (builds.verdict, source.verdict) == ("stops", "warns")
    assert builds.seen.startswith("the subscription is on free credit (FreeTrial_2014-09-01)")
    assert "`registry.image: existing`" in builds.action
    assert "https://aka.ms/azuresupport" in builds.action
    assert source.seen == "docker.io/apache/airflow:3.3.2: no anonymous pulls are left from this address"
    assert row(with_login, "image").seen == f"{source.seen}; it is imported with credentials"
    assert "builds in the registry" not in [each.check for each in with_login.rows]
