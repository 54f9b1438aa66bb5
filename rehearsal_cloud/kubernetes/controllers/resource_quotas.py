"""Resource quotas: what a namespace's objects use of them, and which new objects they refuse.

After https://github.com/kubernetes/kubernetes/tree/master/pkg/quota/v1/evaluator/core (pods.go, services.go,
persistent_volume_claims.go) and the API server's pkg/admission/plugin/resourcequota/controller.go.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from rehearsal_cloud.kubernetes.controllers import pods
from rehearsal_cloud.kubernetes.controllers.controller import Controller
from rehearsal_cloud.kubernetes.controllers.metadata import key_of
from rehearsal_cloud.kubernetes.controllers.node_fit import resources
from rehearsal_cloud.kubernetes.failures import forbidden
from rehearsal_cloud.kubernetes.quantities import amount, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.controllers.work_queue import Key
    from rehearsal_cloud.kubernetes.objects.kinds import Kind
    from rehearsal_cloud.kubernetes.objects.objects import Event, Objects

    Usage = dict[str, Decimal]

_COUNTED = (
    "ConfigMap", "PersistentVolumeClaim", "Pod", "ReplicationController", "ResourceQuota", "Secret", "Service",
    "CronJob", "Deployment", "Job", "ReplicaSet", "StatefulSet",
)  # fmt: skip
_CLASS = ".storageclass.storage.k8s.io/"


def check(objects: Objects, document: Document) -> None:
    """Raise Failure (403) where a new object lacks what a quota of its namespace counts, or would exceed it."""
    kind, metadata = objects.kinds.of(document), document["metadata"]
    if kind.kind not in _COUNTED:
        return
    quotas = [quota for quota in objects.list("ResourceQuota", metadata["namespace"]) if _covers(quota, document)]
    for quota in quotas:
        if kind.kind == "Pod" and (missing := "; ".join(_unspecified(document, quota["spec"].get("hard") or {}))):
            why = f"failed quota: {quota['metadata']['name']}: must specify {missing}"
            raise forbidden(kind, metadata["name"], why)
    for quota in quotas:
        hard: Usage = {name: amount(value) for name, value in (quota["spec"].get("hard") or {}).items()}
        requested = {name: value for name, value in _usage(kind, document).items() if name in hard}
        used = _total(objects, quota, (kind,)) if requested else {}
        exceeded = sorted(name for name in requested if used[name] + requested[name] > hard[name])
        if exceeded:
            listed = ("requested", requested), ("used", used), ("limited", hard)
            amounts = (
                f"{word}: {','.join(f'{name}={shown(name, of[name])}' for name in exceeded)}" for word, of in listed
            )
            raise forbidden(
                kind, metadata["name"], f"exceeded quota: {quota['metadata']['name']}, {', '.join(amounts)}"
            )


class ResourceQuotas(Controller):
    """Writes what is used of each quota in its status."""

    component = "resourcequota-controller"
    watches: ClassVar[tuple[str, ...]] = _COUNTED

    def keys(self, event: Event) -> Iterable[Key]:
        """Return the quotas of the object's namespace."""
        return map(key_of, self.objects.list("ResourceQuota", event.document["metadata"]["namespace"]))

    async def reconcile(self, key: Key) -> None:
        """Count again."""
        namespace, name = key
        quota = self.objects.get("ResourceQuota", name, namespace)
        if quota is None:
            return
        kinds = tuple(map(self.cluster.kinds.named, _COUNTED))
        hard, used = quota["spec"].get("hard") or {}, _total(self.objects, quota, kinds)
        status = {"hard": hard, "used": {name: shown(name, used[name]) for name in hard}}
        if status != quota.get("status"):
            self.objects.update_status({**quota, "status": status}, manager="kube-controller-manager")


def _total(objects: Objects, quota: Document, kinds: Iterable[Kind]) -> Usage:
    total: Usage = dict.fromkeys(quota["spec"].get("hard") or {}, Decimal(0))
    for kind in kinds:
        if not any(_measures(kind, name) for name in total):
            continue
        for document in objects.list(kind.kind, quota["metadata"]["namespace"]):
            if _covers(quota, {**document, "kind": kind.kind}):
                for name, value in _usage(kind, document).items():
                    if name in total:
                        total[name] += value
    return total


def _measures(kind: Kind, name: str) -> bool:
    if name == f"count/{kind.resource}" or (not kind.group and name.partition(".")[0] == kind.plural):
        return True
    of_claims = name == "requests.storage" or _CLASS in name
    return of_claims if kind.kind == "PersistentVolumeClaim" else kind.kind == "Pod" and not of_claims


def _usage(kind: Kind, document: Document) -> Usage:
    used = {f"count/{kind.resource}": Decimal(1)}
    if kind.kind == "Pod":
        if pods.is_done(document):
            return used
        computed = _computed(resources(document, "requests"), resources(document, "limits"))
        return {**used, "pods": Decimal(1), **computed}
    spec = document.get("spec") or {}
    if not kind.group:
        used[kind.plural] = Decimal(1)
    if kind.kind == "Service":
        exposed = spec.get("type") in ("LoadBalancer", "NodePort")
        ports = [port for port in spec.get("ports") or () if port.get("nodePort")] if exposed else []
        used |= {"services.nodeports": Decimal(len(ports)), "services.loadbalancers": Decimal(0)}
        used["services.loadbalancers"] += spec.get("type") == "LoadBalancer"
    if kind.kind == "PersistentVolumeClaim":
        size = amount(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
        used["requests.storage"] = size
        if storage_class := spec.get("storageClassName"):
            used[f"{storage_class}{_CLASS}requests.storage"] = size
            used[f"{storage_class}{_CLASS}persistentvolumeclaims"] = Decimal(1)
    return used


def _computed(requests: Usage, limits: Usage) -> Usage:
    return {
        **requests,
        **{f"requests.{name}": value for name, value in requests.items()},
        **{f"limits.{name}": value for name, value in limits.items()},
    }


def _unspecified(pod: Document, hard: Document) -> Iterator[str]:
    """Yield the amounts that a quota counts and a container does not set, as `limits.cpu for: a,b`."""
    required = {
        f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory")
    } & hard.keys()
    containers = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]
    for name in sorted(required):
        way, _, resource = name.rpartition(".")
        lacking = sorted(
            container["name"]
            for container in containers
            if resource not in ((container.get("resources") or {}).get(way or "requests") or {})
        )
        if lacking:
            yield f"{name} for: {','.join(lacking)}"


def _covers(quota: Document, document: Document) -> bool:
    """Tell whether a quota's scopes select an object: those of pods, and none by their priority class."""
    spec = quota["spec"]
    selected = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    scopes = [*(spec.get("scopes") or ()), *(expression["scopeName"] for expression in selected)]
    if not scopes:
        return True
    if document["kind"] != "Pod":
        return False
    ends = document["spec"].get("activeDeadlineSeconds") is not None
    best_effort = not any(resources(document, way) for way in ("requests", "limits"))
    holds = {
        "Terminating": ends, "NotTerminating": not ends, "BestEffort": best_effort, "NotBestEffort": not best_effort
    }  # fmt: skip
    return all(holds.get(scope, False) for scope in scopes)


def shown(name: str, value: Decimal) -> str:
    """Return an amount as a quantity: of memory and storage in binary units."""
    return canonical(f"{value / 1024:f}Ki" if name.endswith(("memory", "storage")) else f"{value:f}")
