"""Networks and their subnets, security groups, public addresses."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azure.mgmt.resource.resources import ResourceManagementClient

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

VERSION = "api-version=2024-05-01"


@pytest.fixture
def place(rehearsal: Rehearsal, resources: ResourceManagementClient, group: str) -> str:
    resources.providers.register("Microsoft.Network")
    return f"/subscriptions/{rehearsal.subscription}/resourceGroups/{group}/providers/Microsoft.Network"


def network(*subnets: str) -> dict[str, Any]:
    body = [
        {"name": name, "properties": {"addressPrefix": f"10.1.{number}.0/24"}} for number, name in enumerate(subnets)
    ]
    return {
        "location": "westeurope",
        "properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}, "subnets": body},
    }


def names(listed: list[dict[str, Any]]) -> list[str]:
    return sorted(subnet["name"] for subnet in listed)


def test_subnets_are_children_of_their_network_and_shown_in_it(send: Sender, place: str) -> None:
    path = f"{place}/virtualNetworks/vnet"
    made = send("PUT", f"{path}?{VERSION}", network("default")).json()
    assert made["properties"]["subnets"][0]["id"].endswith("/virtualNetworks/vnet/subnets/default")
    body = {"properties": {"addressPrefix": "10.1.4.0/22"}}
    assert send("PUT", f"{path}/subnets/aks?{VERSION}", body).status_code == 201
    assert names(send("GET", f"{path}/subnets?{VERSION}").json()["value"]) == ["aks", "default"]
    assert names(send("GET", f"{path}?{VERSION}").json()["properties"]["subnets"]) == ["aks", "default"]
    send("DELETE", f"{path}/subnets/default?{VERSION}")
    assert names(send("GET", f"{path}?{VERSION}").json()["properties"]["subnets"]) == ["aks"]


def test_a_put_without_a_subnet_deletes_it(send: Sender, place: str) -> None:
    path = f"{place}/virtualNetworks/vnet"
    send("PUT", f"{path}?{VERSION}", network("default", "aks"))
    send("PUT", f"{path}?{VERSION}", network("default"))
    assert names(send("GET", f"{path}/subnets?{VERSION}").json()["value"]) == ["default"]


def test_a_public_address_keeps_its_address(send: Sender, place: str) -> None:
    path, body = f"{place}/publicIPAddresses/ip?{VERSION}", {"location": "westeurope", "sku": {"name": "Standard"}}
    address = send("PUT", path, body).json()["properties"]["ipAddress"]
    assert ipaddress.ip_address(address)
    assert send("PUT", path, body).json()["properties"]["ipAddress"] == address


def test_a_security_group_has_no_rules_at_first(send: Sender, place: str) -> None:
    made = send("PUT", f"{place}/networkSecurityGroups/nsg?{VERSION}", {"location": "westeurope"}).json()
    assert made["properties"]["securityRules"] == []
