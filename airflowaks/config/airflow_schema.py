"""The section of an environment file that says how Airflow runs in the cluster: its pods, its files, who reaches it."""

from typing import Literal

from pydantic import Field, field_validator
from pydantic import ValidationInfo as Info

from airflowaks.config import types
from airflowaks.config.schema import Section, not_below_min_count

# https://learn.microsoft.com/azure/storage/files/understanding-billing#provisioned-v1-model
SMALLEST_PREMIUM_SHARE_GB = 100


class Pods(Section):
    """What each pod of a component has: the cores that are kept free for it, and the memory that it may use."""

    cpu: types.Cores = "250m"
    memory: types.Memory = "1Gi"


class Component(Pods):
    """A component of Airflow, with as many pods as `replicas` says."""

    replicas: int = Field(default=1, ge=1, le=20)


class Workers(Pods):
    """The Celery workers: KEDA keeps as many as there are tasks for, each doing `concurrency` of them at a time."""

    cpu: types.Cores = "1"
    memory: types.Memory = "2Gi"
    min_count: int = Field(default=1, ge=1, le=200)
    max_count: int = Field(default=5, ge=1, le=200)
    concurrency: int = Field(default=8, ge=1, le=64)

    _not_below_min_count = field_validator("max_count")(not_below_min_count)


class Files(Section):
    """The file shares of DAGs and logs on Azure Files, in GiB; Premium is what hundreds of DAG files need."""

    sku: Literal["Standard_LRS", "Standard_ZRS", "Premium_LRS", "Premium_ZRS"] = "Standard_LRS"
    dags_gb: int = Field(default=100, ge=1, le=102_400)
    logs_gb: int = Field(default=100, ge=1, le=102_400)

    @field_validator("dags_gb", "logs_gb")
    @classmethod
    def _is_to_be_had(cls, value: int, info: Info) -> int:
        sku = info.data.get("sku", "")
        if sku.startswith("Premium") and value < SMALLEST_PREMIUM_SHARE_GB:
            raise ValueError(f'{value} is too small for "{sku}", whose shares begin at {SMALLEST_PREMIUM_SHARE_GB} GiB')
        return value


class Airflow(Section):
    """Airflow in the cluster. With `expose: none` its web pages are reached by port-forward alone."""

    api_server: Component = Field(default_factory=Component)
    scheduler: Component = Field(default_factory=Component)
    dag_processor: Component = Field(default_factory=Component)
    triggerer: Component = Field(default_factory=Component)
    workers: Workers = Field(default_factory=Workers)
    files: Files = Field(default_factory=Files)
    admin: types.UserName = "admin"
    # A load balancer of the cluster's network or of the Internet, always with TLS; it needs the two keys below.
    expose: Literal["none", "internal", "public"] = "none"
    host: types.HostName | None = None
    # A certificate in the vault of step 4, with its key, in PEM: az keyvault certificate create, or import.
    certificate: types.CertificateName | None = None
    # Who reaches a public load balancer; empty is everybody.
    allowed_networks: types.Networks = ()

    @field_validator("host", "certificate")
    @classmethod
    def _is_there_where_needed(cls, value: str | None, info: Info) -> str | None:
        if value is None and info.data.get("expose", "none") != "none":
            raise ValueError(
                f"expose: {info.data['expose']} needs a {info.field_name}, since no password goes over plain HTTP; "
                "name it, or use expose: none"
            )
        return value
