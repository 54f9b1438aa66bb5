"""The role assignment mode of a registry: a new one honours AcrPull, an existing one keeps its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.registry import ContainerRegistry, ImportedImage
from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.azure.subscription import ResourceGroup
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

MODE, ABAC = "properties.roleAssignmentMode", "AbacRepositoryPermissions"


@pytest.fixture
def registry(group: ResourceGroup) -> ContainerRegistry:
    return ContainerRegistry(group.session, group.session.environment.registry.name, parent=group)


@pytest.fixture
def future(rehearsal: Rehearsal) -> Iterator[None]:
    """The default mode that Microsoft announces."""
    rehearsal.control("POST", {"restriction": "registry-mode", "name": ABAC})
    yield
    rehearsal.control("DELETE")


@pytest.mark.usefixtures("future")
def test_a_registry_honours_acr_pull_whatever_the_default_is(registry: ContainerRegistry) -> None:
    converge(registry.session, registry, ImportedImage(registry))
    assert registry.fact(MODE) == "LegacyRegistryPermissions"


def test_an_existing_registry_keeps_its_mode_and_says_which_role_is_missing(registry: ContainerRegistry) -> None:
    converge(registry.session, registry)
    changed: Any = {**registry.desired(), "properties": {"roleAssignmentMode": ABAC, "adminUserEnabled": True}}
    registry.put(changed)
    (change,) = converge(registry.session, registry)
    assert (change.action, registry.fact(MODE)) == (Action.UPDATE, ABAC)
    with pytest.raises(PermissionDenied, match="role assignment mode RBAC \\+ ABAC") as caught:
        converge(registry.session, ImportedImage(registry))
    assert "Container Registry Repository Reader" in caught.value.action
    assert caught.value.needs == "Microsoft.ContainerRegistry/registries/repositories/metadata/read"
