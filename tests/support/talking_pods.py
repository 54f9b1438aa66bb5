"""A pod that logs ten times a second, one that fails, and the first cell of a notebook that looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.kube.client import Kube, Reference
from tests.support.hardened import hardened

if TYPE_CHECKING:
    from airflowaks.kube.client import Document

TALKS = "import itertools, time; [(print('tick', n), time.sleep(0.1)) for n in itertools.count()]"


# It ends once and then goes on, so that its log holds a line at whatever moment it is read.
FAILS = """
import os, pathlib, time
print('about to fail, as of old-password')
once = pathlib.Path(os.environ['STATE'], 'once')
while once.exists():
    time.sleep(1)
once.touch()
time.sleep(0.5)
raise SystemExit(3)
"""


RECOVERS = """
import os, pathlib, time
once = pathlib.Path(os.environ['STATE'], 'recovered')
if once.exists():
    time.sleep(3600)
once.touch()
raise SystemExit('about to recover')
"""


NAMESPACE = "airflow"


def container(name: str, script: str) -> Document:
    return {
        "name": name,
        "image": "docker.io/library/python:3.13",
        "command": ["python", "-u", "-c", script],
        "env": [{"name": "STATE", "value": "/state"}],
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }


def pod(name: str, component: str, script: str) -> Document:
    labels = {"app.kubernetes.io/name": "airflow", "app.kubernetes.io/component": component}
    containers = [container("main", script)]
    if script == FAILS:
        containers[0]["readinessProbe"] = {"exec": {"command": ["false"]}, "initialDelaySeconds": 3600}
        containers.append(container("beside", RECOVERS))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": hardened(
            containers=containers, volumes=[{"name": "state", "emptyDir": {}}], terminationGracePeriodSeconds=0
        ),
    }


def await_restarts(kube: Kube) -> None:
    for one in kube.follow(Reference("v1", "Pod", "fails", NAMESPACE), 60):
        statuses = one["status"].get("containerStatuses", ()) if one else ()
        if statuses and all(each["restartCount"] for each in statuses):
            return


START = """
env, mode = "desk", "plan"
from airflowaks.notebook.run import start
run = start("08_troubleshooting", env=env, mode=mode)
from airflowaks.notebook.widgets.dashboard import Dashboard
dashboard = Dashboard(run)
"""
