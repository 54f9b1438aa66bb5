"""What a namespace's PodSecurity labels refuse, and of what they warn.

Texts: https://github.com/kubernetes/pod-security-admission, admission/admission.go; measured on a 1.36 control plane:
`pods "x" is forbidden: violates PodSecurity "restricted:latest": …`, a `would violate` warning for Deployments,
ReplicaFailure on the ReplicaSet, and 422 for a nonsense value in an enforce label.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.kube.manifests import load
from tests.rehearsal_cloud.kubernetes.pod_security.test_controls import CONTROLS, pod
from tests.support.control_plane import ClusterApi, Server
from tests.support.step_manifests import documents, known, tunnel
from tests.support.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "pod-security.kubernetes.io/"
ESCALATION = (
    'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false),'
    ' unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]),'
    ' runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true),'
    ' seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or'
    ' "Localhost")'
)
REASONS = "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
LAX = {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]}


class Namespace:
    """A namespace with PodSecurity labels on the rehearsal's cluster."""

    def __init__(self, api: ClusterApi) -> None:
        self.api = api
        self.space = Workspace(api.client, api.namespace)

    def label(self, **labels: str | None) -> tuple[int, Any, list[str]]:
        """Change the labels (`enforce_version` for enforce-version); return status, answer and warnings."""
        changes = {PREFIX + name.replace("_", "-"): value for name, value in labels.items()}
        path = f"/api/v1/namespaces/{self.api.namespace}"
        body = {"metadata": {"labels": changes}}
        return self._sent("PATCH", path, body, "application/merge-patch+json")

    def create(self, document: Any, *, dry_run: bool = False) -> tuple[int, Any, list[str]]:
        version, plural = document["apiVersion"], f"{document['kind'].lower()}s"
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        query = "?dryRun=All" if dry_run else ""
        return self._sent("POST", f"{root}/namespaces/{self.api.namespace}/{plural}{query}", document)

    def _sent(self, method: str, path: str, body: Any, media: str = "application/json") -> tuple[int, Any, list[str]]:
        status, answer, headers = self.api.exchange(method, path, body, media=media)
        return status, answer, [headers["warning"]] if "warning" in headers else []


@pytest.fixture
def namespace(rehearsal_server: Server) -> Iterator[Namespace]:
    """The namespace that step 1 makes, with the labels of its manifest."""
    values = {"NAMESPACE": f"test-{uuid.uuid4().hex[:10]}", "DEVELOPERS_GROUP": ""}
    manifest, *_ = load("01_cluster", values)
    document = manifest.fill()
    with rehearsal_server.client() as client:
        api = ClusterApi(client, document["metadata"]["name"], "rehearsal")
        status, answer = api.send("POST", "/api/v1/namespaces", document)
        assert status == 201, answer
        space = Workspace(client, api.namespace)
        space.eventually(lambda: space.find("ServiceAccount", "default"))
        yield Namespace(api)
        api.send("DELETE", f"/api/v1/namespaces/{api.namespace}")


def made(kind: str = "Pod", version: str = "v1", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **fields}


def deployment() -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": LAX}
    return made("Deployment", "apps/v1", spec={"selector": {"matchLabels": labels}, "template": template})


@pytest.mark.parametrize("control", CONTROLS, ids=[control["control"] for control in CONTROLS])
def test_a_pod_that_breaks_a_control_is_refused_in_the_namespace_of_step_1(
    namespace: Namespace, control: dict[str, Any]
) -> None:
    for case in control["refused"]:
        if "version" in case or "invalid" in case:
            continue
        document = pod(case)
        document["metadata"] |= {"name": "x"}
        status, answer, warnings = namespace.create({"apiVersion": "v1", "kind": "Pod", **document}, dry_run=True)
        assert (status, answer["reason"], warnings) == (403, "Forbidden", []), answer
        assert answer["details"] == {"name": "x", "kind": "pods"}
        assert answer["message"].startswith('pods "x" is forbidden: violates PodSecurity "restricted:latest": ')
        assert case.get("restricted", case["text"]) in answer["message"]


def test_the_manifests_of_all_steps_are_taken_without_a_warning(namespace: Namespace, tmp_path: Path) -> None:
    """Measured: all objects apply strictly, without a warning, under `restricted` on a 1.36 control plane."""
    taken = []
    for document in map(known, [*documents(tmp_path, exposed=True), tunnel()]):
        if document["kind"] not in ("Pod", "Job", "Deployment", "ServiceAccount"):
            continue
        document["metadata"]["namespace"] = namespace.api.namespace
        status, answer, warnings = namespace.create(document, dry_run=document["kind"] != "ServiceAccount")
        assert (status, warnings) == (201, []), answer
        taken.append(document["kind"])
    assert {"Pod", "Job", "Deployment"} <= set(taken)


def test_a_refusal_lists_all_violations(namespace: Namespace) -> None:
    status, answer, _ = namespace.create(made(spec=LAX))
    assert status == 403
    assert answer["message"] == f'pods "x" is forbidden: violates PodSecurity "restricted:latest": {ESCALATION}'
    namespace.label(enforce_version="v1.20")
    _, answer, _ = namespace.create(made(spec=LAX))
    assert 'violates PodSecurity "restricted:v1.20": allowPrivilegeEscalation != false' in answer["message"]
    assert "capabilities" not in answer["message"]


def test_a_deployment_is_taken_with_a_warning_and_its_replica_set_fails(namespace: Namespace) -> None:
    status, _, warnings = namespace.create(deployment())
    escaped = ESCALATION.replace('"', '\\"')
    assert (status, warnings) == (201, [f'299 - "would violate PodSecurity \\"restricted:latest\\": {escaped}"'])
    space = namespace.space
    (replica_set,) = space.eventually(
        lambda: [found for found in space.list("ReplicaSet") if (found.get("status") or {}).get("conditions")]
    )
    (condition,) = replica_set["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("ReplicaFailure", "FailedCreate")
    name = replica_set["metadata"]["name"]
    assert condition["message"].startswith(f'pods "{name}-')
    assert condition["message"].endswith(f'" is forbidden: violates PodSecurity "restricted:latest": {ESCALATION}')
    (event,) = space.eventually(
        lambda: [found for found in space.list("Event") if found["reason"] == "FailedCreate"][:1]
    )
    assert event["type"] == "Warning"
    assert event["message"].startswith(f'Error creating: pods "{name}-')
    failure = space.eventually(
        lambda: [
            found
            for found in space.get("Deployment", "x").get("status", {}).get("conditions", ())
            if found["type"] == "ReplicaFailure"
        ]
    )
    assert failure[0]["message"].endswith(ESCALATION)
    assert space.list("Pod") == []
    _, _, warnings = namespace.api.exchange(
        "PATCH",
        f"{space.path('Deployment', 'x')}/scale",
        {"spec": {"replicas": 2}},
        media="application/merge-patch+json",
    )
    assert "warning" not in warnings


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_jobs_are_taken_with_a_warning(namespace: Namespace, kind: str) -> None:
    job = {"template": {"spec": {**LAX, "restartPolicy": "Never"}}}
    spec = job if kind == "Job" else {"schedule": "0 0 * * *", "jobTemplate": {"spec": job}}
    status, _, warnings = namespace.create(made(kind, "batch/v1", spec=spec), dry_run=True)
    assert status == 201
    assert "would violate PodSecurity" in warnings[0]


def test_a_namespace_may_warn_of_more_than_it_enforces(namespace: Namespace) -> None:
    namespace.label(enforce="baseline")
    status, _, warnings = namespace.create(made(spec=LAX), dry_run=True)
    assert (status, len(warnings)) == (201, 1)
    namespace.label(warn="privileged")
    assert namespace.create(made(spec=LAX), dry_run=True)[2] == []
    assert namespace.create(deployment(), dry_run=True)[2] == []
    namespace.label(enforce="restricted", warn=None)
    assert "would violate PodSecurity" in namespace.create(deployment(), dry_run=True)[2][0]
    namespace.label(enforce=None)
    assert namespace.create(made(spec={**LAX, "hostNetwork": True}), dry_run=True)[0::2] == (201, [])


def test_a_stricter_label_warns_of_the_pods_that_are_there(namespace: Namespace) -> None:
    namespace.label(enforce="privileged", warn="privileged")
    for name in ("b", "a", "c"):
        document = made(spec=LAX)
        document["metadata"]["name"] = name
        assert namespace.create(document)[0] == 201
    assert namespace.label(enforce="baseline")[0::2] == (200, [])
    status, _, (warning,) = namespace.label(enforce="restricted")
    assert status == 200
    assert warning == (
        f'299 - "existing pods in namespace \\"{namespace.api.namespace}\\" violate the new PodSecurity enforce level'
        f' \\"restricted:latest\\"", 299 - "a (and 2 other pods): {REASONS}"'
    )
    # What is there stays and can be changed in all but its image.
    assert namespace.space.patch("Pod", "a", {"metadata": {"labels": {"x": "y"}}})["metadata"]["labels"] == {"x": "y"}
    change = {"spec": {"containers": [{"name": "c", "image": "j"}]}}
    status, answer, _ = namespace.api.exchange(
        "PATCH", namespace.space.path("Pod", "a"), change, media="application/strategic-merge-patch+json"
    )
    assert status == 403, answer


@pytest.mark.parametrize("mode", ["enforce", "warn", "audit"])
def test_a_label_that_means_nothing_is_refused(namespace: Namespace, mode: str) -> None:
    status, answer, _ = namespace.label(**{mode: "strict", f"{mode}_version": "1.35"})
    assert (status, answer["reason"]) == (422, "Invalid")
    path = f"metadata.labels[{PREFIX}{mode}"
    assert answer["message"] == (
        f'Namespace "{namespace.api.namespace}" is invalid: [{path}]: Invalid value: "strict": must be one of'
        f' privileged, baseline, restricted, {path}-version]: Invalid value: "1.35": must be "latest" or "v1.x"]'
    )
    assert namespace.label(**{f"{mode}_version": "v1.35"})[0] == 200
    name = f"{namespace.api.namespace}-second"
    document = made("Namespace", metadata={"name": name, "labels": {PREFIX + mode: "strict"}})
    status, _ = namespace.api.send("POST", "/api/v1/namespaces", document)
    assert status == 422
