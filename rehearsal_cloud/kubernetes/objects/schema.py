"""Schemas: the fields of each kind, from Kubernetes' OpenAPI and from CustomResourceDefinitions.

The built-in ones come with the package kubernetes-validate. Types are built on first use: reading the
definitions takes about 20 ms, and a cluster uses a small part of them.
"""

from __future__ import annotations

import json
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

VERSION = "1.35.0"
"""The version of Kubernetes whose schemas these are."""

Form = Literal["struct", "map", "list", "string", "integer", "number", "boolean", "quantity", "int-or-string", "any"]

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# Kubernetes' model has defaults for these keys of list items, which the published OpenAPI omits.
_KEY_DEFAULTS = {"protocol": "TCP"}


@cache
def definitions() -> Document:
    """Return Kubernetes' OpenAPI definitions by name."""
    # The package is not imported: that takes seconds, and only one of its files is needed.
    specification = find_spec("kubernetes_validate")
    if specification is None or specification.origin is None:
        raise ModuleNotFoundError("kubernetes-validate is not installed: pip install 'airflowaks[rehearsal]'")
    folder = Path(specification.origin).parent / "kubernetes-json-schema" / f"v{VERSION}-local"
    by_name: Document = json.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return by_name


@cache
def _names() -> dict[tuple[str, str, str], str]:
    """Return the name of each kind's definition by group, version and kind."""
    return {
        (group_version_kind["group"], group_version_kind["version"], group_version_kind["kind"]): name
        for name, definition in definitions().items()
        for group_version_kind in definition.get("x-kubernetes-group-version-kind", ())
    }


class Type:
    """The type of a value: its form, the types of its content, and its rules for merging and ownership."""

    def __init__(self, node: Document, *, custom: bool = False) -> None:
        reference = node.get("$ref", "")
        self.definition = reference.rpartition("/")[2]
        self.node = definitions()[self.definition] if reference else node
        self.custom = custom and not reference
        # Siblings of a reference belong to the field, not to the type: above all patch strategies.
        self._field = node

    @cached_property
    def form(self) -> Form:
        """Return the form of the value."""
        node = self.node
        if self.definition == _QUANTITY:
            return "quantity"
        if self.definition == _INT_OR_STRING or node.get("x-kubernetes-int-or-string"):
            return "int-or-string"
        if "properties" in node:
            return "struct"
        if node.get("additionalProperties"):
            return "map"
        named = node.get("type")
        name = named[0] if isinstance(named, list) else named
        if name == "object":
            return "struct" if self.custom and not self.open else "any"
        forms: Mapping[str | None, Form] = {
            "array": "list",
            "string": "string",
            "integer": "integer",
            "number": "number",
            "boolean": "boolean",
        }
        return forms.get(name, "any")

    @cached_property
    def open(self) -> bool:
        """Tell whether unnamed fields are kept."""
        return bool(self.node.get("x-kubernetes-preserve-unknown-fields"))

    @cached_property
    def fields(self) -> Mapping[str, Type]:
        """Return the types of the fields that a struct names."""
        return {name: Type(node, custom=self.custom) for name, node in self.node.get("properties", {}).items()}

    @cached_property
    def values(self) -> Type | None:
        """Return the type of a map's values, or of a list's items; None for another form."""
        if self.form == "list":
            return Type(self.node.get("items", {}), custom=self.custom)
        if self.form == "map":
            node = self.node["additionalProperties"]
            return Type(node if isinstance(node, dict) else {}, custom=self.custom)
        return ANY if self.form == "any" or self.open else None

    def child(self, name: str) -> Type | None:
        """Return the type of a field of a struct or of a key of a map; None for an unknown field."""
        return self.fields.get(name) or (self.values if self.form != "list" else None)

    @cached_property
    def required(self) -> frozenset[str]:
        """Return the names of the required fields."""
        return frozenset(self.node.get("required", ()))

    @cached_property
    def atomic(self) -> bool:
        """Tell whether a struct, map or list is owned and replaced as a whole."""
        if self.form == "list":
            return self.node.get("x-kubernetes-list-type") not in ("map", "set")
        return "atomic" in (self._field.get("x-kubernetes-map-type"), self.node.get("x-kubernetes-map-type"))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Return the names of the key fields of a list of type map."""
        return tuple(self._field.get("x-kubernetes-list-map-keys", ()))

    def key_default(self, name: str) -> object:
        """Return the default of a key of a list's items, or None."""
        if self.custom:
            return (self.values.node.get("properties", {}).get(name, {}) if self.values else {}).get("default")
        return _KEY_DEFAULTS.get(name)

    @cached_property
    def merge_key(self) -> str:
        """Return the merge key of a list for strategic merge patches, or ""."""
        return str(self._field.get("x-kubernetes-patch-merge-key", ""))

    @cached_property
    def strategies(self) -> frozenset[str]:
        """Return the field's patch strategies: `merge`, `replace`, `retainKeys`."""
        return frozenset(filter(None, str(self._field.get("x-kubernetes-patch-strategy", "")).split(",")))

    @property
    def name(self) -> str:
        """Return the name of Go's type, as errors call it: `DeploymentSpec`."""
        return str(self.definition.rpartition(".")[2])


ANY = Type({})
"""The type of what no schema describes."""


class Schemas:
    """The types of a cluster's kinds."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str, str], Type] = {}

    def of(self, kind: Kind) -> Type:
        """Return the type of a kind's objects. Raises KeyError for a kind without a schema."""
        key = (kind.group, kind.version, kind.kind)
        if key not in self._types:
            self._types[key] = Type({"$ref": _names()[key]})
        return self._types[key]

    def define(self, definition: Document) -> None:
        """Add the types of a CustomResourceDefinition, one for each of its versions."""
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            standard = {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": _METADATA},
            }
            node = {**schema, "properties": {**schema.get("properties", {}), **standard}}
            self._types[spec["group"], version["name"], spec["names"]["kind"]] = Type(node, custom=True)

    def forget(self, definition: Document) -> None:
        """Forget the types of a CustomResourceDefinition."""
        spec = definition["spec"]
        for key in [
            type_key for type_key in self._types if (type_key[0], type_key[2]) == (spec["group"], spec["names"]["kind"])
        ]:
            del self._types[key]
