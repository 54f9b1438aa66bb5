"""The backend is reached through the cluster: nothing else ever connects to PostgreSQL, and no Job stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from airflowaks.azure.database_role import TOKEN_SCOPE, connect
from airflowaks.azure.redis import broker_url, ping
from airflowaks.cloud.routes import Direct
from airflowaks.diagnosis.diagnose import apply_fix, diagnose
from airflowaks.errors import CheckFailed, Forbidden, InvalidParameter, MissingDependency, RolloutFailed
from airflowaks.kube.client import Reference
from airflowaks.kube.client import connect as reach
from airflowaks.session import Session, open_session
from airflowaks.steps import backend, cluster, key_vault, registry
from tests.support.deployment import describe_environment
from tests.support.principals import principal_of
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflowaks.kube.client import Document

pytestmark = pytest.mark.broad

# A small image, which is there in a moment, in place of Airflow's.
PYTHON = """
registry:
  source: docker.io/library/python:3.13
"""
DIRECT = f"{PYTHON}\naccess: direct\n"
SECONDS = 60
# A run that opens the tunnel, and says so when it can be killed.
RUN = """
import sys, time
from airflowaks.session import open_session
from airflowaks.steps import backend
from airflowaks.steps.tunnel import Tunnel
session = open_session("through")
step = session.memoize(backend.Resources)
tunnel = Tunnel(session, lambda: [(step.server.host, step.server.port)], seconds=int(sys.argv[1]))
tunnel.address(step.server.host, step.server.port)
print("open", flush=True)
time.sleep(int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    home = tmp_path_factory.mktemp("cloud")
    yield start_rehearsal(home, "--time-scale", "0.00002")
    run_rehearsal(home, "reset")


@pytest.fixture(scope="module")
def open_here(cloud: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Session]]:
    folder = tmp_path_factory.mktemp("checkout")
    describe_environment(folder, "through", PYTHON)
    describe_environment(folder, "direct", DIRECT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(cloud.home))
        patch.chdir(folder)
        yield open_session


@pytest.fixture(scope="module")
def deployed(open_here: Callable[..., Session]) -> Session:
    """Steps 1 to 4, in a session that has ended."""
    session = open_here("through")
    for step in (cluster, registry, backend, key_vault):
        step.everything(session)
    assert not backend.checks(session).failed
    assert not key_vault.checks(session).failed
    session.close()
    return session


@pytest.fixture
def session(deployed: Session, open_here: Callable[..., Session]) -> Iterator[Session]:
    del deployed
    opened = open_here("through")
    yield opened
    opened.close()


def callers(cloud: Rehearsal, server: str) -> set[tuple[str, bool]]:
    """The addresses that the server saw, and whether it let them in."""
    lines = map(json.loads, (cloud.home / "connections.jsonl").read_text().splitlines())
    return {(line["address"], line["allowed"]) for line in lines if line["server"] == server}


def jobs(session: Session) -> list[Document]:
    return list(session.memoize(reach).each("batch/v1", "Job", session.environment.cluster.namespace))


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def sign_in(session: Session) -> psycopg.Connection[Any]:
    step = session.memoize(backend.Resources)
    return connect(step.server, "postgres", step.administrator.user, session.token(TOKEN_SCOPE))


def test_steps_1_to_4_need_no_rule_but_the_clusters(cloud: Rehearsal, deployed: Session) -> None:
    server = deployed.memoize(backend.Resources).server
    rules = deployed.postgresql.firewall_rules.list_by_server(server.group, server.name)
    (address,) = deployed.memoize(cluster.Resources).cluster.outbound_addresses()
    assert [(rule.name, rule.start_ip_address, rule.end_ip_address) for rule in rules] == [
        ("cluster", address, address)
    ]
    assert callers(cloud, server.name) == {(address, True)}


def test_nobody_else_comes_in(cloud: Rehearsal, session: Session) -> None:
    step = session.memoize(backend.Resources)
    with sign_in(session) as connection:
        assert connection.info.hostaddr == "127.0.0.1"
    step.server.route = Direct()
    with pytest.raises(
        psycopg.OperationalError, match=r'no pg_hba.conf entry for host "127\.0\.0\.1", user "airflow-thr'
    ):
        sign_in(session)
    assert ("127.0.0.1", False) in callers(cloud, step.server.name)


def test_a_run_leaves_nothing_behind_and_reads_without_writing(
    session: Session, open_here: Callable[..., Session]
) -> None:
    assert jobs(session) == []
    checking = open_here("through", "check")
    assert {change.action.value for change in backend.everything(checking)} == {"none"}
    assert len(jobs(session)) == 1
    checking.close()
    until(lambda: not jobs(session))
    pods = session.memoize(reach).each("v1", "Pod", session.environment.cluster.namespace)
    until(lambda: not list(pods))


def test_two_sessions_do_not_disturb_each_other(session: Session, open_here: Callable[..., Session]) -> None:
    second = open_here("through")
    with sign_in(session) as first_connection, sign_in(second) as second_connection:
        assert len(jobs(session)) == 2
        second.close()
        assert first_connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            second_connection.execute("SELECT 1")
    assert len(jobs(session)) == 1


class EndingSignIn:
    """A credential whose tokens are asked for again at each request, until the sign-in has ended."""

    def __init__(self, credential: Any) -> None:
        self.credential = credential
        self.has_ended = False

    def get_token(self, *scopes: str, **arguments: Any) -> AccessToken:
        if self.has_ended:
            raise ClientAuthenticationError("AADSTS700082: the refresh token has expired")
        return AccessToken(self.credential.get_token(*scopes, **arguments).token, int(time.time()))


def test_a_sign_in_that_has_ended_does_not_hide_how_a_run_ended(session: Session) -> None:
    credential: Any = EndingSignIn(session.connection.credential)
    ending = Session(session.environment, "apply", replace(session.connection, credential=credential))
    sign_in(ending).close()
    credential.has_ended = True
    ending.close()
    (job,) = jobs(session)
    session.memoize(reach).delete(Reference.of(job), grace_seconds=0)
    until(lambda: not jobs(session))


def test_a_pod_that_is_gone_is_replaced(session: Session) -> None:
    sign_in(session).close()
    (job,) = jobs(session)
    session.memoize(reach).delete(Reference.of(job), grace_seconds=0)
    until(lambda: not jobs(session))
    sign_in(session).close()
    assert len(jobs(session)) == 1


def test_the_pod_has_no_rights_and_no_targets_but_the_backends(session: Session) -> None:
    step = session.memoize(backend.Resources)
    sign_in(session).close()
    (job,) = jobs(session)
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    targets = {argument.partition(":")[2] for argument in container["args"]}
    assert targets == {f"{step.server.host}:{step.server.port}", f"{step.broker.host}:{step.broker.port}"}
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec
    assert "env" not in container
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 900)
    with pytest.raises(CheckFailed, match=r"example\.com:443 is neither PostgreSQL nor the broker of this environment"):
        step.route.address("example.com", 443)


def test_the_servers_name_is_verified_at_the_end_of_the_tunnel(session: Session) -> None:
    step = session.memoize(backend.Resources)
    address, port = step.route.address(step.server.host, step.server.port)
    settings = {"hostaddr": address, "port": port, "sslrootcert": session.connection.ca_file, "user": "airflow"}
    with pytest.raises(psycopg.OperationalError, match='does not match host name "another"'):
        psycopg.connect(host="another", sslmode="verify-full", **settings)

    class Elsewhere(Direct):
        def address(self, host: str, port: int) -> tuple[str | None, int]:
            assert host == "another"
            return step.route.address(step.broker.host, port)

    url = broker_url(step.broker, step.broker.keys().primary)
    assert ping(url, session.connection.ca_file, step.route).startswith("PONG")
    with pytest.raises(Exception, match="certificate is not valid for 'another'"):
        ping(url.replace("@localhost:", "@another:"), session.connection.ca_file, Elsewhere())


def test_why_the_pod_could_not_connect_is_said(session: Session) -> None:
    step = session.memoize(backend.Resources)
    servers = session.postgresql.servers
    sign_in(session).close()
    servers.begin_stop(step.server.group, step.server.name).result()
    reason = rf'In the cluster: connection to server at "localhost", port {step.server.port} failed: Connection refused'
    with pytest.raises(psycopg.OperationalError, match=reason):
        sign_in(session)
    servers.begin_start(step.server.group, step.server.name).result()
    sign_in(session).close()


@pytest.mark.parametrize("stop", [signal.SIGKILL, None])
def test_a_killed_run_s_job_ends_by_itself_and_an_ended_run_s_at_once(
    session: Session, stop: signal.Signals | None
) -> None:
    deadline, stays = ("5", "60") if stop else ("900", "0")
    command = [sys.executable, "-c", RUN, deadline, stays]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}, text=True) as run:
        assert run.stdout
        assert run.stdout.readline() == "open\n"
        if stop:
            assert len(jobs(session)) == 1
            run.send_signal(stop)
    if stop:
        (failed,) = until(lambda: [job for job in jobs(session) if job["status"].get("failed")])
        assert "DeadlineExceeded" in str(failed["status"]["conditions"])
        assert failed["spec"]["ttlSecondsAfterFinished"] == 60
        session.memoize(reach).delete(Reference.of(failed))
    until(lambda: not jobs(session))


def test_without_step_2_it_says_what_is_missing(
    open_here: Callable[..., Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe_environment(tmp_path, "bare", PYTHON)
    monkeypatch.chdir(tmp_path)
    bare = open_here("bare")
    cluster.everything(bare)
    with pytest.raises(MissingDependency) as caught:
        backend.everything(bare)
    assert "through the cluster: container registry" in caught.value.message
    assert caught.value.action.startswith("Run step 2 with mode=apply first, or set `access: direct`")


def test_who_may_not_create_the_job_learns_what_it_needs(cloud: Rehearsal, deployed: Session) -> None:
    managed_cluster = deployed.memoize(cluster.Resources).cluster.id
    roles = [
        ("Reader", f"/subscriptions/{cloud.subscription}"),
        ("Azure Kubernetes Service Cluster User Role", managed_cluster),
        ("Azure Kubernetes Service RBAC Reader", managed_cluster),
    ]
    reader = principal_of(cloud, deployed, roles)
    assert {change.unread for change in backend.database(reader) if change.kind != "database"} == {
        "create jobs in the cluster"
    }
    (check,) = [check for check in backend.checks(reader) if check.name == "database is Airflow's"]
    assert (check.passed, check.seen) == (None, "not made, needs create jobs in the cluster")
    oid = reader.operator.object_id
    asked = [entry["method"] for entry in cloud.requests() if entry["principal"] == oid and "/jobs" in entry["path"]]
    assert asked == ["POST"]

    with pytest.raises(Forbidden, match=r"broker through the cluster: .* cannot create resource") as caught:
        backend.database(Session(reader.environment, "plan", reader.connection))
    assert "It needs the verb create on jobs.batch and on pods/portforward" in caught.value.action


def test_an_image_that_no_node_can_pull_is_said_at_once(session: Session) -> None:
    image = session.memoize(registry.Resources).image
    image._facts = {"digest": f"sha256:{'0' * 64}"}
    step = session.memoize(backend.Resources)
    started = time.monotonic()
    with pytest.raises(
        RolloutFailed,
        match=r"Pod airflow-tunnel-\S+ did not become ready: .*(ErrImagePull|ImagePullBackOff).*not found",
    ):
        step.route.address(step.server.host, step.server.port)
    assert time.monotonic() - started < SECONDS
    until(lambda: not jobs(session))


def test_who_waits_for_a_pod_that_fails_does_not_wait_for_another(cloud: Rehearsal, session: Session) -> None:
    session.memoize(registry.Resources).image._facts = {"digest": f"sha256:{'0' * 64}"}
    step = session.memoize(backend.Resources)
    before = len(cloud.requests())

    def fails(_: int) -> bool:
        with pytest.raises(RolloutFailed):
            step.route.address(step.server.host, step.server.port)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fails, range(4)))
    created = [
        each for each in cloud.requests()[before:] if each["method"] == "POST" and each["path"].endswith("/jobs")
    ]
    assert len(created) == 1


def test_the_pod_runs_the_image_of_the_run(deployed: Session, open_here: Callable[..., Session]) -> None:
    digest = deployed.memoize(registry.Resources).image.require("digest")
    session = open_here("through", image=digest)
    assert session.memoize(registry.Resources).image.reference.endswith(digest)
    assert not backend.checks(session).failed
    session.close()

    missing = open_here("through", image="never-built")
    step = missing.memoize(backend.Resources)
    with pytest.raises(MissingDependency, match="never-built does not exist"):
        step.route.address(step.server.host, step.server.port)


def test_direct_is_let_in_by_the_operator_s_rule_alone(cloud: Rehearsal, open_here: Callable[..., Session]) -> None:
    closed = open_here("direct")
    cluster.everything(closed)
    backend.servers(closed)
    with pytest.raises(psycopg.OperationalError, match=r'no pg_hba.conf entry for host "127\.0\.0\.1"'):
        sign_in(closed)

    session = open_session("direct", operator_address="127.0.0.1")
    backend.everything(session)
    assert not backend.checks(session).failed
    server = session.memoize(backend.Resources).server
    names = {rule.name for rule in session.postgresql.firewall_rules.list_by_server(server.group, server.name)}
    assert names == {"operator", "cluster"}
    assert ("127.0.0.1", True) in callers(cloud, server.name)


def test_an_address_that_has_no_use_is_refused_before_anything_is_created(open_here: Callable[..., Session]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        open_here("through", operator_address="203.0.113.10")
    assert caught.value.message == (
        "operator_address: through connects to PostgreSQL through the cluster, not from here."
    )
    with pytest.raises(InvalidParameter, match='"office" is not an IPv4 address'):
        open_here("direct", operator_address="office")


def test_a_policy_that_denies_all_cuts_the_way_and_is_found_and_deleted(
    session: Session, open_here: Callable[..., Session]
) -> None:
    """Here only the runbook's pod is selected, as no step has made Airflow's policies."""
    kube, namespace = session.memoize(reach), session.environment.cluster.namespace
    policy = Reference("networking.k8s.io/v1", "NetworkPolicy", "deny-all", namespace)
    spec = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "tunnel"}}, "policyTypes": ["Egress"]}
    metadata = {"name": policy.name, "namespace": namespace}
    document = {"apiVersion": policy.api_version, "kind": policy.kind, "metadata": metadata, "spec": spec}
    kube.request("POST", kube.path(policy._replace(name="")), {"fieldManager": "somebody"}, document)
    diagnosis = diagnose(session)
    (finding,) = [one for one in diagnosis.findings if one.id == "AKA-817"]
    assert "made by somebody at 20" in finding.evidence[0]
    assert finding.evidence[1].endswith("the runbook's pod to PostgreSQL; the runbook's pod to the broker")
    assert {"AKA-004", "AKA-006"} <= {one.id for one in finding.consequences}
    assert [one.applied for one in apply_fix(open_here("through", "plan"), diagnosis, "AKA-817")] == [False]
    applying = open_here("through")
    assert [one.applied for one in apply_fix(applying, diagnosis, "AKA-817")] == [True]
    assert kube.get(policy) is None
    assert not apply_fix(applying, diagnosis, "AKA-817")
    sign_in(applying).close()
    applying.close()


def cordon(session: Session, *, unschedulable: bool) -> None:
    kube, change = session.memoize(reach), {"spec": {"unschedulable": unschedulable}}
    for node in list(kube.each("v1", "Node", "")):
        reference = Reference.of(node)
        kube.request("PATCH", kube.path(reference), {}, change, "application/merge-patch+json")


def test_a_plan_does_not_wait_for_a_node(session: Session) -> None:
    cordon(session, unschedulable=True)
    started = time.monotonic()
    try:
        with pytest.raises(RolloutFailed, match="Unschedulable"):
            backend.database(Session(session.environment, "plan", session.connection))
    finally:
        cordon(session, unschedulable=False)
    assert time.monotonic() - started < SECONDS / 2
    assert not jobs(session)


def test_a_cluster_without_dns_and_with_a_wrong_clock_is_found(cloud: Rehearsal, session: Session) -> None:
    cloud.control("POST", {"breakdown": "dns"})
    cloud.control("POST", {"breakdown": "clock", "seconds": 240})
    time.sleep(1)
    diagnosis = diagnose(session)
    cloud.control("DELETE")
    (clock,) = [one for one in diagnosis.findings if one.id == "AKA-820"]
    assert "s ahead of the cluster's API" in clock.evidence[0]
    (finding,) = [one for one in diagnosis.findings if one.id == "AKA-819"]
    assert "Temporary failure in name resolution" in finding.evidence[0]
    assert {"AKA-004", "AKA-006"} <= {one.id for one in finding.consequences}


def test_what_was_stopped_is_found_and_started(session: Session, open_here: Callable[..., Session]) -> None:
    aks, server = session.memoize(cluster.Resources).cluster, session.memoize(backend.Resources).server
    session.postgresql.servers.begin_stop(server.group, server.name).result()
    diagnosis = diagnose(session)
    assert "AKA-501" in {one.id for one in diagnosis.findings}
    assert [one.applied for one in apply_fix(open_here("through", "plan"), diagnosis, "AKA-501")] == [False]
    assert [one.applied for one in apply_fix(open_here("through"), diagnosis, "AKA-501")] == [True]
    assert not apply_fix(open_here("through"), diagnosis, "AKA-501")
    sign_in(session).close()
    session.clusters.managed_clusters.begin_stop(aks.group, aks.name).result()
    diagnosis = diagnose(session)
    assert next(iter(diagnosis.findings)).id == "AKA-100"
    assert [one.applied for one in apply_fix(open_here("through"), diagnosis, "AKA-100")] == [True]
    assert not apply_fix(open_here("through"), diagnosis, "AKA-100")
