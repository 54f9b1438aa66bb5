"""What an environment looks like before it exists: every name in it, and nothing that a browser would run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import yaml

from airflowaks.config.environment import load_environment
from airflowaks.engine.table import Table
from airflowaks.notebook.topology import Topology, deployment
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from airflowaks.config.environment import Environment

MEMBERS = ("node pool", "workers of queue")
SVG = "{http://www.w3.org/2000/svg}"


def boxes(topology: Topology) -> dict[str, str]:
    """What stands in each box, with how the box is drawn."""
    drawing = ET.fromstring(topology.svg())  # noqa: S314 - our own text
    rectangles = drawing.findall(f"{SVG}rect")[2:]
    names = [text.text or "" for text in drawing.findall(f"{SVG}text") if text.get("font-weight") == "bold"][1:]
    return {name: rectangle.get("style", "") for name, rectangle in zip(names, rectangles, strict=True)}


def lines(environment: Environment, kind: str) -> list[str]:
    """What the box of this kind has below its kind and its name."""
    drawing = ET.fromstring(Topology(environment, 1).svg())  # noqa: S314 - our own text
    texts = [text.text or "" for text in drawing.findall(f"{SVG}text")]
    start = texts.index(kind)
    end = next((at for at in range(start + 1, len(texts)) if " · " in texts[at]), len(texts))
    return texts[start + 2 : end]


def changed(folder: Path, changes: str) -> Environment:
    """The environment `local` with other sections, in YAML."""
    local = yaml.safe_load((REPOSITORY / "manifests/environments/local.yaml").read_text())
    (folder / "local.yaml").write_text(yaml.safe_dump(local | yaml.safe_load(changes)))
    return load_environment("local", folder)


def test_the_picture_and_the_table_hold_the_same_names() -> None:
    environment = load_environment("local")
    in_table = {row[2] for row in deployment(environment).rows if row[1] not in MEMBERS} - {environment.resource_group}
    assert set(boxes(Topology(environment, 3))) == in_table | {environment.cluster.name}
    assert f"resource group {environment.resource_group}" in Topology(environment, 3).svg()


@pytest.mark.parametrize(
    ("changes", "pools", "workers"),
    [
        ("{}", ["airflow: 2 to 5 of Standard_D4ds_v5"], ["default: 1 to 5 workers of 2Gi"]),
        (
            "{cluster: {spot_pool: {max_count: 3}}, airflow: {queues: {batch: {spot: true}}}}",
            ["airflow: 2 to 5 of Standard_D4ds_v5", "spot: 0 to 3 of Standard_D4ds_v5, spot"],
            ["default: 1 to 5 workers of 2Gi", "batch: 0 to 5 workers of 2Gi, spot"],
        ),
        (
            """
            cluster:
              system_pool: {name: own, vm_size: Standard_D2ds_v5, min_count: 3, max_count: 3}
              node_pool: {name: tasks, max_count: 12}
              spot_pool: {name: cheap}
            airflow:
              workers: {max_count: 9}
              queues: {reports: {max_count: 4, memory: 8Gi}, batch: {spot: true}, single: {max_count: 1}}
            """,
            [
                "own: 3 of Standard_D2ds_v5, system",
                "tasks: 2 to 12 of Standard_D4ds_v5",
                "cheap: 0 to 5 of Standard_D4ds_v5, spot",
            ],
            [
                "default: 1 to 9 workers of 2Gi",
                "batch: 0 to 5 workers of 2Gi, spot",
                "reports: 0 to 4 workers of 8Gi",
                "single: 0 to 1 workers of 2Gi",
            ],
        ),
    ],
)
def test_pools_and_queues_are_in_the_picture_and_in_the_table(
    tmp_path: Path, changes: str, pools: list[str], workers: list[str]
) -> None:
    environment = changed(tmp_path, changes)
    assert lines(environment, "1 · AKS cluster") == pools
    assert lines(environment, "7 · Airflow") == workers
    assert [f"{row[2]}: {row[3]}" for row in deployment(environment).rows if row[1] in MEMBERS] == pools + workers


def test_boxes_are_apart_and_inside_the_picture(tmp_path: Path) -> None:
    queues = ", ".join(f"queue-{number}: {{}}" for number in range(20))
    environment = changed(
        tmp_path, f"{{cluster: {{system_pool: {{}}, spot_pool: {{}}}}, airflow: {{queues: {{{queues}}}}}}}"
    )
    drawing = ET.fromstring(Topology(environment, 1).svg())  # noqa: S314 - our own text
    rectangles = [
        tuple(int(each.get(key, 0)) for key in ("x", "y", "height")) for each in drawing.findall(f"{SVG}rect")
    ]
    frame, *parts = rectangles[1:]
    for x, y, height in parts:
        assert y + height < frame[1] + frame[2]
        assert not [each for each in parts if each[0] == x and y < each[1] < y + height]


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
    broker = "{kind: existing_cache, resource_group: shared, name: theirs}"
    rows = deployment(changed(tmp_path, f"{{broker: {broker}}}")).rows
    assert ("3", "Azure Cache for Redis", "theirs", "adopted from shared") in rows


def test_an_environment_without_an_application_of_its_own_has_none_in_the_picture(tmp_path: Path) -> None:
    with_one, without = load_environment("local"), changed(tmp_path, "{airflow: {login: password}}")
    pictures = [Topology(environment, 1).svg() for environment in (with_one, without)]
    assert [("Entra application" in each, "signs in" in each) for each in pictures] == [(True, True), (False, False)]


def test_the_longest_name_stays_inside_its_box(tmp_path: Path) -> None:
    environment = changed(tmp_path, f"{{cluster: {{name: {'c' * 63}}}}}")
    assert ' textLength="200"' in Topology(environment, 1).svg()


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
