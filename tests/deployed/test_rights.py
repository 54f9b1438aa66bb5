"""The rights that docs/security.md names are enough to deploy and to check, and developers have theirs."""

from __future__ import annotations

import re
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.entra import GroupMembers
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.cloud.cluster import SERVER_SCOPE
from airflowaks.engine.changes import Action, Changes
from airflowaks.engine.converge import converge
from airflowaks.errors import Forbidden, PermissionDenied
from airflowaks.kube import exec as command
from airflowaks.kube.client import connect
from airflowaks.kube.kubelet import read_log
from airflowaks.session import Session, open_session
from airflowaks.steps import airflow, backend, cluster, key_vault, registry, volumes, workload_identity
from airflowaks.steps.api_server import api, ready_pods
from tests.support.deployment import describe_environment, is_write
from tests.support.principals import principal_of
from tests.support.rehearsal import own_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

NAME = "least"
STEPS = (cluster, registry, backend, key_vault, workload_identity, volumes, airflow)
PAGE = (REPOSITORY / "docs/security.md").read_text()
CHECKS_OF_A_READER = {
    "cluster runs",
    "OIDC issuer answers",
    "image has a manifest",
}


def documented(heading: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The roles with their scopes, and the permissions of Microsoft Graph, that a section of the page names."""
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")][1:]
    named = [(cells[0].partition(",")[0].strip(), cells[1].partition(",")[0].strip()) for cells in rows]
    roles = [row for row in named if row[1] != "Microsoft Graph"]
    return roles, [row[0] for row in named if row[1] == "Microsoft Graph"]


def documented_condition() -> str:
    """The condition as the page's commands spell it for `az`."""
    snippet = re.search(r"```bash\n(roles=.*?)```", PAGE, re.DOTALL)
    assert snippet
    bash = shutil.which("bash") or ""
    program = 'az() { printf %s "${@: -1}"; }\n' + re.sub(r"<[^>]*>", "x", snippet[1])
    return subprocess.run([bash, "-c", program], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def cloud() -> Iterator[Rehearsal]:
    with own_rehearsal() as started:
        yield started


@pytest.fixture(scope="module")
def operator(cloud: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Who has made the resource group and registered the resource providers."""
    folder = tmp_path_factory.mktemp("checkout")
    describe_environment(folder, NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(cloud.home))
        patch.chdir(folder)
        session = open_session(NAME)
        environment = session.environment
        cluster.providers(session)
        session.resources.resource_groups.create_or_update(
            environment.resource_group, {"location": environment.location}
        )
        yield session


def principal(cloud: Rehearsal, operator: Session, heading: str, mode: str) -> Session:
    """A session of a principal with the documented rights."""
    environment = operator.environment
    step4 = operator.memoize(key_vault.Resources)
    subscription = f"/subscriptions/{environment.subscription_id}"
    scopes = {
        "subscription": subscription,
        "resource group": f"{subscription}/resourceGroups/{environment.resource_group}",
        "cluster": operator.memoize(cluster.Resources).cluster.id,
        "vault": step4.vault.id,
    }
    roles, permissions = documented(heading)
    at = [(role, scopes[scope]) for role, scope in roles]
    return principal_of(cloud, operator, at, permissions, mode, condition=documented_condition())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def deployed(cloud: Rehearsal, operator: Session) -> Iterator[Session]:
    """A session of the deployer, who has run all steps."""
    session = principal(cloud, operator, "To deploy", "apply")
    with session.closing:
        for step in STEPS:
            step.everything(session)
        yield session


def test_who_has_the_documented_rights_deploys(deployed: Session) -> None:
    checks = [check for step in STEPS for check in step.checks(deployed)]
    assert [check.seen for check in checks if not check.passed] == []
    rerun = Session(deployed.environment, "apply", deployed.connection)
    changes = sum((step.everything(rerun) for step in STEPS), start=Changes())
    assert [str(change) for change in changes if change.applied] == []


def test_it_assigns_no_other_role(deployed: Session) -> None:
    group = deployed.memoize(cluster.Resources).group
    for role in Role:
        assignment = RoleAssignment(role, group, "itself", deployed.operator.object_id, "ServicePrincipal")
        converge(deployed, assignment)
        deployed.authorization.role_assignments.delete(group.id, assignment.assignment_name)
    definition = "Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
    properties = {
        "roleDefinitionId": f"/subscriptions/{deployed.environment.subscription_id}/providers/{definition}",
        "principalId": deployed.operator.object_id,
        "principalType": "ServicePrincipal",
    }
    name, body = str(uuid.uuid4()), {"properties": properties}
    with pytest.raises(PermissionDenied, match="roleAssignments/write"), deployed.translated("Owner"):
        deployed.authorization.role_assignments.create(group.id, name, body)  # type: ignore[call-overload]


def test_who_may_read_checks_it(deployed: Session, operator: Session, cloud: Rehearsal) -> None:
    del deployed
    reader = principal(cloud, operator, "To check", "check")
    changes = sum((step.everything(reader) for step in STEPS), start=Changes())
    assert [f"{change.kind} {change.name}: {change.differences}" for change in changes.pending] == []
    unread = {change.kind for change in changes if change.action is Action.UNREAD}
    assert unread == {
        *("Role", "RoleBinding", "database role", "database privileges", "database password", "SecretProviderClass"),
        *("StorageClass", "folder", "ScaledObject", "TriggerAuthentication"),
    }
    checks = [check for step in STEPS for check in step.checks(reader)]
    assert [check.seen for check in checks if check.passed is False] == []
    assert {check.name for check in checks if check.passed} == CHECKS_OF_A_READER
    assert {check.seen.partition(",")[0] for check in checks if check.passed is None} == {"not made"}
    oid = reader.operator.object_id
    refused = [entry for entry in cloud.requests() if entry["principal"] == oid and is_write(entry)]
    assert [entry["path"] for entry in refused if entry["status"] not in (403, 404)] == []


@pytest.fixture
def developer(cloud: Rehearsal, operator: Session, deployed: Session) -> Session:
    """A member of the developers' group, who has no right of its own."""
    del deployed
    session = principal_of(cloud, operator, [], mode="plan")
    developers = operator.memoize(cluster.Resources).developers
    developers.refresh()
    converge(operator, GroupMembers(developers, {session.operator.object_id}))
    return session


def test_developers_look_and_forward_and_change_nothing(developer: Session) -> None:
    kube, namespace = developer.memoize(connect), developer.environment.cluster.namespace
    assert [right for right in cluster.RIGHTS if not kube.may(right[0], right[1], namespace, right[2])] == []
    assert [right for right in cluster.NO_RIGHTS if kube.may(right[0], right[1], namespace, right[2])] == []
    with api(developer) as pages:
        assert pages.health()["scheduler"]["status"] == "healthy"
    (worker, *_) = ready_pods(developer, "worker")
    assert read_log(kube, worker, "worker", lines=1)
    with pytest.raises(Forbidden):
        command.run(kube, worker, ("id",), container="worker")
    with pytest.raises(Forbidden):
        kube.delete(worker)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_says_the_same(developer: Session, tmp_path: Path) -> None:
    address, authority, empty = developer.memoize(connect).address, tmp_path / "ca.pem", tmp_path / "kubeconfig"
    authority.write_text(address.certificates)
    empty.touch()
    kubectl = (
        *("kubectl", "--kubeconfig", str(empty), "--server", address.server),
        *("--certificate-authority", str(authority), "--token", developer.token(SERVER_SCOPE)),
        *("--namespace", developer.environment.cluster.namespace, "auth", "can-i"),
    )
    for rights, answer in ((cluster.RIGHTS, "yes"), (cluster.NO_RIGHTS, "no")):
        for verb, resource, group in rights:
            name, _, subresource = resource.partition("/")
            asked = [verb, f"{name}.{group}" if group else name]
            asked += ["--subresource", subresource] if subresource else []
            said = subprocess.run([*kubectl, *asked], check=False, capture_output=True, text=True).stdout
            assert (verb, resource, said.split()[:1]) == (verb, resource, [answer])
