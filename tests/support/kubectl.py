"""kubectl on a cluster of the rehearsal, signed in as the operator by the kubeconfig that `env` names."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.home import OPERATOR_OBJECT_ID
from tests.support.rehearsal import run_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

NEEDS_KUBECTL = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: https://kubernetes.io/docs/tasks/tools/"
)
GRAPH = "https://graph.microsoft.com/v1.0"
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: python:3.12-slim
        command: [python, -u, -m, http.server, "8000", --bind, 0.0.0.0]
        env: [{name: GREETING, value: hello}]
        ports: [{containerPort: 8000, name: http}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
"""
"""A Deployment that is ready as soon as it answers."""
SHELL = """\
apiVersion: v1
kind: Pod
metadata: {name: shell, labels: {app: shell}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: shell, image: "python:3.12-slim", command: [sleep, infinity]}
"""
"""A pod for commands."""
_SECONDS = 120
_MINOR = re.compile(r"kubectl\.1\.(\d+)")


def newest() -> str:
    """The newest kubectl of this machine: some packages have several versions side by side."""
    program = shutil.which("kubectl") or "kubectl"
    versions = {
        int(match[1]): file
        for file in Path(program).resolve().parent.iterdir()
        if (match := _MINOR.fullmatch(file.name))
    }
    return str(versions[max(versions)]) if versions else program


@dataclass(frozen=True)
class Kubectl:
    """kubectl in a namespace, with the environment of a shell that took in what `env` prints."""

    environment: dict[str, str] = field(repr=False)
    namespace: str
    token: str = field(repr=False)
    program: str = field(default_factory=newest)

    def words(self, *words: str, signed_in: bool = True) -> list[str]:
        """A command line; `signed_in` spares kubectl asking for a credential each time anew."""
        token = [f"--token={self.token}"] if signed_in else []
        return [self.program, f"--namespace={self.namespace}", *token, *words]

    def run(
        self, *words: str, given: str = "", signed_in: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words, signed_in=signed_in),
            input=given,
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={**self.environment, **variables},
        )

    def __call__(self, *words: str, given: str = "") -> str:
        """Run a command that must succeed, and return what it says."""
        done = self.run(*words, given=given)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def pod(self, app: str) -> str:
        """The name of the one pod of an app."""
        name: str = self("get", "pods", "-l", f"app={app}", "-o", "jsonpath={.items[0].metadata.name}")
        return name


@contextmanager
def administered_cluster(rehearsal: Rehearsal, send: Sender, folder: Path) -> Iterator[dict[str, str]]:
    """A cluster that the operator administers through a group, and what a shell needs to reach it."""
    subscription = f"/subscriptions/{rehearsal.subscription}"
    provider = f"{subscription}/providers/Microsoft.ContainerService"
    send("POST", f"{provider}/register?api-version=2025-04-01")
    _until(lambda: send("GET", f"{provider}?api-version=2025-04-01").json()["registrationState"] == "Registered")
    name = f"kubectl-{uuid.uuid4().hex[:8]}"
    wanted = {"displayName": name, "mailNickname": name, "mailEnabled": False, "securityEnabled": True}
    admins = send("POST", f"{GRAPH}/groups", wanted).json()["id"]
    member = {"@odata.id": f"{GRAPH}/directoryObjects/{OPERATOR_OBJECT_ID}"}
    assert send("POST", f"{GRAPH}/groups/{admins}/members/$ref", member).status_code == 204
    group = f"{subscription}/resourceGroups/{name}"
    send("PUT", f"{group}?api-version=2025-04-01", {"location": "westeurope"})
    cluster = f"{group}/providers/Microsoft.ContainerService/managedClusters/{name}?api-version=2025-10-01"
    pool = {"name": "system", "mode": "System", "count": 1, "vmSize": "Standard_D4s_v5", "osType": "Linux"}
    properties = {
        "dnsPrefix": name,
        "agentPoolProfiles": [pool],
        "aadProfile": {"managed": True, "adminGroupObjectIDs": [admins]},
        "disableLocalAccounts": True,
    }
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, "properties": properties}
    assert send("PUT", cluster, body).status_code == 201
    _until(lambda: send("GET", cluster).json()["properties"]["provisioningState"] == "Succeeded")
    exports = run_rehearsal(rehearsal.home, "env").splitlines()
    pairs = (shlex.split(line)[1].partition("=") for line in exports)
    found = {key: value for key, _, value in pairs}
    assert found["AZURE_CONFIG_DIR"] == str(rehearsal.home / "az")  # or az would sign out of Azure
    shell = {**os.environ, **found, "HOME": str(folder)}
    # It names the contexts of other tests' clusters, too.
    subprocess.run([newest(), "config", "use-context", name], check=True, env=shell, stdout=subprocess.DEVNULL)
    yield shell
    send("DELETE", f"{group}?api-version=2025-04-01")


def _until(happens: Any) -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)
