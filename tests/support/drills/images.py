"""Drills of what nodes pull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.steps import registry
from tests.support.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

IMAGES = Drills()
_COMPONENT = "triggerer"
"""Whose pods are edited: the deployment works without new ones of it for a while, and the old one stays."""


@IMAGES.drill("AKA-201", fast=True, proof=registry)
def the_kubelet_loses_acr_pull(scene: Scene) -> Iterator[None]:
    scene.session.authorization.role_assignments.delete_by_id(scene.step(registry).pull_access.id)
    yield


@IMAGES.drill("AKA-202", also=("AKA-009",))
def the_tag_is_deleted(scene: Scene) -> Iterator[None]:
    image = scene.step(registry).image
    image.registry.images.delete_tag(image.repository, scene.session.environment.registry.tag)
    yield


@IMAGES.drill("AKA-202", changes=("AKA-821",))
def a_tag_is_set_that_nobody_has_pushed(scene: Scene) -> Iterator[None]:
    image = scene.step(registry).image
    scene.edit(_COMPONENT, image=f"{image.registry.login_server}/{image.repository}:0.0.0")
    yield


@IMAGES.drill("AKA-203")
def the_registry_is_closed_to_the_internet(scene: Scene) -> Iterator[None]:
    known = scene.step(registry).registry
    parameters: Any = {"properties": {"publicNetworkAccess": "Disabled"}}
    scene.session.registries.registries.begin_update(known.group, known.name, parameters).result()
    scene.edit(_COMPONENT, imagePullPolicy="Always")
    yield
    scene.edit(_COMPONENT, imagePullPolicy="IfNotPresent")


@IMAGES.drill("AKA-204")
def a_registry_is_named_that_is_not_there(scene: Scene) -> Iterator[None]:
    scene.edit(_COMPONENT, image="nobodysregistry0.azurecr.io/airflow:3.3.2")
    yield
    scene.edit(_COMPONENT, image=scene.step(registry).image.reference)


@IMAGES.drill("AKA-205")
def the_registry_is_put_into_abac_mode(scene: Scene) -> Iterator[None]:
    _mode(scene, "AbacRepositoryPermissions")
    yield
    _mode(scene, "LegacyRegistryPermissions")


def _mode(scene: Scene, mode: str) -> None:
    known = scene.step(registry).registry
    parameters: Any = {"properties": {"roleAssignmentMode": mode}}
    scene.session.registries.registries.begin_update(known.group, known.name, parameters).result()


@IMAGES.drill("AKA-206")
def an_image_is_named_that_cannot_be_one(scene: Scene) -> Iterator[None]:
    scene.edit(_COMPONENT, image="Airflow:3.3.2")
    yield
    scene.edit(_COMPONENT, image=scene.step(registry).image.reference)
