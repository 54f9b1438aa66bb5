"""Request bodies: JSON, YAML or protobuf, parsed into documents, with their duplicate fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from rehearsal_cloud.kubernetes.api import protobuf
from rehearsal_cloud.kubernetes.failures import bad_request, unsupported_media_type

if TYPE_CHECKING:
    from rehearsal_cloud.kubernetes.failures import Failure
    from rehearsal_cloud.kubernetes.objects.kinds import Kind

_JSON = ("", "application/json", "application/merge-patch+json", "application/strategic-merge-patch+json")
_YAML = ("application/yaml", "application/apply-patch+yaml")
_READ = (*_JSON, *_YAML, "application/json-patch+json")


def media_type(content_type: str) -> str:
    """Return a content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def read(body: bytes, content_type: str, kind: Kind) -> tuple[Any, tuple[str, ...]]:
    """Return the parsed body and the paths of its duplicate fields. Raises Failure (400, 415)."""
    if media_type(content_type) == protobuf.MEDIA_TYPE:
        return _protobuf(body), ()
    if media_type(content_type) not in _READ:
        raise _unknown_format()
    duplicates: list[tuple[str, ...]] = []
    try:
        document = _json(body, duplicates)
    except ValueError as error:
        if media_type(content_type) not in _YAML:
            text = f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind;"
            shown = body.decode(errors="replace")
            raise bad_request(f"{text} json parse error: {error} ({shown})") from error
        document = _yaml(body)
    return document, tuple(".".join(path) for path in duplicates)


def _protobuf(body: bytes) -> Any:
    try:
        document = protobuf.read(body)
    except ValueError as error:
        raise bad_request(str(error)) from error
    if document is None:
        raise _unknown_format()
    return document


def _unknown_format() -> Failure:
    accepted = "application/json, application/yaml"
    text = "the body of the request was in an unknown format - accepted media types include:"
    return unsupported_media_type(f"{text} {accepted}")


class _Pairs(dict[str, Any]):
    """A JSON object that records its duplicate names."""

    twice: tuple[str, ...] = ()


def _json(body: bytes, duplicates: list[tuple[str, ...]]) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> Any:
        mapping = dict(items)
        if len(mapping) == len(items):
            return mapping
        names = [name for name, _ in items]
        marked = _Pairs(mapping)
        marked.twice = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
        return marked

    document = json.loads(body, object_pairs_hook=pairs)
    _collect(document, (), duplicates)
    return document


def _collect(value: Any, path: tuple[str, ...], duplicates: list[tuple[str, ...]]) -> None:
    if isinstance(value, _Pairs):
        duplicates.extend((*path, name) for name in value.twice)
    if isinstance(value, dict):
        for name, child in value.items():
            _collect(child, (*path, name), duplicates)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            inner = (*path[:-1], f"{path[-1]}[{index}]") if path else (f"[{index}]",)
            _collect(child, inner, duplicates)


class _Loader(yaml.SafeLoader):
    """A YAML loader with Kubernetes' rules: timestamps stay text."""


_Loader.yaml_implicit_resolvers = {
    letter: [resolver for resolver in resolvers if resolver[0] != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(body: bytes) -> Any:
    try:
        return yaml.load(body, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise bad_request(f"error converting YAML to JSON: yaml: {error}") from error
