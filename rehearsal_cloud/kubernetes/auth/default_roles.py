"""The default roles and bindings of a cluster: Kubernetes' for people and pods, and AKS's.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings. The roles of Kubernetes'
components are left out: here they are parts of one program, without requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.auth.rbac import AUTHENTICATED, GROUP, MASTERS, SERVICE_ACCOUNTS, UNAUTHENTICATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects

_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_ALL = "create delete deletecollection get list patch update watch"
_AGGREGATE = f"{GROUP}/aggregate-to-"
_AUTOUPDATE = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_BOOTSTRAP = {"kubernetes.io/bootstrapping": "rbac-defaults"}

# A rule: verbs, API group ("core" is the one without a name) and resources; or verbs and paths.
_RULES: dict[str, tuple[tuple[str, ...], ...]] = {
    "cluster-admin": (("*", "*", "*"), ("*", "*")),
    "system:aggregate-to-admin": (
        ("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        (_ALL, GROUP, "rolebindings roles"),
    ),
    "system:aggregate-to-edit": (
        (_READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        ("impersonate", "core", "serviceaccounts"),
        (_WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        ("create", "core", "pods/eviction"),
        (
            _WRITE,
            "core",
            (
                "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets"
                " serviceaccounts services services/proxy"
            ),
        ),
        ("create", "core", "serviceaccounts/token"),
        (
            _WRITE,
            "apps",
            (
                "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale"
                " statefulsets statefulsets/scale"
            ),
        ),
        (_WRITE, "autoscaling", "horizontalpodautoscalers"),
        (_WRITE, "batch", "cronjobs jobs"),
        (_WRITE, "policy", "poddisruptionbudgets"),
        (_WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        (_ALL, "coordination.k8s.io", "leases"),
    ),
    "system:aggregate-to-view": (
        (
            _READ,
            "core",
            (
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers"
                " replicationcontrollers/scale serviceaccounts services services/status"
            ),
        ),
        (
            _READ,
            "core",
            (
                "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status"
                " resourcequotas resourcequotas/status"
            ),
        ),
        (_READ, "core", "namespaces"),
        (_READ, "discovery.k8s.io", "endpointslices"),
        (
            _READ,
            "apps",
            (
                "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status"
                " replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status"
            ),
        ),
        (_READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        (_READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        (_READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        (_READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    ),
    # Metrics-server's, which AKS deploys.
    "system:aggregated-metrics-reader": ((_READ, "metrics.k8s.io", "nodes pods"),),
    "system:auth-delegator": (
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
    "system:basic-user": (
        ("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        ("create", "authentication.k8s.io", "selfsubjectreviews"),
    ),
    "system:discovery": (
        ("get", "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"),
    ),
    "system:monitoring": (("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),),
    "system:public-info-viewer": (("get", "/healthz /livez /readyz /version /version/"),),
    "system:service-account-issuer-discovery": (("get", "/.well-known/openid-configuration /openid/v1/jwks"),),
}
_AGGREGATED_INTO = {
    "edit": "admin",
    "view": "edit",
    "system:aggregate-to-admin": "admin",
    "system:aggregate-to-edit": "edit",
    "system:aggregate-to-view": "view",
    "system:aggregated-metrics-reader": "admin edit view",
}
_GROUPS = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": (AUTHENTICATED,),
    "system:discovery": (AUTHENTICATED,),
    "system:monitoring": ("system:monitoring",),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
    "system:service-account-issuer-discovery": (SERVICE_ACCOUNTS,),
}
_ADMINS = "aks-cluster-admin-binding-aad"


def reconcile(objects: Objects, admin_groups: list[str]) -> None:
    """Create the missing default roles and bindings, and bind Entra's `admin_groups` as AKS does."""
    for default in (*_roles(), *_bindings()):
        if objects.get(default["kind"], default["metadata"]["name"]) is None:
            objects.create(default, manager="kube-apiserver")
    admins = _binding(_ADMINS, "cluster-admin", tuple(admin_groups), {})
    kept = objects.get("ClusterRoleBinding", _ADMINS)
    if kept is None:
        objects.create(admins, manager="aks")
    else:
        objects.update({**kept, "subjects": admins["subjects"]}, manager="aks")


def _roles() -> Iterator[Document]:
    for name in (*_RULES, "admin", "edit", "view"):
        labels = dict(_BOOTSTRAP)
        labels |= {f"{_AGGREGATE}{role}": "true" for role in _AGGREGATED_INTO.get(name, "").split()}
        role: Document = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels, "annotations": _AUTOUPDATE},
            "rules": [_rule(*words) for words in _RULES.get(name, ())],
        }
        if name not in _RULES:
            role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {f"{_AGGREGATE}{name}": "true"}}]}
        yield role


def _rule(verbs: str, *targets: str) -> Document:
    if len(targets) == 1:
        return {"nonResourceURLs": targets[0].split(), "verbs": verbs.split()}
    group, resources = targets
    return {
        "apiGroups": ["" if group == "core" else group],
        "resources": resources.split(),
        "verbs": verbs.split(),
    }


def _bindings() -> Iterator[Document]:
    for name, groups in _GROUPS.items():
        yield _binding(name, name, groups, _BOOTSTRAP)


def _binding(name: str, role: str, groups: tuple[str, ...], labels: dict[str, str]) -> Document:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, **({"labels": labels, "annotations": _AUTOUPDATE} if labels else {})},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups],
    }
