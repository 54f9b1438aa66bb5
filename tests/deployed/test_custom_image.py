"""An image of one's own: built, rolled out under tasks that run; a broken one that is taken back; and back by hand.

The roll-outs take minutes: `pytest -m story tests/deployed` does them.
"""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from airflowaks.cli import airflowaks
from airflowaks.engine.changes import CHANGES_MIME, Action
from airflowaks.engine.checks import CHECKS_MIME
from airflowaks.errors import ImageBuildFailed
from airflowaks.kube import exec as command
from airflowaks.kube.client import Reference
from airflowaks.session import open_session
from airflowaks.steps import airflow as step7
from airflowaks.steps import registry
from tests.support.deployed import COMPONENTS, until
from tests.support.long_tasks import LONG, api, push, tasks, trigger
from tests.support.notebooks import execute
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from airflowaks.engine.changes import Change
    from tests.support.deployed import Deployed
    from tests.support.notebooks import Executed

PACKAGE = "text-unidecode==1.3"
CONSTRAINT = ' --constraint "${HOME}/constraints.txt"'
ORDER = [{"api-server", "dag-processor", "triggerer"}, {"worker"}, {"scheduler"}]
STEP7 = REPOSITORY / "notebooks" / "07_airflow.ipynb"
BAKED = '''
"""A DAG of the image, which needs the image's package."""

from airflow.sdk import dag, task


@dag(schedule=None)
def baked():
    @task
    def report():
        from text_unidecode import unidecode

        print("baked:", unidecode("è"))

    report()


baked()
'''


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the image is built from, where they can be changed."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(REPOSITORY / "manifests" / "image", tmp_path / "manifests" / "image"))


def build() -> tuple[Change, str]:
    """Build from the context in the working directory; return what was done, and the image's digest."""
    session = open_session("local", image="build")
    image = session.memoize(registry.Resources).image
    base, built = registry.image(session)
    assert base.action is Action.NONE
    return built, str(image.require("digest"))


def build_broken(context: Path) -> str:
    """Build an image that neither worker nor scheduler starts with, and return its digest.

    Without Airflow's constraints it gets a Celery that Airflow's provider for it does not know.
    """
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text().replace(CONSTRAINT, ""))
    (context / "requirements.txt").write_text("celery==5.7.0\n")
    return build()[1]


def running(airflow: Deployed) -> set[str]:
    """The digests of what all components' pods run, but for those that are about to end."""
    pods = [pod for component in COMPONENTS for pod in airflow.pods(component).values()]
    pods = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {pod["spec"]["containers"][0]["image"].partition("@")[2] for pod in pods}


def in_order(record: Executed, before: str, after: str) -> list[set[str]]:
    """Which components got the image `after` in place of `before`, in the groups that they are rolled out in."""
    shown = [
        one["name"].removeprefix("airflow-")
        for one in record.shown(CHANGES_MIME)[-1]
        if one["kind"] == "Deployment"
        for part in one["differences"]
        if part["path"].endswith(".image") and (part["before"], part["after"]) == (reference(before), reference(after))
    ]
    sizes = accumulate((len(group) for group in ORDER), initial=0)
    return [set(shown[start:end]) for start, end in pairwise(sizes) if shown[start:end]]


def reference(digest: str) -> str:
    """What pods name the image of that digest by."""
    host = open_session("local", "plan").memoize(registry.Resources).registry.login_server
    return f"{host}/airflow@{digest}"


@pytest.mark.story
def test_an_image_is_rolled_out_under_running_tasks_and_a_broken_one_is_taken_back(
    airflow: Deployed, context: Path, tmp_path: Path
) -> None:
    (before,) = running(airflow)
    share = tmp_path / "share"
    push(share, long_py=LONG)
    with (context / "requirements.txt").open("a") as requirements:
        requirements.write(f"{PACKAGE}\n")
    (context / "dags" / "baked.py").write_text(BAKED)
    built, good = build()
    assert built.action is Action.CREATE
    again, same = build()
    assert (again.action, same) == (Action.NONE, good)

    with api() as found:
        run = trigger(found, "long")
        until(lambda: [one["state"] for one in tasks(found, "long", run)] == ["running", "running"])
    (old_worker,) = airflow.pods("worker")

    def release() -> set[str]:
        """Let the tasks end once the worker that has them is to; return in what states they were then."""
        until(lambda: "deletionTimestamp" in airflow.pods("worker").get(old_worker, {"metadata": {}})["metadata"])
        with api() as found:
            states = {one["state"] for one in tasks(found, "long", run)}
        push(share, released="")
        return states

    with ThreadPoolExecutor() as pool:
        released = pool.submit(release)
        record = execute(STEP7, tmp_path / "good.ipynb", image=good)
        assert not record.errors
        assert released.result() == {"running"}
    assert in_order(record, before, good) == ORDER
    until(lambda: running(airflow) == {good})
    assert not open_session("local", "plan").memoize(step7.Resources).rollout.has_migrated()
    with api() as found:
        baked = trigger(found, "baked")
        until(lambda: found.state("long", run) != "running" != found.state("baked", baked) != "queued")
        assert [(one["state"], one["try_number"]) for one in tasks(found, "long", run)] == [("success", 1)] * 2
        assert "baked: e" in found.log("baked", baked, "report")

    bad = build_broken(context)
    record = execute(STEP7, tmp_path / "bad.ipynb", image=bad)
    assert in_order(record, good, bad) == ORDER[:2]
    assert {one for group in in_order(record, bad, good) for one in group} == ORDER[0] | ORDER[1]
    (failed,) = [check for check in record.shown(CHECKS_MIME)[-1] if not check["passed"]]
    assert failed["name"] == "the image works"
    assert failed["seen"].startswith("rolled back from")
    assert re.search(r"container worker: [^\n]*\(exit code 1", failed["seen"])
    assert "AirflowOptionalProviderFeatureException: Failed to import" in failed["seen"]
    assert record.errors[-1].ename == "CheckFailed"
    until(lambda: running(airflow) == {good})


@pytest.mark.broad
def test_scanners_are_told_the_image_by_its_digest(airflow: Deployed) -> None:
    (digest,) = running(airflow)
    printed = CliRunner().invoke(airflowaks, ["image", "--env", "local"])
    assert (printed.exit_code, printed.output) == (0, f"{reference(digest)}\n")
    missing = CliRunner().invoke(airflowaks, ["image", "--env", "local", "--image", "nobodys-tag"])
    assert missing.exit_code == 1
    (first, second) = missing.stderr.splitlines()
    assert first.endswith("/airflow:nobodys-tag is not in the registry.")
    assert second.startswith("→ Run step 2")


@pytest.mark.broad
def test_requirements_that_do_not_go_together_fail_the_build_with_its_log(airflow: Deployed, context: Path) -> None:
    del airflow
    (context / "requirements.txt").write_text("celery==5.7.0\n")
    with pytest.raises(ImageBuildFailed) as caught:
        build()
    assert "Because you require celery==5.7.0 and celery==5.6.3" in caught.value.message
    assert caught.value.message.splitlines()[-1].endswith("Error: failed during run, err: exit status 1")


@pytest.mark.story
def test_after_a_migration_nothing_is_gone_back_to_by_itself(airflow: Deployed, context: Path, tmp_path: Path) -> None:
    (before,) = running(airflow)
    bad = build_broken(context)
    scheduler = next(one for one in airflow.pods("scheduler").values() if "deletionTimestamp" not in one["metadata"])
    pod = Reference.of({"apiVersion": "v1", "kind": "Pod", **scheduler})
    command.run(airflow.kube, pod, ("airflow", "db", "downgrade", "--to-revision=-1", "--yes"), container="scheduler")
    record = execute(STEP7, tmp_path / "migrated.ipynb", image=bad)
    assert record.errors[-1].ename == "RolloutFailed"
    assert f"The schema was migrated for this image, so {reference(before)} was not rolled back to." in str(
        record.errors[-1].evalue
    )
    assert running(airflow) >= {bad, before}
    # Whoever knows that the image before can live with the schema gives it by hand.
    record = execute(STEP7, tmp_path / "by-hand.ipynb", image=before)
    assert not record.errors
    until(lambda: running(airflow) == {before})


@pytest.mark.story
def test_the_image_before_is_gone_back_to_by_its_digest(airflow: Deployed, tmp_path: Path) -> None:
    imported = str(open_session("local", "plan").memoize(registry.Resources).image.require("digest"))
    record = execute(STEP7, tmp_path / "back.ipynb", image=imported)
    assert not record.errors
    until(lambda: running(airflow) == {imported})
    plan = execute(STEP7, tmp_path / "check.ipynb", mode="check")
    assert not plan.errors
