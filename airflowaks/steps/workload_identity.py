"""Step 5: the identity of Airflow's pods, with which each of them gets its secrets from the vault.

A pod's service account signs a token, Entra takes it for the identity's own because of the federated credential, and
the identity may read this vault and nothing else.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.azure.applications import ApplicationCredential
from airflowaks.azure.identities import FederatedCredential, ManagedIdentity
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.polling import wait_until
from airflowaks.engine.resource import set_step
from airflowaks.engine.waiting import await_others
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

SERVICE_ACCOUNTS = {"airflow": "scheduler", "airflow-api-server": "api-server", "airflow-dags": "worker"}
"""The service accounts, each with a component that runs as it."""

_FOLDER = "05_workload_identity"
_SYNC_SECONDS = 60.0


class Resources:
    """The resources of step 5, in order."""

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
        self.sign_in: list[ApplicationCredential] = []
        if application := step1.application:
            namespace = environment.cluster.namespace
            self.sign_in.append(ApplicationCredential(application, step1.cluster, namespace, cluster.SIGN_IN_ACCOUNT))
        values = {
            "NAMESPACE": environment.cluster.namespace,
            "CLIENT_ID": lambda: self.identity.fact("properties.clientId"),
            "TENANT_ID": environment.tenant_id,
            "VAULT": step4.vault.name,
            "CERTIFICATE": environment.airflow.certificate,
        }
        folders = [_FOLDER] if environment.airflow.expose == "none" else [_FOLDER, f"{_FOLDER}/exposed"]
        self.objects = [
            kube_object
            for folder in folders
            for kube_object in objects(folder, values, parent=step1.namespace, depends_on=[self.identity])
        ]
        set_step(5, self)


def identity(session: Session) -> Changes:
    """Create the pods' identity, and allow it to read the vault."""
    step = session.memoize(Resources)
    return converge(session, step.identity, step.vault_access)


def federation(session: Session) -> Changes:
    """Create the federated credentials: Entra then accepts the service accounts' tokens as the identity's.

    The api-server's tokens it also accepts as the application's that people sign in to.
    """
    step = session.memoize(Resources)
    return converge(session, *step.credentials, *step.sign_in)


def service_accounts(session: Session) -> Changes:
    """Create the service accounts, and the SecretProviderClasses that name each component's secrets."""
    return converge(session, *session.memoize(Resources).objects)


def everything(session: Session) -> Changes:
    """Run all functions of the step."""
    return identity(session) + federation(session) + service_accounts(session)


def checks(session: Session) -> Checks:
    """Check as each service account that a short-lived pod mounts its secrets, and that their Secret appears."""

    def mounts(account: str, component: str) -> str:
        kube, namespace = session.memoize(connect), session.environment.cluster.namespace
        values = {
            "NAMESPACE": namespace,
            "IMAGE": session.memoize(registry.Resources).image.reference,
            "SERVICE_ACCOUNT": account,
            "CLASS": component,
            "SUFFIX": secrets.token_hex(4),
        }
        (pod,) = load(f"{_FOLDER}/check", values)
        secret = Reference("v1", "Secret", f"airflow-{component}", namespace)
        with short_lived(kube, pod.fill()):
            synced = wait_until(lambda: kube.get(secret), lambda now: now is not None, _SYNC_SECONDS)
        if synced is None:
            message = f"Secret {secret.name}: it did not appear, although a pod has mounted the vault's volume."
            raise CheckFailed(message, "See `kubectl logs --namespace kube-system -l app=secrets-store-csi-driver`.")
        return f"mounted and synced: {', '.join(sorted(synced['data']))}"

    step2, step4 = session.memoize(registry.Resources), session.memoize(key_vault.Resources)
    await_others(session, step2.image, step2.pull_access, *step4.secrets)
    accounts = SERVICE_ACCOUNTS.items()
    return observe(
        session, {f"{account} gets its secrets": partial(mounts, account, component) for account, component in accounts}
    )
