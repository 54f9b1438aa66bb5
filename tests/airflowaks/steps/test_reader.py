"""A check by a reader of metadata alone tells what differs, says what it could not see, and does not fail for that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflowaks.cloud.once import Once
from airflowaks.engine.changes import Action, Changes
from airflowaks.errors import PermissionDenied
from airflowaks.kube.client import Reference, connect
from airflowaks.session import Session, open_session
from airflowaks.steps import airflow, backend, cluster, key_vault, registry, workload_identity
from tests.support.deployment import describe_environment, is_write
from tests.support.principals import READING_GRAPH, principal_of, reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

NAME = "looked-at"
STEPS = (cluster, registry, backend, key_vault, workload_identity)
GET_SECRET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"


@pytest.fixture(scope="module")
def deployed(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session that has deployed five steps."""
    folder = tmp_path_factory.mktemp("checkout")
    describe_environment(folder, NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(rehearsal.home))
        patch.chdir(folder)
        session = open_session(NAME)
        for step in STEPS:
            step.everything(session)
        yield session


@pytest.fixture
def reader(rehearsal: Rehearsal, deployed: Session) -> Session:
    """A session of who may read, and no values."""
    return principal_of(rehearsal, deployed, reading(deployed), READING_GRAPH)


def test_nothing_differs_and_what_was_not_seen_is_said(reader: Session, rehearsal: Rehearsal) -> None:
    changes = sum((step.everything(reader) for step in STEPS), start=Changes())
    assert not changes.pending
    unread = {(change.kind, change.unread) for change in changes if change.action is Action.UNREAD}
    group = reader.environment.entra.admin_group
    assert unread == {
        ("Role", "get roles in the cluster"),
        ("RoleBinding", "get rolebindings in the cluster"),
        ("SecretProviderClass", "get secretproviderclasses in the cluster"),
        ("database role", f"membership in the Entra group {group}"),
        ("database privileges", f"membership in the Entra group {group}"),
        ("database password", f"membership in the Entra group {group}"),
    }
    secrets = [change for change in changes if change.kind == "secret"]
    assert {(change.action, change.unread) for change in secrets} == {(Action.NONE, f"its value needs {GET_SECRET}")}
    assert changes.summary().endswith(f"up to date, {changes.count(Action.UNREAD)} not read.")
    oid = reader.operator.object_id
    asked = [entry for entry in rehearsal.requests() if entry["principal"] == oid]
    assert not [entry for entry in asked if is_write(entry)]
    refused = [entry["path"] for entry in asked if "/secrets/" in entry["path"] and entry["status"] == 403]
    assert len(refused) == 1, "Defender for Key Vault alerts on refusals"


def test_checks_of_one_subscription_read_its_providers_once(reader: Session, rehearsal: Rehearsal) -> None:
    connection = replace(reader.connection, subscription=Once())
    for session in [Session(reader.environment, "check", connection) for _ in range(2)]:
        assert not cluster.everything(session).pending
    oid = reader.operator.object_id
    read = [entry["path"] for entry in rehearsal.requests() if entry["principal"] == oid]
    providers = [path for path in read if "/providers/" in path and "/resourceGroups/" not in path]
    registrations = [path for path in providers if path.rpartition("/")[0].endswith("/providers")]
    assert len(registrations) == len({*registrations}) > 5


def test_without_a_permission_of_graph_groups_are_not_read(deployed: Session, rehearsal: Rehearsal) -> None:
    stranger = principal_of(rehearsal, deployed, [("Reader", f"/subscriptions/{rehearsal.subscription}")])
    changes = cluster.groups(stranger) + cluster.access(stranger)
    assert {(change.action, change.unread) for change in changes} == {
        (Action.UNREAD, "a permission of Microsoft Graph to read groups, such as GroupMember.Read.All")
    }


def test_with_the_three_rights_that_a_check_needs_it_does_not_fail(deployed: Session, rehearsal: Rehearsal) -> None:
    roles = [(role, scope) for role, scope in reading(deployed) if role != "Azure Kubernetes Service Cluster User Role"]
    with_less = principal_of(rehearsal, deployed, roles)
    changes = sum((step.everything(with_less) for step in STEPS), start=Changes())
    checks = [check for step in STEPS for check in step.checks(with_less)]
    assert not changes.pending
    assert changes.count(Action.UNREAD) > 6
    assert not [check for check in checks if check.passed is False]


def test_checks_that_need_more_are_not_made(reader: Session) -> None:
    checks = [check for step in STEPS for check in step.checks(reader)]
    assert [check.name for check in checks if check.passed] == [
        "cluster runs",
        "OIDC issuer answers",
        "image has a manifest",
    ]
    assert not [check for check in checks if check.passed is False]
    seen = {check.name: check.seen for check in checks}
    assert seen["developers can see, not change"] == "not made, needs impersonate users in the cluster"
    keys = "Microsoft.Cache/redisEnterprise/databases/listKeys/action"
    assert seen["broker answers"] == f"not made, needs {keys}"
    for check in ("Airflow's role can create tables", "the vault's broker URL works"):
        assert seen[check] == f"not made, needs {GET_SECRET}"


def test_what_properties_tell_is_told(reader: Session, deployed: Session) -> None:
    client = deployed.memoize(key_vault.Resources).vault.secrets
    client.update_secret_properties(key_vault.JWT_SECRET, content_type="something else")
    client.begin_delete_secret(key_vault.API_SECRET_KEY).wait()
    changes = key_vault.secrets(reader).pending
    described = [(change.name, change.action, [str(item) for item in change.differences]) for change in changes]
    key_vault.secrets(Session(deployed.environment, "apply", deployed.connection))
    assert [(name, action) for name, action, _ in described] == [
        (key_vault.API_SECRET_KEY, Action.CREATE),
        (key_vault.JWT_SECRET, Action.UPDATE),
    ]
    assert described[1][2] == ["contentType: something else → Airflow's JWT secret"]


def test_who_asks_is_no_difference(deployed: Session) -> None:
    session = Session(deployed.environment, "check", deployed.connection)
    changes = sum((step.everything(session) for step in STEPS), start=Changes())
    assert {change.action for change in changes} == {Action.NONE}
    assert not [change.name for change in changes if session.operator.name in change.name]


def test_a_plan_without_the_rights_fails(reader: Session) -> None:
    session = Session(reader.environment, "plan", reader.connection)
    with pytest.raises(PermissionDenied, match=r"secret airflow-\S+: Azure refused the request"):
        key_vault.secrets(session)


def test_workers_of_a_queue_that_the_file_names_no_more_are_told(reader: Session, deployed: Session) -> None:
    labels = {"app.kubernetes.io/name": "airflow", "app.kubernetes.io/component": "worker-old"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": "worker"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "airflow-worker-old",
            "namespace": deployed.environment.cluster.namespace,
            "labels": labels,
        },
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
    deployed.memoize(connect).create(deployment)
    changes = airflow.components(reader)
    deployed.memoize(connect).delete(Reference.of(deployment))
    assert {change.kind: change.action for change in changes if change.name == "airflow-worker-old"} == {
        "PodDisruptionBudget": Action.NONE,
        "ScaledObject": Action.UNREAD,
        "Deployment": Action.DELETE,
    }
