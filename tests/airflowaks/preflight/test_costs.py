"""What an environment costs a month: the prices that dev.yaml and prod.yaml name, and no price where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflowaks.cloud.connection import Connection
from airflowaks.config.environment import load_environment
from airflowaks.preflight.costs import month
from airflowaks.session import Session
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENTS = REPOSITORY / "manifests" / "environments"
IDS = {"subscription_id": "11111111-1111-4111-8111-111111111111", "tenant_id": "22222222-2222-4222-8222-222222222222"}


def cost(folder: Path, name: str, **changes: Any) -> str:
    content = yaml.safe_load((ENVIRONMENTS / f"{name}.yaml").read_text(encoding="utf-8"))
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | IDS | changes))
    session = Session(load_environment(name, folder), "plan", Connection(credential=None))  # type: ignore[arg-type]
    (row,) = month(session)
    assert row.verdict == "ok"
    return row.seen.partition("; see ")[0]


@pytest.mark.parametrize(
    ("name", "total", "parts"),
    [
        (
            "dev",
            "about 235 to 574 US dollars",
            "cluster (Free) 0, 1 to 3 nodes 164 to 491, registry 5, PostgreSQL 54, shares 0 to 12, broker 13",
        ),
        (
            "prod",
            "about 2158 to 5280 US dollars",
            (
                "cluster (Standard) 73, 3 to 4 system nodes 491 to 654, 3 to 12 nodes 981 to 3924, registry 20,"
                " PostgreSQL 542, shares 0 to 15, broker 52"
            ),
        ),
    ],
)
def test_the_environments_of_the_repository_have_a_price(tmp_path: Path, name: str, total: str, parts: str) -> None:
    assert cost(tmp_path, name) == f"{total}, roughly: {parts}"


def test_every_pool_has_its_price(tmp_path: Path) -> None:
    pools = {"system_pool": {"max_count": 2}, "spot_pool": {"max_count": 4}}
    seen = cost(tmp_path, "dev", cluster={"tier": "Free", **pools})
    assert "cluster (Free) 0, 2 system nodes 327, 2 to 5 nodes 327 to 818, 0 to 4 spot nodes 0 to 196, " in seen


def test_a_memory_optimized_server_costs_a_third_more_than_a_general_purpose_one(tmp_path: Path) -> None:
    """$382.52 and $284.70 for four cores in infracost's postgresql_flexible_server_test.golden."""
    general, memory = (cost(tmp_path, "dev", postgresql={"sku": f"Standard_{size}"}) for size in ("D4ds_v5", "E4ds_v5"))
    assert ", PostgreSQL 263, " in general
    assert ", PostgreSQL 351, " in memory


def test_the_rehearsal_costs_nothing(tmp_path: Path) -> None:
    assert cost(tmp_path, "local") == "nothing: the rehearsal runs on this machine"


def test_a_size_without_a_price_is_said(tmp_path: Path) -> None:
    assert cost(tmp_path, "dev", broker={"sku": "Balanced_B20"}).endswith(", broker not known")
    without = cost(tmp_path, "dev", postgresql={"sku": "Standard_B4ms"})
    assert without.startswith("about 182 to 521 US dollars and what is not known, roughly: ")
    assert without.endswith(", PostgreSQL not known, shares 0 to 12, broker 13")
