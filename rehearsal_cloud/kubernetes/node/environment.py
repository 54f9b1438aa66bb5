"""The environment of a container: variables of the image, services, config maps, Secrets and the container itself.

As the kubelet makes it: https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet_pods.go
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node.fields import pod_field, resource_field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects

_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[^()]*)\))")


class ConfigFailed(Exception):
    """A container can't be configured; the message is the kubelet's, shown with CreateContainerConfigError."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; unknown names stay, and `$$` is a dollar sign."""

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        return "$" if name is None else env.get(name, match[0])

    return _REFERENCE.sub(value, text)


def container_environment(
    objects: Objects, pod: Document, container: Document, image: Mapping[str, str], allocatable: Document
) -> dict[str, str]:
    """Return all variables of a container. Raises ConfigFailed where a config map, a Secret or a key is missing."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    links = spec.get("enableServiceLinks", True)
    env = {"HOSTNAME": spec.get("hostname") or pod["metadata"]["name"], **_services(objects, namespace, links=links)}
    env = {**image, **env}
    for source in container.get("envFrom") or []:
        env |= _all_of(objects, namespace, source)
    for variable in container.get("env") or []:
        source = variable.get("valueFrom")
        value = (
            _value(objects, pod, container, source, allocatable) if source else expand(variable.get("value", ""), env)
        )
        if value is not None:
            env[variable["name"]] = value
    return env


def _services(objects: Objects, namespace: str, *, links: bool) -> dict[str, str]:
    """Return the variables of the services; the API's own service is always included."""
    services = {
        service["metadata"]["name"]: service for service in (objects.list("Service", namespace) if links else [])
    }
    api = objects.get("Service", "kubernetes", "default")
    if api is not None:
        services.setdefault("kubernetes", api)
    env: dict[str, str] = {}
    for name, service in services.items():
        address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports") or []
        if not ports or address in (None, "", "None"):
            continue
        prefix = name.upper().replace("-", "_")
        first = ports[0]
        env |= {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(first["port"])}
        for port in ports:
            if port.get("name"):
                env[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            protocol = port.get("protocol", "TCP")
            url = f"{protocol.lower()}://{address}:{port['port']}"
            link = f"{prefix}_PORT_{port['port']}_{protocol}"
            env |= {link: url, f"{link}_PROTO": protocol.lower()}
            env |= {f"{link}_PORT": str(port["port"]), f"{link}_ADDR": address}
        env[f"{prefix}_PORT"] = f"{first.get('protocol', 'TCP').lower()}://{address}:{first['port']}"
    return env


def _all_of(objects: Objects, namespace: str, source: Document) -> dict[str, str]:
    prefix = source.get("prefix", "")
    if "configMapRef" in source:
        reference, kind = source["configMapRef"], "ConfigMap"
    else:
        reference, kind = source["secretRef"], "Secret"
    document = objects.get(kind, reference.get("name", ""), namespace)
    if document is None:
        if reference.get("optional"):
            return {}
        raise ConfigFailed(f'{kind.lower()} "{reference.get("name", "")}" not found')
    return {f"{prefix}{key}": text(document, key) for key in document.get("data") or {}}


def text(document: Document, key: str) -> str:
    """Return an entry of a config map or a Secret as text."""
    value: str = document["data"][key]
    return base64.b64decode(value).decode(errors="surrogateescape") if document["kind"] == "Secret" else value


def _value(objects: Objects, pod: Document, container: Document, source: Document, allocatable: Document) -> str | None:
    if "fieldRef" in source:
        return pod_field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_field(pod, source["resourceFieldRef"], allocatable, container)
    reference, kind = (
        (source["configMapKeyRef"], "ConfigMap") if "configMapKeyRef" in source else (source["secretKeyRef"], "Secret")
    )
    name, key, namespace = reference.get("name", ""), reference["key"], pod["metadata"]["namespace"]
    document = objects.get(kind, name, namespace)
    if document is not None and key in (document.get("data") or {}):
        return text(document, key)
    if reference.get("optional"):
        return None
    if document is None:
        raise ConfigFailed(f'{kind.lower()} "{name}" not found')
    raise ConfigFailed(f"couldn't find key {key} in {kind} {namespace}/{name}")
