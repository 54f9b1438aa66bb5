"""The pod network, the node's side: addresses of pods, and the tables of services, names and policies for guests.

`pod_site/guest.py` is the containers' side; it documents the files in the cluster's `network` folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import random
import shutil
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.node.network_policies import admissions

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.state import ClusterState

_WATCHED = ("Service", "EndpointSlice", "NetworkPolicy", "Pod", "Namespace")
_SETTLE_SECONDS = 0.02
_DOMAIN = "svc.cluster.local"
# Of the service tag AzureActiveDirectory: https://learn.microsoft.com/azure/virtual-network/service-tags-overview.
_ENTRA, _ENTRA_CIDR = "20.190.128.1", "20.190.128.0/18"
_POD_CIDR, _SERVICE_CIDR = "10.244.0.0/16", "10.0.0.0/16"


class Network:
    """The pod network of one cluster."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self.folder = cluster.folder / "network"
        self._pods = self.folder / "pods"
        self._pods.mkdir(mode=0o700, parents=True, exist_ok=True)
        profile = cluster.document["properties"].get("networkProfile") or {}
        pods, services = profile.get("podCidr") or _POD_CIDR, profile.get("serviceCidr") or _SERVICE_CIDR
        self._networks = [pods, services, _ENTRA_CIDR]
        self._addresses = ipaddress.ip_network(pods)
        self._last = 1
        self._tables: dict[str, Any] = {"names": {}, "services": {}, "ingress": {}, "egress": {}}

    # Addresses

    def place(self, ip: str) -> Path:
        """Return the folder of the pod with this address."""
        return self._pods / ip

    def join(self, pod: Document) -> str:
        """Return the pod's address; allocate a free address for a new pod."""
        metadata, taken = pod["metadata"], {entry["ip"]: entry for entry in self._entries()}
        current: str | None = next((ip for ip, entry in taken.items() if entry["uid"] == metadata["uid"]), None)
        if current is not None:
            return current
        while True:
            self._last = self._last % (self._addresses.num_addresses - 2) + 1
            ip = str(self._addresses[self._last])
            if ip not in taken:
                break
        about = {"ip": ip, "uid": metadata["uid"], "namespace": metadata["namespace"], "networks": self._networks}
        about["hostname"] = pod["spec"].get("hostname") or metadata["name"]
        fresh = self._pods / f".{ip}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        (fresh / "pod.json").write_text(json.dumps(about))
        fresh.rename(self.place(ip))
        return ip

    def leave(self, pod: Document) -> None:
        """Free the pod's address."""
        for entry in self._entries():
            if entry["uid"] == pod["metadata"]["uid"]:
                shutil.rmtree(self.place(entry["ip"]), ignore_errors=True)

    def keep(self, uids: set[str]) -> None:
        """Free the addresses of all other pods."""
        for entry in self._entries():
            if entry["uid"] not in uids:
                shutil.rmtree(self.place(entry["ip"]), ignore_errors=True)

    def _entries(self) -> list[Document]:
        entries = []
        for file in self._pods.glob("[0-9]*/pod.json"):
            with contextlib.suppress(FileNotFoundError):
                entries.append(json.loads(file.read_text()))
        return entries

    # Destinations

    def destination(self, host: str, port: int) -> tuple[str, int]:
        """Return the address on this machine of a pod's or a service's port. Raises ConnectionRefusedError."""
        service = self._tables["services"].get(host)
        if service is not None:
            backends = service.get(str(port))
            if not backends:
                raise ConnectionRefusedError
            host, port = random.choice(backends)  # noqa: S311 - kube-proxy's choice is as random
        elif not self.place(host).is_dir():
            return host, port
        if host == "127.0.0.1":
            return host, port
        try:
            record = json.loads((self.place(host) / str(port)).read_text())
            os.kill(record["pid"], 0)
        except (OSError, ValueError):
            raise ConnectionRefusedError from None
        return "127.0.0.1", record["port"]

    # Tables for guests

    async def run(self) -> None:
        """Keep the guests' tables up to date with the objects, until cancelled."""
        subscription = self._cluster.objects.subscribe(*_WATCHED)
        changed = asyncio.Event()
        changed.set()

        async def note() -> None:
            async for _ in subscription:
                changed.set()

        async def note_faults() -> None:
            while True:
                await faults.changed.wait()
                changed.set()

        faults = self._cluster.cloud.faults
        noting = [asyncio.create_task(note()), asyncio.create_task(note_faults())]
        try:
            while True:
                await changed.wait()
                await asyncio.sleep(_SETTLE_SECONDS)  # changes close together are written once
                changed.clear()
                self._write()
        finally:
            subscription.close()
            for task in noting:
                task.cancel()

    def _write(self) -> None:
        names, services = self._services()
        tables = {"names": names, "services": services, **admissions(self._cluster.objects)}
        tables["unanswered"] = self._cluster.cloud.faults.breakdown("dns") is not None
        if tables != self._tables or not (self.folder / "services.json").exists():
            fresh = self.folder / "services.json.new"
            fresh.write_text(json.dumps(tables))
            fresh.replace(self.folder / "services.json")
            self._tables = tables

    def _services(self) -> tuple[dict[str, list[str]], dict[str, dict[str, list[tuple[str, int]]]]]:
        # Pods reach Entra without a proxy; nothing else of Azure is asked from inside of a container.
        names: dict[str, list[str]] = {"login.microsoftonline.com": [_ENTRA]}
        services: dict[str, dict[str, list[tuple[str, int]]]] = {
            _ENTRA: {"443": [("127.0.0.1", self._cluster.cloud.settings.https_port)]}
        }
        slices: dict[tuple[str, str], list[Document]] = {}
        for endpoint_slice in self._cluster.objects.list("EndpointSlice"):
            owner = (endpoint_slice["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
            slices.setdefault((endpoint_slice["metadata"]["namespace"], owner), []).append(endpoint_slice)
        for service in self._cluster.objects.list("Service"):
            metadata, spec = service["metadata"], service["spec"]
            name = f"{metadata['name']}.{metadata['namespace']}.{_DOMAIN}"
            behind = slices.get((metadata["namespace"], metadata["name"]), [])
            if spec.get("type") == "ExternalName":
                continue
            if spec.get("clusterIP") in (None, "", "None"):
                names |= _headless(name, behind)
                continue
            ports = {str(port["port"]): _backends(behind, port.get("name", "")) for port in spec.get("ports") or []}
            if (metadata["namespace"], metadata["name"]) == ("default", "kubernetes"):
                ports = {port: [("127.0.0.1", self._cluster.port)] for port in ports}
            for ip in spec.get("clusterIPs") or [spec["clusterIP"]]:
                names.setdefault(name, []).append(ip)
                services[ip] = ports
        return names, services


def _ready(endpoint_slice: Document) -> list[Document]:
    return [
        end for end in endpoint_slice.get("endpoints") or [] if (end.get("conditions") or {}).get("ready") is not False
    ]


def _backends(slices: list[Document], port: str) -> list[tuple[str, int]]:
    return [
        (address, slice_port["port"])
        for endpoint_slice in slices
        for slice_port in endpoint_slice.get("ports") or []
        if (slice_port.get("name") or "") == port
        for end in _ready(endpoint_slice)
        for address in end["addresses"]
    ]


def _headless(name: str, slices: list[Document]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {name: []}
    for end in (end for endpoint_slice in slices for end in _ready(endpoint_slice)):
        names[name] += end["addresses"]
        if end.get("hostname"):
            names[f"{end['hostname']}.{name}"] = end["addresses"]
    return names
