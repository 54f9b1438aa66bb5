"""The API's groups: what discovery says of each, and objects that are served in several of them.

Measured with 1.36: "Discovery lacks autoscaling/v1, events.k8s.io, certificates.k8s.io, resource.k8s.io,
admissionregistration.k8s.io; namespaces have no `deletecollection`". What 1.20 has too is compared with it.
"""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.workspace import Document, Workspace

if TYPE_CHECKING:
    from tests.support.control_plane import ClusterApi

EXTENSIONS = ("api-extensions",)
GROUPS: list[tuple[str, str, bool, str, tuple[str, ...]]] = [
    ("autoscaling/v1", "horizontalpodautoscalers horizontalpodautoscalers/status", True, "hpa", ("all",)),
    ("events.k8s.io/v1", "events", True, "ev", ()),
    (
        "certificates.k8s.io/v1",
        "certificatesigningrequests certificatesigningrequests/approval certificatesigningrequests/status",
        False,
        "csr",
        (),
    ),
    ("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", False, "", EXTENSIONS),
    ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", False, "", EXTENSIONS),
    ("apiextensions.k8s.io/v1", "customresourcedefinitions", False, "crd crds", EXTENSIONS),
]
NEW_GROUPS = [
    (
        "admissionregistration.k8s.io/v1",
        "validatingadmissionpolicies validatingadmissionpolicies/status",
        False,
        "",
        EXTENSIONS,
    ),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", False, "", EXTENSIONS),
    ("resource.k8s.io/v1", "deviceclasses", False, "", ()),
    ("resource.k8s.io/v1", "resourceclaims resourceclaims/status", True, "", ()),
    ("resource.k8s.io/v1", "resourceclaimtemplates", True, "", ()),
    ("resource.k8s.io/v1", "resourceslices", False, "", ()),
]


@pytest.fixture
def space(cluster_api: ClusterApi) -> Workspace:
    return Workspace(cluster_api.client, cluster_api.namespace)


@pytest.mark.parametrize(("version", "names", "namespaced", "short", "categories"), [*GROUPS, *NEW_GROUPS])
def test_discovery_lists_a_group_s_kinds(
    cluster_api: ClusterApi, version: str, names: str, *, namespaced: bool, short: str, categories: tuple[str, ...]
) -> None:
    if cluster_api.side == "control-plane" and (version, names, namespaced, short, categories) in NEW_GROUPS:
        return  # since 1.30 and 1.34
    listed = {found["name"]: found for found in cluster_api.send("GET", f"/apis/{version}")[1]["resources"]}
    plural, *below = names.split()
    assert set(names.split()) <= listed.keys()
    kind = listed[plural]
    assert (kind["namespaced"], kind.get("shortNames", [])) == (namespaced, short.split())
    assert kind.get("categories", []) == list(categories)
    verbs = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    assert set(kind["verbs"]) == verbs
    assert all(set(listed[name]["verbs"]) == {"get", "patch", "update"} for name in below)
    scope = f"namespaces/{cluster_api.namespace}/" if namespaced else ""
    status, answer = cluster_api.send("GET", f"/apis/{version}/{scope}{plural}")
    assert (status, answer["kind"], answer["apiVersion"]) == (200, f"{kind['kind']}List", version)


def test_namespaces_are_deleted_one_by_one(cluster_api: ClusterApi) -> None:
    listed = cluster_api.send("GET", "/api/v1")[1]["resources"]
    (namespaces,) = (found for found in listed if found["name"] == "namespaces")
    assert "deletecollection" not in namespaces["verbs"]
    status, answer = cluster_api.send("DELETE", "/api/v1/namespaces")
    assert (status, answer["message"]) == (405, "the server does not allow this method on the requested resource")


def test_an_event_is_one_of_both_groups(space: Workspace) -> None:
    path = f"/apis/events.k8s.io/v1/namespaces/{space.namespace}/events"
    about = {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": space.namespace}
    told = {"type": "Normal", "reason": "r", "action": "a", "reportingInstance": "i"}
    event = {"eventTime": "2026-01-01T00:00:00.000000Z", **told}
    space.call("POST", path, {**event, "metadata": {"name": "new"}, "regarding": about, "note": "n"} | REPORTER)
    found = space.get("Event", "new")
    assert (found["apiVersion"], found["involvedObject"], found["message"]) == ("v1", about, "n")
    assert found["reportingComponent"] == "example.com/x"
    space.create("Event", "old", involvedObject=about, message="m", count=2, source={"component": "c"})
    found = space.call("GET", f"{path}/old")
    assert (found["apiVersion"], found["regarding"], found["note"]) == ("events.k8s.io/v1", about, "m")
    assert (found["deprecatedCount"], found["deprecatedSource"]) == (2, {"component": "c"})
    changed = space.call("PATCH", f"{path}/old", {"note": "changed"}, "application/merge-patch+json")
    assert (changed["note"], space.get("Event", "old")["message"]) == ("changed", "changed")
    names = {item["metadata"]["name"] for item in space.call("GET", path)["items"]}
    assert names >= {"new", "old"}


REPORTER = {"reportingController": "example.com/x"}


@pytest.mark.parametrize(
    ("path", "event", "wrong"),
    [
        (
            "/apis/events.k8s.io/v1",
            {"regarding": {"kind": "Pod", "name": "p", "namespace": "{}"}},
            {"eventTime: Required value", 'type: Invalid value: "": has invalid value: '},
        ),
        (
            "/apis/events.k8s.io/v1",
            {
                "eventTime": "2026-01-01T00:00:00.000000Z",
                "regarding": {"kind": "Pod", "name": "p", "namespace": "{}"},
                "type": "Odd",
                "deprecatedCount": 2,
                "reason": "r" * 129,
                **REPORTER,
            },
            {
                "reportingInstance: Required value",
                "action: Required value",
                'reason: Invalid value: "": can have at most 128 characters',
                'type: Invalid value: "": has invalid value: Odd',
                'count: Invalid value: "": needs to be unset',
            },
        ),
        (
            "/api/v1",
            {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "other"}},
            {'involvedObject.namespace: Invalid value: "other": does not match event.namespace'},
        ),
    ],
)
def test_events_are_validated(cluster_api: ClusterApi, path: str, event: Document, wrong: set[str]) -> None:
    about = "regarding" if "events" in path else "involvedObject"
    reference = {**event[about], "namespace": event[about]["namespace"].format(cluster_api.namespace)}
    body = {"metadata": {"name": "e"}, **event, about: reference}
    status, answer = cluster_api.send("POST", f"{path}/namespaces/{cluster_api.namespace}/events", body)
    causes = {f"{cause['field']}: {cause['message']}" for cause in answer["details"]["causes"]}
    assert (status, answer["details"]["kind"], causes) == (422, "Event", wrong)


def test_an_autoscaler_is_one_of_both_versions(cluster_api: ClusterApi, space: Workspace) -> None:
    newer = "v2" if cluster_api.side == "rehearsal" else "v2beta2"
    old, new = (
        f"/apis/autoscaling/{version}/namespaces/{space.namespace}/horizontalpodautoscalers"
        for version in ("v1", newer)
    )
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    made = space.call("POST", old, {"metadata": {"name": "a"}, "spec": spec})
    assert (made["apiVersion"], made["spec"]) == ("autoscaling/v1", {**spec, "minReplicas": 1})
    cpu, memory = (
        {"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": 50}}}
        for name in ("cpu", "memory")
    )
    assert space.call("GET", f"{new}/a")["spec"]["metrics"] == [cpu]
    both = {"metadata": {"name": "b"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [memory, cpu]}}
    space.call("POST", new, both)
    found = space.call("GET", f"{old}/b")
    assert found["spec"]["targetCPUUtilizationPercentage"] == 50
    assert "memory" in found["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"]
    found["spec"]["targetCPUUtilizationPercentage"] = 60
    space.call("PUT", f"{old}/b", found)
    found = space.call("GET", f"{new}/b")
    cpu["resource"]["target"]["averageUtilization"] = 60
    assert found["spec"]["metrics"] == [memory, cpu]
    assert not found["metadata"].get("annotations")
    assert found["status"].get("desiredReplicas") == 0


def test_a_signing_request_names_its_user_and_is_approved(cluster_api: ClusterApi, space: Workspace) -> None:
    path, name = "/apis/certificates.k8s.io/v1/certificatesigningrequests", f"{space.namespace}-csr"
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bob")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
    spec = {"request": base64.b64encode(pem).decode(), "usages": ["client auth"], "signerName": "example.com/mine"}
    try:
        made = space.call("POST", path, {"metadata": {"name": name}, "spec": {**spec, "username": "eve"}})
        assert made["spec"]["username"] not in ("eve", "")
        assert "system:masters" in made["spec"]["groups"]
        made["spec"]["usages"] = ["server auth"]
        del made["metadata"]["resourceVersion"]  # a controller may have looked at it
        made["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]}
        assert space.call("PUT", f"{path}/{name}", made)["spec"]["usages"] == ["client auth"]
        (condition,) = space.call("PUT", f"{path}/{name}/approval", made)["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("Approved", "True")
        assert condition["lastUpdateTime"]
        accept = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
        (row,) = cluster_api.send("GET", f"{path}/{name}", headers=accept)[1]["rows"]
        assert (row["cells"][2], row["cells"][-1]) == ("example.com/mine", "Approved")
    finally:
        cluster_api.send("DELETE", f"{path}/{name}")


@pytest.mark.parametrize("api_server", ["rehearsal"], indirect=True)
@pytest.mark.parametrize(
    ("plural", "kind", "body"),
    [
        ("deviceclasses", "DeviceClass", {"spec": {}}),
        ("resourceclaims", "ResourceClaim", {"spec": {"devices": {"requests": [{"name": "gpu"}]}}}),
    ],
)
def test_devices_can_be_named(cluster_api: ClusterApi, plural: str, kind: str, body: dict[str, Any]) -> None:
    scope = f"namespaces/{cluster_api.namespace}/" if kind == "ResourceClaim" else ""
    path, name = f"/apis/resource.k8s.io/v1/{scope}{plural}", f"d-{uuid.uuid4().hex[:6]}"
    status, answer = cluster_api.send("POST", path, {"metadata": {"name": name}, **body})
    assert (status, answer["kind"], answer["apiVersion"]) == (201, kind, "resource.k8s.io/v1")
    assert cluster_api.send("DELETE", f"{path}/{name}")[0] == 200
