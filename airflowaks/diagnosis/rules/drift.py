"""Drift: objects that differ from the manifests, and images that were rolled out and do not work."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflowaks.diagnosis import foreign
from airflowaks.diagnosis.rules.probes import MOVED
from airflowaks.diagnosis.rules.rule import WARNING, Cause, Section, in_turn, listed
from airflowaks.engine.changes import AFTER_APPLY, Changes
from airflowaks.engine.converge import converge
from airflowaks.errors import RolloutFailed
from airflowaks.kube.ownership import taking_over
from airflowaks.steps import airflow, volumes, workload_identity
from airflowaks.steps.image_rollout import with_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.kubernetes import Added
    from airflowaks.diagnosis.facts.resource_status import ResourceStatus
    from airflowaks.diagnosis.facts.snapshot import Snapshot
    from airflowaks.session import Session

_DEPLOYMENT = "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"
_FIELDS = "https://kubernetes.io/docs/reference/using-api/server-side-apply/"
# Whose settings make tasks fail while all pods are healthy.
_RUN_TASKS = ("api-server", "scheduler")
OBJECTS = in_turn(workload_identity.service_accounts, volumes.storage, airflow.everything)
"""The fix that applies all objects of steps 5 to 7."""
# Differences that a more specific rule finds; a value that is unknown before an apply, as of a lost image, is none.
_SPECIFIC = (MOVED, "checksum/secrets", "azure.workload.identity/use", "spec.replicas: 0 ", f"→ {AFTER_APPLY}")
DRIFT = Section()


def _roll_back(name: str, image: str, session: Session) -> Changes:
    """Apply a Deployment's manifest with the image that it ran before.

    Raises RolloutFailed where the runbook rolled the image out and has migrated the database to its schema.
    """
    step = session.memoize(airflow.Resources)
    (deployment,) = (each for each in step.deployments if each.name == name)
    running = step.rollout.running().get(name)
    if running == step.image.reference != image and step.rollout.has_migrated():
        message = f"Deployment {name}: the database was migrated for the image {running}."
        raise RolloutFailed(message, f"Correct the image, or restore the database before rolling back to {image}.")
    with taking_over(session):
        return converge(session, with_image(deployment, image))


@DRIFT.rule("AKA-821", WARNING, link=f"{_DEPLOYMENT}#rolling-back-a-deployment", may_explain=True, automatic=True)
def _new_image_does_not_work(facts: Snapshot) -> Iterable[Cause]:
    """Name the image that a component was given, where its new pods do not become ready, and the one before."""
    for name in _with_a_bad_image(facts):
        deployment = facts.kubernetes.deployments[name]
        yield Cause(
            f"The Deployment {name} was given another image, and its new pods do not become ready.",
            "Correct the image, or let the fix roll back to the one before; if the environment file names the new one,"
            " set `registry.tag` there back, too.",
            [f"image: {deployment.previous} → {deployment.image}", *_of_the_image(facts, name)],
            frozenset({deployment.component}),
            partial(_roll_back, name, deployment.previous),
        )


def _of_the_image(facts: Snapshot, name: str) -> tuple[str, ...]:
    status = facts.kubernetes.objects.get(f"Deployment {name}")
    return status.differing(".image:") if status else ()


def _with_a_bad_image(facts: Snapshot) -> list[str]:
    unhealthy = {pod.component for pod in facts.kubernetes.pods.values() if not pod.healthy}
    deployments = facts.kubernetes.deployments.items()
    return [name for name, deployment in deployments if deployment.previous and deployment.component in unhealthy]


def _told_elsewhere(facts: Snapshot, status: ResourceStatus) -> tuple[str, ...]:
    """Return words of the differences that a more specific rule names: what an autoscaler or a new image has set."""
    if status.kind != "Deployment":
        return _SPECIFIC
    scaled = any(
        not each.ours and each.spec["scaleTargetRef"]["name"] == status.name for each in facts.kubernetes.autoscalers
    )
    rolled = status.name in _with_a_bad_image(facts)
    return (*_SPECIFIC, *(["spec.replicas:"] if scaled else []), *([".image:"] if rolled else []))


def _take_over(session: Session) -> Changes:
    """Run steps 5 to 7 on all objects, and set back what other field managers have set in them."""
    with taking_over(session):
        return OBJECTS(session)


def _remove(added: tuple[Added, ...], session: Session) -> Changes:
    step, names = session.memoize(airflow.Resources), {(each.kind, each.name) for each in added}
    chosen = [each for each in (*step.config_maps, *step.deployments) if (each.kind, each.name) in names]
    return sum((foreign.remove_additions(session, each) for each in chosen), start=Changes())


@DRIFT.rule("AKA-822", WARNING, link=_FIELDS, may_explain=True, automatic=True)
def _fields_were_added(facts: Snapshot) -> Iterable[Cause]:
    """Name what somebody added to the objects of components that are in trouble: an apply leaves it as it is."""
    troubled = {pod.component for pod in facts.kubernetes.pods.values() if not pod.healthy}
    troubled |= {each.component for each in facts.kubernetes.deployments.values() if each.refused}
    troubled |= {*_RUN_TASKS, *facts.kubernetes.workers} if facts.airflow.failed else set()
    added: dict[str, list[Added]] = {}
    for each in facts.kubernetes.added:
        if each.component in troubled or (troubled and not each.component):
            added.setdefault(f"{each.kind} {each.name}", []).append(each)
    for title, fields in added.items():
        names = listed([each.path.rpartition(".")[2] for each in fields])
        yield Cause(
            f"{title} has what no step of the runbook set: {names}.",
            "To keep it, set it in the manifest. Step 7 leaves it as it is; this fix removes it.",
            fields,
            frozenset({fields[0].component} - {""}),
            partial(_remove, tuple(fields)),
        )


@DRIFT.rule(
    "AKA-807",
    WARNING,
    effects=("AKA-703",),
    link=_FIELDS,
    remedy=_take_over,
    may_explain=True,
)
def _object_differs(facts: Snapshot) -> Iterable[Cause]:
    """One cause for each component whose Deployment or Job differs, by that one's name, and one for all others."""
    differing: dict[str, list[ResourceStatus]] = {}
    for status in facts.kubernetes.objects.values():
        if status.exists and status.differences_without(*_told_elsewhere(facts, status)):
            workload = facts.kubernetes.deployments.get(status.name) or facts.kubernetes.jobs.get(status.name)
            differing.setdefault(workload.component if workload else "", []).append(status)
    for component, statuses in differing.items():
        names = listed([status.title for status in statuses])
        if any(status.held for status in statuses):
            reason = "another tool changed it"
            action = (
                "Step 7 alone overwrites no field that another tool has set; this fix does, and its plan shows each."
            )
        else:
            reason = "somebody changed it, or a setting was not rolled out"
            action = "Else run step 7 (steps 5 and 6 for their objects), which sets it back."
        yield Cause(
            f"{names} {'differs' if len(statuses) == 1 else 'differ'} from the manifests: {reason}.",
            f"To keep a value, set it in the environment file or the manifest. {action}",
            [
                f"{status.title}: {difference}"
                for status in statuses
                for difference in status.differences_without(*_told_elsewhere(facts, status))
            ],
            frozenset({component} - {""}),
        )
