"""Drills of shares and claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.kube.client import Reference
from airflowaks.patience import until
from airflowaks.steps import volumes
from tests.airflow.deployed import NAMESPACE
from tests.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.drills.drill import Scene

STORAGE = Drills()
_CLASS = Reference("storage.k8s.io/v1", "StorageClass", "airflow-logs")
_CLAIM = Reference("v1", "PersistentVolumeClaim", "airflow-archive", NAMESPACE)


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
    until(lambda: scene.kube.get(_CLAIM), lambda found: found is not None and found["status"]["phase"] == phase, 60)


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
