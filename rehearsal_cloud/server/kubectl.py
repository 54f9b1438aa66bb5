"""kubectl's access to the rehearsal's clusters: a kubeconfig, and its exec credential.

On Azure kubelogin returns the credential; here a command of the rehearsal replaces it, so that nothing needs to be
installed. https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml

from rehearsal_cloud.entra.directory import AKS_SERVER
from rehearsal_cloud.home import OPERATOR_CLIENT_ID, TENANT_ID, write_private
from rehearsal_cloud.resource_manager.kubeconfig import Kubeconfig
from rehearsal_cloud.server.daemon import DaemonFailed
from rehearsal_cloud.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.home import Home, Settings

_API = "client.authentication.k8s.io/v1"


def write_kubeconfig(home: Home) -> Path:
    """Write the kubeconfig of all clusters, which signs in with `credential`, and return its path."""
    store = Store(home.database)
    try:
        documents = store.scan("resources", "/")
    finally:
        store.close()
    plugin = {
        "apiVersion": _API,
        "command": sys.executable,
        "args": ["-m", "rehearsal_cloud", "credential", "--home", str(home.folder)],
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    parts: dict[str, dict[str, Any]] = {"clusters": {}, "contexts": {}, "users": {}}
    current = {}
    for document in documents:
        if document["type"].lower() != "microsoft.containerservice/managedclusters":
            continue
        if "port" not in document["_secret"]:  # its API has not started yet
            continue
        config = yaml.safe_load(base64.b64decode(Kubeconfig(home.ca_file.read_text(), document).entra()))
        config["users"] = [{**user, "user": {"exec": plugin}} for user in config["users"]]
        # Of clusters with one name in several groups the last counts: kubectl rejects a file with a name twice.
        for part, named in parts.items():
            named.update((entry["name"], entry) for entry in config[part])
        current = {"current-context": config["current-context"]}
    lists = {part: list(named.values()) for part, named in parts.items()}
    merged = {"apiVersion": "v1", "kind": "Config", **lists, **current}
    # As JSON, which YAML includes: PyYAML leaves names such as 1e3 without quotes, and kubectl reads them as numbers.
    write_private(home.kubeconfig, json.dumps(merged, indent=2))
    return home.kubeconfig


def credential(home: Home, settings: Settings) -> dict[str, Any]:
    """Return an ExecCredential with an Entra token: of `AZURE_CLIENT_ID`, by default of the operator.

    Raises DaemonFailed where Entra denies the sign-in or the rehearsal does not answer.
    """
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ.get("AZURE_CLIENT_ID", OPERATOR_CLIENT_ID),
        "client_secret": os.environ.get("AZURE_CLIENT_SECRET", settings.operator_secret),
        "scope": f"{AKS_SERVER[0]}/.default",
    }
    handlers = (
        urllib.request.ProxyHandler({"https": f"http://127.0.0.1:{settings.proxy_port}"}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(home.ca_file))),
    )
    url = f"https://login.microsoftonline.com/{TENANT_ID}/oauth2/v2.0/token"
    try:
        with urllib.request.build_opener(*handlers).open(url, urlencode(form).encode(), timeout=10) as answer:
            tokens = json.load(answer)
    except urllib.error.HTTPError as fault:
        with fault:
            action = "Correct AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, which name who signs in."
            raise DaemonFailed(json.load(fault)["error_description"], action) from None
    except OSError as fault:
        message = f"The rehearsal's Entra does not answer: {fault}."
        raise DaemonFailed(message, "Start it again with `airflowaks rehearsal up`.") from None
    until = datetime.now(UTC) + timedelta(seconds=tokens["expires_in"])
    status = {"token": tokens["access_token"], "expirationTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {"apiVersion": _API, "kind": "ExecCredential", "status": status}
