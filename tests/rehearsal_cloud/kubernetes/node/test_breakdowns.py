"""Machines that fail: shares that cannot be made or mounted, a kubelet that is silent, a disk that is full."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import CoordinationV1Api
from kubernetes.client.exceptions import ApiException

from tests.support.node import python, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.node import Namespace
    from tests.support.rehearsal import Rehearsal


@pytest.fixture
def breakdowns(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """A cloud whose machines work again after the test."""
    yield rehearsal
    rehearsal.control("DELETE")


def claim(namespace: Namespace, name: str) -> None:
    spec = {
        "storageClassName": "azurefile-csi",
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    namespace.core.create_namespaced_persistent_volume_claim(namespace.name, {"metadata": {"name": name}, "spec": spec})


def mounts(namespace: Namespace, name: str) -> str:
    """A pod that mounts the claim."""
    volume = {"name": "volume", "persistentVolumeClaim": {"claimName": name}}
    container = shell("sleep 60", volumeMounts=[{"name": "volume", "mountPath": "/volume"}])
    return namespace.pod(container, volumes=[volume])


def phase(namespace: Namespace, name: str) -> Any:
    return namespace.core.read_namespaced_persistent_volume_claim(name, namespace.name).status.phase


def conditions(namespace: Namespace) -> dict[str, tuple[str, str]]:
    (node,) = namespace.core.list_node().items
    return {one.type: (one.status, one.message) for one in node.status.conditions}


def taints(namespace: Namespace) -> set[tuple[str, str]]:
    (node,) = namespace.core.list_node().items
    return {(one.key, one.effect) for one in node.spec.taints or []}


def is_ready(namespace: Namespace, pod: str) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in namespace.read(pod).status.conditions or [])


def test_a_share_that_cannot_be_mounted_is_tried_again(namespace: Namespace, breakdowns: Rehearsal) -> None:
    said = "rpc error: code = Internal desc = volume({id}) mount //{account}.file.core.windows.net/{share} on {target}"
    claim(namespace, "logs")
    claim(namespace, "other")
    namespace.until(lambda: phase(namespace, "logs") == phase(namespace, "other") == "Bound")
    breakdowns.control("POST", {"breakdown": "mount", "name": "^logs$", "message": f"{said} failed"})
    pod = mounts(namespace, "logs")
    (message,) = namespace.events(pod, "FailedMount")
    volume = namespace.core.read_namespaced_persistent_volume_claim("logs", namespace.name).spec.volume_name
    assert message.startswith(f'MountVolume.MountDevice failed for volume "{volume}" : rpc error: code = Internal')
    assert (
        f".file.core.windows.net/{volume} on /var/lib/kubelet/plugins/kubernetes.io/csi/file.csi.azure.com/" in message
    )
    namespace.ready(mounts(namespace, "other"))
    assert namespace.read(pod).status.container_statuses[0].state.waiting.reason == "ContainerCreating"
    breakdowns.control("DELETE")
    namespace.ready(pod)


def test_a_share_that_cannot_be_made_is_tried_again(namespace: Namespace, breakdowns: Rehearsal) -> None:
    breakdowns.control("POST", {"breakdown": "provision", "name": "^logs$", "message": "rpc error: on {account}"})
    claim(namespace, "logs")
    (message,) = namespace.events("logs", "ProvisioningFailed")
    assert message.startswith('failed to provision volume with StorageClass "azurefile-csi": rpc error: on f')
    assert phase(namespace, "logs") == "Pending"
    breakdowns.control("DELETE")
    namespace.until(lambda: phase(namespace, "logs") == "Bound")


@pytest.mark.broad
def test_a_silent_kubelet_is_not_ready_nor_are_its_pods(namespace: Namespace, breakdowns: Rehearsal) -> None:
    pod = namespace.pod(shell("sleep 600"))
    namespace.ready(pod)
    breakdowns.control("POST", {"breakdown": "silence"})
    namespace.until(lambda: not is_ready(namespace, pod))
    assert conditions(namespace)["Ready"] == ("Unknown", "Kubelet stopped posting node status.")
    unreachable = "node.kubernetes.io/unreachable"
    assert taints(namespace) == {(unreachable, "NoSchedule"), (unreachable, "NoExecute")}
    assert namespace.events(pod, "NodeNotReady") == ["Node is not ready"]
    unheard = "dial tcp 10.224.0.4:10250: i/o timeout"
    with pytest.raises(ApiException) as refused:
        namespace.log(pod)
    address = f"https://10.224.0.4:10250/containerLogs/{namespace.name}/{pod}/main"
    assert json.loads(refused.value.body)["message"] == f'Get "{address}": {unheard}'
    with pytest.raises(ApiException, match=f"error dialing backend: {unheard}"):
        namespace.run(pod, "true")
    later = namespace.pod(shell("sleep 600"))
    assert "untolerated taint(s)" in namespace.events(later, "FailedScheduling")[0]
    breakdowns.control("DELETE")
    namespace.ready(pod)
    namespace.ready(later)
    assert conditions(namespace)["Ready"] == ("True", "kubelet is posting ready status")
    assert not taints(namespace)


@pytest.mark.broad
def test_no_name_is_resolved_where_dns_does_not_answer(namespace: Namespace, breakdowns: Rehearsal) -> None:
    program = """
import socket
try:
    print(socket.gethostbyname('kubernetes.default'))
except OSError as fault:
    print(fault)
"""

    def said() -> str:
        pod = namespace.pod(python(program))
        namespace.ended(pod)
        return namespace.log(pod)

    breakdowns.control("POST", {"breakdown": "dns"})
    namespace.until(lambda: said() == "[Errno -3] Temporary failure in name resolution\n")
    breakdowns.control("DELETE")
    namespace.until(lambda: said() == "10.0.0.1\n")


def test_leases_show_the_clocks_of_the_nodes(namespace: Namespace, breakdowns: Rehearsal) -> None:
    leases = CoordinationV1Api(namespace.api)

    def ahead() -> float:
        (lease,) = leases.list_namespaced_lease("kube-node-lease").items
        return float((lease.spec.renew_time - datetime.now(UTC)).total_seconds())

    namespace.until(lambda: -15 < ahead() <= 0)
    breakdowns.control("POST", {"breakdown": "clock", "seconds": 240})
    namespace.until(lambda: 225 < ahead() <= 240)


def test_a_pod_that_fills_the_disk_is_evicted(namespace: Namespace, breakdowns: Rehearsal) -> None:
    pod, other = namespace.pod(shell("sleep 60")), namespace.pod(shell("sleep 60"))
    namespace.ready(pod)
    namespace.ready(other)
    breakdowns.control("POST", {"breakdown": "disk", "name": pod})
    status = namespace.ended(pod).status
    assert (status.phase, status.reason) == ("Failed", "Evicted")
    assert status.message.startswith("The node was low on resource: ephemeral-storage. Threshold quantity: ")
    assert "Container main was using " in status.message
    assert namespace.events(pod, "Evicted") == [status.message]
    assert conditions(namespace)["DiskPressure"] == ("True", "kubelet has disk pressure")
    assert taints(namespace) == {("node.kubernetes.io/disk-pressure", "NoSchedule")}
    assert is_ready(namespace, other)
    breakdowns.control("DELETE")
    namespace.until(lambda: not taints(namespace))
    assert conditions(namespace)["DiskPressure"] == ("False", "kubelet has no disk pressure")
    namespace.gone(pod)
