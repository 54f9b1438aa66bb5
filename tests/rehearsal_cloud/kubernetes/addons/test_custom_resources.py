"""The cluster's own, compact definitions of custom resources, against those of the projects that they stand for."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal_cloud.kubernetes import addons
from tests.support.repository import REPOSITORY

UPSTREAM = REPOSITORY.parent / "shared" / "crds"
OURS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((Path(str(resources.files(addons))) / "crds").glob("secretprovider*.yaml"))
}


def fields(schema: dict[str, Any], path: str = "") -> dict[str, str]:
    """Every field of a schema with its type."""
    found = {path: schema["type"]}
    for name, below in schema.get("properties", {}).items():
        found |= fields(below, f"{path}.{name}")
    if "items" in schema:
        found |= fields(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        found |= fields(schema["additionalProperties"], f"{path}.*")
    return found


@pytest.mark.skipif(not UPSTREAM.is_dir(), reason="needs the projects' own definitions in ../shared/crds")
@pytest.mark.parametrize("name", OURS)
def test_a_definition_says_what_its_project_says(name: str) -> None:
    ours = OURS[name]["spec"]
    (file,) = UPSTREAM.glob(f"{ours['group']}_{name}.yaml")
    theirs = yaml.safe_load(file.read_text())["spec"]
    assert {key: ours[key] for key in ("group", "names", "scope")} == {
        key: theirs[key] for key in ("group", "names", "scope")
    }
    (version,) = ours["versions"]
    (same,) = (one for one in theirs["versions"] if one["name"] == version["name"])
    assert fields(version["schema"]["openAPIV3Schema"]) == fields(same["schema"]["openAPIV3Schema"])
