"""A drill: break the deployment as it breaks on Azure, have the diagnosis name the cause first, and put it right.

A drill is a generator. What comes before its `yield` breaks something, through the APIs that Azure, Kubernetes,
PostgreSQL and Redis offer. Then the rule's fix function heals it or, where the rule has none or the drill says
`by_hand`, what comes after the `yield` does, as the finding says. In the end nothing may be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflowaks.azure.database_role import TOKEN_SCOPE, connect
from airflowaks.cloud.database_urls import DatabaseUrl
from airflowaks.diagnosis.diagnose import Diagnosis, apply_fix, diagnose
from airflowaks.diagnosis.rules.registry import RULES
from airflowaks.engine.polling import retry_on, wait_until
from airflowaks.kube.client import Kube, Reference
from airflowaks.kube.client import connect as reach
from airflowaks.kube.ownership import taking_over
from airflowaks.kube.pods import is_ready
from airflowaks.session import open_session
from airflowaks.steps import airflow as step7
from airflowaks.steps import api_server, backend, cluster, key_vault, registry, volumes, workload_identity
from airflowaks.steps.pod_secrets import PodSecrets
from tests.support.deployed import MERGE, NAMESPACE

if TYPE_CHECKING:
    from airflowaks.cloud.airflow_api import AirflowApi
    from airflowaks.engine.changes import Change
    from airflowaks.kube.client import Document
    from tests.support.rehearsal import Rehearsal

STEPS = (cluster, registry, backend, key_vault, workload_identity, volumes, step7)
BY_HAND = "kubectl-edit"
"""Who edits objects behind the runbook's back, as Kubernetes notes it."""
SEEN_SECONDS, HEALED_SECONDS = 120.0, 420.0
_PAUSE_SECONDS = 3.0
_MOST_TASKS = 50
_DAG_SECONDS = 180.0
NAME = "drill"
"""Of what Airflow keeps for DAGs of the drills."""
_DAGS = Path(__file__).parent / "dags"


class Scene:
    """What drills break: the rehearsal cloud, and all that the steps have made in it, as the operator reaches it."""

    def __init__(self, cloud: Rehearsal) -> None:
        self.cloud = cloud
        self.session = open_session("local")

    @cached_property
    def kube(self) -> Kube:
        return self.session.memoize(reach)

    def step(self, module: Any) -> Any:
        """The resources of a step."""
        return self.session.memoize(module.Resources)

    def refuse(self, **fault: Any) -> None:
        """Have the cloud refuse requests from now on, in a service's own words for what nobody can break here."""
        self.cloud.control("POST", {"times": 1000, **fault})

    def break_down(self, breakdown: str, **how: str | int) -> None:
        """Have the cluster's machines fail from now on, where no request of the cloud's could be refused."""
        self.cloud.control("POST", {"breakdown": breakdown, **how})

    def serve(self) -> None:
        """Have the cloud refuse nothing any more, and its machines work."""
        self.cloud.control("DELETE")

    # The database

    def administer(self, statement: str, *values: str, database: str = "postgres") -> None:
        """Run a statement as the server's administrator, who signs in with a token."""
        step3 = self.step(backend)
        self._execute(database, step3.administrator.user, self.session.token(TOKEN_SCOPE), statement, *values)

    def as_airflow(self, statement: str) -> None:
        """Run a statement in Airflow's database as the role that owns it."""
        url = DatabaseUrl.parse(self.step(key_vault).sql_connection.require("value").reveal())
        self._execute(url.database, url.user, url.password, statement)

    def _execute(self, database: str, user: str, password: str, statement: str, *values: str) -> None:
        with connect(self.step(backend).server, database, user, password) as opened:
            opened.autocommit = True
            opened.execute(statement, values or None)  # type: ignore[call-overload]  # psycopg wants literals alone

    # The cluster

    def patch(self, reference: Reference, body: Document, form: str = MERGE) -> Document:
        """Change an object as `kubectl edit` does."""
        return self.kube.request("PATCH", self.kube.path(reference), {"fieldManager": BY_HAND}, body, form)

    def edit(self, component: str, pod: Document | None = None, **container: Any) -> None:
        """Change the pods of a component, or their container."""
        spec = {**(pod or {}), **({"containers": [{"name": component, **container}]} if container else {})}
        self.patch(deployment(component), {"spec": {"template": {"spec": spec}}})

    def pods(self, component: str) -> list[Reference]:
        """The pods of a component that are not about to end."""
        labels = f"app.kubernetes.io/name=airflow,app.kubernetes.io/component={component}"
        found = list(self.kube.each("v1", "Pod", NAMESPACE, labels=labels))
        return [Reference.of(one) for one in found if "deletionTimestamp" not in one["metadata"]]

    def uid(self, pod: str) -> str:
        """The UID of a pod."""
        return str((self.kube.get(Reference("v1", "Pod", pod, NAMESPACE)) or {})["metadata"]["uid"])

    def replace(self, component: str) -> None:
        """Delete the pods of a component; others take their place."""
        for pod in self.pods(component):
            self.kube.delete(pod, grace_seconds=0)

    def await_rolled(self, component: str, before: list[Reference]) -> None:
        """Return once all pods of a component are others than before, and ready."""

        def rolled() -> bool:
            documents = [self.kube.get(one) for one in self.pods(component)]
            ready = all(one is not None and is_ready(one) for one in documents)
            return bool(documents) and ready and set(self.pods(component)).isdisjoint(before)

        wait_until(rolled, bool, HEALED_SECONDS, longest_pause=1)

    @staticmethod
    def await_synced() -> None:
        """Return once the Secrets in the cluster hold what the vault holds now."""
        open_session("local", "plan").memoize(PodSecrets).await_synced()

    # Airflow

    @contextmanager
    def api(self) -> Iterator[AirflowApi]:
        """Airflow's API, signed in to as the administrator."""
        settings, secrets = self.session.environment.airflow, self.step(key_vault)
        with api_server.api(self.session) as api:
            api.sign_in(settings.admin, secrets.admin_password.require("value"))
            yield api

    @contextmanager
    def kept(self, kind: str, **known: Any) -> Iterator[None]:
        """One of Airflow's `connections` or `variables` that DAGs of the drills read, for the time being."""
        with self.api() as api:
            api._send("POST", f"/api/v2/{kind}", known)
        yield
        with self.api() as api:
            api._send("DELETE", f"/api/v2/{kind}/{NAME}")

    def push_dags(self) -> None:
        """Put the DAGs of the drills on their share, for the dag-processor to find them there within half a minute."""
        volumes.push_dags(self.session, str(_DAGS))

    def run_dag(self, dag: str) -> str:
        """Begin a run of a DAG, as soon as Airflow knows it, and return the run's ID."""
        with self.api() as api:
            retry_on(lambda: api.unpause(dag), is_unknown, _DAG_SECONDS)
            return api.trigger(dag)

    def await_run(self, dag: str, run: str, state: str) -> None:
        """Return once a run of a DAG is in that state."""
        with self.api() as api:
            wait_until(lambda: api.state(dag, run), lambda found: found == state, _DAG_SECONDS, longest_pause=1)

    def fail(self, dag: str) -> None:
        """Have a DAG run, and return once that has failed."""
        self.await_run(dag, self.run_dag(dag), "failed")

    def forget_failures(self) -> None:
        """Delete the runs in which a task failed, as the operator does once it is understood why."""
        with self.api() as api:
            for dag, run in {(one["dag_id"], one["dag_run_id"]) for one in api.tasks("failed", _MOST_TASKS)[0]}:
                api._send("DELETE", f"/api/v2/dags/{dag}/dagRuns/{quote(run)}")


Act = Callable[[Scene], Iterator[None]]


@dataclass(frozen=True)
class Drill:
    """One way in which `rule` comes to stand, and the rules `also` as its consequences; a fast one is run every time.

    It ends in the checks of step `proof`. The rules in `changes` are those that may explain it: the fix of the first
    heals what the rule's own cannot.
    """

    rule: str
    act: Act
    fast: bool = False
    by_hand: bool = False
    proof: Any = None
    also: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.rule}-{self.act.__name__}"

    @property
    def automatic(self) -> bool:
        rule = RULES[self.fix]
        return (rule.automatic or rule.remedy is not None) and not self.by_hand

    @property
    def fix(self) -> str:
        """The finding whose fix heals it."""
        return next(iter(self.changes), self.rule)

    def named(self, seen: Diagnosis) -> bool:
        """Tell whether the rule's cause is the only finding, with its consequences and what may explain it under it."""
        if [finding.id for finding in seen.findings] != [self.rule]:
            return False
        (finding,) = seen.findings
        changes = {change.id for change in finding.changes}
        return set(self.also) <= {one.id for one, _ in finding.counted_consequences()} and set(self.changes) <= changes


class Drills(list[Drill]):
    """The drills of one section."""

    def drill(self, rule: str, **options: Any) -> Callable[[Act], Act]:
        """Return a decorator that makes a generator a drill of `rule`."""

        def make(act: Act) -> Act:
            self.append(Drill(rule, act, **options))
            return act

        return make


def rehearse(drill: Drill, cloud: Rehearsal) -> None:
    """Run a drill on a deployment in which all is well, and leave it so."""
    _rehearse([drill], cloud, drill.named)


def together(drills: Sequence[Drill], cloud: Rehearsal) -> None:
    """Run drills at the same time: each has its cause."""
    _rehearse(drills, cloud, lambda seen: {one.rule for one in drills} == {one.id for one in seen.findings})


def _rehearse(drills: Sequence[Drill], cloud: Rehearsal, named: Callable[[Diagnosis], bool]) -> None:
    acting = [one.act(Scene(cloud)) for one in drills]
    try:
        for act in acting:
            next(act)
        seen = look(named, SEEN_SECONDS)
        assert named(seen), str(seen)
        assert seen.findings[0].evidence
        for drill, act in zip(drills, acting, strict=True):
            if drill.automatic:
                _fix(seen, drill)
                assert not (again := _fix(seen, drill)), f"the fix writes a second time: {again}"
            next(act, None)
        left = look(lambda seen: not seen.findings, HEALED_SECONDS)
        assert not left.findings, str(left)
        for drill in drills:
            assert drill.proof is None or not drill.proof.checks(open_session("local")).failed
    except BaseException:
        restore(acting, cloud)
        raise


def _fix(seen: Diagnosis, drill: Drill) -> list[Change]:
    """Apply the fix of a drill, and return what it has written."""
    with closing(open_session("local")) as session:
        return [change for change in apply_fix(session, seen, drill.fix) if change.applied]


def look(enough: Callable[[Diagnosis], bool], seconds: float) -> Diagnosis:
    """The first diagnosis that is enough, or the last."""

    def read() -> Diagnosis:
        with closing(open_session("local", "plan")) as session:  # which ends its tunnel to the backend
            return diagnose(session)

    return wait_until(read, enough, seconds, longest_pause=_PAUSE_SECONDS)


def first(diagnosis: Diagnosis) -> str:
    """The ID of the first finding."""
    return next((one.id for one in diagnosis.findings), "")


def restore(acting: Sequence[Iterator[None]], cloud: Rehearsal) -> None:
    """Put everything right after a drill that failed, so that the next one is about its own fault."""
    cloud.control("DELETE")
    for act in acting:
        next(act, None)
    for step in STEPS:
        with closing(open_session("local")) as session, taking_over(session):
            step.everything(session)
    for left in diagnose(open_session("local", "plan")).findings:
        for fixable in left.fixable():
            if fixable.remedy is not None:
                fixable.remedy(open_session("local"))


def deployment(component: str) -> Reference:
    """What names the Deployment of a component."""
    return Reference("apps/v1", "Deployment", f"airflow-{component}", NAMESPACE)


def is_unknown(error: BaseException) -> bool:
    """Tell whether the error is that of a DAG whose file has not been read yet."""
    return getattr(error, "status_code", None) == HTTPStatus.NOT_FOUND
