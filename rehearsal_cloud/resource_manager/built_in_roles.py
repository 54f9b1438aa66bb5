"""Azure's built-in roles: those that the runbook or its operators need, and those that they might confuse with them.

IDs and actions: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Role:
    """A built-in role: its allowed actions on Resource Manager (`actions`) and on data (`data_actions`)."""

    id: str
    name: str
    description: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    def allows(self, action: str, *, data: bool) -> bool:
        """Tell whether the role covers `action`; `*` in a role matches any run of characters, `/*/` also one slash."""
        granted = self.data_actions if data else self.actions
        withheld = self.not_data_actions if data else self.not_actions
        excluded = any(_matches(action, pattern) for pattern in withheld)
        return not excluded and any(_matches(action, pattern) for pattern in granted)


def _matches(action: str, pattern: str) -> bool:
    folded, folded_pattern = action.lower(), pattern.lower()
    return fnmatchcase(folded, folded_pattern) or fnmatchcase(folded, folded_pattern.replace("/*/", "/"))


_READ = "*/read"
_SECRETS = "Microsoft.KeyVault/vaults/secrets"
_CLUSTER = "Microsoft.ContainerService/managedClusters"
_WORKLOADS = (
    "apps/controllerrevisions apps/daemonsets apps/deployments apps/replicasets apps/statefulsets"
    " autoscaling/horizontalpodautoscalers batch/cronjobs batch/jobs configmaps discovery.k8s.io/endpointslices"
    " endpoints events events.k8s.io/events limitranges namespaces networking.k8s.io/ingresses"
    " networking.k8s.io/networkpolicies persistentvolumeclaims pods policy/poddisruptionbudgets"
    " replicationcontrollers resourcequotas serviceaccounts services"
)
_ONLY_READ = {
    *("apps/controllerrevisions", "endpoints", "events", "events.k8s.io/events", "limitranges", "namespaces"),
    "resourcequotas",
}
_CREDENTIAL = (f"{_CLUSTER}/listClusterUserCredential/action",)
_SECRET = tuple(f"{_CLUSTER}/secrets/{verb}" for verb in ("read", "write", "delete"))


def _workload_actions(verb: str) -> tuple[str, ...]:
    kinds = (kind for kind in _WORKLOADS.split() if verb == "read" or kind not in _ONLY_READ)
    return tuple(f"{_CLUSTER}/{kind}/{verb}" for kind in kinds)


OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
ROLES = (
    Role(OWNER, "Owner", "Grants full access to manage all resources, including roles.", ("*",)),
    Role(
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        "Grants full access to manage all resources, but not to assign roles.",
        ("*",),
        (
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ),
    ),
    Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", "View all resources.", (_READ,)),
    Role(
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        "User Access Administrator",
        "Manage user access to Azure resources.",
        (_READ, "Microsoft.Authorization/*"),
    ),
    Role(
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        "Role Based Access Control Administrator",
        "Manage access to Azure resources by assigning roles.",
        (_READ, "Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete"),
    ),
    Role(
        "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "AcrPull",
        "Pull artifacts from a container registry.",
        ("Microsoft.ContainerRegistry/registries/pull/read",),
    ),
    Role(
        "8311e382-0749-4cb8-b61a-304f252e45ec",
        "AcrPush",
        "Push artifacts to or pull artifacts from a container registry.",
        ("Microsoft.ContainerRegistry/registries/pull/read", "Microsoft.ContainerRegistry/registries/push/write"),
    ),
    Role(
        "b93aa761-3e63-49ed-ac28-beffa264f7ac",
        "Container Registry Repository Reader",
        "Read repositories of a registry in ABAC mode.",
        data_actions=(
            "Microsoft.ContainerRegistry/registries/repositories/content/read",
            "Microsoft.ContainerRegistry/registries/repositories/metadata/read",
        ),
    ),
    Role(
        "4633458b-17de-408a-b874-0445c86b69e6",
        "Key Vault Secrets User",
        "Read secret contents.",
        data_actions=(f"{_SECRETS}/getSecret/action", f"{_SECRETS}/readMetadata/action"),
    ),
    Role(
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        "Key Vault Secrets Officer",
        "Perform any action on the secrets of a key vault, except manage permissions.",
        ("Microsoft.KeyVault/checkNameAvailability/read", "Microsoft.KeyVault/deletedVaults/read"),
        data_actions=(f"{_SECRETS}/*",),
    ),
    Role(
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",
        "Key Vault Administrator",
        "Perform all data plane operations on a key vault and all objects in it.",
        ("Microsoft.KeyVault/checkNameAvailability/read", "Microsoft.KeyVault/deletedVaults/read"),
        data_actions=("Microsoft.KeyVault/vaults/*",),
    ),
    Role(
        "21090545-7ca7-4776-b22c-e363652d74d2",
        "Key Vault Reader",
        "Read metadata of key vaults and their objects, not secret contents.",
        ("Microsoft.KeyVault/vaults/read",),
        data_actions=("Microsoft.KeyVault/vaults/*/read", f"{_SECRETS}/readMetadata/action"),
    ),
    Role(
        "a68e7c17-0ab2-4c09-9a58-125dae29748c",
        "Key Vault Purge Operator",
        "Allows permanent deletion of soft-deleted vaults.",
        (
            "Microsoft.KeyVault/locations/deletedVaults/read",
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/locations/operationResults/read",
        ),
    ),
    Role(
        "4abbcc35-e782-43d8-92c5-2d3f1bd2253f",
        "Azure Kubernetes Service Cluster User Role",
        "List cluster user credential action.",
        (f"{_CLUSTER}/listClusterUserCredential/action", f"{_CLUSTER}/read"),
    ),
    Role(
        "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8",
        "Azure Kubernetes Service Cluster Admin Role",
        "List cluster admin credential action.",
        (
            f"{_CLUSTER}/listClusterAdminCredential/action",
            f"{_CLUSTER}/accessProfiles/listCredential/action",
            f"{_CLUSTER}/read",
            f"{_CLUSTER}/runcommand/action",
        ),
    ),
    Role(
        "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b",
        "Azure Kubernetes Service RBAC Cluster Admin",
        "Manage all resources in the cluster.",
        _CREDENTIAL,
        data_actions=(f"{_CLUSTER}/*",),
    ),
    Role(
        "3498e952-d568-435e-9b2c-8d77e338d7f7",
        "Azure Kubernetes Service RBAC Admin",
        "Manage all resources under the cluster or a namespace, except resource quotas and namespaces.",
        _CREDENTIAL,
        data_actions=(f"{_CLUSTER}/*",),
        not_data_actions=tuple(
            f"{_CLUSTER}/{kind}/{verb}" for kind in ("resourcequotas", "namespaces") for verb in ("write", "delete")
        ),
    ),
    Role(
        "a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb",
        "Azure Kubernetes Service RBAC Writer",
        "Read and write most objects in a namespace, secrets among them; roles and their bindings not.",
        data_actions=(
            *_workload_actions("read"),
            *_workload_actions("write"),
            *_workload_actions("delete"),
            f"{_CLUSTER}/pods/exec/action",
            *_SECRET,
        ),
    ),
    Role(
        "7f6c6a51-bcf8-42ba-9220-52d62157d7db",
        "Azure Kubernetes Service RBAC Reader",
        "Read most objects in a namespace; roles, their bindings and secrets not.",
        data_actions=_workload_actions("read"),
    ),
    Role(
        "f1a07417-d97a-45cb-824c-7a7467783830",
        "Managed Identity Operator",
        "Read and assign user-assigned identities.",
        (
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
        ),
    ),
    Role(
        "4d97b98b-1d4f-4787-a291-c67834d212e7",
        "Network Contributor",
        "Manage networks.",
        (_READ, "Microsoft.Network/*"),
    ),
    Role(
        "17d1049b-9a84-46fb-8f53-869881c3d3ab",
        "Storage Account Contributor",
        "Manage storage accounts, including their keys.",
        ("Microsoft.Storage/storageAccounts/*",),
    ),
)
_BY_ID = {role.id: role for role in ROLES}


def role_of(definition_id: str) -> Role | None:
    """Return the role of a role definition's ID, full or bare."""
    return _BY_ID.get(definition_id.rstrip("/").rpartition("/")[2].lower())
