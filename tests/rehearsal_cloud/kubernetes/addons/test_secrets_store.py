"""Key Vault's secrets in a pod, the true way: service account token, Entra, vault, files, synced Secret."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.kubernetes.addons.secrets_store import MountFailed, SecretsStore
from tests.support import managed_cluster as azure
from tests.support.azure_requests import make_service_principal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Grant, Sender
    from tests.support.rehearsal import Rehearsal

GROUP = "secrets-store"
SUBJECT = "system:serviceaccount:airflow:airflow"
SECRETS_USER = "Key Vault Secrets User"


@dataclass(frozen=True)
class Standing:
    """The cluster and the vault that these tests share, and the driver on the cluster's node."""

    parts: azure.Parts
    driver: SecretsStore
    send: Sender
    rehearsal: Rehearsal
    vault: str
    vault_path: str
    folder: Path

    def identity(self, subject: str = SUBJECT) -> tuple[str, str]:
        """A new identity that trusts one subject: client ID and object ID."""
        name = f"pods-{uuid.uuid4().hex[:6]}"
        client_id, object_id, path = azure.identity(self.send, self.rehearsal.subscription, GROUP, name)
        if subject:
            azure.trust(self.send, path, self.parts.issuer, subject)
        return client_id, object_id

    def provider_class(self, *names: str, parameters: dict[str, Any] | None = None, **spec: Any) -> str:
        """Make a SecretProviderClass for secrets of the vault, and return its name."""
        name = f"class-{uuid.uuid4().hex[:6]}"
        objects = "".join(f"  - |\n    objectName: {one}\n    objectType: secret\n" for one in names)
        given = {
            "usePodIdentity": "false",
            "useVMManagedIdentity": "false",
            "keyvaultName": self.vault,
            "tenantId": TENANT_ID,
            "objects": f"array:\n{objects}",
            **(parameters or {}),
        }
        kept = {key: value for key, value in given.items() if value is not None}
        self.parts.objects.create(
            {
                "apiVersion": "secrets-store.csi.x-k8s.io/v1",
                "kind": "SecretProviderClass",
                "metadata": {"name": name, "namespace": "airflow"},
                "spec": {"provider": "azure", "parameters": kept, **spec},
            }
        )
        return name

    def pod(self, chosen: str, account: str = "airflow", **metadata: Any) -> dict[str, Any]:
        """Make a pod that mounts the class."""
        objects = self.parts.objects
        if objects.get("ServiceAccount", account, "airflow") is None:
            metadata_ = {"name": account, "namespace": "airflow"}
            objects.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata_})
        csi = {
            "driver": "secrets-store.csi.k8s.io",
            "readOnly": True,
            "volumeAttributes": {"secretProviderClass": chosen},
        }
        return objects.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"pod-{uuid.uuid4().hex[:6]}", "namespace": "airflow", **metadata},
                "spec": {
                    "serviceAccountName": account,
                    "nodeName": "node-0",
                    "containers": [{"name": "main", "image": "busybox"}],
                    "volumes": [{"name": "secrets", "csi": csi}],
                },
            }
        )

    def place(self, pod: dict[str, Any]) -> Path:
        return self.folder / pod["metadata"]["uid"]

    def mount(self, pod: dict[str, Any]) -> Path:
        """Mount as the kubelet does."""
        asyncio.run(self.driver.mount(pod, pod["spec"]["volumes"][0], self.place(pod)))
        return self.place(pod)

    def refusal(self, pod: dict[str, Any]) -> str:
        with pytest.raises(MountFailed) as caught:
            self.mount(pod)
        assert not self.place(pod).exists()
        return str(caught.value)


@pytest.fixture(scope="module")
def standing(
    rehearsal: Rehearsal, resources: ResourceManagementClient, send: Sender, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standing]:
    resources.resource_groups.create_or_update(GROUP, {"location": "westeurope"})
    cluster = azure.managed_cluster(send, rehearsal.subscription, GROUP)
    name, path = azure.vault(send, rehearsal.subscription, GROUP)
    folder = tmp_path_factory.mktemp("node")
    with azure.parts_of(rehearsal, cluster, folder) as parts:
        yield Standing(parts, SecretsStore(parts, parts.access.tokens), send, rehearsal, name, path, folder)


@pytest.fixture
def officer(standing: Standing, rehearsal: Rehearsal, grant: Grant) -> Standing:
    """The same, with the operator allowed to set secrets, and two of them set."""
    operator = standing.parts.cloud.entra.by_app_id(rehearsal.connection["AZURE_CLIENT_ID"])
    assert operator is not None
    if not standing.parts.cloud.authorization.below(standing.vault_path):
        grant(standing.vault_path, "Key Vault Secrets Officer", operator.object_id)
        azure.set_secret(standing.send, standing.vault, "fernet", "a-fernet-key")
        azure.set_secret(standing.send, standing.vault, "broker", "rediss://…")
    return standing


def synced(name: str, **data: str) -> list[dict[str, Any]]:
    entries = [{"key": key, "objectName": object_name} for key, object_name in data.items()]
    return [{"secretName": name, "type": "Opaque", "data": entries}]


def secret(standing: Standing, name: str) -> dict[str, str]:
    found = standing.parts.objects.get("Secret", name, "airflow")
    assert found is not None
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def test_a_pods_own_identity_reads_what_its_class_names(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    chosen = officer.provider_class(
        "fernet", "broker", parameters={"clientID": client_id}, secretObjects=synced("chain", FERNET_KEY="fernet")
    )
    pod = officer.pod(chosen)
    before = len(officer.rehearsal.requests())
    folder = officer.mount(pod)
    assert {one.name: one.read_text() for one in folder.iterdir() if not one.name.startswith(".")} == {
        "fernet": "a-fernet-key",
        "broker": "rediss://…",
    }
    asked = [(one["method"], one["host"], one["status"]) for one in officer.rehearsal.requests()[before:]]
    host = f"{officer.vault}.vault.azure.net"
    exchange = ("POST", "login.microsoftonline.com", 200)
    assert asked == [("GET", host, 401), exchange, ("GET", host, 200), ("GET", host, 401), ("GET", host, 200)]
    assert secret(officer, "chain") == {"FERNET_KEY": "a-fernet-key"}
    name = pod["metadata"]["name"]
    record = officer.parts.objects.get("SecretProviderClassPodStatus", f"{name}-airflow-{chosen}", "airflow")
    assert record is not None
    assert record["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]
    assert [one["id"] for one in record["status"]["objects"]] == ["secret/broker", "secret/fernet"]
    assert record["status"]["mounted"] is True


def test_a_synced_secret_belongs_to_the_owners_of_all_pods_that_mount_it(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    chosen = officer.provider_class(
        "fernet", parameters={"clientID": client_id}, secretObjects=synced("owned", KEY="fernet")
    )
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "scheduler-1", "uid": str(uuid.uuid4())}
    officer.mount(officer.pod(chosen, ownerReferences=[{**owner, "controller": True}]))
    alone = officer.pod(chosen)
    officer.mount(alone)
    found = officer.parts.objects.get("Secret", "owned", "airflow")
    assert found is not None
    first, second = found["metadata"]["ownerReferences"]
    assert first == owner
    assert (second["kind"], second["name"]) == (
        "SecretProviderClassPodStatus",
        f"{alone['metadata']['name']}-airflow-{chosen}",
    )
    assert found["metadata"]["labels"] == {"secrets-store.csi.k8s.io/managed": "true"}


def test_another_service_account_is_not_trusted(officer: Standing) -> None:
    client_id, _ = officer.identity()
    pod = officer.pod(officer.provider_class("fernet", parameters={"clientID": client_id}), "other")
    text = officer.refusal(pod)
    name = pod["metadata"]["name"]
    assert text.startswith(
        "rpc error: code = Unknown desc = failed to mount secrets store objects for pod"
        f" airflow/{name}, err: rpc error: code = Unknown desc = failed to mount objects, error: failed to get"
        " objectType:secret, objectName:fernet, objectVersion:: ClientAssertionCredential authentication failed."
    )
    assert "AADSTS700213: No matching federated identity record found for presented assertion" in text
    assert "system:serviceaccount:airflow:other" in text
    assert "RESPONSE 401 Unauthorized" in text


def test_an_issuer_that_nothing_trusts_is_named(officer: Standing) -> None:
    client_id, _ = officer.identity(subject="")
    text = officer.refusal(officer.pod(officer.provider_class("fernet", parameters={"clientID": client_id})))
    assert "AADSTS700211" in text
    assert officer.parts.issuer in text


def test_no_identity_of_that_id(officer: Standing) -> None:
    chosen = officer.provider_class("fernet", parameters={"clientID": str(uuid.uuid4())})
    assert "AADSTS700016" in officer.refusal(officer.pod(chosen))


def test_without_the_role_the_vault_refuses(officer: Standing) -> None:
    client_id, object_id = officer.identity()
    text = officer.refusal(officer.pod(officer.provider_class("fernet", parameters={"clientID": client_id})))
    assert f"GET https://{officer.vault}.vault.azure.net/secrets/fernet/" in text
    assert "RESPONSE 403: 403 Forbidden\nERROR CODE: Forbidden" in text
    assert "Caller is not authorized to perform action on resource." in text
    assert "Assignment: (not found)" in text
    assert '"code": "ForbiddenByRbac"' in text
    assert object_id in text


def test_a_secret_that_is_not_there(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    text = officer.refusal(officer.pod(officer.provider_class("missing", parameters={"clientID": client_id})))
    assert "objectName:missing" in text
    assert "ERROR CODE: SecretNotFound" in text


def test_a_vault_that_is_not_there(officer: Standing) -> None:
    client_id, _ = officer.identity()
    chosen = officer.provider_class("fernet", parameters={"clientID": client_id, "keyvaultName": "kv-nowhere"})
    assert "lookup kv-nowhere.vault.azure.net on 168.63.129.16:53: no such host" in officer.refusal(officer.pod(chosen))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "failed to get credentials, nodePublishSecretRef secret is not set"),
        ({"clientID": "x", "keyvaultName": None}, "error: keyvaultName is not provided"),
        ({"clientID": "x", "tenantId": None}, "error: tenantId is not provided"),
        ({"clientID": "x", "objects": None}, "error: objects is not set"),
        ({"clientID": "x", "objects": "array: [}"}, "error: failed to yaml unmarshal objects"),
        ({"clientID": "x", "usePodIdentity": "no"}, 'strconv.ParseBool: parsing "no": invalid syntax'),
        ({"usePodIdentity": "true", "useVMManagedIdentity": "true"}, "only one identity mode can be enabled at a time"),
        ({"clientID": "x", "keyvaultName": "kv"}, 'Invalid vault name: "kv", must be between 3 and 24 chars'),
        ({"clientID": "x", "keyvaultName": "kv_1"}, 'Invalid vault name: "kv_1", must match [-a-zA-Z0-9]{3,24}'),
        ({"usePodIdentity": "true"}, "dial tcp 127.0.0.1:2579: connect: connection refused"),
        ({"useVMManagedIdentity": "true", "userAssignedIdentityID": "x"}, "Identity not found"),
    ],
)
def test_a_class_that_says_too_little_or_too_much(
    officer: Standing, parameters: dict[str, str | None], said: str
) -> None:
    assert said in officer.refusal(officer.pod(officer.provider_class("fernet", parameters=parameters)))


def test_an_object_of_no_known_type(officer: Standing) -> None:
    client_id, _ = officer.identity()
    objects = "array:\n  - |\n    objectName: fernet\n    objectType: password\n"
    chosen = officer.provider_class(parameters={"clientID": client_id, "objects": objects})
    text = officer.refusal(officer.pod(chosen))
    assert "objectType:password" in text
    assert "Invalid vaultObjectTypes. Should be secret, key, or cert" in text


def test_a_class_that_is_not_there(officer: Standing) -> None:
    text = officer.refusal(officer.pod("nothing"))
    assert text == (
        "rpc error: code = Unknown desc = failed to get secretproviderclass airflow/nothing, error:"
        ' secretproviderclasses.secrets-store.csi.x-k8s.io "nothing" not found'
    )


def test_another_provider(officer: Standing) -> None:
    chosen = officer.provider_class("fernet", provider="vault")
    assert 'error connecting to provider "vault": provider not found' in officer.refusal(officer.pod(chosen))


def test_without_the_add_on_there_is_no_driver(officer: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = officer.parts.document["properties"]["addonProfiles"]
    monkeypatch.setitem(profiles["azureKeyvaultSecretsProvider"], "enabled", value=False)
    text = officer.refusal(officer.pod("any"))
    assert text.endswith("driver name secrets-store.csi.k8s.io not found in the list of registered CSI drivers")


def test_aliases_encodings_and_modes(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    version = azure.set_secret(officer.send, officer.vault, "encoded", base64.b64encode(b"\0binary").decode())
    azure.set_secret(officer.send, officer.vault, "encoded", "later")
    entry = {"objectName": "encoded", "objectType": "secret", "objectAlias": "keys/one", "objectVersion": version}
    lines = "\n".join(f"    {key}: {value}" for key, value in entry.items())
    objects = f'array:\n  - |\n{lines}\n    objectEncoding: base64\n    filePermission: "0400"\n'
    chosen = officer.provider_class(parameters={"clientID": client_id, "objects": objects})
    file = officer.mount(officer.pod(chosen)) / "keys" / "one"
    assert file.read_bytes() == b"\0binary"
    assert file.stat().st_mode & 0o777 == 0o400


def test_a_client_secret_in_a_secret_does_too(officer: Standing, grant: Grant) -> None:
    client_id, client_secret, object_id = make_service_principal(officer.send)
    grant(officer.vault_path, SECRETS_USER, object_id)
    pod = officer.pod(officer.provider_class("fernet"))
    pod["spec"]["volumes"][0]["csi"]["nodePublishSecretRef"] = {"name": "credentials"}
    assert 'secrets "credentials" not found' in officer.refusal(pod)
    data = {"clientid": client_id, "clientsecret": client_secret}
    officer.parts.objects.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "credentials", "namespace": "airflow"},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
    )
    assert (officer.mount(pod) / "fernet").read_text() == "a-fernet-key"


def test_the_add_ons_own_identity_does_too(officer: Standing, grant: Grant) -> None:
    addon = officer.parts.document["properties"]["addonProfiles"]["azureKeyvaultSecretsProvider"]["identity"]
    grant(officer.vault_path, SECRETS_USER, addon["objectId"])
    chosen = officer.provider_class(
        "fernet", parameters={"useVMManagedIdentity": "true", "userAssignedIdentityID": addon["clientId"]}
    )
    assert (officer.mount(officer.pod(chosen)) / "fernet").read_text() == "a-fernet-key"


def test_a_secret_that_cannot_be_made_is_told_in_an_event(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    chosen = officer.provider_class(
        "fernet", parameters={"clientID": client_id}, secretObjects=synced("half", KEY="elsewhere")
    )
    pod = officer.pod(chosen)
    officer.mount(pod)
    (event,) = (
        one
        for one in officer.parts.objects.list("Event", "airflow")
        if one["involvedObject"]["uid"] == pod["metadata"]["uid"]
    )
    assert event["reason"] == "FailedToCreateSecret"
    assert event["message"].endswith("err: file matching objectName elsewhere not found in the pod")
    assert officer.parts.objects.get("Secret", "half", "airflow") is None


def test_a_rotated_secret_comes_to_the_files_and_the_secret(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    azure.set_secret(officer.send, officer.vault, "rotating", "before")
    chosen = officer.provider_class(
        "rotating", parameters={"clientID": client_id}, secretObjects=synced("rotated", KEY="rotating")
    )
    pod = officer.pod(chosen)
    folder = officer.mount(pod)
    assert secret(officer, "rotated") == {"KEY": "before"}
    version = azure.set_secret(officer.send, officer.vault, "rotating", "after")

    async def rotated() -> None:
        await officer.driver.start()
        deadline = time.monotonic() + 60
        while secret(officer, "rotated") != {"KEY": "after"}:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        await officer.driver.stop()

    asyncio.run(rotated())
    assert (folder / "rotating").read_text() == "after"
    name = f"{pod['metadata']['name']}-airflow-{chosen}"
    record = officer.parts.objects.get("SecretProviderClassPodStatus", name, "airflow")
    assert record is not None
    assert record["status"]["objects"] == [{"id": "secret/rotating", "version": version}]


def test_secrets_are_looked_for_as_often_as_the_add_on_is_told_to(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    azure.set_secret(officer.send, officer.vault, "seldom", "before")
    chosen = officer.provider_class("seldom", parameters={"clientID": client_id})
    folder = officer.mount(officer.pod(chosen))
    azure.set_secret(officer.send, officer.vault, "seldom", "after")
    (addon,) = officer.parts.document["properties"]["addonProfiles"].values()

    async def rotating(interval: str, seconds: float) -> str:
        addon["config"]["rotationPollInterval"] = interval
        deadline = time.monotonic() + seconds
        await officer.driver.start()
        while time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            if (folder / "seldom").read_text() == "after":
                break
        await officer.driver.stop()
        return (folder / "seldom").read_text()

    assert asyncio.run(rotating("8760h", 3)) == "before"
    assert asyncio.run(rotating("1h30m", 20)) == "after"


def test_an_unmounted_folder_is_empty(officer: Standing, grant: Grant) -> None:
    client_id, object_id = officer.identity()
    grant(officer.vault_path, SECRETS_USER, object_id)
    pod = officer.pod(officer.provider_class("fernet", parameters={"clientID": client_id}))
    folder = officer.mount(pod)
    asyncio.run(officer.driver.unmount(pod, pod["spec"]["volumes"][0], folder))
    assert not [one for one in folder.rglob("*") if one.is_file()]
