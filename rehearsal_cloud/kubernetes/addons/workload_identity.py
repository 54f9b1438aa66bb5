"""AKS's workload identity webhook: it mutates pods with its label.

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
    """The webhook denies the pod; the message is the webhook's."""


def labelled(pod: Document) -> bool:
    """Tell whether the pod itself has the label; a label on its owner has no effect."""
    return bool((pod["metadata"].get("labels") or {}).get(f"{_PREFIX}/use") == "true")


def mutate(pod: Document, account: Document) -> None:
    """Add the token's volume, and the variables of Azure's identity libraries. Raises WebhookDenied."""
    annotations = account["metadata"].get("annotations") or {}
    about = pod["metadata"].get("annotations") or {}
    expiration = about.get(f"{_PREFIX}/service-account-token-expiration") or annotations.get(
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
    if all(volume["name"] != _VOLUME for volume in volumes):
        token = {"audience": _AUDIENCE, "expirationSeconds": _seconds(expiration), "path": _VOLUME}
        projected = {"defaultMode": 0o644, "sources": [{"serviceAccountToken": token}]}
        volumes.append({"name": _VOLUME, "projected": projected})


def _add_to(container: Document, variables: dict[str, str]) -> None:
    environment = container.setdefault("env", [])
    names = {variable["name"] for variable in environment}
    environment += [
        {"name": name, "value": value} if value else {"name": name}
        for name, value in variables.items()
        if name not in names
    ]
    mounts = container.setdefault("volumeMounts", [])
    if all(mount["name"] != _VOLUME for mount in mounts):
        mounts.append({"name": _VOLUME, "mountPath": _MOUNT_PATH, "readOnly": True})


def _seconds(seconds: str | None) -> int:
    if seconds is None:
        return _LEAST_SECONDS
    if not seconds.isdecimal():
        raise WebhookDenied(f'strconv.ParseInt: parsing "{seconds}": invalid syntax')
    if not _LEAST_SECONDS <= int(seconds) <= _MOST_SECONDS:
        text = (
            f"token expiration {seconds} not valid. Expected value to be between {_LEAST_SECONDS} and {_MOST_SECONDS}"
        )
        raise WebhookDenied(text)
    return int(seconds)
