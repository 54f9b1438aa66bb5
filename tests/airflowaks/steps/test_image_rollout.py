"""An image is rolled out group by group, and rolled back where a component does not become ready or checks fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.registry import ContainerRegistry, RegistryImage
from airflowaks.engine.converge import converge
from airflowaks.engine.results import Results
from airflowaks.errors import RolloutFailed
from airflowaks.steps.image_rollout import ORDER, ImageRollout

if TYPE_CHECKING:
    from airflowaks.session import Session
    from tests.support.world import World

pytestmark = pytest.mark.broad
NAMES = [name for group in ORDER for name in group]
OLD, NEW = "docker.io/library/python:3.12", "docker.io/library/python:3.13"
MIGRATION = """
apiVersion: batch/v1
kind: Job
metadata: {name: airflow-migration, namespace: "${NAMESPACE}"}
spec:
  template:
    metadata: {labels: {app.kubernetes.io/component: migration}}
    spec:
      restartPolicy: Never
      containers: [{name: migration, image: "${IMAGE}", command: [python, -c, "print('${MIGRATES}')"]}]
"""
SCRIPT = "import sys, time; sys.argv[1] == sys.argv[2] and sys.exit('cannot start'); time.sleep(3600)"
DEPLOYMENT = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: COMPONENT, namespace: "${NAMESPACE}"}
spec:
  progressDeadlineSeconds: 600
  selector: {matchLabels: {app: COMPONENT}}
  template:
    metadata: {labels: {app: COMPONENT}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: ${IMAGE}
          command: [python, -c, "${SCRIPT}", "${BROKEN}", "COMPONENT ${IMAGE}"]
          readinessProbe: {exec: {command: [python, -c, ""]}, initialDelaySeconds: 1}
"""


class PublicImage(RegistryImage):
    """An image that every node can pull."""

    reference = NEW


def rollout(world: World, session: Session, image: Any = NEW, **values: str) -> ImageRollout:
    """Describe an Airflow that runs `image`, and return the roll-out of NEW in it."""
    world.describe("".join([MIGRATION, *(DEPLOYMENT.replace("COMPONENT", name) for name in NAMES)]))
    defaults = {"SCRIPT": SCRIPT, "MIGRATES": "nothing to migrate", "BROKEN": "nothing"}
    migration, *deployments = world.objects(session, IMAGE=image, **{**defaults, **values})
    new = PublicImage(ContainerRegistry(session, "registry", parent=migration.parent), "3.13")
    return ImageRollout(new, migration, deployments)


@pytest.fixture
def old(world: World) -> World:
    """A namespace in which the old image runs."""
    session = world.session()
    running = rollout(world, session, OLD)
    converge(session, running.migration, *running.deployments)
    return world


def test_an_image_is_rolled_out_group_by_group_and_rolled_back_once(old: World) -> None:
    session = old.session()
    new = rollout(old, session)
    assert (new.replaces(), new.can_roll_back) == (True, False)

    changes = [change.name for change in new.roll_out()]

    assert changes[0] == "airflow-migration"
    assert [set(changes[1:4]), set(changes[4:5]), set(changes[5:])] == [set(group) for group in ORDER]
    assert new.running() == dict.fromkeys(NAMES, NEW)
    assert (new.replaces(), new.can_roll_back) == (False, True)

    new.roll_back("a DAG failed", "Look.")

    assert new.running() == dict.fromkeys(NAMES, OLD)
    assert not new.can_roll_back
    (check,) = session.memoize(Results).checks
    assert (check.passed, check.action) == (False, "Look.")
    assert check.seen == f"rolled back from {NEW} to {OLD}, because: a DAG failed"


def test_a_component_that_does_not_become_ready_takes_all_of_them_back(old: World) -> None:
    session = old.session()
    new = rollout(old, session, BROKEN=f"airflow-worker {NEW}")
    changes = [change.name for change in new.roll_out()]
    assert "airflow-scheduler" not in changes[: changes.index("airflow-worker") + 1]
    assert new.running() == dict.fromkeys(NAMES, OLD)
    (check,) = session.memoize(Results).checks
    assert check.seen.endswith("| cannot start")


def test_a_migrated_schema_is_not_rolled_back(old: World) -> None:
    new = rollout(old, old.session(), MIGRATES="migrated")
    new.roll_out()
    with pytest.raises(RolloutFailed, match=f"The schema was migrated for this image, so {OLD} was not rolled back to"):
        new.roll_back("a DAG failed.", "Look.")
    assert new.running() == dict.fromkeys(NAMES, NEW)
