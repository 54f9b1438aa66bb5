"""Drills of components that hang: their processes are frozen, and the kernel goes on accepting connections for them."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import trustme

from airflowaks.engine.converge import converge
from airflowaks.session import Session
from airflowaks.steps import airflow, key_vault, workload_identity
from rehearsal_cloud.kubernetes.container_processes import container_processes
from tests.support.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

HUNG = Drills()
_PAGES, _CERTIFICATE = "airflow-web", "drill-certificate"


@contextmanager
def _frozen(scene: Scene, component: str) -> Iterator[None]:
    """Stop every process of a component's pods for the time being; a stopped one cannot end before it is continued."""
    processes = [one for pod in scene.pods(component) for one in _processes(scene, pod.name)]
    for process in processes:
        process.suspend()
    yield
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def _processes(scene: Scene, pod: str) -> list[psutil.Process]:
    (folder,) = scene.cloud.home.glob(f"**/pods/{scene.uid(pod)}")
    processes = container_processes(folder)
    return [one for one in processes if "shim.py" not in " ".join(one.cmdline())]


@HUNG.drill("AKA-720", fast=True)
def the_api_server_is_frozen(scene: Scene) -> Iterator[None]:
    with _frozen(scene, "api-server"):
        yield


@HUNG.drill("AKA-720", also=("AKA-904",))
def the_scheduler_is_frozen(scene: Scene) -> Iterator[None]:
    with _frozen(scene, "scheduler"):
        yield


@HUNG.drill("AKA-720", also=("AKA-904",))
def the_triggerer_is_frozen(scene: Scene) -> Iterator[None]:
    with _frozen(scene, "triggerer"):
        yield


@HUNG.drill("AKA-720", also=("AKA-904",))
def the_dag_processor_is_frozen(scene: Scene) -> Iterator[None]:
    with _frozen(scene, "dag-processor"):
        yield


@contextmanager
def _exposed(scene: Scene) -> Iterator[None]:
    """Have the web pages behind a load balancer for the time being, with a certificate of their own."""
    environment = scene.session.environment
    shown = {"expose": "internal", "host": "airflow.example.com", "certificate": _CERTIFICATE}
    settings = environment.airflow.model_copy(update=shown)
    session = Session(environment.model_copy(update={"airflow": settings}), "apply", scene.session.connection)
    certificate = trustme.CA().issue_cert(shown["host"]).private_key_and_cert_chain_pem.bytes().decode()
    scene.step(key_vault).vault.secrets.set_secret(_CERTIFICATE, certificate)
    step5, step7 = session.memoize(workload_identity.Resources), session.memoize(airflow.Resources)
    pages = [one for one in (*step5.objects, *step7.network, *step7.deployments) if one.name == _PAGES]
    converge(session, *pages)
    yield
    for one in reversed(pages):
        scene.kube.delete(one.reference)
    scene.step(key_vault).vault.secrets.begin_delete_secret(_CERTIFICATE)


@HUNG.drill("AKA-720")
def the_web_pages_are_frozen(scene: Scene) -> Iterator[None]:
    with _exposed(scene), _frozen(scene, "web"):
        yield


@HUNG.drill("AKA-706")
def a_worker_is_frozen(scene: Scene) -> Iterator[None]:
    with _frozen(scene, "worker"):
        yield
