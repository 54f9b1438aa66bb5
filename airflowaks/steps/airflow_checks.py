"""The checks of a running Airflow: components are healthy, workers consume, people can sign in, a DAG runs and logs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflowaks.engine.polling import retry_on, wait_until
from airflowaks.errors import CheckFailed
from airflowaks.kube import exec as command
from airflowaks.kube.client import connect
from airflowaks.steps import cluster, key_vault
from airflowaks.steps.api_server import api, ready_pods

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.kube.client import Kube, Reference
    from airflowaks.session import Session

SMOKE_DAG, LOAD_DAG = "smoke", "load"

_SMOKE_TASK, _SMOKE_LINE = "report", "smoke: "
_LAST_LINES = 5
_ANSWER_SECONDS = 15
_HEALTH_SECONDS = 180.0
_DAG_SECONDS = 600.0
_TASK_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_CREDENTIAL_SECONDS = 120.0


def components_are_healthy(session: Session) -> str:
    """Return the components that Airflow's health page names. Raises CheckFailed where one stays unhealthy."""
    with api(session) as airflow:
        states = wait_until(
            airflow.health, lambda health: not _unhealthy(health), _HEALTH_SECONDS, longest_pause=_PAUSE_SECONDS
        )
    if unhealthy := _unhealthy(states):
        message = f"Airflow's health page: {', '.join(unhealthy)} {'is' if len(unhealthy) == 1 else 'are'} not healthy."
        see = f"kubectl logs --namespace {session.environment.cluster.namespace} deployment/airflow-"
        raise CheckFailed(message, f"See `{see}…` for the reason, then run the step again.")
    return f"healthy: {', '.join(states)}"


def workers_consume(session: Session) -> str:
    """Return the queues that each worker consumes. Raises CheckFailed where a worker consumes none.

    A queue that may have no worker is not looked at.
    """
    kube, workers_of = session.memoize(connect), session.environment.airflow.workers_of
    needed = [component for component, workers in workers_of.items() if workers.settings.min_count]
    pods = [pod for component in needed for pod in ready_pods(session, component)]
    queues = {pod.name: queues_of(kube, pod, _ANSWER_SECONDS) for pod in pods}
    if idle := [pod for pod, names in queues.items() if not names]:
        message = f"Worker {idle[0]}: it consumes no queue."
        raise CheckFailed(message, f"Delete the pod {idle[0]}: its replacement connects to the broker again.")
    return "; ".join(f"{pod}: {', '.join(names)}" for pod, names in queues.items())


def queues_of(kube: Kube, worker: Reference, seconds: int) -> list[str]:
    """Return the queues that a worker consumes, for whose answer it waits `seconds`. Raises CommandFailed."""
    program = ("python", "/etc/airflow/programs/queues.py", str(seconds))
    return command.run(kube, worker, program, container="worker").decode().split()


def people_can_sign_in(session: Session) -> str:
    """Return where Airflow sends people to sign in, once Entra takes the api-server's token for a secret.

    Raises CheckFailed where Airflow does not send them to Entra, and CommandFailed with Entra's words where it refuses.
    """
    environment, step1 = session.environment, session.memoize(cluster.Resources)
    if environment.airflow.login == "password":
        return f"with the password of {environment.airflow.admin}"
    with api(session) as airflow:
        address = airflow.sign_in_address()
    if step1.client_id not in address:
        message = f"Airflow's sign-in: it leads to {address or 'no page'}, not to the application {step1.client_id}."
        see = f"kubectl logs --namespace {environment.cluster.namespace} deployment/airflow-api-server"
        raise CheckFailed(message, f"See `{see}` for the reason; the image needs authlib, and the pods reach Entra.")
    kube, (pod, *_) = session.memoize(connect), ready_pods(session, "api-server")
    program = ("python", "/etc/airflow/sign-in/prove_sign_in.py")
    # A new federated credential takes a while to have effect.
    retry_on(lambda: command.run(kube, pod, program), lambda error: "AADSTS7002" in str(error), _CREDENTIAL_SECONDS)
    return f"{address.partition('?')[0]}, application {step1.client_id}, without a secret"


def a_dag_runs(session: Session) -> str:
    """Trigger the smoke DAG and return what its log says. Raises CheckFailed where it fails or logs nothing."""
    with _signed_in(session) as airflow:
        run = _trigger(airflow, SMOKE_DAG)
        state = wait_until(
            lambda: airflow.state(SMOKE_DAG, run), _has_ended, _DAG_SECONDS, longest_pause=_PAUSE_SECONDS
        )
        lines = airflow.log(SMOKE_DAG, run, _SMOKE_TASK)
    smoke = [line for line in lines if line.startswith(_SMOKE_LINE)]
    if state != "success" or not smoke:
        end = " | ".join(lines[-_LAST_LINES:])
        message = f"DAG {SMOKE_DAG}: the run {run} is {state}; its log ends with: {end or '(nothing)'}"
        raise CheckFailed(
            message, "Open the run in Airflow's web pages; `notebooks/08_troubleshooting.ipynb` finds causes."
        )
    return f"{run}: {state}; its log says: {smoke[0].removeprefix(_SMOKE_LINE)}"


def tasks_run_at_once(session: Session, tasks: int) -> str:
    """Trigger the load DAG and return how long its tasks took, and how many workers ran them at the most.

    Raises CheckFailed where one of them does not succeed at its first attempt.
    """
    workers: list[int] = []
    begun = time.monotonic()
    with _signed_in(session) as airflow:
        run = _trigger(airflow, LOAD_DAG, tasks=tasks)

        def look() -> str:
            workers.append(len(ready_pods(session, "worker")))
            return airflow.state(LOAD_DAG, run)

        state = wait_until(look, _has_ended, _DAG_SECONDS + tasks * _TASK_SECONDS, longest_pause=_PAUSE_SECONDS)
        done = airflow.count(LOAD_DAG, run, "success") - 1  # the task that counts the others
    if done != tasks:
        message = f"DAG {LOAD_DAG}: the run {run} is {state}; {tasks - done} of {tasks} tasks did not succeed."
        raise CheckFailed(message, "Open the run in Airflow's web pages to see which, and their logs.")
    return f"{run}: {tasks} tasks in {time.monotonic() - begun:.0f} s, on up to {max(workers)} workers; none was lost"


@contextmanager
def _signed_in(session: Session) -> Iterator[AirflowApi]:
    settings, secrets = session.environment.airflow, session.memoize(key_vault.Resources)
    with api(session) as airflow:
        airflow.sign_in(settings.admin, secrets.admin_password.require("value"))
        yield airflow


def _trigger(airflow: AirflowApi, dag: str, **params: int) -> str:
    """Start a run as soon as the dag-processor has read the DAG's file: until then the API answers 404."""
    retry_on(lambda: airflow.unpause(dag), _is_not_found, _DAG_SECONDS)
    return airflow.trigger(dag, **params)


def _unhealthy(states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, state in states.items() if state["status"] != "healthy"]


def _has_ended(state: str) -> bool:
    return state in ("success", "failed")


def _is_not_found(error: BaseException) -> bool:
    return getattr(error, "status_code", None) == HTTPStatus.NOT_FOUND
