"""Drills of components that hang: their processes are frozen, and the kernel goes on accepting connections for them."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

from rehearsal_cloud.kubernetes.container_processes import container_processes
from tests.support.drills.drill import Drills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drills.drill import Scene

HUNG = Drills()


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
def the_triggerer_and_the_dag_processor_are_frozen(scene: Scene) -> Iterator[None]:
    with _frozen(scene, "triggerer"), _frozen(scene, "dag-processor"):
        yield


@HUNG.drill("AKA-706")
def a_worker_is_frozen(scene: Scene) -> Iterator[None]:
    with _frozen(scene, "worker"):
        yield
