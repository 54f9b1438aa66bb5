"""The state of a rehearsal: all that exists, one line each, as a run without a fault must leave it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from azure.core.exceptions import ResourceNotFoundError
from azure.core.rest import HttpRequest

from airflowaks.kube.client import Reference, connect
from airflowaks.steps import cluster, key_vault, workload_identity
from tests.support.deployment import GUID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.session import Session

_API_VERSION = "2025-04-01"
_KINDS = (
    ("storage.k8s.io/v1", "StorageClass"),
    ("v1", "Namespace"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "ServiceAccount"),
    ("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass"),
    ("v1", "PersistentVolumeClaim"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
)
TEMPORARY = " with a deadline"
_OURS = re.compile("airflow")
_SUFFIX = re.compile(r"-[0-9a-f]{8}(-\w{5})?$")


class Entry(NamedTuple):
    """Something that exists: what it is, the same for every run, and how it is deleted."""

    label: str
    place: str
    handle: str


def state(session: Session) -> list[Entry]:
    """Return all that exists, the parents first; two of the same are there twice."""
    parts = (_arm(session), _assignments(session), _graph(session), _secrets(session), _objects(session))
    return [entry for part in parts for entry in part]


def _arm(session: Session) -> Iterator[Entry]:
    for provider in session.memoize(cluster.Resources).providers:
        if provider.fact("registrationState") == "Registered":
            yield Entry(f"provider {provider.name}", "provider", provider.name)
    for group in session.resources.resource_groups.list():
        yield Entry(f"resource group {group.name}", "" if group.managed_by else "group", str(group.name))
    for resource in session.resources.resources.list():
        # AKS names addresses at random, and deletes with a cluster what it made in the cluster's own group.
        place = "" if "/resourceGroups/MC_" in str(resource.id) else "arm"
        yield Entry(f"resource {resource.type} {re.sub(GUID, '…', str(resource.name))}", place, str(resource.id))
    pods = session.memoize(workload_identity.Resources).identity
    if pods.facts is not None:
        place = session.environment.resource_group, pods.name
        for credential in session.identities.federated_identity_credentials.list(*place):
            yield Entry(f"federated credential {credential.name}", "arm", str(credential.id))
    for vault in session.vaults.vaults.list_deleted():
        yield Entry(f"deleted vault {vault.name}", "deleted", str(vault.name))


def _assignments(session: Session) -> Iterator[Entry]:
    for role in session.authorization.role_assignments.list_for_subscription():
        if "/resourceGroups/" in str(role.scope):
            scope, definition = (str(path).rpartition("/")[2] for path in (role.scope, role.role_definition_id))
            yield Entry(f"role {definition} {role.principal_type} {scope}", "role", str(role.id))


def _graph(session: Session) -> Iterator[Entry]:
    for group in _values(session, "/groups"):
        if _OURS.match(name := group["displayName"]):
            yield Entry(f"Entra group {name}", "entra", f"groups/{group['id']}")
            for member in _values(session, f"/groups/{group['id']}/members"):
                yield Entry(f"member {name} {member['id']}", "", "")
    for kind, below in (("applications", "federatedIdentityCredentials"), ("servicePrincipals", "appRoleAssignedTo")):
        for part in _values(session, f"/{kind}"):
            if _OURS.match(name := part["displayName"]):
                yield Entry(f"Entra {kind} {name}", "entra", f"{kind}/{part['id']}")
                for each in _values(session, f"/{kind}/{part['id']}/{below}"):
                    label = f"{below} {name} {each.get('name') or each['principalDisplayName']}"
                    yield Entry(label, "entra", f"{kind}/{part['id']}/{below}/{each['id']}")


def _values(session: Session, path: str) -> list[dict[str, Any]]:
    response = session.graph.send_request(HttpRequest("GET", session.graph.format_url(path)))
    response.raise_for_status()
    values: list[dict[str, Any]] = response.json()["value"]
    return values


def _secrets(session: Session) -> Iterator[Entry]:
    step = session.memoize(key_vault.Resources)
    if step.vault.facts is not None and step.access.facts is not None:
        for secret in step.vault.secrets.list_properties_of_secrets():
            yield Entry(f"secret {secret.name}", "secret", str(secret.name))


def _objects(session: Session) -> Iterator[Entry]:
    if session.memoize(cluster.Resources).cluster.facts is None:
        return
    kube, namespace = session.memoize(connect), session.environment.cluster.namespace
    for version, kind in _KINDS:
        for document in kube.each(version, kind):
            name, within = document["metadata"]["name"], document["metadata"].get("namespace", "")
            if within in ("", namespace) and _OURS.match(name):
                note = TEMPORARY if "activeDeadlineSeconds" in document.get("spec", {}) else ""
                label = f"{kind} {_SUFFIX.sub('', name)}{note}"
                yield Entry(label, "object", f"{version} {kind} {name} {within}")


def delete(session: Session, entries: list[Entry]) -> None:
    """Delete entries of the state behind the runbook's back."""
    for entry in reversed(entries):
        if entry.place:
            with suppress(ResourceNotFoundError):  # it went with its parent
                _DELETE[entry.place](session, entry.handle)


def _delete_arm(session: Session, name: str) -> None:
    session.resources.resources.begin_delete_by_id(name, api_version=_API_VERSION).result()


def _delete_group(session: Session, name: str) -> None:
    session.resources.resource_groups.begin_delete(name).result()


def _purge(session: Session, name: str) -> None:
    session.vaults.vaults.begin_purge_deleted(name, session.environment.location).result()


def _unregister(session: Session, name: str) -> None:
    session.resources.providers.unregister(name)


def _delete_role(session: Session, name: str) -> None:
    session.authorization.role_assignments.delete_by_id(name)


def _delete_entra(session: Session, path: str) -> None:
    session.graph.send_request(HttpRequest("DELETE", session.graph.format_url(f"/{path}")))


def _delete_secret(session: Session, name: str) -> None:
    client = session.memoize(key_vault.Resources).vault.secrets
    client.begin_delete_secret(name).wait()
    client.purge_deleted_secret(name)


def _delete_object(session: Session, name: str) -> None:
    version, kind, named, *namespace = name.split(" ")[:4]
    session.memoize(connect).delete(Reference(version, kind, named, *namespace), grace_seconds=0)


_DELETE = {
    "provider": _unregister,
    "group": _delete_group,
    "arm": _delete_arm,
    "deleted": _purge,
    "role": _delete_role,
    "entra": _delete_entra,
    "secret": _delete_secret,
    "object": _delete_object,
}
