"""The `airflow` section of an environment file: Airflow's pods, file shares and exposure."""

from typing import Literal, NamedTuple

from pydantic import Field, field_validator
from pydantic import ValidationInfo as Info

from airflowaks.config import types
from airflowaks.config.schema import Section, not_below_min_count

# https://learn.microsoft.com/azure/storage/files/understanding-billing#provisioned-v1-model
SMALLEST_PREMIUM_SHARE_GB = 100

WORKER, DEFAULT_QUEUE = "worker", "default"
"""The component of the workers of Airflow's default queue, and that queue."""


class Pods(Section):
    """What each pod of a component gets: `cpu` is the request in cores, `memory` the request and the limit."""

    cpu: types.Cores = "250m"
    memory: types.Memory = "1Gi"


class Component(Pods):
    """A component of Airflow with a fixed number of pods."""

    replicas: int = Field(default=1, ge=1, le=20)


class Workers(Pods):
    """The Celery workers: KEDA scales them with the tasks; each runs up to `concurrency` tasks at a time."""

    cpu: types.Cores = "1"
    memory: types.Memory = "2Gi"
    min_count: int = Field(default=1, ge=1, le=200)
    max_count: int = Field(default=5, ge=1, le=200)
    concurrency: int = Field(default=8, ge=1, le=64)

    _not_below_min_count = field_validator("max_count")(not_below_min_count)


class Queue(Workers):
    """The workers of one more queue, none of them while it is empty; those of a `spot` queue run on the spot pool.

    The queue's name becomes part of the names of Kubernetes objects.
    """

    min_count: int = Field(default=0, ge=0, le=200)
    spot: bool = False


class WorkersOf(NamedTuple):
    """The workers of a queue, and the settings that they run with."""

    queue: str
    settings: Workers


class Files(Section):
    """The Azure Files shares for DAGs and logs, in GiB; hundreds of DAG files need Premium."""

    sku: Literal["Standard_LRS", "Standard_ZRS", "Premium_LRS", "Premium_ZRS"] = "Standard_LRS"
    # Whether a share outlives its claim; with the cluster, which has the storage account, it goes either way.
    reclaim_policy: Literal["Delete", "Retain"] = "Delete"
    dags_gb: int = Field(default=100, ge=1, le=102_400)
    logs_gb: int = Field(default=100, ge=1, le=102_400)

    @field_validator("dags_gb", "logs_gb")
    @classmethod
    def _meets_premium_minimum(cls, value: int, info: Info) -> int:
        sku = info.data.get("sku", "")
        if sku.startswith("Premium") and value < SMALLEST_PREMIUM_SHARE_GB:
            raise ValueError(f'{value} is too small for "{sku}"; use {SMALLEST_PREMIUM_SHARE_GB} or more')
        return value


class Airflow(Section):
    """Airflow in the cluster. With `expose: none` only a port-forward reaches its web UI."""

    api_server: Component = Field(default_factory=Component)
    scheduler: Component = Field(default_factory=Component)
    dag_processor: Component = Field(default_factory=Component)
    triggerer: Component = Field(default_factory=Component)
    workers: Workers = Field(default_factory=Workers)
    # Workers of their own for tasks with `queue="NAME"`; `workers` are those of the queue default.
    queues: dict[types.QueueName, Queue] = Field(default_factory=dict)
    files: Files = Field(default_factory=Files)
    # How people sign in: with Entra, or all as the one local administrator, who stays for emergencies either way.
    login: Literal["entra", "password"] = "entra"
    # Airflow's role of entra.developer_group; that of entra.admin_group is Admin, that of entra.viewer_group Viewer.
    developers_role: Literal["Viewer", "User", "Op", "Admin"] = "Op"
    admin: types.UserName = "admin"
    # A load balancer, internal to the virtual network or public, always with TLS; it needs the two keys below.
    expose: Literal["none", "internal", "public"] = "none"
    host: types.HostName | None = None
    # A PEM certificate with its key in the vault of step 4: az keyvault certificate create, or import.
    certificate: types.CertificateName | None = None
    # The networks that may reach a public load balancer; if empty, all networks.
    allowed_networks: types.Networks = ()

    @property
    def workers_of(self) -> dict[str, WorkersOf]:
        """The workers by their component: `worker` of the queue default, `worker-NAME` of the others."""
        others = {f"{WORKER}-{name}": WorkersOf(name, queue) for name, queue in self.queues.items()}
        return {WORKER: WorkersOf(DEFAULT_QUEUE, self.workers), **others}

    @field_validator("host", "certificate")
    @classmethod
    def _is_set_if_exposed(cls, value: str | None, info: Info) -> str | None:
        if value is None and info.data.get("expose", "none") != "none":
            raise ValueError(
                f"expose: {info.data['expose']} needs a {info.field_name}, because plain HTTP would expose passwords; "
                "set it, or use expose: none"
            )
        return value
