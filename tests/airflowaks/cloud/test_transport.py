"""The connections that the clients of a session share, on a rehearsal cloud."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
from azure.core import PipelineClient
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.policies import ProxyPolicy
from azure.core.rest import HttpRequest

from airflowaks.session import open_session

if TYPE_CHECKING:
    from tests.support.rehearsal import Rehearsal


def _local_ports(proxy: str) -> set[int]:
    """Return the local ports of this process's connections to the proxy."""
    connections = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in connections if each.raddr and each.raddr.port == urlsplit(proxy).port}


def test_clients_of_a_session_share_a_connection_to_a_host(rehearsal: Rehearsal) -> None:
    before = _local_ports(rehearsal.connection["HTTPS_PROXY"])
    session = open_session("local", "plan")
    list(session.resources.resource_groups.list())
    list(session.identities.user_assigned_identities.list_by_subscription())
    list(session.registries.registries.list())
    opened = _local_ports(rehearsal.connection["HTTPS_PROXY"]) - before
    assert len(opened) == len(("login.microsoftonline.com", "management.azure.com"))


@pytest.mark.usefixtures("rehearsal")
def test_a_server_is_verified_by_the_roots_of_the_connection() -> None:
    url = "https://management.azure.com/metadata/endpoints?api-version=2022-09-01"
    trusting = open_session("local", "plan").connection
    for connection in (trusting, replace(trusting, ca_bundle=None)):
        client = PipelineClient(url, policies=[ProxyPolicy(**connection.transport)], **connection.transport)
        if connection is trusting:
            assert client.send_request(HttpRequest("GET", url)).status_code == HTTPStatus.UNAUTHORIZED  # no token
        else:
            with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
                client.send_request(HttpRequest("GET", url))
