"""Step 7: Airflow itself, from the manifests of `07_airflow`.

The migration runs first, and the Deployments that need the database wait for it, so that no pod has to. A worker needs
no database and starts beside the migration.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks.azure.entra import user_names
from airflowaks.azure.node_pools import LONGEST_TASK_SECONDS
from airflowaks.config.paths import manifests_folder
from airflowaks.engine.changes import AFTER_APPLY, Changes, is_unknown
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.removal import remove
from airflowaks.engine.resource import set_step
from airflowaks.engine.table import Table
from airflowaks.engine.waiting import await_others
from airflowaks.errors import MissingDependency
from airflowaks.kube.manifests import load
from airflowaks.kube.objects import KubeObject
from airflowaks.steps import airflow_checks, cluster, key_vault, registry, volumes, workers, workload_identity
from airflowaks.steps.api_server import PORT
from airflowaks.steps.earlier_results import EarlierResults
from airflowaks.steps.image_rollout import IMAGE, ImageRollout
from airflowaks.steps.pod_secrets import PodSecrets, checksum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflowaks.engine.checks import Checks
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session

_FOLDER = "07_airflow"
_PROGRAMS = (
    *("heartbeat.py", "migrate.py", "move_results.py", "prove_sign_in.py", "queues.py", "start.sh"),
    "webserver_config.py",
)
_PARALLELISM = 32
"""Airflow's default of `[core] parallelism`."""
_WORKER, _SIGN_IN = "airflow-worker", "airflow-sign-in"
# Where images on Debian, as the official one is, have the certificates of public authorities.
_PUBLIC_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_ALL_CERTIFICATES = "/opt/airflow/certificates.pem"


class Resources:
    """The objects of step 7, in order, whose pods run the session's image."""

    def __init__(self, session: Session) -> None:
        self.image = session.memoize(registry.Resources).image
        namespace = session.memoize(cluster.Resources).namespace
        values = {
            **_values(session),
            **session.memoize(PodSecrets).checksums(),
            IMAGE: lambda: self.image.reference,
            "CONFIGURATION": self._configuration_checksum,
            "SIGN_IN": self._sign_in_checksum,
        }
        manifests = [manifest for folder in _folders(session) for manifest in load(folder, values)]
        manifests += workers.manifests(session, values)

        def objects(*kinds: str, depends_on: Sequence[Resource] = ()) -> list[KubeObject]:
            chosen = [manifest for manifest in manifests if manifest.reference.kind in kinds]
            return [KubeObject(manifest, parent=namespace, depends_on=depends_on) for manifest in chosen]

        self.config_maps = objects("ConfigMap")
        (self.sign_in,) = (config_map for config_map in self.config_maps if config_map.name == _SIGN_IN)
        self.sign_in.needs = _of_sign_in(session)
        self.network = objects("NetworkPolicy", "Service", "PodDisruptionBudget")
        (self.migration,) = objects("Job", depends_on=self.config_maps)
        before, workers_of = [*self.config_maps, *self.network], session.environment.airflow.workers_of
        self.deployments = []
        for manifest in manifests:
            if manifest.reference.kind == "Deployment":
                own = workers_of.get(manifest.reference.name.removeprefix("airflow-"))
                depends_on = before if own else [*before, self.migration]
                deployment = KubeObject(manifest, parent=namespace, depends_on=depends_on)
                # A pod of a queue that may have none waits for a node that may come late.
                deployment.is_awaited = own is None or own.settings.min_count > 0
                self.deployments.append(deployment)
        authentication = objects("TriggerAuthentication")
        self.scaling = [*authentication, *objects("ScaledObject", depends_on=[*authentication, *self.deployments])]
        (worker,) = (deployment for deployment in self.deployments if deployment.name == _WORKER)
        self.earlier_results = EarlierResults(worker, depends_on=self.deployments)
        self._values, self._namespace = values, namespace
        self.rollout = ImageRollout(self.image, self.migration, self.deployments)
        self.of_pods = _of_pods(session)
        self.migration.needs = (*self.of_pods,)
        set_step(7, self)

    def removed(self) -> list[KubeObject]:
        """Return the objects of the workers whose queue the environment names no more."""
        return workers.removed(self.image.session, self._values, self._namespace)

    def _configuration_checksum(self) -> str:
        return checksum([each.manifest.fill()["data"] for each in self.config_maps if each is not self.sign_in])

    def _sign_in_checksum(self) -> Any:
        data = self.sign_in.manifest.fill()["data"]
        return AFTER_APPLY if is_unknown(data) else checksum(data)


def _of_sign_in(session: Session) -> tuple[Resource, ...]:
    """Return what has an ID that the sign-in's configuration names."""
    step1 = session.memoize(cluster.Resources)
    if session.environment.airflow.login == "password":
        return ()
    return (*step1.groups, *([step1.application] if step1.application else []))


def _sign_in(session: Session) -> Any:
    """Return what webserver_config.py reads: nothing for a sign-in by password; AFTER_APPLY without groups."""
    environment, step1 = session.environment, session.memoize(cluster.Resources)
    if environment.airflow.login == "password":
        return "{}"
    roles = [(group.object_id, [role]) for group, role in step1.roles.items()]
    if step1.client_id is AFTER_APPLY or is_unknown(roles):
        return AFTER_APPLY
    content = {"tenant_id": environment.tenant_id, "client_id": step1.client_id, "roles": dict(roles)}
    return json.dumps(content, indent=2)


def _of_pods(session: Session) -> list[Resource]:
    """Return what pods need of earlier steps before they start."""
    step2, step4 = session.memoize(registry.Resources), session.memoize(key_vault.Resources)
    step5, step6 = session.memoize(workload_identity.Resources), session.memoize(volumes.Resources)
    pod_access = [step2.pull_access, step5.vault_access, *step5.credentials, *step5.objects, *step6.claims]
    return [*pod_access, *step4.secrets, step4.password, step4.celery_password]


def _folders(session: Session) -> list[str]:
    certificates = [f"{_FOLDER}/certificates"] if session.connection.ca_bundle else []
    exposed = [f"{_FOLDER}/exposed"] if session.environment.airflow.expose != "none" else []
    return [_FOLDER, *certificates, *exposed]


def _values(session: Session) -> dict[str, Any]:
    """Return the values of the placeholders that the environment decides."""
    environment, settings = session.environment, session.environment.airflow
    ca_bundle, host = session.connection.ca_bundle, settings.host
    sizes = [workers_of.settings for workers_of in settings.workers_of.values()]
    values: dict[str, Any] = {
        "NAMESPACE": environment.cluster.namespace,
        "BASE_URL": f"https://{host}" if host else f"http://localhost:{PORT}",
        "PAGES_URL": f"https://{host}" if host else "/",
        "ADMIN": settings.admin,
        "CERTIFICATE_FILE": _ALL_CERTIFICATES if ca_bundle else _PUBLIC_CERTIFICATES,
        "CA_BUNDLE": lambda: Path(str(ca_bundle)).read_text(encoding="utf-8"),
        "SIGN_IN_JSON": partial(_sign_in, session),
        "INTERNAL": settings.expose == "internal",
        "ALLOWED_NETWORKS": list(settings.allowed_networks),
        "LONGEST_TASK_SECONDS": LONGEST_TASK_SECONDS,
        "LOG_SERVERS": [*settings.workers_of, "triggerer"],
        "NODE_SELECTOR": workers.node_selector(session),
        "ZONE_SPREAD": "DoNotSchedule" if len(environment.cluster.node_pool.zones) > 1 else "ScheduleAnyway",
        "PARALLELISM": max(_PARALLELISM, sum(each.max_count * each.concurrency for each in sizes)),
    }
    for name in ("api_server", "scheduler", "dag_processor", "triggerer"):
        component = getattr(settings, name)
        values |= {
            f"{name.upper()}_REPLICAS": component.replicas,
            f"{name.upper()}_CPU": component.cpu,
            f"{name.upper()}_MEMORY": component.memory,
        }
    for program in _PROGRAMS:
        file = manifests_folder(_FOLDER) / program
        values[program.upper().replace(".", "_")] = file.read_text(encoding="utf-8")
    return values


def configuration(session: Session) -> Changes:
    """Apply the ConfigMaps, NetworkPolicies, Services and disruption budgets."""
    step = session.memoize(Resources)
    return converge(session, *step.config_maps, *step.network)


def images(session: Session) -> Table:
    """Return a table of the image that each component runs now, and the session's, which is the one to run.

    Raises:
        MissingDependency: the image to run is not in the registry, in an apply.

    """
    step = session.memoize(Resources)
    await_others(session, step.image, session.memoize(cluster.Resources).namespace)
    with session.translated(step.image):
        if session.applies and step.image.facts is None:
            action = "Run step 2, or choose an image that is there; `az acr manifest list-metadata` lists them."
            raise MissingDependency(f"Image {step.image.id}: it is not in the registry.", action)
        return step.rollout.table()


def components(session: Session) -> Changes:
    """Migrate the database, create the administrator and roll out the components; on AKS in about three minutes.

    Where the components run another image than the session's, they are rolled out one after the other, and back where
    one does not become ready. Results that Celery has left in Airflow's database follow, which takes as long as the
    longest task of a worker from before, and at most an hour. Workers of queues that the environment names no more are
    removed.
    """
    step, secrets = session.memoize(Resources), session.memoize(PodSecrets)
    if not session.applies:
        return converge(session, step.migration, *step.deployments, *step.scaling) + remove(session, *step.removed())
    await_others(session, *step.of_pods)
    with session.translated(secrets.vault):
        secrets.await_synced()
    if step.rollout.replaces():
        changes = step.rollout.roll_out() + converge(session, *step.scaling, step.earlier_results)
    else:
        changes = converge(session, step.migration, *step.deployments, *step.scaling, step.earlier_results)
    return changes + remove(session, *step.removed())


def everything(session: Session) -> Changes:
    """Run all functions of the step."""
    return configuration(session) + components(session)


def checks(session: Session, load: int = 0) -> Checks:
    """Look from outside: components are healthy, workers consume a queue, people can sign in, a DAG runs and logs.

    With a `load` so many short tasks at once have workers come and go, and none is lost.
    """
    observations = {
        "components are healthy": airflow_checks.components_are_healthy,
        "workers consume": airflow_checks.workers_consume,
        "people can sign in": airflow_checks.people_can_sign_in,
        "a DAG runs": airflow_checks.a_dag_runs,
    } | ({"tasks run at once": partial(airflow_checks.tasks_run_at_once, tasks=load)} if load else {})
    return observe(session, {name: partial(observation, session) for name, observation in observations.items()})


def roll_back(session: Session, results: Checks) -> Changes:
    """Roll back to the previous image where this session has rolled out its own and checks failed; then check again.

    Raises RolloutFailed where rolling back fails, or where the database was migrated to a schema of the new image.
    """
    rollout, failed = session.memoize(Resources).rollout, results.failed
    if not failed or not rollout.can_roll_back:
        return Changes()
    changes = rollout.roll_back("; ".join(check.seen for check in failed), failed[0].action)
    checks(session)
    return changes


def access(session: Session) -> Table:
    """Return a table of the address of Airflow's web pages, and who signs in with which role; on `local` by name."""
    environment = session.environment
    settings = environment.airflow
    here = f"airflowaks web --env {environment.name}"
    password = f"the secret {key_vault.ADMIN_PASSWORD} in {environment.key_vault.name}; `{here} --password`"
    rows = [
        ("address", f"https://{settings.host}" if settings.host else f"http://localhost:{PORT}, while `{here}` runs")
    ]
    if settings.login == "password":
        return Table(("", "Airflow"), [*rows, ("user", settings.admin), ("password", password)])
    rows.append(("sign in", "with Entra; nobody needs a password of Airflow's"))
    for group, role in session.memoize(cluster.Resources).roles.items():
        names = f": {', '.join(user_names(group)) or 'nobody yet'}" if environment.is_local else ""
        rows.append((f"as {role}", f"members of {group.name}{names}"))
    rows.append(("in an emergency", f"{settings.admin}, with {password}"))
    return Table(("", "Airflow"), rows)
