"""Defaults of pods and of the templates of pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal_cloud.documents import Document

_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3600


def fill(document: Document, **values: Any) -> None:
    """Set the unset fields."""
    for name, value in values.items():
        if document.get(name) in (None, ""):
            document[name] = value


def pod(document: Document) -> None:
    """Set the defaults of a pod: those of its spec, and those that templates do not have."""
    spec = document.setdefault("spec", {})
    fill(spec, enableServiceLinks=True)
    for container in containers(spec):
        _requests(container)
        if spec.get("hostNetwork"):
            for port in container.get("ports", ()):
                fill(port, hostPort=port["containerPort"])
    pod_spec(spec)
    if "status" in document:
        fill(document["status"], qosClass=qos_class(spec))


def template(document: Document) -> None:
    """Set the defaults of a pod template."""
    document.setdefault("metadata", {})
    pod_spec(document.setdefault("spec", {}))


def pod_spec(spec: Document) -> None:
    """Set the defaults of a pod's spec."""
    fill(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        securityContext={},
        terminationGracePeriodSeconds=30,
        schedulerName="default-scheduler",
    )
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in containers(spec):
        _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def containers(spec: Document) -> Iterator[Document]:
    """Yield every container of a pod's spec, ephemeral ones last."""
    for name in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(name, ())


def qos_class(spec: Document) -> str:
    """Return a pod's quality of service class.

    https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    resources = [
        container.get("resources", {}) for name in ("initContainers", "containers") for container in spec.get(name, ())
    ]
    if not any(
        container_resources.get("limits") or container_resources.get("requests") for container_resources in resources
    ):
        return "BestEffort"
    guaranteed = all(
        container_resources.get("limits", {}).get(name)
        and container_resources.get("requests", container_resources["limits"]).get(name)
        == container_resources["limits"][name]
        for container_resources in resources
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if guaranteed else "Burstable"


def pull_policy(image: str) -> str:
    """Return the default pull policy of an image: Always for `latest` or no tag."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def _requests(container: Document) -> None:
    """Set missing requests to the limits."""
    limits = container.get("resources", {}).get("limits")
    if limits:
        container["resources"]["requests"] = {**limits, **container["resources"].get("requests", {})}


def _container(container: Document) -> None:
    fill(
        container,
        imagePullPolicy=pull_policy(container.get("image", "")),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    for port in container.get("ports", ()):
        fill(port, protocol="TCP")
    for variable in container.get("env", ()):
        _field_reference(variable.get("valueFrom", {}))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            probe = container[name]
            fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _handler(probe)
    for hook in container.get("lifecycle", {}).values():
        if isinstance(hook, dict):
            _handler(hook)


def _handler(handler: Document) -> None:
    if "httpGet" in handler:
        fill(handler["httpGet"], path="/", scheme="HTTP")
    if "grpc" in handler:
        handler["grpc"].setdefault("service", "")


def _field_reference(source: Document) -> None:
    if "fieldRef" in source:
        fill(source["fieldRef"], apiVersion="v1")
    if "resourceFieldRef" in source:
        source["resourceFieldRef"].setdefault("divisor", "0")


def _volume(volume: Document) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if name in volume:
            volume[name].setdefault("defaultMode", _DEFAULT_MODE)
    for item in volume.get("downwardAPI", {}).get("items", ()):
        _field_reference(item)
    for source in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in source:
            fill(source["serviceAccountToken"], expirationSeconds=_TOKEN_SECONDS)
        for item in source.get("downwardAPI", {}).get("items", ()):
            _field_reference(item)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    claim = volume.get("ephemeral", {}).get("volumeClaimTemplate", {}).get("spec")
    if claim is not None:
        fill(claim, volumeMode="Filesystem")
