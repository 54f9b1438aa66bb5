"""Step 1: the resource group, Entra groups, identity and AKS cluster, and the namespace that developers may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.azure.applications import Application, AssignedGroups, Consent, ServicePrincipal
from airflowaks.azure.entra import Group, GroupMembers
from airflowaks.azure.identities import ManagedIdentity
from airflowaks.azure.kubernetes_service import UPGRADES, MaintenanceWindow, ManagedCluster
from airflowaks.azure.roles import Role, RoleAssignment
from airflowaks.azure.subscription import NAMESPACES, ProviderRegistration, ResourceGroup
from airflowaks.engine.changes import Changes
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.resource import ADOPTED, set_step
from airflowaks.errors import CheckFailed
from airflowaks.kube.client import connect
from airflowaks.kube.manifests import load
from airflowaks.kube.objects import KubeObject

if TYPE_CHECKING:
    from airflowaks.azure.arm import ArmResource
    from airflowaks.engine.checks import Checks
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session


# What developers can and cannot do in the namespace: verb, resource, its API group. A stream needs get and create since
# Kubernetes 1.35, and one of them before: https://github.com/kubernetes/kubernetes/pull/134577
RIGHTS = (
    ("list", "pods", ""),
    ("get", "pods/log", ""),
    ("get", "pods/portforward", ""),
    ("create", "pods/portforward", ""),
    ("list", "jobs", "batch"),
)
NO_RIGHTS = (
    ("get", "secrets", ""),
    ("get", "pods/exec", ""),
    ("create", "pods/exec", ""),
    ("delete", "pods", ""),
    ("patch", "deployments", "apps"),
    ("create", "rolebindings", "rbac.authorization.k8s.io"),
)


SIGN_IN_ACCOUNT = "airflow-api-server"
"""The service account whose tokens stand in for a secret of the application that people sign in to."""


class Resources:
    """The resources of step 1, in order; later steps refer to them."""

    def __init__(self, session: Session) -> None:
        environment = session.environment
        names = environment.entra
        self.providers = [ProviderRegistration(session, namespace) for namespace in NAMESPACES]
        self.group = ResourceGroup(session, environment.resource_group)
        self.admins = Group(session, names.admin_group, f"Administrators of Airflow ({environment.name})")
        self.developers = Group(session, names.developer_group, f"Developers of DAGs for Airflow ({environment.name})")
        self.groups = [self.admins, self.developers]
        if names.viewer_group:
            self.groups.append(Group(session, names.viewer_group, f"Viewers of Airflow ({environment.name})"))
        self.application: Application | None = None
        if environment.registers_application:
            description = f"Sign-in to Airflow ({environment.name})"
            self.application = Application(session, names.application, description, environment.airflow.host)
        self.sign_in = self._sign_in()
        self.identity = ManagedIdentity(
            session, environment.identities.cluster, depends_on=[self.group, *self.providers]
        )
        self.cluster = ManagedCluster(session, identity=self.identity, admins=self.admins)
        self.windows = [MaintenanceWindow(self.cluster, name) for name in UPGRADES]
        self.access = RoleAssignment(
            Role.CLUSTER_USER, self.cluster, self.developers.name, (self.developers, "id"), "Group"
        )
        values = {"NAMESPACE": environment.cluster.namespace, "DEVELOPERS_GROUP": lambda: self.developers.object_id}
        namespace, *rules = load("01_cluster", values)
        self.namespace = KubeObject(namespace, parent=self.cluster)
        self.rules = [KubeObject(rule, parent=self.namespace) for rule in rules]
        set_step(1, self)

    def _sign_in(self) -> list[Resource]:
        """Return the application, and what it takes in the tenant."""
        if self.application is None:
            return []
        self.service_principal = ServicePrincipal(self.application)
        self.assigned_groups = AssignedGroups(self.service_principal, self.groups)
        self.consent = Consent(self.service_principal)
        return [self.application, self.service_principal, self.assigned_groups, self.consent]

    @property
    def client_id(self) -> Any:
        """Return the client ID of the application that people sign in to, or AFTER_APPLY."""
        return self.application.client_id if self.application else self.group.session.environment.entra.application_id

    @property
    def roles(self) -> dict[Group, str]:
        """The groups, each with the role of its members in Airflow."""
        roles = ("Admin", self.group.session.environment.airflow.developers_role, "Viewer")
        return dict(zip(self.groups, roles, strict=False))

    def provider_of(self, resource: ArmResource) -> tuple[Resource, ...]:
        """Return the registration without which Azure refuses to create `resource`."""
        namespace = resource.type.partition("/")[0]
        return tuple(provider for provider in self.providers if provider.name == namespace)


def providers(session: Session) -> Changes:
    """Register the resource providers that the steps need; each takes Azure a minute or two, once per subscription."""
    return converge(session, *session.memoize(Resources).providers)


def resource_group(session: Session) -> Changes:
    """Create the resource group that holds everything."""
    return converge(session, session.memoize(Resources).group)


def groups(session: Session) -> Changes:
    """Create the Entra groups of administrators, with the operator as a member, of developers and of viewers.

    The operator's membership serves an apply and is no part of the environment: a check does not ask for it.
    """
    step, names = session.memoize(Resources), session.environment.entra
    operators = set() if session.mode == "check" else {session.operator.object_id}
    listed = (operators.union(names.admin_members), names.developer_members, names.viewer_members)
    members = [GroupMembers(group, ids) for group, ids in zip(step.groups, listed, strict=False)]
    return converge(session, *step.groups, *members)


def sign_in(session: Session) -> Changes:
    """Register the application that people sign in to Airflow with, and assign the groups to it; it has no secret.

    Without changes where the environment file names an application of the tenant's administrator, or `login: password`.
    Everybody in a tenant may register applications under any name, so one is not adopted by its name.

    Raises:
        NameTaken: an application that was not made for this environment has the name.

    """
    return converge(session, *session.memoize(Resources).sign_in)


def identity(session: Session) -> Changes:
    """Create the managed identity of the cluster."""
    return converge(session, session.memoize(Resources).identity)


def cluster(session: Session) -> Changes:
    """Create the AKS cluster, on Azure in about five minutes, and unless it is adopted its maintenance windows."""
    step = session.memoize(Resources)
    changes = converge(session, step.cluster)
    if any(change.origin == ADOPTED for change in changes):
        return changes
    return changes + converge(session, *step.windows)


def access(session: Session) -> Changes:
    """Allow the developers' group to get the cluster's address; Kubernetes RBAC decides what they may do in it."""
    return converge(session, session.memoize(Resources).access)


def namespace(session: Session) -> Changes:
    """Create Airflow's namespace, and the Role with which the developers' group sees what runs in it."""
    step = session.memoize(Resources)
    return converge(session, step.namespace, *step.rules)


def everything(session: Session) -> Changes:
    """Run all functions of the step."""
    parts = (providers, resource_group, groups, sign_in, identity, cluster, access, namespace)
    return sum((part(session) for part in parts), start=Changes())


def checks(session: Session) -> Checks:
    """Check that the cluster runs, that its OIDC issuer answers, and that developers have only their rights."""
    step = session.memoize(Resources)

    def runs() -> str:
        # An upgrade writes it as another resource.
        step.cluster.refresh()
        state = step.cluster.require("properties.provisioningState")
        power = step.cluster.fact("properties.powerState.code")
        if (state, power) != ("Succeeded", "Running"):
            message = f"AKS cluster {step.cluster.name}: it is {power}, and its provisioning state is {state}."
            start = f"az aks start --name {step.cluster.name} --resource-group {step.cluster.group}"
            raise CheckFailed(message, f"Start it with `{start}`, or run step 1 again.")
        return f"{power}, Kubernetes {step.cluster.fact('properties.currentKubernetesVersion')}"

    def issues() -> str:
        issuer = str(step.cluster.require("properties.oidcIssuerProfile.issuerURL"))
        discovery = session.fetch(f"{issuer}.well-known/openid-configuration")
        keys = session.fetch(discovery["jwks_uri"])["keys"]
        if discovery["issuer"] != issuer or not keys:
            message = f"OIDC issuer {issuer}: its discovery document names {discovery['issuer']}."
            raise CheckFailed(message, "Run step 1 again; federated credentials must name the issuer exactly.")
        return f"{issuer} with {len(keys)} key{'s' if len(keys) > 1 else ''}"

    def restricts() -> str:
        scope = step.namespace.name
        developer = session.memoize(connect).impersonating("a-developer", str(step.developers.require("id")))
        wrong = [f"can {verb} {what}" for verb, what, api in NO_RIGHTS if developer.may(verb, what, scope, api)]
        wrong += [f"cannot {verb} {what}" for verb, what, api in RIGHTS if not developer.may(verb, what, scope, api)]
        if wrong:
            message = f"Developers {', '.join(wrong)} in the namespace {scope}."
            raise CheckFailed(message, "Run step 1 again, and list the developers' other bindings with `kubectl auth`.")
        can, cannot = ([f"{verb} {what}" for verb, what, _ in rights] for rights in (RIGHTS, NO_RIGHTS))
        return f"can {', '.join(can)}; cannot {', '.join(cannot)}"

    observations = {"cluster runs": runs, "OIDC issuer answers": issues, "developers can see, not change": restricts}
    return observe(session, observations)
