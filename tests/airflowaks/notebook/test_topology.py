"""What an environment looks like before it exists: every name in it, and nothing that a browser would run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import yaml

from airflowaks.config.environment import load_environment
from airflowaks.engine.table import Table
from airflowaks.notebook.topology import Topology, deployment
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


def boxes(topology: Topology) -> dict[str, str]:
    """What stands in each box, with how the box is drawn."""
    drawing = ET.fromstring(topology.svg())  # noqa: S314 - our own text
    rectangles = drawing.findall(f"{SVG}rect")[2:]
    names = [text.text or "" for text in drawing.findall(f"{SVG}text") if text.get("font-weight") == "bold"][1:]
    return {name: one.get("style", "") for name, one in zip(names, rectangles, strict=True)}


def test_the_picture_and_the_table_hold_the_same_names() -> None:
    environment = load_environment("local")
    in_table = {row[2] for row in deployment(environment).rows} - {environment.resource_group}
    assert set(boxes(Topology(environment, 3))) == in_table | {environment.cluster.name}
    assert f"resource group {environment.resource_group}" in Topology(environment, 3).svg()


def test_a_step_stands_out_from_what_is_before_and_after_it() -> None:
    environment = load_environment("local")
    drawn = boxes(Topology(environment, 3))
    parts = (environment.cluster, environment.registry, environment.broker, environment.key_vault)
    styles = [drawn[part.name] for part in parts]
    assert styles[0] == styles[1]
    assert len(set(styles)) == 3
    assert ["dasharray" in style for style in styles] == [False, False, False, True]
    assert str(Topology(environment, 3)).endswith(f"Azure Managed Redis {environment.broker.name}")


def test_an_adopted_cache_is_shown_as_such(tmp_path: Path) -> None:
    local = yaml.safe_load((REPOSITORY / "manifests/environments/local.yaml").read_text())
    broker = {"kind": "existing_cache", "resource_group": "shared", "name": "theirs"}
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(local | {"broker": broker}))
    rows = deployment(load_environment("local", tmp_path)).rows
    assert ("3", "Azure Cache for Redis", "theirs", "adopted from shared") in rows


def test_an_environment_without_an_application_of_its_own_has_none_in_the_picture(tmp_path: Path) -> None:
    local = yaml.safe_load((REPOSITORY / "manifests/environments/local.yaml").read_text())
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(local | {"airflow": {"login": "password"}}))
    with_one, without = load_environment("local"), load_environment("local", tmp_path)
    pictures = [Topology(environment, 1).svg() for environment in (with_one, without)]
    assert [("Entra application" in each, "signs in" in each) for each in pictures] == [(True, True), (False, False)]


def test_the_longest_name_stays_inside_its_box(tmp_path: Path) -> None:
    local = yaml.safe_load((REPOSITORY / "manifests/environments/local.yaml").read_text())
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(local | {"cluster": {"name": "c" * 63}}))
    assert ' textLength="200"' in Topology(load_environment("local", tmp_path), 1).svg()


def test_a_table_escapes_its_cells_and_keeps_them_whole() -> None:
    identifier = "x" * 150
    table = Table(("a", "b"), [("<b>one</b>", identifier)], "<title>", "<note>", {"application/json": [1]})
    bundle = table._repr_mimebundle_()
    assert "<b>one" not in bundle["text/html"]
    assert "&lt;b&gt;one&lt;/b&gt;" in bundle["text/html"]
    assert "&lt;title&gt;" in bundle["text/html"]
    assert "&lt;note&gt;" in bundle["text/html"]
    assert bundle["application/json"] == [1]
    assert bundle["text/plain"].count("x") == len(identifier)
    assert max(len(line) for line in bundle["text/plain"].splitlines()) <= 120
    assert str(Table((), (), note="only a note")) == "only a note"
