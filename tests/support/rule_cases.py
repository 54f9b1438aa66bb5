"""The cases of the rules: the facts of a healthy deployment, and what each case changes in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter

from airflowaks.diagnosis.facts.snapshot import Snapshot
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = REPOSITORY / "tests/airflowaks/diagnosis"


HEALTHY = yaml.safe_load((FOLDER / "healthy.yaml").read_text(encoding="utf-8"))


CASES = sorted((FOLDER / "cases").glob("*.yaml"))


FACTS = TypeAdapter(Snapshot)


def patched(target: Any, patch: Any) -> Any:
    """`target` after a JSON merge patch."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        merged[key] = patched(merged.get(key), value)
    return {key: value for key, value in merged.items() if value is not None or key not in patch}


def text_of(value: Any) -> Any:
    """A value of YAML, times as the text that facts have them in."""
    if isinstance(value, Mapping):
        return {key: text_of(one) for key, one in value.items()}
    if isinstance(value, list):
        return [text_of(one) for one in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def facts_of(patch: Any) -> Snapshot:
    """The healthy facts, patched; a misspelt name is an error."""
    given = text_of(patched(HEALTHY, patch))
    facts = FACTS.validate_python(given)
    assert not list(unknown(given, FACTS.dump_python(facts, mode="json")))
    return facts


def unknown(given: Any, known: Any, path: str = "") -> Any:
    """Every path of `given` that `known` does not have."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            if key not in known:
                yield f"{path}.{key}"
            else:
                yield from unknown(value, known[key], f"{path}.{key}")
    elif isinstance(given, list):
        for one, other in zip(given, known, strict=True):
            yield from unknown(one, other, path)


def read(path: Path) -> dict[str, Any]:
    """A case: `why` it matters, its `facts`, and what it `finds`."""
    case: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return case
