"""The manifests of steps 5 to 7 as the steps fill them, for a deployment in which all other steps are done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflowaks.cloud.connection import Connection, Operator
from airflowaks.config.environment import load_environment
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.kube.manifests import load
from airflowaks.session import Session
from airflowaks.steps import airflow, cluster, key_vault, registry, volumes, workload_identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENVIRONMENT = """
subscription_id: 11111111-1111-4111-8111-111111111111
tenant_id: 22222222-2222-4222-8222-222222222222
location: westeurope
"""
EXPOSED = """
airflow:
  expose: public
  host: airflow.example.com
  certificate: airflow-web
  allowed_networks: [203.0.113.0/24]
"""
DIGEST = f"sha256:{'a' * 64}"


def documents(
    folder: Path, *, exposed: bool = False, versions: Mapping[str, str] | None = None, settings: str = ""
) -> list[Any]:
    """Return every object of steps 5 to 7; `versions` are those of the vault's secrets, where they matter."""
    (folder / "dev.yaml").write_text(ENVIRONMENT + (EXPOSED if exposed else "") + settings)
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    connection = Connection(credential=None, ca_bundle=str(folder / "ca.pem"))  # type: ignore[arg-type]
    session = Session(load_environment("dev", folder), "plan", connection)
    session.operator = Operator("44444444-4444-4444-8444-444444444444", "User", "operator@example.com")
    step1 = session.memoize(cluster.Resources)
    for group in step1.groups:
        group._facts = {"id": f"the ID of {group.name}"}
    assert step1.application
    marked = f"(airflowaks {session.environment.mark})"
    step1.application._facts = {"appId": "55555555-5555-4555-8555-555555555555", "description": marked}
    image, vault = session.memoize(registry.Resources), session.memoize(key_vault.Resources)
    image.registry._facts = {"properties": {"loginServer": "airflowdev.azurecr.io"}}
    image.image._facts = {"digest": DIGEST}
    for secret in vault.secrets:
        secret._facts = {"version": (versions or {}).get(secret.name, "1")}
    vault.vault._facts = None  # so the version of the certificate, which is somebody else's, is not known yet
    step5, step6 = session.memoize(workload_identity.Resources), session.memoize(volumes.Resources)
    step5.identity._facts = {"properties": {"clientId": "33333333-3333-4333-8333-333333333333"}}
    step7 = session.memoize(airflow.Resources)
    step7_objects = [*step7.config_maps, *step7.network, step7.migration, *step7.deployments, *step7.scaling]
    pods = {"NAMESPACE": "airflow", "IMAGE": image.image.reference, "PURPOSE": "push", "CLASS": "worker", "SUFFIX": "1"}
    short_lived = [
        *load("05_workload_identity/check", {**pods, "SERVICE_ACCOUNT": "airflow-dags"}),
        *load("06_volumes/access", pods),
    ]
    made = [*step5.objects, *step6.classes, *step6.claims, *step7_objects]
    return [one.manifest.fill() for one in made] + [one.fill() for one in short_lived]


def tunnel() -> Any:
    """Return the Job of step 3 that forwards to the backend."""
    image = f"airflowdev.azurecr.io/airflow@{DIGEST}"
    values = {"NAMESPACE": "airflow", "IMAGE": image, "SUFFIX": "1", "SECONDS": 900, "PROGRAM": "pass"}
    (job,) = load("03_backend/tunnel", {**values, "TARGETS": ["15000:localhost:5432"]})
    return job.fill()


def known(value: Any) -> Any:
    """A document with a text for what is known only after an apply."""
    if isinstance(value, dict):
        return {key: known(one) for key, one in value.items()}
    if isinstance(value, list):
        return [known(one) for one in value]
    return str(value) if value is AFTER_APPLY else value
