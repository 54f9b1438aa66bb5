"""The differential tests' two sides: the rehearsal's cluster, and a real control plane where there is one.

A test that takes `cluster_api` runs on both with the same assertions. Neither has a node: pods stay as they are.
"""

from __future__ import annotations

import shutil
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException

from tests.support.control_plane import ClusterApi, Server, control_plane, managed_cluster, running_cluster
from tests.support.plugins.groups import shared

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def rehearsal_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder, running = tmp_path_factory.mktemp("rehearsal"), shared(request.config)
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    return running.enter_context(running_cluster(folder, managed_cluster()))[1]


@pytest.fixture(scope="session")
def control_plane_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder, running = tmp_path_factory.mktemp("control-plane"), shared(request.config)
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    return running.enter_context(control_plane(folder))


@pytest.fixture(scope="session", params=["rehearsal", pytest.param("control-plane", marks=pytest.mark.broad)])
def api_server(request: pytest.FixtureRequest) -> Server:
    """An API server of each side, one for all tests: by a fixture each, for pytest ends one whose parameter changes."""
    server: Server = request.getfixturevalue(f"{request.param.replace('-', '_')}_server")
    return server


@pytest.fixture
def cluster_api(request: pytest.FixtureRequest, api_server: Server) -> Iterator[ClusterApi]:
    """The API of each side in turn, with a fresh namespace."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    with api_server.client() as client:
        core = CoreV1Api(client)
        core.create_namespace({"metadata": {"name": name}})
        deadline = time.monotonic() + 60
        while True:
            with suppress(ApiException):
                core.read_namespaced_service_account("default", name)
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield ClusterApi(client, name, request.node.callspec.params["api_server"])
        core.delete_namespace(name)
