"""A cluster in the hands of kubectl, signed in as the operator by the kubeconfig that `env` names."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from rehearsal_cloud.home import OPERATOR_OBJECT_ID
from tests.support.azure_requests import make_service_principal
from tests.support.kubectl import NEEDS_KUBECTL, SHELL, WEB, Kubectl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.azure_requests import Sender

pytestmark = [pytest.mark.broad, NEEDS_KUBECTL]
_SECONDS = 120
_ONCE = """\
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers:
  - name: once
    image: python:3.12-slim
    command: [sh, -c, "echo one; until [ -e go ]; do sleep 0.1; done; echo two"]
"""

# Objects


def test_get_shows_tables(kubectl: Kubectl) -> None:
    nodes = kubectl("get", "nodes", "-o", "wide").splitlines()
    assert nodes[0].split()[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert "Ready" in nodes[1]
    kubectl("create", "configmap", "settings", "--from-literal=one=1", "--from-literal=two=2")
    assert kubectl("get", "configmap", "settings").splitlines()[1].split()[:2] == ["settings", "2"]
    assert json.loads(kubectl("get", "configmap", "settings", "-o", "json"))["data"] == {"one": "1", "two": "2"}
    missing = kubectl.run("get", "configmap", "none")
    assert (missing.returncode, missing.stderr) == (1, 'Error from server (NotFound): configmaps "none" not found\n')


def test_apply_and_diff(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", given=WEB) == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", given=WEB) == "deployment.apps/web unchanged\n"
    assert kubectl("diff", "-f", "-", given=WEB) == ""
    changed = WEB.replace("hello", "good day")
    differs = kubectl.run("diff", "-f", "-", given=changed)
    assert differs.returncode == 1, differs.stderr
    lines = [line.strip() for line in differs.stdout.splitlines()]
    assert "-          value: hello" in differs.stdout
    assert "+          value: good day" in lines
    assert kubectl("apply", "-f", "-", given=changed) == "deployment.apps/web configured\n"
    misspelled = kubectl.run("apply", "-f", "-", given=WEB.replace("replicas:", "replica:"))
    assert misspelled.returncode == 1
    assert 'unknown field "spec.replica"' in misspelled.stderr


def test_server_side_apply_names_the_other_manager(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", given=WEB)
    changed = WEB.replace("hello", "bye")
    refused = kubectl.run("apply", "--server-side", "--field-manager=two", "-f", "-", given=changed)
    assert refused.returncode == 1
    assert (
        'conflict with "one": .spec.template.spec.containers[name="web"].env[name="GREETING"].value' in refused.stderr
    )
    forced = kubectl("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", given=changed)
    assert forced == "deployment.apps/web serverside-applied\n"


def test_explain_and_api_resources(kubectl: Kubectl) -> None:
    explained = kubectl("explain", "deployment.spec.replicas")
    assert "FIELD: replicas <integer>" in explained
    assert "Number of desired pods" in explained
    assert "deploy" in kubectl("api-resources", "--api-group=apps")


def test_delete_waits(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=SHELL)
    kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")
    assert "deleted" in kubectl("delete", "pod", "shell")
    assert kubectl.run("get", "pod", "shell").returncode == 1


# Roll-outs


def test_rollouts(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=WEB)
    done = 'deployment "web" successfully rolled out'
    assert done in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    kubectl("set", "env", "deployment/web", "GREETING=second")
    assert done in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    revisions = [line.split()[0] for line in kubectl("rollout", "history", "deployment/web").splitlines()[2:] if line]
    assert revisions == ["1", "2"]
    assert kubectl("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    assert done in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    greeting = "jsonpath={.spec.template.spec.containers[0].env[0].value}"
    assert kubectl("get", "deployment", "web", "-o", greeting) == "hello"
    before = kubectl.pod("web")
    assert kubectl("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    assert done in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    kubectl("wait", "--for=delete", f"pod/{before}", "--timeout=60s")
    assert kubectl("scale", "deployment/web", "--replicas=2") == "deployment.apps/web scaled\n"
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=60s")
    described = kubectl("describe", "deployment", "web")
    assert "Replicas:               2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in described


# Pods


def test_logs_are_followed(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=_ONCE)
    kubectl("wait", "--for=condition=Ready", "pod/once", "--timeout=60s")
    with subprocess.Popen(
        kubectl.words("logs", "-f", "once"), env=kubectl.environment, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "one\n"
        kubectl("exec", "once", "--", "touch", "go")
        assert following.communicate(timeout=_SECONDS)[0] == "two\n"
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=60s")
    assert kubectl("logs", "once", "--tail=1") == "two\n"
    assert kubectl("get", "pod", "once").splitlines()[1].split()[1:4] == ["0/1", "Completed", "0"]


def test_exec_and_cp(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "-f", "-", given=SHELL)
    kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")
    assert kubectl("exec", "-i", "shell", "--", "cat", given="through stdin\n") == "through stdin\n"
    failed = kubectl.run("exec", "shell", "--", "sh", "-c", "echo wrong >&2; exit 3")
    assert failed.returncode == 3
    assert failed.stderr.splitlines() == ["wrong", "command terminated with exit code 3"]
    (tmp_path / "there.txt").write_text("there and back")
    kubectl("cp", str(tmp_path / "there.txt"), "shell:there.txt")
    kubectl("cp", "shell:there.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "there and back"


def test_describe_tells_a_pods_story(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=SHELL)
    kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")
    told = kubectl("describe", "pod", "shell")
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert f"Normal  {reason} " in told
    assert "State:          Running" in told


# Access


def test_auth_can_i(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "deployments") == "yes\n"
    denied = kubectl.run("auth", "can-i", "delete", "nodes", "--as=nobody")
    assert (denied.returncode, denied.stdout) == (1, "no\n")
    asked = kubectl.run("auth", "whoami", signed_in=False)
    assert OPERATOR_OBJECT_ID in asked.stdout, asked.stderr
    kubectl("create", "serviceaccount", "app")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kubectl.namespace}:app")
    name = f"--as=system:serviceaccount:{kubectl.namespace}:app"
    assert kubectl("auth", "can-i", "list", "pods", name) == "yes\n"
    assert "pods" in kubectl("auth", "can-i", "--list", name)
    assert kubectl("create", "token", "app").count(".") == 2


def test_another_principal_is_refused(kubectl: Kubectl, send: Sender) -> None:
    client_id, secret, object_id = make_service_principal(send)
    refused = kubectl.run("get", "pods", signed_in=False, AZURE_CLIENT_ID=client_id, AZURE_CLIENT_SECRET=secret)
    assert refused.returncode == 1
    assert refused.stderr == (
        f'Error from server (Forbidden): pods is forbidden: User "{object_id}" cannot list resource "pods" in'
        f' API group "" in the namespace "{kubectl.namespace}"\n'
    )
