"""How long an apply takes, by the resources that do not exist and typical durations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflowaks.cloud.connection import Connection, Operator
from airflowaks.config.environment import load_environment
from airflowaks.engine.resource import resources_of
from airflowaks.notebook.deploy import Deployment
from airflowaks.notebook.estimate import estimate
from airflowaks.session import Session
from airflowaks.steps import airflow, backend, cluster, key_vault, registry, workload_identity

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def session() -> Session:
    session = Session(load_environment("local"), "plan", Connection(credential=None))  # type: ignore[arg-type]
    vars(session)["operator"] = Operator("44444444-4444-4444-8444-444444444444", "User", "operator@example.com")
    # Step 7's secrets name it.
    session.memoize(workload_identity.Resources).identity._facts = {}
    return session


def absent(session: Session, *steps: type) -> None:
    for step in steps:
        for resource in resources_of(session.memoize(step)):
            resource._facts = None


def test_nothing_is_foreseen_before_anything_was_read(session: Session) -> None:
    assert estimate(session).chain == ()


def test_from_nothing_the_broker_is_the_longest_chain(session: Session) -> None:
    absent(session, *(step.Resources for step in (cluster, registry, backend, key_vault)))
    foreseen = estimate(session)
    kinds = [resource.kind for resource in foreseen.chain]
    assert kinds[:3] == ["resource provider", "Managed Redis", "Redis database"]
    assert foreseen.chain[-1] in session.memoize(airflow.Resources).scaling
    assert str(foreseen).startswith("about 11 min, by Azure's typical durations: resource provider Microsoft.Cache (")


def test_without_a_broker_to_create_it_is_another_chain(session: Session) -> None:
    absent(session, *(step.Resources for step in (cluster, registry, backend, key_vault)))
    for part in session.memoize(backend.Resources).broker_parts:
        part._facts = {}
    assert "Managed Redis" not in {resource.kind for resource in estimate(session).chain}


def test_a_plan_says_how_long_an_apply_takes_and_an_apply_what_is_left(session: Session, tmp_path: Path) -> None:
    assert "typical" not in str(Deployment(session, tmp_path)), "the rehearsal has durations of its own"
    session.environment = session.environment.model_copy(update={"cloud": "azure"})
    absent(session, *(step.Resources for step in (cluster, registry, backend, key_vault)))
    planned = Deployment(session, tmp_path)
    assert "; an apply takes about 11 min, by Azure's typical durations: " in str(planned)
    session.mode = "apply"
    deployment = Deployment(session, tmp_path)
    assert "left" not in str(deployment)
    deployment.steps["01_cluster"].began = 0.0
    assert "; about 11 min left of about 11 min, by" in str(deployment)
