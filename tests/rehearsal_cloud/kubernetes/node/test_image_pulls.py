"""Pulling images as a node does: the kubelet identity's role, the registry's answers, and containerd's words."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.kubernetes.node.image_pulls import Image, Images, PullFailed
from tests.support import managed_cluster as azure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Grant, Sender
    from tests.support.rehearsal import Rehearsal

GROUP = "runtime-images"
VERSION = "2025-11-01"


@dataclass(frozen=True)
class Node:
    """The node of the cluster that these tests share."""

    parts: azure.Parts
    send: Sender
    subscription: str
    runner: asyncio.Runner

    @property
    def kubelet(self) -> str:
        """The object ID of the kubelet's identity."""
        return str(self.parts.document["properties"]["identityProfile"]["kubeletidentity"]["objectId"])

    def registry(self, **properties: str) -> tuple[str, str]:
        """Make a registry with busybox in it; return its name and resource ID."""
        name = f"acr{uuid.uuid4().hex[:12]}"
        path = f"/subscriptions/{self.subscription}/resourceGroups/{GROUP}/providers/Microsoft.ContainerRegistry"
        path = f"{path}/registries/{name}"
        body = {"location": "westeurope", "sku": {"name": "Standard"}, "properties": properties}
        assert self.send("PUT", f"{path}?api-version={VERSION}", body).status_code in (200, 201)
        azure.settle(self.send, f"{path}?api-version={VERSION}")
        self.fill(path, "library/busybox:1.36", "tools/busybox:1.36")
        return name, path

    def fill(self, registry: str, source: str, target: str) -> None:
        """Import an image from Docker Hub."""
        wanted = {"source": {"registryUri": "docker.io", "sourceImage": source}, "targetTags": [target]}
        imported = self.send("POST", f"{registry}/importImage?api-version={VERSION}", wanted)
        assert imported.status_code in (200, 202), imported.text()
        while (ended := self.send("GET", imported.headers["Location"])).status_code == 202:
            time.sleep(0.05)
        assert ended.status_code in (200, 204), ended.text()

    def pull(self, reference: str) -> Image:
        return self.runner.run(Images(self.parts).pull(reference, progress=print))

    def refusal(self, reference: str) -> PullFailed:
        with pytest.raises(PullFailed) as caught:
            self.pull(reference)
        return caught.value


@pytest.fixture(scope="module")
def node(
    rehearsal: Rehearsal, resources: ResourceManagementClient, send: Sender, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    resources.providers.register("Microsoft.ContainerRegistry")
    resources.resource_groups.create_or_update(GROUP, {"location": "westeurope"})
    cluster = azure.managed_cluster(send, rehearsal.subscription, GROUP)
    with azure.parts_of(rehearsal, cluster, tmp_path_factory.mktemp("images")) as parts, asyncio.Runner() as runner:
        yield Node(parts, send, rehearsal.subscription, runner)


@pytest.mark.parametrize("reference", ["busybox", "docker.io/library/busybox:1.36"])
def test_a_public_image_needs_no_identity(node: Node, reference: str) -> None:
    image = node.pull(reference)
    assert image.command == ("sh",)
    assert image.entrypoint == ()
    assert image.reference.startswith("docker.io/library/busybox:")
    assert image.digest.startswith("docker.io/library/busybox@sha256:")
    done = subprocess.run([image.python, "-c", "print(6 * 7)"], check=True, capture_output=True, text=True)
    assert done.stdout == "42\n"
    assert image.environment["PATH"].split(":")[0] == str(image.python.parent)


def test_without_acr_pull_the_registry_gives_no_token(node: Node, grant: Grant) -> None:
    name, path = node.registry()
    host = f"{name}.azurecr.io"
    failed = node.refusal(f"{host}/tools/busybox:1.36")
    assert failed.reason == "ErrImagePull"
    assert failed.message == (
        f'failed to pull and unpack image "{host}/tools/busybox:1.36": failed to resolve reference'
        f' "{host}/tools/busybox:1.36": failed to authorize: failed to fetch oauth token: unexpected status from GET'
        f" request to https://{host}/oauth2/token?scope=repository%3Atools%2Fbusybox%3Apull&service={host}:"
        " 401 Unauthorized"
    )
    grant(path, "AcrPull", node.kubelet)
    image = node.pull(f"{host}/tools/busybox:1.36")
    assert image.digest.startswith(f"{host}/tools/busybox@sha256:")
    assert node.pull(image.digest).digest == image.digest


def test_a_registry_in_abac_mode_does_not_honour_acr_pull(node: Node, grant: Grant) -> None:
    name, path = node.registry(roleAssignmentMode="AbacRepositoryPermissions")
    grant(path, "AcrPull", node.kubelet)
    assert node.refusal(f"{name}.azurecr.io/tools/busybox:1.36").message.endswith("401 Unauthorized")
    grant(path, "Container Registry Repository Reader", node.kubelet)
    assert node.pull(f"{name}.azurecr.io/tools/busybox:1.36").command == ("sh",)


def test_a_tag_that_is_not_there(node: Node, grant: Grant) -> None:
    name, path = node.registry()
    grant(path, "AcrPull", node.kubelet)
    host = f"{name}.azurecr.io"
    for missing in (f"{host}/tools/busybox:2.0", f"{host}/other:1.36", "docker.io/library/busybox:x"):
        failed = node.refusal(missing)
        assert failed.reason == "ErrImagePull"
        unresolved = f'failed to pull and unpack image "{missing}": failed to resolve reference "{missing}"'
        assert failed.message == f"{unresolved}: {missing}: not found"


def test_a_registry_that_is_not_there(node: Node) -> None:
    failed = node.refusal("nowhere0.azurecr.io/airflow:3.3.2")
    assert 'failed to do request: Head "https://nowhere0.azurecr.io/v2/airflow/manifests/3.3.2"' in failed.message
    assert failed.message.endswith("dial tcp: lookup nowhere0.azurecr.io on 168.63.129.16:53: no such host")


@pytest.mark.parametrize("reference", ["UPPER", "a b", "busybox:", "registry.example/a//b"])
def test_a_name_that_is_none(node: Node, reference: str) -> None:
    failed = node.refusal(reference)
    assert failed.reason == "InvalidImageName"
    assert "invalid reference format" in failed.message


def test_what_pods_will_need_is_begun_when_it_is_imported(node: Node) -> None:
    _, path = node.registry()
    node.fill(path, "apache/airflow:3.3.2", "airflow:3.3.2")
    deadline = time.monotonic() + 60
    while (build := node.parts.cloud.store.get("image-builds", "apache-airflow-3.3.2")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert build["state"] in ("Building", "Ready")
