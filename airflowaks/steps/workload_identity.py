"""Step 5: the identity of Airflow's pods, and the way by which each of them gets its secrets out of the vault.

A pod's service account signs a token, Entra takes it for the identity's own because of the federated credential, and
the identity may read this vault and nothing else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflowaks.azure.identities import FederatedCredential, ManagedIdentity
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.polling import wait_until
from airflowaks.errors import CheckFailed
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.manifests import load
from airflowaks.kube.objects import objects
from airflowaks.kube.pods import short_lived
from airflowaks.steps import cluster, key_vault, registry

if TYPE_CHECKING:
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.session import Session

SERVICE_ACCOUNTS = {"airflow": "api-server", "airflow-dags": "worker"}
"""The service accounts, each with a component of those that run as it."""

_FOLDER = "05_workload_identity"
_SYNC_SECONDS = 60.0


class Resources:
    """What step 5 makes, in order."""

    def __init__(self, session: Session) -> None:
        step1, step4 = session.memoize(cluster.Resources), session.memoize(key_vault.Resources)
        environment = session.environment
        self.identity = ManagedIdentity(session, environment.identities.pods, parent=step1.group)
        self.vault_access = RoleAssignment(
            Role.KEY_VAULT_SECRETS_USER,
            step4.vault,
            self.identity.name,
            (self.identity, "properties.principalId"),
            "ServicePrincipal",
        )
        self.credentials: list[FederatedCredential] = []
        for account in SERVICE_ACCOUNTS:
            before = tuple(self.credentials)
            namespace = environment.cluster.namespace
            credential = FederatedCredential(self.identity, step1.cluster, namespace, account, depends_on=before)
            self.credentials.append(credential)
        values = {
            "NAMESPACE": environment.cluster.namespace,
            "CLIENT_ID": lambda: self.identity.fact("properties.clientId"),
            "TENANT_ID": environment.tenant_id,
            "VAULT": step4.vault.name,
            "CERTIFICATE": environment.airflow.certificate,
        }
        folders = [_FOLDER] if environment.airflow.expose == "none" else [_FOLDER, f"{_FOLDER}/exposed"]
        self.objects = [
            one
            for folder in folders
            for one in objects(folder, values, parent=step1.namespace, depends_on=[self.identity])
        ]


def identity(session: Session) -> Changes:
    """Make the pods' identity, and let it read the vault."""
    step = session.memoize(Resources)
    return converge(session, step.identity, step.vault_access)


def federation(session: Session) -> Changes:
    """Have Entra take the service accounts' tokens for the identity's."""
    return converge(session, *session.memoize(Resources).credentials)


def service_accounts(session: Session) -> Changes:
    """Make the service accounts, and the classes that say which secrets each component gets."""
    return converge(session, *session.memoize(Resources).objects)


def everything(session: Session) -> Changes:
    """Do the whole step."""
    return identity(session) + federation(session) + service_accounts(session)


def checks(session: Session) -> Checks:
    """Look from outside, as each service account: a short-lived pod mounts its secrets, and their Secret appears."""

    def mounts(account: str, component: str) -> str:
        kube, namespace = session.memoize(connect), session.environment.cluster.namespace
        values = {
            "NAMESPACE": namespace,
            "IMAGE": session.memoize(registry.Resources).image.reference,
            "SERVICE_ACCOUNT": account,
            "CLASS": component,
        }
        (pod,) = load(f"{_FOLDER}/check", values)
        secret = Reference("v1", "Secret", f"airflow-{component}", namespace)
        with short_lived(kube, pod.fill()):
            synced = wait_until(lambda: kube.get(secret), lambda found: found is not None, _SYNC_SECONDS)
        if synced is None:
            message = f"The pod mounted the vault's volume, and no Secret {secret.name} appeared."
            raise CheckFailed(message, "See `kubectl logs --namespace kube-system -l app=secrets-store-csi-driver`.")
        return f"mounted and synced: {', '.join(sorted(synced['data']))}"

    accounts = SERVICE_ACCOUNTS.items()
    return observe(session, {f"{account} gets its secrets": partial(mounts, account, one) for account, one in accounts})
