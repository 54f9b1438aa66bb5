"""Step 6: the file shares of DAGs and logs, and the DAG files."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from airflowaks.config.paths import manifests_folder
from airflowaks.engine.converge import converge
from airflowaks.engine.observation import observe
from airflowaks.engine.resource import set_step
from airflowaks.engine.waiting import await_others
from airflowaks.errors import InvalidParameter
from airflowaks.kube import exec as command
from airflowaks.kube.client import Reference, connect
from airflowaks.kube.folders import PodFolder
from airflowaks.kube.manifests import load
from airflowaks.kube.objects import KubeObject
from airflowaks.kube.pods import is_ready, short_lived
from airflowaks.steps import cluster, registry

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from airflowaks.engine.changes import Changes
    from airflowaks.engine.checks import Checks
    from airflowaks.session import Session

DAGS_FOLDER = "/opt/airflow/dags"
_FOLDER = "06_volumes"
_LOGS_FOLDER = "/opt/airflow/logs"
_CONTAINER = "files"
# https://airflow.apache.org/docs/apache-airflow/3.3.2/core-concepts/dags.html#loading-dags
_DAG_FILES = (".py", ".zip")
_READERS = "app.kubernetes.io/name=airflow,app.kubernetes.io/component=dag-processor"
_TRY_WRITING = """
import os, pathlib, sys
name, *folders = sys.argv[1:]
for folder in folders:
    file = pathlib.Path(folder, f".{name}")
    file.write_text("written")
    assert file.read_text() == "written", file
    file.unlink()
print(f"user {os.getuid()} of group {os.getgid()} wrote, read and removed a file")
"""


class Resources:
    """The resources of step 6, in order."""

    def __init__(self, session: Session) -> None:
        step1, files = session.memoize(cluster.Resources), session.environment.airflow.files
        values = {
            "NAMESPACE": session.environment.cluster.namespace,
            "FILES_SKU": files.sku,
            "RECLAIM_POLICY": files.reclaim_policy,
            "DAGS_GB": files.dags_gb,
            "LOGS_GB": files.logs_gb,
        }
        manifests = load(_FOLDER, values)
        self.classes = [
            KubeObject(manifest, parent=step1.cluster) for manifest in manifests if not manifest.reference.namespace
        ]
        self.claims = [
            KubeObject(manifest, parent=step1.namespace, depends_on=self.classes)
            for manifest in manifests
            if manifest.reference.namespace
        ]
        set_step(6, self)


def storage(session: Session) -> Changes:
    """Create the storage classes and the claims; Azure creates their shares in about a minute."""
    step = session.memoize(Resources)
    return converge(session, *step.classes, *step.claims)


def push_dags(session: Session, folder: str = "") -> Changes:
    """Copy a folder (empty: `manifests/dags`) to the DAGs' share; other files on the share stay.

    The files are compared in a pod of the dag-processor, if a pod is ready, and written through a short-lived pod.

    Raises what `dags_folder` raises.
    """
    source, step2 = dags_folder(folder), session.memoize(registry.Resources)
    await_others(session, step2.image, step2.pull_access)
    current = PodFolder(session, source, _reader(session), "dag-processor", DAGS_FOLDER)
    if not session.applies or not current.differences():
        return converge(session, current)
    with _files_pod(session, "push") as pod:
        return converge(session, PodFolder(session, source, pod, _CONTAINER, DAGS_FOLDER))


def dags_folder(folder: str = "") -> Path:
    """Return the path of a folder of DAGs (empty: `manifests/dags`).

    Raises:
        InvalidParameter: there is no such folder, or no file in it can hold a DAG.

    """
    source = Path(folder) if folder else manifests_folder("dags")
    try:
        problem = "" if source.is_dir() else "it is a file" if source.exists() else "it does not exist"
    except OSError as error:  # the name is too long
        problem = str(error.strerror).lower()
    if problem:
        message = f"DAGs folder {source}: {problem}."
        action = "Set `dags` to an existing folder; a relative path starts at the working directory."
        raise InvalidParameter(message, action)
    if not any(file.suffix in _DAG_FILES for file in source.rglob("*")):
        message = f"DAGs folder {source}: it has no {' or '.join(_DAG_FILES)} file."
        raise InvalidParameter(message, "Set `dags` to the folder that has your DAGs.")
    return source


def _reader(session: Session) -> Reference | None:
    step1 = session.memoize(cluster.Resources)
    if step1.namespace.facts is None:
        return None
    pods = session.memoize(connect).each("v1", "Pod", step1.namespace.name, labels=_READERS)
    return next((Reference.of(pod) for pod in pods if is_ready(pod)), None)


def _files_pod(session: Session, purpose: str) -> AbstractContextManager[Reference]:
    values = {
        "NAMESPACE": session.environment.cluster.namespace,
        "IMAGE": session.memoize(registry.Resources).image.reference,
        "PURPOSE": purpose,
        "SUFFIX": secrets.token_hex(4),
    }
    (pod,) = load(f"{_FOLDER}/access", values)
    return short_lived(session.memoize(connect), pod.fill())


def everything(session: Session) -> Changes:
    """Run all functions of the step."""
    return storage(session) + push_dags(session)


def checks(session: Session) -> Checks:
    """Check in a short-lived pod that Airflow's user can write, read and remove a file on both shares."""

    def writes() -> str:
        with _files_pod(session, "check") as pod:
            program = ("python", "-c", _TRY_WRITING, pod.name, DAGS_FOLDER, _LOGS_FOLDER)
            return command.run(session.memoize(connect), pod, program, container=_CONTAINER).decode().strip()

    return observe(session, {"both shares can be written": writes})
