"""What a cluster adds to pods and claims before it keeps them, and which it refuses."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.kubernetes.api.admission import admit
from rehearsal_cloud.kubernetes.failures import Failure
from rehearsal_cloud.kubernetes.objects.kinds import Kinds
from rehearsal_cloud.kubernetes.objects.objects import Objects
from rehearsal_cloud.kubernetes.objects.schema import Schemas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
USE = {"azure.workload.identity/use": "true"}
CLIENT_ID = "66666666-6666-4666-8666-666666666666"


class Api:
    """The objects of a cluster with workload identity, behind its admission."""

    def __init__(self, folder: Path) -> None:
        self.cluster: Any = SimpleNamespace(
            kinds=Kinds(),
            document={"properties": {"securityProfile": {"workloadIdentity": {"enabled": True}}}},
        )
        objects = Objects(folder / "objects", self.cluster.kinds, Schemas(), partial(admit, self.cluster))
        self.objects = self.cluster.objects = objects
        self.make("v1", "Namespace", "airflow", "")
        self.account("default")

    def make(self, version: str, kind: str, name: str, namespace: str = "airflow", **more: Any) -> dict[str, Any]:
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
        return self.objects.create({"apiVersion": version, "kind": kind, "metadata": metadata, **more})

    def account(self, name: str, annotations: dict[str, str] | None = None, **more: Any) -> None:
        self.make("v1", "ServiceAccount", name, metadata={"annotations": annotations or {}}, **more)

    def pod(self, name: str = "pod", metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        containers = [{"name": "main", "image": "busybox"}, {"name": "side", "image": "busybox"}]
        return self.make("v1", "Pod", name, metadata=metadata or {}, spec={"containers": containers, **spec})


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path)
    yield made
    made.objects.close()


def mounts(container: dict[str, Any]) -> dict[str, str]:
    return {one["mountPath"]: one["name"] for one in container.get("volumeMounts") or []}


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env") or []}


def test_every_container_gets_the_token_of_the_pods_account(api: Api) -> None:
    spec = api.pod(initContainers=[{"name": "first", "image": "busybox"}])["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    (volume,) = (one for one in spec["volumes"] if one["name"].startswith("kube-api-access-"))
    token, authority, downward = volume["projected"]["sources"]
    assert token["serviceAccountToken"] == {"expirationSeconds": 3607, "path": "token"}
    assert authority["configMap"]["name"] == "kube-root-ca.crt"
    assert downward["downwardAPI"]["items"][0]["path"] == "namespace"
    for container in (*spec["initContainers"], *spec["containers"]):
        assert mounts(container) == {TOKEN_PATH: volume["name"]}


def test_who_wants_no_token_gets_none(api: Api) -> None:
    api.account("shy", automountServiceAccountToken=False)
    for spec in (
        api.pod("one", serviceAccountName="shy")["spec"],
        api.pod("two", automountServiceAccountToken=False)["spec"],
    ):
        assert not spec.get("volumes")
    assert api.pod("three", serviceAccountName="shy", automountServiceAccountToken=True)["spec"]["volumes"]


def test_an_account_that_is_not_there(api: Api) -> None:
    with pytest.raises(Failure) as caught:
        api.pod(serviceAccountName="nobody")
    assert caught.value.code == 403
    assert caught.value.message == (
        'pods "pod" is forbidden: error looking up service account airflow/nobody: serviceaccount "nobody" not found'
    )


def test_the_accounts_pull_secrets_are_the_pods(api: Api) -> None:
    api.account("puller", imagePullSecrets=[{"name": "registry"}])
    assert api.pod(serviceAccountName="puller")["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_a_labelled_pod_gets_a_workload_identity(api: Api) -> None:
    api.account("airflow", {"azure.workload.identity/client-id": CLIENT_ID})
    spec = api.pod(metadata={"labels": USE}, serviceAccountName="airflow")["spec"]
    for container in spec["containers"]:
        assert variables(container) == {
            "AZURE_CLIENT_ID": CLIENT_ID,
            "AZURE_TENANT_ID": TENANT_ID,
            "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
            "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
        }
        assert mounts(container)["/var/run/secrets/azure/tokens"] == "azure-identity-token"
    (volume,) = (one for one in spec["volumes"] if one["name"] == "azure-identity-token")
    assert volume["projected"]["sources"] == [
        {
            "serviceAccountToken": {
                "audience": "api://AzureADTokenExchange",
                "expirationSeconds": 3600,
                "path": "azure-identity-token",
            }
        }
    ]


def test_the_label_does_nothing_on_an_account(api: Api) -> None:
    api.make("v1", "ServiceAccount", "airflow", metadata={"labels": USE})
    spec = api.pod(serviceAccountName="airflow")["spec"]
    assert [variables(one) for one in spec["containers"]] == [{}, {}]


def test_the_label_does_nothing_where_workload_identity_is_off(api: Api) -> None:
    api.cluster.document["properties"]["securityProfile"]["workloadIdentity"]["enabled"] = False
    assert variables(api.pod(metadata={"labels": USE})["spec"]["containers"][0]) == {}


def test_annotations_set_lifetime_and_leave_containers_out(api: Api) -> None:
    prefix = "azure.workload.identity"
    annotations = {f"{prefix}/service-account-token-expiration": "7200", f"{prefix}/skip-containers": "side; other"}
    spec = api.pod(metadata={"labels": USE, "annotations": annotations})["spec"]
    main, side = spec["containers"]
    assert "AZURE_FEDERATED_TOKEN_FILE" in variables(main)
    assert variables(side) == {}
    (volume,) = (one for one in spec["volumes"] if one["name"] == "azure-identity-token")
    assert volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 7200


def test_what_the_pod_says_itself_stays(api: Api) -> None:
    own = {"name": "AZURE_CLIENT_ID", "value": "mine"}
    spec = api.pod(metadata={"labels": USE}, containers=[{"name": "main", "image": "busybox", "env": [own]}])["spec"]
    assert variables(spec["containers"][0])["AZURE_CLIENT_ID"] == "mine"


def test_a_lifetime_that_is_too_short(api: Api) -> None:
    annotations = {"azure.workload.identity/service-account-token-expiration": "60"}
    with pytest.raises(Failure, match=r"token expiration 60 not valid\. Expected value to be between 3600 and 86400"):
        api.pod(metadata={"labels": USE, "annotations": annotations})


def test_a_pod_outlives_a_lost_node_by_five_minutes(api: Api) -> None:
    spec = api.pod()["spec"]
    assert [(one["key"], one["tolerationSeconds"]) for one in spec["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 300),
        ("node.kubernetes.io/unreachable", 300),
    ]
    mine = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    first, second = api.pod("other", tolerations=[mine])["spec"]["tolerations"]
    assert first == mine
    assert second["key"] == "node.kubernetes.io/unreachable"
    everything = {"operator": "Exists"}
    assert api.pod("third", tolerations=[everything])["spec"]["tolerations"] == [everything]


def test_a_priority_class_decides_the_priority(api: Api) -> None:
    assert api.pod("one")["spec"]["priority"] == 0
    api.make("scheduling.k8s.io/v1", "PriorityClass", "high", "", value=1000)
    assert api.pod("two", priorityClassName="high")["spec"]["priority"] == 1000
    with pytest.raises(Failure, match='pods "three" is forbidden: no PriorityClass with name higher was found'):
        api.pod("three", priorityClassName="higher")
    with pytest.raises(Failure, match="must not be provided in pod spec"):
        api.pod("four", priority=7)


def test_a_claim_without_a_class_gets_the_default_one(api: Api) -> None:
    for name, default in (("managed", "true"), ("azurefile", "false")):
        metadata = {"annotations": {"storageclass.kubernetes.io/is-default-class": default}}
        api.make("storage.k8s.io/v1", "StorageClass", name, "", metadata=metadata, provisioner="file.csi.azure.com")
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    claims = {
        name: api.make("v1", "PersistentVolumeClaim", name, spec={**spec, **more}) for name, more in CLAIMS.items()
    }
    assert {name: one["spec"]["storageClassName"] for name, one in claims.items()} == {
        "none": "managed",
        "empty": "",
        "named": "azurefile",
    }


CLAIMS: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"storageClassName": ""},
    "named": {"storageClassName": "azurefile"},
}


def test_an_update_changes_nothing(api: Api) -> None:
    kept = api.pod()
    assert api.objects.update(kept)["metadata"]["resourceVersion"] == kept["metadata"]["resourceVersion"]
