"""Manifests: YAML files in `manifests/<step>/` with `${NAME}` placeholders for the deployment's values.

The placeholders are filled after parsing, so a value cannot change the structure of the YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import SafeConstructor

from airflowaks.config.paths import manifests_folder
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.errors import InvalidManifest
from airflowaks.kube.client import Document, Reference

if TYPE_CHECKING:
    from pathlib import Path

Values = Mapping[str, Any]
"""The values of placeholders: a JSON value, AFTER_APPLY, or a function that returns one, called on demand.

A value keeps its type if the placeholder is alone and unquoted (`replicas: ${REPLICAS}`); otherwise it becomes text.
A field whose value is an empty map or list is left out: an apply would own it, and refuse what others set there.
"""

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}?")
_TEXTS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"}


@dataclass(frozen=True)
class Manifest:
    """One object of a file, before its placeholders are filled."""

    file: Path
    node: yaml.Node
    values: Values

    @property
    def reference(self) -> Reference:
        """Return the object's reference. Raises InvalidManifest if apiVersion, kind or name is missing."""
        metadata = _member(self.node, "metadata")
        named = {
            "api_version": _member(self.node, "apiVersion"),
            "kind": _member(self.node, "kind"),
            "name": _member(metadata, "name"),
        }
        for key, node in named.items():
            if node is None:
                message = f"{self._place(self.node)}: the object has no {key}."
                raise InvalidManifest(message, f"Correct {self.file} and run again.")
        namespace = _member(metadata, "namespace")
        texts = {key: str(self._build(node)) for key, node in named.items()}
        return Reference(**texts, namespace="" if namespace is None else str(self._build(namespace)))

    def fill(self) -> Document:
        """Return the object with its placeholders filled; text with a value that is not known yet is AFTER_APPLY.

        Raises InvalidManifest if a placeholder has no value.
        """
        document: Document = self._build(self.node)
        return document

    def check(self) -> None:
        """Raise InvalidManifest for a placeholder that is not in `values`, without calling any function."""
        for node in _scalars(self.node):
            for name in _PLACEHOLDER.findall(node.value):
                if name not in self.values:
                    message = f"{self._place(node)}: the placeholder ${{{name}}} does not exist."
                    action = f"Correct {self.file}; valid placeholders are {', '.join(sorted(self.values))}."
                    raise InvalidManifest(message, action)

    def _build(self, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            built = ((str(self._build(key)), self._build(value), value) for key, value in node.value)
            return {key: value for key, value, source in built if not _is_left_out(source, value)}
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item) for item in node.value]
        names = _PLACEHOLDER.findall(node.value)
        if not names:
            return _constructed(node)
        values = {name: self._value(node, name) for name in names}
        if _PLACEHOLDER.fullmatch(node.value) and not node.style:
            return values[names[0]]
        if any(value is AFTER_APPLY for value in values.values()):
            return AFTER_APPLY
        return _PLACEHOLDER.sub(lambda match: _text(values[match[1]]), node.value)

    def _value(self, node: yaml.Node, name: str) -> Any:
        value = self.values[name]
        if callable(value):
            value = value()
        if value is None or value == "":
            message = f"{self._place(node)}: the placeholder ${{{name}}} has no value."
            raise InvalidManifest(message, "Set it in the environment file, or run the previous steps.")
        return value

    def _place(self, node: yaml.Node) -> str:
        return f"{self.file.parent.name}/{self.file.name}, line {node.start_mark.line + 1}"


def _is_left_out(node: yaml.Node, value: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and value in ({}, [])


def load(folder: str, values: Values) -> list[Manifest]:
    """Return the objects in `manifests/<folder>/` in the order of the file names, without calling value functions.

    Raises InvalidManifest if a file is not valid YAML, or has a placeholder that is not in `values`.
    """
    manifests: list[Manifest] = []
    for file in sorted(manifests_folder(folder).glob("*.yaml")):
        try:
            nodes = _nodes(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            message = f"{folder}/{file.name} is not valid YAML: {' '.join(str(error).split())}."
            raise InvalidManifest(message, f"Correct {file} and run again.") from error
        manifests += [Manifest(file, node, values) for node in nodes if node is not None]
    for manifest in manifests:
        manifest.check()
    return manifests


@cache
def _nodes(text: str) -> list[yaml.Node | None]:
    """Return the nodes of a file, which all sessions of a program share: nobody changes a node."""
    return list(yaml.compose_all(text, Loader=yaml.CSafeLoader))


def _member(node: yaml.Node | None, name: str) -> yaml.Node | None:
    members = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in members if key.value == name), None)


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        for part in child if isinstance(child, tuple) else (child,):
            yield from _scalars(part)


def _constructed(node: yaml.Node) -> Any:
    """Return a scalar with its YAML type; dates stay text, because JSON has none."""
    return node.value if node.tag in _TEXTS else SafeConstructor().construct_object(node)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
