"""Tags of groups and of resources, and the deployments that there are none of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

if TYPE_CHECKING:
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal


@pytest.mark.parametrize(
    ("operation", "tags", "left"),
    [
        ("Merge", {"team": "data"}, {"env": "test", "team": "data"}),
        ("Replace", {"team": "data"}, {"team": "data"}),
        ("Delete", {"env": "test"}, {}),
    ],
)
def test_tags_are_merged_replaced_and_deleted(
    resources: ResourceManagementClient, group: str, operation: str, tags: dict[str, str], left: dict[str, str]
) -> None:
    resources.resource_groups.create_or_update(group, {"location": "westeurope", "tags": {"env": "test"}})
    scope = str(resources.resource_groups.get(group).id)
    patch = {"operation": operation, "properties": {"tags": tags}}
    resources.tags.begin_update_at_scope(scope, patch).wait()
    assert resources.tags.get_at_scope(scope).properties.tags == left
    assert resources.resource_groups.get(group).tags == left


def test_an_unknown_operation_on_tags_is_refused(resources: ResourceManagementClient, group: str) -> None:
    scope = str(resources.resource_groups.get(group).id)
    with pytest.raises(HttpResponseError, match="one of Merge, Replace, Delete"):
        resources.tags.begin_update_at_scope(scope, {"operation": "Forget", "properties": {"tags": {}}})


def test_resources_are_listed_by_group_and_by_tag(
    resources: ResourceManagementClient, rehearsal: Rehearsal, send: Sender, group: str
) -> None:
    identities = f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity"
    body = {"location": "westeurope", "tags": {"team": group}}
    send("PUT", f"{identities}/userAssignedIdentities/pods?api-version=2024-11-30", body)
    for condition in (f"resourceGroup eq '{group}'", f"tagName eq 'team' and tagValue eq '{group}'"):
        assert [resource.name for resource in resources.resources.list(filter=condition)] == ["pods"]
    assert not list(resources.resources.list(filter=f"resourceGroup eq '{group}' and location eq 'northeurope'"))


def test_nothing_is_deployed_by_templates(
    resources: ResourceManagementClient, rehearsal: Rehearsal, send: Sender, group: str
) -> None:
    del resources
    path = f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments"
    assert send("GET", f"{path}?api-version=2025-04-01").json() == {"value": []}
    answer = send("GET", f"{path}/first?api-version=2025-04-01")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "DeploymentNotFound")


def test_tags_of_a_missing_resource_are_not_found(resources: ResourceManagementClient, rehearsal: Rehearsal) -> None:
    with pytest.raises(ResourceNotFoundError):
        resources.tags.get_at_scope(f"/subscriptions/{rehearsal.subscription}/resourceGroups/nowhere")
