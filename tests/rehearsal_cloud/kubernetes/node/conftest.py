"""A managed cluster of the rehearsal, reached by the real client; its pods are bound, run and ended for real."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support import managed_cluster as azure
from tests.support.node import GROUP, Namespace, admin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.mgmt.resource.resources import ResourceManagementClient
    from kubernetes import client

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal


@pytest.fixture(scope="session")
def cluster(send: Sender, rehearsal: Rehearsal, resources: ResourceManagementClient) -> str:
    """The resource ID of a cluster with local accounts."""
    resources.resource_groups.create_or_update(GROUP, {"location": "westeurope"})
    return azure.managed_cluster(send, rehearsal.subscription, GROUP, aadProfile=None)


@pytest.fixture(scope="session")
def api(send: Sender, cluster: str) -> Iterator[client.ApiClient]:
    with admin(send, cluster) as made:
        yield made


@pytest.fixture
def namespace(api: client.ApiClient) -> Iterator[Namespace]:
    made = Namespace(api, f"test-{uuid.uuid4().hex[:8]}")
    yield made
    for one in made.core.list_namespaced_pod(made.name).items:
        made.core.delete_namespaced_pod(one.metadata.name, made.name, grace_period_seconds=1)
    made.core.delete_namespace(made.name)
