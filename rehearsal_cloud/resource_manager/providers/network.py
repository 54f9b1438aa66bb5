"""Microsoft.Network: networks with their subnets, security groups and public addresses; all else is only stored.

https://learn.microsoft.com/rest/api/virtualnetwork/virtual-networks. A subnet is a child of its network and also shown
in it; a PUT of the network without one of its subnets deletes it.
"""

from __future__ import annotations

import ipaddress
import secrets
from typing import TYPE_CHECKING

from rehearsal_cloud.resource_manager.providers.generic import GenericProvider
from rehearsal_cloud.resource_manager.resource_types import Call, ResourceType, defaults

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud

_NAMESPACE = "Microsoft.Network"
_UNUSED_ADDRESSES = ipaddress.IPv4Network("198.18.0.0/15")
"""Addresses that nobody has on the Internet (RFC 2544)."""


def public_address() -> str:
    """Return an address for a public IP address resource."""
    return str(_UNUSED_ADDRESSES[secrets.randbelow(_UNUSED_ADDRESSES.num_addresses)])


class VirtualNetwork(ResourceType):
    """A network; its subnets are kept as children."""

    namespace = _NAMESPACE
    type = "virtualNetworks"

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Keep the subnets of the request's body as children, and delete those that it leaves out."""
        del verb
        properties = document["properties"]
        asked = {subnet["name"]: subnet for subnet in properties.get("subnets") or []}
        for child in _subnets(cloud, document["id"]):
            if child["name"] not in asked:
                cloud.store.delete("resources", child["id"].lower())
        for name, subnet in asked.items():
            path = f"{document['id']}/subnets/{name}"
            kept = {"id": path, "name": name, "type": f"{_NAMESPACE}/virtualNetworks/subnets"}
            cloud.keep({**kept, "properties": subnet.get("properties") or {}, "_state": "Succeeded", "_secret": {}})
        properties["subnets"] = _shown(cloud, document["id"])


class Subnet(ResourceType):
    """A range of a network's addresses."""

    namespace = _NAMESPACE
    type = "virtualNetworks/subnets"
    tracked = False

    async def provision(self, cloud: Cloud, document: Document, verb: str) -> None:
        """Show the subnet in its network."""
        del verb
        cloud.keep(document)
        _mirror(cloud, document)

    async def destroy(self, cloud: Cloud, document: Document) -> None:
        """Remove the subnet from its network."""
        cloud.store.delete("resources", document["id"].lower())
        _mirror(cloud, document)


class SecurityGroup(ResourceType):
    """A network security group; a new one has no rules of its own."""

    namespace = _NAMESPACE
    type = "networkSecurityGroups"

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the group with its lists of rules."""
        del call, existing
        rules: Document = {"securityRules": [], "defaultSecurityRules": []}
        return {**body, "properties": defaults(body.get("properties"), rules)}


class PublicAddress(ResourceType):
    """A public IP address, allocated when it is made."""

    namespace = _NAMESPACE
    type = "publicIPAddresses"

    def fill(self, call: Call, body: Document, existing: Document | None) -> Document:
        """Return the resource with its address."""
        del call
        before = (existing or {}).get("properties") or {"ipAddress": public_address()}
        return {**body, "properties": defaults(body.get("properties"), before)}


class Network(GenericProvider):
    """The provider of networks, addresses and zones."""

    namespace = _NAMESPACE

    def __init__(self) -> None:
        super().__init__(VirtualNetwork(), Subnet(), SecurityGroup(), PublicAddress())


def _subnets(cloud: Cloud, network: str) -> list[Document]:
    return cloud.resources(f"{network}/subnets")


def _shown(cloud: Cloud, network: str) -> list[Document]:
    subnet = Subnet()
    return [subnet.view(child) for child in _subnets(cloud, network)]


def _mirror(cloud: Cloud, subnet: Document) -> None:
    network = cloud.store.get("resources", subnet["id"].lower().rpartition("/subnets/")[0])
    if network is not None:
        network["properties"]["subnets"] = _shown(cloud, network["id"])
        cloud.keep(network)
