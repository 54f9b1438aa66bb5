"""Step 7: Airflow itself, from the manifests of `07_airflow`; its check is a DAG that ran.

The migration comes first, and what needs the database only after it, so that no pod has to wait for it by itself. A
worker needs no database and starts beside it.
"""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks.cloud.airflow_api import AirflowApi
from airflowaks.config.paths import manifests_folder
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.polling import retry_on, wait_until
from airflowaks.engine.table import Table
from airflowaks.errors import CheckFailed, NotConverged
from airflowaks.kube import exec as command
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.manifests import load
from airflowaks.kube.objects import KubeObject
from airflowaks.kube.pods import is_ready
from airflowaks.kube.port_forward import forward
from airflowaks.kube.secret_provider_class import SecretProviderClass
from airflowaks.steps import cluster, key_vault, registry, workload_identity
from airflowaks.steps.image_rollout import ImageRollout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from airflowaks.azure.key_vault import VaultSecret
    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.engine.resource import Resource
    from airflowaks.session import Session

PORT = 8080
SMOKE_DAG = "smoke"

_FOLDER = "07_airflow"
_WORKER = "airflow-worker"
_CHECKSUM_LENGTH = 16
_ANSWER_SECONDS = 15
_SMOKE_TASK, _SMOKE_LINE = "report", "smoke: "
_LAST_LINES = 5
# Where images on Debian, as the official one is, have the certificates of public authorities.
_PUBLIC_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_OWN_CERTIFICATES = "/etc/airflow/certificates/ca.pem"
# The secrets provider looks into the vault every two minutes.
_SYNC_SECONDS = 600.0
_HEALTH_SECONDS = 180.0
_DAG_SECONDS = 600.0
_PAUSE_SECONDS = 1.0


class Resources:
    """What step 7 makes, in order: what all pods stand on, the migration, and what Airflow consists of."""

    def __init__(self, session: Session) -> None:
        step1, step4 = session.memoize(cluster.Resources), session.memoize(key_vault.Resources)
        self.session, self.vault = session, step4.vault
        self.secrets = {one.name: one for one in step4.secrets}
        provided = [one.manifest for one in session.memoize(workload_identity.Resources).objects]
        self.classes = [
            SecretProviderClass.of(one.fill()) for one in provided if one.reference.kind == "SecretProviderClass"
        ]
        self.rollout = ImageRollout(self)
        values = self._values()
        manifests = [one for folder in self._folders() for one in load(folder, values)]

        def made(*kinds: str, depends_on: Sequence[Resource] = ()) -> list[KubeObject]:
            chosen = [one for one in manifests if one.reference.kind in kinds]
            return [KubeObject(one, parent=step1.namespace, depends_on=depends_on) for one in chosen]

        self.config_maps = made("ConfigMap")
        self.network = made("NetworkPolicy", "Service", "PodDisruptionBudget")
        (self.migration,) = made("Job", depends_on=self.config_maps)
        self.deployments = made("Deployment", depends_on=[*self.config_maps, *self.network])
        for one in self.deployments:
            if one.name != _WORKER:
                one.depends_on = (*one.depends_on, self.migration)
        authentication = made("TriggerAuthentication")
        self.scaling = [*authentication, *made("ScaledObject", depends_on=[*authentication, *self.deployments])]

    def _folders(self) -> list[str]:
        wanted = {
            _FOLDER: True,
            f"{_FOLDER}/certificates": bool(self.session.connection.ca_bundle),
            f"{_FOLDER}/exposed": self.session.environment.airflow.expose != "none",
        }
        return [folder for folder, needed in wanted.items() if needed]

    def _values(self) -> dict[str, Any]:
        environment, settings = self.session.environment, self.session.environment.airflow
        ca_bundle, host = self.session.connection.ca_bundle, settings.host
        values: dict[str, Any] = {
            "NAMESPACE": environment.cluster.namespace,
            "IMAGE": self.rollout.image,
            "CONFIGURATION": self._configuration_checksum,
            "BASE_URL": f"https://{host}" if host else f"http://localhost:{PORT}",
            "ADMIN": settings.admin,
            "CERTIFICATE_FILE": _OWN_CERTIFICATES if ca_bundle else _PUBLIC_CERTIFICATES,
            "CA_BUNDLE": lambda: Path(str(ca_bundle)).read_text(encoding="utf-8"),
            "INTERNAL": settings.expose == "internal",
            "ALLOWED_NETWORKS": list(settings.allowed_networks),
            "WORKER_CPU": settings.workers.cpu,
            "WORKER_MEMORY": settings.workers.memory,
            "WORKER_MIN": settings.workers.min_count,
            "WORKER_MAX": settings.workers.max_count,
            "WORKER_CONCURRENCY": settings.workers.concurrency,
        }
        for name in ("api_server", "scheduler", "dag_processor", "triggerer"):
            component = getattr(settings, name)
            values |= {
                f"{name.upper()}_REPLICAS": component.replicas,
                f"{name.upper()}_CPU": component.cpu,
                f"{name.upper()}_MEMORY": component.memory,
            }
        for one in self.classes:
            name = one.name.removeprefix("airflow-").replace("-", "_").upper()
            values[f"{name}_SECRETS"] = partial(self._secrets_checksum, one)
        for program in ("heartbeat", "migrate", "queues"):
            file = manifests_folder(_FOLDER) / f"{program}.py"
            values[f"{program.upper()}_PY"] = file.read_text(encoding="utf-8")
        return values

    def _configuration_checksum(self) -> str:
        """Return what changes when the pods are told something else."""
        return _checksum([one.manifest.fill()["data"] for one in self.config_maps])

    def _secrets_checksum(self, provided: SecretProviderClass) -> Any:
        """Return what changes when a secret of a class has a new version, or AFTER_APPLY."""
        versions = {name: self._version(name) for name in provided.objects.values()}
        return AFTER_APPLY if AFTER_APPLY in versions.values() else _checksum(versions)

    def _version(self, name: str) -> Any:
        if name in self.secrets:
            return self.secrets[name].fact("version")
        # The certificate of the web pages, which is somebody else's.
        return AFTER_APPLY if self.vault.facts is None else self.vault.secrets.get_secret(name).properties.version

    def await_synced(self) -> None:
        """Return once the Secrets that running pods share hold what the vault holds, as new pods would start with them.

        Raises NotConverged where the secrets provider does not bring them up to date.
        """
        for provided in self.classes:
            for name, keys in provided.synced.items():
                secrets = {key: self.secrets[provided.objects[file]] for key, file in keys.items()}
                if not wait_until(partial(self._is_synced, name, secrets), bool, _SYNC_SECONDS):
                    message = f"The Secret {name} in the cluster is not what the vault holds, after ten minutes."
                    see = "kubectl logs --namespace kube-system -l app=secrets-store-provider-azure"
                    raise NotConverged(message, f"See `{see}` for why, then run the step again.")

    def _is_synced(self, name: str, secrets: Mapping[str, VaultSecret]) -> bool:
        namespace = self.session.environment.cluster.namespace
        found = self.session.memoize(connect).get(Reference("v1", "Secret", name, namespace))
        held = {key: b64decode(value).decode() for key, value in (found or {}).get("data", {}).items()}
        return found is None or held == {key: one.require("value").reveal() for key, one in secrets.items()}


def _checksum(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_CHECKSUM_LENGTH]


def images(session: Session, image: str = "") -> Table:
    """Choose the image, as `registry.choose` does, and return a table of what runs now and what is to run."""
    with session.translated(registry.choose(session, image)):
        return session.memoize(Resources).rollout.table()


def configuration(session: Session) -> Changes:
    """Make what all pods stand on: what they are told, who may talk to them, how many may be away at a time."""
    step = session.memoize(Resources)
    return converge(session, *step.config_maps, *step.network)


def components(session: Session) -> Changes:
    """Migrate the database, make the administrator, and roll out the components; on AKS in about three minutes.

    Another image in place of one that runs goes component by component, and back where one does not become ready.
    """
    step = session.memoize(Resources)
    if session.applies:
        with session.translated(step.vault):
            step.await_synced()
    if session.applies and step.rollout.replaces:
        return step.rollout.forward() + converge(session, *step.scaling)
    return converge(session, step.migration, *step.deployments, *step.scaling)


def everything(session: Session) -> Changes:
    """Do the whole step."""
    return configuration(session) + components(session)


def access(session: Session) -> Table:
    """Return a table of where Airflow's pages are, and how to sign in to them."""
    environment = session.environment
    settings = environment.airflow
    here = f"airflowaks web --env {environment.name}"
    rows = [
        ("address", f"https://{settings.host}" if settings.host else f"http://localhost:{PORT}, while `{here}` runs"),
        ("user", settings.admin),
        ("password", f"the secret {key_vault.ADMIN_PASSWORD} in {environment.key_vault.name}; `{here} --password`"),
    ]
    return Table(("", "Airflow"), rows)


def checks(session: Session) -> Checks:
    """Look from outside: every component is healthy, workers consume a queue, and a DAG runs and its log is read.

    Where that is not so with an image that this session has rolled out, the one before is rolled out again.
    """

    def healthy() -> str:
        with _api(session) as api:
            states = wait_until(
                api.health, lambda all_of: not _ill(all_of), _HEALTH_SECONDS, longest_pause=_PAUSE_SECONDS
            )
        if ill := _ill(states):
            message = f"Of Airflow's components {', '.join(ill)} {'is' if len(ill) == 1 else 'are'} not healthy."
            see = f"kubectl logs --namespace {session.environment.cluster.namespace} deployment/airflow-"
            raise CheckFailed(message, f"See `{see}…` for why, then run the step again.")
        return f"healthy: {', '.join(states)}"

    def consumes() -> str:
        program = ("python", "/etc/airflow/programs/queues.py", str(_ANSWER_SECONDS))
        kube, pods = session.memoize(connect), _ready_pods(session, "worker")
        queues = {pod.name: command.run(kube, pod, program, container="worker").decode().split() for pod in pods}
        if idle := [pod for pod, names in queues.items() if not names]:
            message = f"The worker {idle[0]} consumes no queue."
            raise CheckFailed(message, f"Delete the pod {idle[0]}: the one in its place connects to the broker anew.")
        return "; ".join(f"{pod}: {', '.join(names)}" for pod, names in queues.items())

    def runs() -> str:
        with _api(session) as api:
            settings, secrets = session.environment.airflow, session.memoize(key_vault.Resources)
            api.sign_in(settings.admin, secrets.admin_password.require("value"))
            # Until the dag-processor has read its file, nobody knows the DAG.
            retry_on(lambda: api.unpause(SMOKE_DAG), _is_unknown, _DAG_SECONDS)
            run = api.trigger(SMOKE_DAG)
            state = wait_until(
                lambda: api.state(SMOKE_DAG, run), _has_ended, _DAG_SECONDS, longest_pause=_PAUSE_SECONDS
            )
            lines = api.log(SMOKE_DAG, run, _SMOKE_TASK)
        said = [one for one in lines if one.startswith(_SMOKE_LINE)]
        if state != "success" or not said:
            end = " | ".join(lines[-_LAST_LINES:])
            message = f"The run {run} of the DAG {SMOKE_DAG} is {state}; its log ends with: {end or '(nothing)'}"
            raise CheckFailed(
                message, "Open the run in Airflow's web pages; `notebooks/08_troubleshooting.ipynb` finds causes."
            )
        return f"{run}: {state}; its log says: {said[0].removeprefix(_SMOKE_LINE)}"

    observations = {"components are healthy": healthy, "workers consume": consumes, "a DAG runs": runs}
    found, rollout = observe(session, observations), session.memoize(Resources).rollout
    if found.failed and rollout.can_go_back:
        rollout.back("; ".join(one.seen for one in found.failed), found.failed[0].action)
        found = observe(session, observations)
    return found


def forwarded(session: Session, port: int = 0) -> AbstractContextManager[int]:
    """Return a context in which a port of this machine (0: any that is free) is that of an api-server.

    Raises CheckFailed where none is ready.
    """
    return forward(session.memoize(connect), _ready_pods(session, "api-server")[0], PORT, local_port=port)


@contextmanager
def _api(session: Session) -> Iterator[AirflowApi]:
    with forwarded(session) as port:
        yield AirflowApi(f"http://127.0.0.1:{port}", session.redactor)


def _ready_pods(session: Session, component: str) -> list[Reference]:
    labels = f"app.kubernetes.io/name=airflow,app.kubernetes.io/component={component}"
    namespace = session.environment.cluster.namespace
    found = session.memoize(connect).list("v1", "Pod", namespace, labels=labels)
    if ready := [Reference.of(one) for one in found if is_ready(one)]:
        return ready
    message = f"No pod of the {component} is ready in the namespace {namespace}."
    raise CheckFailed(message, "Run step 7 with mode=apply: it waits for its pods and says what is the matter.")


def _ill(states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, state in states.items() if state["status"] != "healthy"]


def _has_ended(state: str) -> bool:
    return state in ("success", "failed")


def _is_unknown(error: BaseException) -> bool:
    return getattr(error, "status_code", None) == HTTPStatus.NOT_FOUND
