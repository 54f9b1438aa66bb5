"""AKS's kubeconfigs: with a sign-in to Entra, or with a static token.

https://learn.microsoft.com/azure/aks/kubelogin-authentication
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from rehearsal_cloud.entra.directory import AKS_SERVER
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.resource_manager.resource_ids import ResourceId

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_KUBELOGIN_CLIENT_ID = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"


@dataclass(frozen=True)
class Kubeconfig:
    """The kubeconfigs of a cluster, in base64 as in Resource Manager's answers; `ca` is PEM."""

    ca: str
    cluster: Document = field(repr=False)

    def entra(self) -> str:
        """Return the kubeconfig whose user signs in to Entra with kubelogin."""
        arguments = {
            "environment": "AzurePublicCloud",
            "server-id": AKS_SERVER[0],
            "client-id": _KUBELOGIN_CLIENT_ID,
            "tenant-id": TENANT_ID,
            "login": "devicecode",
        }
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "args": ["get-token", *(word for name, value in arguments.items() for word in (f"--{name}", value))],
            "command": "kubelogin",
            "env": None,
            "installHint": "kubelogin is not installed. See https://aka.ms/aks/kubelogin to learn more.",
            "provideClusterInfo": False,
        }
        return self._render("clusterUser", {"exec": plugin}, suffix="")

    def static(self, user: str) -> str:
        """Return the kubeconfig whose user (`clusterUser` or `clusterAdmin`) has a static token."""
        suffix = "-admin" if user == "clusterAdmin" else ""
        return self._render(user, {"token": self.cluster["_secret"]["token"]}, suffix)

    def _render(self, user: str, credential: Document, suffix: str) -> str:
        name = self.cluster["name"]
        rid = ResourceId.parse(self.cluster["id"])
        login = f"{user}_{rid.group if rid else ''}_{name}"
        server = {
            "certificate-authority-data": base64.b64encode(self.ca.encode()).decode(),
            "server": f"https://localhost:{self.cluster['_secret']['port']}",
        }
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": server}],
            "contexts": [{"name": f"{name}{suffix}", "context": {"cluster": name, "user": login}}],
            "current-context": f"{name}{suffix}",
            "preferences": {},
            "users": [{"name": login, "user": credential}],
        }
        return base64.b64encode(yaml.safe_dump(config).encode()).decode()
