"""The environment variables of a container, read from its spec and from the objects that it names."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects


def environment(objects: Objects, container: Document, namespace: str) -> dict[str, str]:
    """Return the variables that come from literals, config maps and Secrets; a missing source is left out."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if key in source:
                data = _data(objects, kind, source[key]["name"], namespace)
                variables |= {source.get("prefix", "") + name: value for name, value in data.items()}
    for variable in container.get("env") or ():
        value = _value(objects, variable, namespace)
        if value is not None:
            variables[variable["name"]] = value
    return variables


def secret_value(objects: Objects, name: str, key: str, namespace: str) -> str | None:
    """Return one value of a Secret, or None."""
    return _data(objects, "Secret", name, namespace).get(key)


def _value(objects: Objects, variable: Document, namespace: str) -> str | None:
    if "valueFrom" not in variable:
        return str(variable.get("value", ""))
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if key in variable["valueFrom"]:
            reference = variable["valueFrom"][key]
            return _data(objects, kind, reference["name"], namespace).get(reference["key"])
    return None


def _data(objects: Objects, kind: str, name: str, namespace: str) -> dict[str, str]:
    data: dict[str, str] = (objects.get(kind, name, namespace) or {}).get("data") or {}
    if kind == "ConfigMap":
        return data
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
