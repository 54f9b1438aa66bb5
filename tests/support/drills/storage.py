"""Drills of shares and claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from airflowaks.engine.polling import wait_until
from airflowaks.kube.client import Reference
from airflowaks.kube.pods import is_ready
from airflowaks.steps import registry, volumes
from tests.support.deployed import NAMESPACE
from tests.support.drills.drill import Drills
from tests.support.hardened import hardened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Act, Scene

STORAGE = Drills()
_CLASS = Reference("storage.k8s.io/v1", "StorageClass", "airflow-logs")
_CLAIM = Reference("v1", "PersistentVolumeClaim", "airflow-archive", NAMESPACE)

_SHARES: dict[str, str] = yaml.safe_load((Path(__file__).parent / "shares.yaml").read_text())


def _claim(scene: Scene) -> None:
    """Ask for one more share of Airflow's."""
    scene.kube.create(
        {
            "apiVersion": _CLAIM.api_version,
            "kind": _CLAIM.kind,
            "metadata": {
                "name": _CLAIM.name,
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/name": "airflow"},
            },
            "spec": {
                "storageClassName": _CLASS.name,
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    )


def _await(scene: Scene, phase: str) -> None:
    wait_until(
        lambda: scene.kube.get(_CLAIM), lambda found: found is not None and found["status"]["phase"] == phase, 60
    )


@STORAGE.drill("AKA-410")
def a_pod_waits_for_a_claim_that_is_not_there(scene: Scene) -> Iterator[None]:
    volume = {"name": "drill", "persistentVolumeClaim": {"claimName": "nowhere"}}
    scene.edit("triggerer", {"volumes": [volume]})
    yield
    scene.edit("triggerer", {"volumes": [{"name": "drill", "$patch": "delete"}]})


@STORAGE.drill("AKA-406", fast=True)
def a_claim_has_a_class_that_was_deleted(scene: Scene) -> Iterator[None]:
    scene.kube.delete(_CLASS)
    _claim(scene)
    yield
    _await(scene, "Bound")
    scene.kube.delete(_CLAIM)


@STORAGE.drill("AKA-407")
def the_volume_of_a_claim_is_deleted(scene: Scene) -> Iterator[None]:
    _claim(scene)
    _await(scene, "Bound")
    found = scene.kube.get(_CLAIM) or {}
    volume = Reference("v1", "PersistentVolume", found["spec"]["volumeName"])
    scene.kube.delete(volume)
    # A volume that is bound stays until somebody takes off what protects it.
    scene.patch(volume, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    _await(scene, "Lost")
    yield
    scene.kube.delete(_CLAIM)
    volumes.storage(scene.session)


@STORAGE.drill("AKA-401")
def a_component_may_not_mount_its_share(scene: Scene) -> Iterator[None]:
    scene.break_down("mount", name="^airflow-logs$", message=_SHARES["AKA-401"])
    scene.replace("triggerer")
    yield
    scene.serve()


def _refused(rule: str, what: str) -> Act:
    """Somebody's pod, which is to read Airflow's logs, cannot mount their share."""

    def act(scene: Scene) -> Iterator[None]:
        scene.break_down("mount", name="^airflow-logs$", message=_SHARES[rule])
        # Events stay when a pod goes, so that each has a name of its own.
        reader = Reference("v1", "Pod", f"airflow-reader-{rule.lower()}", NAMESPACE)
        _read_logs(scene, reader)
        yield
        scene.serve()
        wait_until(lambda: scene.kube.get(reader), lambda found: found is not None and is_ready(found), 60)
        scene.kube.delete(reader, grace_seconds=0)

    act.__name__ = what
    return STORAGE.drill(rule)(act)


def _read_logs(scene: Scene, reader: Reference) -> None:
    container = {
        "name": "reader",
        "image": scene.step(registry).image.reference,
        "command": ["sleep", "infinity"],
        "volumeMounts": [{"name": "logs", "mountPath": "/opt/airflow/logs"}],
    }
    volume = {"name": "logs", "persistentVolumeClaim": {"claimName": "airflow-logs"}}
    metadata = {"name": reader.name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": "airflow"}}
    spec = hardened(containers=[container], volumes=[volume])
    scene.kube.create({"apiVersion": reader.api_version, "kind": reader.kind, "metadata": metadata, "spec": spec})


_refused("AKA-402", "a_share_is_gone")
_refused("AKA-404", "the_nodes_identity_has_no_role_at_the_share")
_refused("AKA-405", "port_445_is_blocked")
_refused("AKA-409", "the_driver_is_busy_with_a_share")


@STORAGE.drill("AKA-403")
def a_policy_forbids_shared_keys(scene: Scene) -> Iterator[None]:
    scene.break_down("provision", name=_CLAIM.name, message=_SHARES["AKA-403"])
    _claim(scene)
    yield
    scene.serve()
    _await(scene, "Bound")
    scene.kube.delete(_CLAIM)


@STORAGE.drill("AKA-408")
def a_task_writes_to_a_disk_that_is_full(scene: Scene) -> Iterator[None]:
    scene.fail("full_disk")
    yield
    scene.forget_failures()
