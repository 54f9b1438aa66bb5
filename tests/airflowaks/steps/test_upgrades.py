"""Upgrades against the rehearsal: their plan, what blocks them, and that a second run writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from airflowaks.config.schema import SpotPool
from airflowaks.engine.changes import CHANGES_MIME, Action
from airflowaks.engine.results import Results
from airflowaks.errors import AzureError, NotConfirmed, UpgradeBlocked, UpgradeRequired
from airflowaks.kube.client import connect
from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, registry, upgrade_plan, upgrades
from tests.support.deployment import DIRECT, describe_environment, is_write
from tests.support.notebooks import execute
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflowaks.engine.table import Table
    from airflowaks.session import Session
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad

NAME = "aging"
KUBERNETES = 'cluster: {{kubernetes_version: "{}"}}'
IMAGE = "AKSUbuntu-2204gen2containerd-"


class Aging:
    """An environment whose file says other versions than those that it was deployed with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self, kubernetes: str, postgresql: str, airflow: str = "3.3.2") -> None:
        source = f'registry: {{source: "docker.io/apache/airflow:{airflow}"}}'
        more = f'{DIRECT}  version: "{postgresql}"\n{KUBERNETES.format(kubernetes)}\n{source}\n'
        describe_environment(self._folder, NAME, more)

    def session(self, mode: str = "apply") -> Session:
        return open_session(NAME, mode)


@pytest.fixture(scope="module")
def aging(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aging]:
    """Steps 1 and 3 with old versions."""
    folder = tmp_path_factory.mktemp("checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOWAKS_HOME", str(rehearsal.home))
        patch.chdir(folder)
        environment = Aging(folder)
        environment.describe("1.34.4", "16")
        session = environment.session()
        cluster.everything(session)
        backend.everything(session)
        yield environment


@pytest.fixture
def restrict(rehearsal: Rehearsal) -> Iterator[Callable[..., None]]:
    """Restrict what the rehearsal offers, until the test ends."""

    def add(**restriction: Any) -> None:
        rehearsal.control("POST", restriction)

    yield add
    rehearsal.control("DELETE")


def rows(table: Table) -> dict[str, tuple[str, ...]]:
    return {row[0]: tuple(row[1:]) for row in table.rows}


def versions(session: Session) -> tuple[str, str]:
    facts: Any = session.memoize(cluster.Resources).cluster.refresh()
    (pool,) = facts["properties"]["agentPoolProfiles"]
    return facts["properties"]["currentKubernetesVersion"], pool["currentOrchestratorVersion"]


def test_the_steps_leave_versions_to_the_upgrade(aging: Aging) -> None:
    aging.describe("1.35", "17")
    with pytest.raises(UpgradeRequired, match=r"currentKubernetesVersion: 1\.34\.4 → 1\.35;.*\n→ Plan its upgrade"):
        cluster.everything(aging.session())
    with pytest.raises(UpgradeRequired, match=r"properties\.version: 16 → 17"):
        backend.everything(aging.session())
    assert versions(aging.session()) == ("1.34.4", "1.34.4")


def test_a_plan_says_from_where_to_where_and_changes_nothing(
    aging: Aging, rehearsal: Rehearsal, restrict: Callable[..., None]
) -> None:
    aging.describe("1.35", "18")
    restrict(restriction="node-image", name="202612.01.0")
    before = len(rehearsal.requests())
    session = aging.session("plan")
    table = upgrade_plan.plan(session)
    planned = rows(table)
    assert table.note == "An apply makes one of them: upgrade=kubernetes or node-image or postgresql."
    assert planned["kubernetes: pool airflow"][3].startswith(
        "minutes for each node (2 now), and its pods' end: at most 90"
    )
    assert planned["kubernetes: control plane"][:2] == ("1.34.4", "1.35")
    assert planned["kubernetes: pool airflow"][:2] == ("1.34.4", "1.35")
    assert planned["node-image: pool airflow"][:2] == (f"{IMAGE}202611.03.0", f"{IMAGE}202612.01.0")
    assert planned["PostgreSQL, minor"][:2] == ("16.11", "by Azure")
    assert planned["postgresql"][:2] == ("16", "18")
    assert "restore" in planned["postgresql"][-1]
    assert planned["airflow"] == ("(none)", "not deployed", "", "", "")
    changes = upgrades.kubernetes(session) + upgrades.node_image(session) + upgrades.postgresql(session)
    assert [(change.kind, change.action, change.applied) for change in changes] == [
        ("AKS cluster", Action.UPDATE, False),
        ("node pool", Action.UPDATE, False),
        ("node image of pool", Action.UPDATE, False),
        ("PostgreSQL version of server", Action.UPDATE, False),
    ]
    written = [entry for entry in rehearsal.requests()[before:] if is_write(entry)]
    assert [entry["path"].rpartition("/")[2] for entry in written] == ["startMajorVersionUpgradePrecheck"]


def test_an_apply_makes_the_upgrade_that_it_is_told_to(aging: Aging) -> None:
    aging.describe("1.35", "17")
    session = aging.session()
    with pytest.raises(NotConfirmed, match=r'got ""\. Nothing was changed'):
        upgrades.check_chosen("")
    upgrades.check_chosen("node-image")
    assert not upgrades.kubernetes(session, "postgresql") + upgrades.node_image(session, "postgresql")
    assert versions(session) == ("1.34.4", "1.34.4")


def test_a_release_that_is_skipped_blocks(aging: Aging) -> None:
    aging.describe("1.36", "16")
    planned = rows(upgrade_plan.plan(aging.session("plan")))
    assert planned["  blocked"][2].startswith("1.34.4 cannot be upgraded to 1.36 in one step, only to 1.34.5, 1.35.2")
    with pytest.raises(UpgradeBlocked, match="in one step"):
        upgrades.kubernetes(aging.session())
    aging.describe("1.33", "16")
    with pytest.raises(UpgradeBlocked, match=r"1\.34\.4 cannot be upgraded to 1\.33"):
        upgrades.kubernetes(aging.session())


def test_use_of_an_api_that_the_release_has_not_stops_the_upgrade(aging: Aging, restrict: Callable[..., None]) -> None:
    aging.describe("1.35", "16")
    restrict(breakdown="deprecation", name="1.35", message="scheduling.k8s.io/v1beta1/priorityclasses")
    planned = rows(upgrade_plan.plan(aging.session("plan")))
    assert planned["  in use"][2].startswith(
        "priorityclasses of scheduling.k8s.io/v1beta1, which 1.35 no longer serves"
    )
    with pytest.raises(UpgradeBlocked, match=r"priorityclasses\.v1beta1 \(last used .*\n→ Move what uses it"):
        upgrades.kubernetes(aging.session())
    assert versions(aging.session()) == ("1.34.4", "1.34.4")


def test_the_control_plane_goes_first_and_an_interrupted_upgrade_goes_on(
    aging: Aging, rehearsal: Rehearsal, restrict: Callable[..., None]
) -> None:
    aging.describe("1.35", "16")
    pools = {"methods": ["PUT"], "path": "/agentPools/", "status": 500, "code": "InternalServerError", "times": 50}
    restrict(**pools, message="believed")
    session = aging.session()
    assert cluster.checks(session)[0].seen == "Running, Kubernetes 1.34.4"
    with pytest.raises(AzureError):
        upgrades.kubernetes(session)
    assert session.memoize(Results).checks[-3].seen == "Running, Kubernetes 1.35.3"
    assert versions(aging.session()) == ("1.35.3", "1.34.4")
    with pytest.raises(UpgradeRequired, match=r"agentPoolProfiles\[airflow\]"):
        cluster.cluster(aging.session())
    rehearsal.control("DELETE")
    changes = upgrades.kubernetes(aging.session())
    assert [(change.kind, change.action) for change in changes] == [
        ("AKS cluster", Action.NONE),
        ("node pool", Action.UPDATE),
    ]
    assert versions(aging.session()) == ("1.35.3", "1.35.3")
    before = len(rehearsal.requests())
    session = aging.session()
    assert {change.action for change in upgrades.kubernetes(session)} == {Action.NONE}
    assert {change.action for change in cluster.cluster(session)} == {Action.NONE}
    assert not [entry for entry in rehearsal.requests()[before:] if is_write(entry)]
    assert not cluster.checks(session).failed
    assert rows(upgrade_plan.plan(session))["kubernetes: control plane"][:2] == ("1.35.3", "up to date")


def test_nodes_get_the_newest_image_and_once(aging: Aging, rehearsal: Rehearsal, restrict: Callable[..., None]) -> None:
    restrict(restriction="node-image", name="202612.01.0")
    session = aging.session()
    described = session.environment.cluster.model_copy(update={"spot_pool": SpotPool()})  # which step 1 would create
    session.environment = session.environment.model_copy(update={"cluster": described})
    (change,) = upgrades.node_image(session)
    assert [(each.before, each.after) for each in change.differences] == [
        (f"{IMAGE}202611.03.0", f"{IMAGE}202612.01.0")
    ]
    before = len(rehearsal.requests())
    (again,) = upgrades.node_image(aging.session())
    assert again.action is Action.NONE
    assert not [entry for entry in rehearsal.requests()[before:] if is_write(entry)]


CREATE_VIEW, DROP_VIEW = "CREATE VIEW who AS SELECT pid FROM pg_stat_activity", "DROP VIEW who"


def run(session: Session, statement: str) -> None:
    step = session.memoize(backend.Resources)
    token = session.token("https://ossrdbms-aad.database.windows.net/.default")
    ca_file = str(session.connection.ca_file)
    place = {"host": step.server.host, "port": step.server.port, "dbname": "postgres", "sslmode": "verify-full"}
    with psycopg.connect(**place, user=step.administrator.user, password=token, sslrootcert=ca_file) as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize(("status", "code"), [(403, "AuthorizationFailed"), (400, "FeatureNotSupported")])
def test_a_precheck_that_is_refused_ends_no_plan_and_the_upgrade_makes_it_itself(
    aging: Aging, restrict: Callable[..., None], status: int, code: str
) -> None:
    aging.describe("1.35", "18")
    precheck = {"path": "/startMajorVersionUpgradePrecheck$", "times": 50}
    restrict(**precheck, status=status, code=code, message="The precheck is not for you.")
    for mode in ("plan", "check"):
        planned = rows(upgrade_plan.plan(aging.session(mode)))
        assert planned["postgresql"][:2] == ("16", "18")
        assert planned["  unknown"][2].startswith("what Azure's precheck finds, which the upgrade makes, too: ")
        assert "The precheck is not for you" in planned["  unknown"][2]
        assert planned["kubernetes: control plane"][1] == "up to date"
    run(aging.session(), CREATE_VIEW)
    with pytest.raises(AzureError, match="views dependent upon pg_stat_activity"):
        upgrades.postgresql(aging.session())
    run(aging.session(), DROP_VIEW)
    assert aging.session().memoize(backend.Resources).server.require("properties.version") == "16"


def test_what_the_precheck_finds_blocks_a_major_version(aging: Aging, rehearsal: Rehearsal) -> None:
    aging.describe("1.35", "18")
    run(aging.session(), CREATE_VIEW)
    reason = "NoViewDependentObjectsPrecheckPolicy: .*Please drop this view"
    assert reason.partition(":")[0] in rows(upgrade_plan.plan(aging.session("plan")))["  blocked"][2]
    with pytest.raises(UpgradeBlocked, match=reason):
        upgrades.postgresql(aging.session())
    run(aging.session(), DROP_VIEW)
    (change,) = upgrades.postgresql(aging.session())
    assert [(each.before, each.after) for each in change.differences] == [("16", "18")]
    before = len(rehearsal.requests())
    session = aging.session()
    assert [each.action for each in upgrades.postgresql(session)] == [Action.NONE]
    assert {each.action for each in backend.everything(session)} == {Action.NONE}
    assert not [entry for entry in rehearsal.requests()[before:] if is_write(entry)]
    assert not backend.checks(session).failed
    aging.describe("1.35", "17")
    with pytest.raises(UpgradeBlocked, match="18 cannot be upgraded to 17, only to no version"):
        upgrades.postgresql(aging.session())


def test_an_older_schema_of_airflow_blocks(aging: Aging) -> None:
    aging.describe("1.35", "18")
    session = aging.session()
    registry.everything(session)
    reference = str(session.memoize(registry.Resources).image.reference)
    labels = {"app": "airflow"}
    container = {"name": "scheduler", "image": reference}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "airflow-scheduler", "namespace": "airflow"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    session.memoize(connect).create(deployment)

    def planned(version: str) -> dict[str, tuple[str, ...]]:
        aging.describe("1.35", "18", version)
        return rows(upgrade_plan.plan(aging.session("plan")))

    assert planned("3.3.2")["airflow"][:2] == ("airflow:3.3.2", "up to date")
    same = planned("3.3.1")["airflow"]
    assert same[:2] == ("3.3.2", "airflow:3.3.1")
    assert same[2].endswith("the schema stays")
    assert same[4] == "the image that runs now, which a failed check brings back"
    moves = "the schema moves: d2f4e1b3c5a7 → what the image knows; pause the DAGs first"
    assert planned("3.4.0")["airflow"][2].endswith(moves)
    assert planned("3.1.0")["  blocked"][2].startswith("the image has the schema cc92b33c6709 (Airflow 3.1.0)")
    with pytest.raises(UpgradeBlocked, match=r"the database the schema d2f4e1b3c5a7 \(Airflow 3\.3\.0\)"):
        upgrades.airflow(aging.session())


def test_the_notebook_plans_by_default_and_applies_only_what_it_is_told(rehearsal: Rehearsal, tmp_path: Path) -> None:
    notebook, before = REPOSITORY / "notebooks" / "10_upgrade.ipynb", len(rehearsal.requests())
    (failure,) = execute(notebook, tmp_path / "unnamed.ipynb", mode="apply").errors
    assert failure.traceback[-1] == (
        "→ Pass -p upgrade with one of: kubernetes, node-image, postgresql, airflow; mode=plan shows each."
    )
    planned = execute(notebook, tmp_path / "planned.ipynb")
    assert planned.errors == []
    assert planned.shown(CHANGES_MIME)[-1] == []
    applied = execute(notebook, tmp_path / "applied.ipynb", mode="apply", upgrade="node-image")
    assert applied.shown(CHANGES_MIME)[-1] == []
    assert not [entry for entry in rehearsal.requests()[before:] if is_write(entry)]
