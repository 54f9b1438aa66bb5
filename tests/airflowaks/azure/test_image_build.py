"""Builds in the registry, where the subscription does not permit them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.azure.image_build import BuildContext, BuiltImage
from airflowaks.azure.registry import ContainerRegistry, ImportedImage
from airflowaks.azure.subscription import ProviderRegistration, ResourceGroup
from airflowaks.engine.converge import converge
from airflowaks.errors import AzureError
from airflowaks.session import open_session
from tests.support.deployment import describe_environment
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broad


@pytest.fixture
def free_credit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    """A subscription whose registries build no images."""
    home = tmp_path / "free-credit"
    monkeypatch.setenv("AIRFLOWAKS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    describe_environment(tmp_path, "free")
    yield start_rehearsal(home, "--time-scale", "0.00005", "--no-acr-tasks")
    run_rehearsal(home, "reset")


@pytest.mark.usefixtures("free_credit")
def test_a_subscription_on_free_credit_is_told_to_push_an_image(tmp_path: Path) -> None:
    session, context = open_session("free"), tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    group = ResourceGroup(session, session.environment.resource_group)
    registry = ContainerRegistry(session, session.environment.registry.name, parent=group)
    base = ImportedImage(registry)
    converge(session, group, ProviderRegistration(session, "Microsoft.ContainerRegistry"))
    with pytest.raises(AzureError) as caught:
        converge(session, registry, base, BuiltImage(registry, BuildContext(context), base))
    assert caught.value.azure_code == "TasksOperationsNotAllowed"
    assert "are not permitted" in caught.value.message
    for words in (
        "`image: existing`",
        "az acr login",
        "docker buildx build",
        "docs/image.md",
        "https://aka.ms/azuresupport",
    ):
        assert words in caught.value.action
