"""AKS's workload identity webhook: what it adds to a pod that is labelled for it.

https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.home import TENANT_ID

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document

_PREFIX = "azure.workload.identity"
_AUDIENCE = "api://AzureADTokenExchange"
_VOLUME = "azure-identity-token"
_MOUNT_PATH = "/var/run/secrets/azure/tokens"
_LEAST_SECONDS, _MOST_SECONDS = 3600, 86_400


class WebhookDenied(Exception):
    """The webhook refuses the pod; the message is its own."""


def labelled(pod: Document) -> bool:
    """Tell whether the pod asks for a workload identity; a label on what makes the pod does nothing."""
    return bool((pod["metadata"].get("labels") or {}).get(f"{_PREFIX}/use") == "true")


def mutate(pod: Document, account: Document) -> None:
    """Add the token's volume, and the variables that Azure's identity libraries read. Raises WebhookDenied."""
    annotations = account["metadata"].get("annotations") or {}
    about = pod["metadata"].get("annotations") or {}
    asked = about.get(f"{_PREFIX}/service-account-token-expiration") or annotations.get(
        f"{_PREFIX}/service-account-token-expiration"
    )
    variables = {
        "AZURE_CLIENT_ID": annotations.get(f"{_PREFIX}/client-id", ""),
        "AZURE_TENANT_ID": annotations.get(f"{_PREFIX}/tenant-id") or TENANT_ID,
        "AZURE_FEDERATED_TOKEN_FILE": f"{_MOUNT_PATH}/{_VOLUME}",
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
    }
    spec = pod["spec"]
    skipped = {name.strip() for name in about.get(f"{_PREFIX}/skip-containers", "").split(";")}
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        if container["name"] not in skipped:
            _add_to(container, variables)
    volumes = spec.setdefault("volumes", [])
    if all(one["name"] != _VOLUME for one in volumes):
        token = {"audience": _AUDIENCE, "expirationSeconds": _seconds(asked), "path": _VOLUME}
        projected = {"defaultMode": 0o644, "sources": [{"serviceAccountToken": token}]}
        volumes.append({"name": _VOLUME, "projected": projected})


def _add_to(container: Document, variables: dict[str, str]) -> None:
    environment = container.setdefault("env", [])
    known = {one["name"] for one in environment}
    environment += [
        {"name": name, "value": value} if value else {"name": name}
        for name, value in variables.items()
        if name not in known
    ]
    mounts = container.setdefault("volumeMounts", [])
    if all(one["name"] != _VOLUME for one in mounts):
        mounts.append({"name": _VOLUME, "mountPath": _MOUNT_PATH, "readOnly": True})


def _seconds(asked: str | None) -> int:
    if asked is None:
        return _LEAST_SECONDS
    if not asked.isdecimal():
        raise WebhookDenied(f'strconv.ParseInt: parsing "{asked}": invalid syntax')
    if not _LEAST_SECONDS <= int(asked) <= _MOST_SECONDS:
        text = f"token expiration {asked} not valid. Expected value to be between {_LEAST_SECONDS} and {_MOST_SECONDS}"
        raise WebhookDenied(text)
    return int(asked)
