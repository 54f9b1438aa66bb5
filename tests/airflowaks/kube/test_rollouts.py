"""Roll-outs are waited for, and where one fails it is said which pod, which container, why, and what it logged last."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.engine.changes import Action
from airflowaks.engine.converge import converge
from airflowaks.engine.polling import wait_until
from airflowaks.errors import ClusterUnreachable, CommandFailed, Forbidden, RolloutFailed
from airflowaks.kube.client import Kube, Reference
from airflowaks.kube.exec import run
from airflowaks.kube.folders import PodFolder
from airflowaks.kube.manifests import load
from airflowaks.kube.pods import not_ready, short_lived
from airflowaks.kube.port_forward import forward
from airflowaks.kube.rollouts import await_ready
from tests.support.torture.kinds import Kind
from tests.support.torture.middle import UNCLOSED, Disturbance, Middle

if TYPE_CHECKING:
    from airflowaks.kube.client import Document
    from tests.support.rehearsal import Rehearsal
    from tests.support.world import World

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: "${NAMESPACE}"}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: main, image: "docker.io/library/python:3.13", command: [python, -c, "${SCRIPT}"]}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: server, namespace: "${NAMESPACE}"}
spec:
  progressDeadlineSeconds: ${DEADLINE}
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      containers:
        - name: main
          image: docker.io/library/python:3.13
          command: [python, -c, "${SCRIPT}"]
          readinessProbe: {exec: {command: [python, -c, "raise SystemExit(1)"]}}
"""


def pod(world: World, *command: str, name: str = "one") -> Document:
    container = {"name": "main", "image": "docker.io/library/python:3.13", "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0},
    }


def test_a_job_is_waited_for(world: World) -> None:
    (one,) = world.apply(JOB, SCRIPT="import time; time.sleep(0.5)")
    document = world.kube.get(one.reference)
    assert document
    assert document["status"]["succeeded"] == 1


def test_a_job_whose_pods_are_refused_says_why_it_has_none(world: World) -> None:
    none = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": world.namespace}}
    world.kube.create({**none, "spec": {"hard": {"pods": "0"}}})
    world.describe(JOB)
    (job,) = world.objects(world.session(), SCRIPT="pass")
    world.kube.create(job.manifest.fill())
    refused = wait_until(lambda: not_ready(world.kube, job.reference, None), lambda error: "quota" in error.message, 30)
    assert refused.message.startswith("Job once did not become ready: FailedCreate: ")
    assert "exceeded quota: none" in refused.message
    world.kube.delete(job.reference)


def test_a_failed_job_says_what_its_container_logged_and_the_next_run_makes_it_anew(world: World) -> None:
    with pytest.raises(RolloutFailed) as caught:
        world.apply(JOB, SCRIPT="print('no such table'); raise SystemExit(3)")
    assert caught.value.message.startswith("Job once did not become ready: BackoffLimitExceeded: ")
    assert "container main: Error (exit code 3" in caught.value.message
    assert caught.value.message.endswith("\n  | no such table")

    world.apply(JOB, SCRIPT="print('well')")


def test_a_deployment_that_cannot_start_says_why(world: World) -> None:
    with pytest.raises(RolloutFailed) as caught:
        world.apply(DEPLOYMENT, SCRIPT="print('cannot start'); raise SystemExit(1)", DEADLINE=2)
    assert caught.value.message.startswith("Deployment server did not become ready: no progress in 2 s; pod server-")
    assert "container main: " in caught.value.message
    assert "exit code 1" in caught.value.message
    assert caught.value.message.endswith("\n  | cannot start")


def test_a_deployment_whose_pods_are_refused_says_the_conditions_reason(world: World) -> None:
    """Measured: a missing ServiceAccount was told as "ScalingReplicaSet: Scaled up …", a Normal event."""
    text = DEPLOYMENT.replace("      containers:\n", "      serviceAccountName: nobody\n      containers:\n")
    with pytest.raises(RolloutFailed) as caught:
        world.apply(text, SCRIPT="pass", DEADLINE=2)
    assert re.search(
        r'server did not become ready: no progress in 2 s; FailedCreate: pods "server-[\w-]+" is forbidden: error'
        r' looking up service account \S+: serviceaccount "nobody" not found\.$',
        caught.value.message,
    )
    assert caught.value.action.startswith("Run step 5, which creates the accounts")


@pytest.mark.broad
def test_a_job_past_its_deadline_keeps_the_trouble_of_its_deleted_pods(world: World) -> None:
    """Measured: the cause, such as ErrImagePull, was lost with the pods, and DeadlineExceeded was printed twice."""
    text = JOB.replace("backoffLimit: 0", "activeDeadlineSeconds: 15").replace("python:3.13", "python:none")
    with pytest.raises(RolloutFailed) as caught:
        world.apply(text, SCRIPT="pass")
    assert caught.value.message.count("DeadlineExceeded") == 1
    assert re.search(r"; pod once-\w+, container main: (ErrImagePull|ImagePullBackOff) \(", caught.value.message)
    assert caught.value.action.startswith("Run step 2")


def test_a_roll_out_says_that_old_pods_still_drain(world: World) -> None:
    stays = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(${SECONDS})"
    text = DEPLOYMENT.replace("SystemExit(1)", "SystemExit(0)").replace("${SCRIPT}", stays)
    world.apply(text, SECONDS=600, DEADLINE=60)
    (one,) = world.apply(text, SECONDS=601, DEADLINE=60)
    shown: list[str] = []
    await_ready(world.kube, one.reference, shown.append)
    assert shown == ["ready; 1 old pod still draining"]


@pytest.mark.broad
def test_a_roll_out_whose_pods_end_again_and_again_is_given_up_while_those_before_serve(world: World) -> None:
    probed = DEPLOYMENT.replace("SystemExit(1)", "SystemExit(${FAILS})")
    (one,) = world.apply(probed, SCRIPT="import time; time.sleep(3600)", FAILS=0, DEADLINE=600)
    with pytest.raises(RolloutFailed) as caught:
        world.apply(probed, SCRIPT="print('cannot start'); raise SystemExit(1)", FAILS=1, DEADLINE=600)
    assert re.search(r": a container of the new pod was restarted \d+ times; pod server-", caught.value.message)
    assert caught.value.message.endswith("\n  | cannot start")
    document = world.kube.get(one.reference)
    assert document
    assert document["status"]["availableReplicas"] == 1


def test_secrets_that_a_pod_logs_are_taken_out(world: World) -> None:
    world.describe(JOB)
    session = world.session()
    session.redactor.learn("hunter2-hunter2")
    with pytest.raises(RolloutFailed) as caught:
        converge(session, *world.objects(session, SCRIPT="print('hunter2-hunter2'); raise SystemExit(3)"))
    assert caught.value.message.endswith("\n  | (secret)")


@pytest.mark.filterwarnings(UNCLOSED)
def test_a_pod_whose_creation_is_not_confirmed_is_deleted(world: World, rehearsal: Rehearsal) -> None:
    with Middle(rehearsal.home, rehearsal.connection["HTTPS_PROXY"]) as middle:
        kube = Kube(world.session(), middle.before(world.server.address))
        middle.watch(Disturbance(Kind("POST", "kubernetes", "/api/v1/namespaces/{}/pods"), "reset after"))
        with (
            pytest.raises(ClusterUnreachable, match="ended before the answer"),
            short_lived(kube, pod(world, "python", "-c", "import time; time.sleep(600)")),
        ):
            pytest.fail("it was not created")
        assert middle.struck
    assert not list(world.kube.each("v1", "Pod", world.namespace))


@pytest.mark.filterwarnings(UNCLOSED)
def test_a_web_page_in_place_of_an_answer_leaves_no_pod_and_is_no_stream(world: World, rehearsal: Rehearsal) -> None:
    idle = pod(world, "python", "-c", "import time; time.sleep(600)", name="behind-a-portal")
    pods = "/api/v1/namespaces/{}/pods/{}"
    with Middle(rehearsal.home, rehearsal.connection["HTTPS_PROXY"]) as middle:
        kube = Kube(world.session(), middle.before(world.server.address))
        with short_lived(kube, idle) as one:
            for fault, words in (("HTML 200", "Guest network Please sign"), ("HTML 502", "502 Bad Gateway")):
                middle.watch(Disturbance(Kind("GET", "kubernetes", f"{pods}/exec"), fault))
                with pytest.raises(ClusterUnreachable) as caught:
                    run(kube, one, ("true",))
                status = fault.removeprefix("HTML ")
                text = f"localhost: a web page came instead of the API's answer (status {status}): \"{words}"
                assert text in caught.value.message
            middle.watch(Disturbance(Kind("DELETE", "kubernetes", pods), "HTML 200"))
        assert middle.struck
    assert world.kube.get(one) is None or "deletionTimestamp" in (world.kube.get(one) or {})["metadata"]


def test_a_command_in_a_pod_reads_writes_and_fails(world: World) -> None:
    kube = world.kube
    with short_lived(kube, pod(world, "python", "-c", "import time; time.sleep(600)")) as one:
        echo = ("python", "-c", "import sys; sys.stdout.write(sys.stdin.read().upper())")
        assert run(kube, one, echo, stdin=[b"in ", b"and out"]) == b"IN AND OUT"
        with pytest.raises(CommandFailed, match="`python` in pod one ended with exit code 7: too bad"):
            run(kube, one, ("python", "-c", "import sys; print('too bad', file=sys.stderr); sys.exit(7)"))
    for document in kube.follow(one, 30):
        if document is None:
            break
    assert kube.get(one) is None


def test_two_runs_have_a_pod_each_and_what_killed_runs_left_goes_when_it_has_ended(world: World) -> None:
    def files(name: str, seconds: int) -> Document:
        document = pod(world, "python", "-c", f"import time; time.sleep({seconds})", name=name)
        document["metadata"]["labels"] = {"app.kubernetes.io/name": "files", "app.kubernetes.io/component": "check"}
        return document

    kube = world.kube
    unlike = pod(world, "true", name="unlike")
    expired = files("expired", 600)
    expired["spec"]["activeDeadlineSeconds"] = 1
    left = [Reference.of(kube.create(document)) for document in (files("succeeded", 0), expired, unlike)]
    for reference in left:
        for document in kube.follow(reference, 60):
            if document and document["status"].get("phase") in ("Succeeded", "Failed"):
                break
    with short_lived(kube, files("files-1", 600)) as first, short_lived(kube, files("files-2", 600)) as second:
        assert [kube.get(reference) is None for reference in left] == [True, True, False]
        for reference in (first, second):
            assert run(kube, reference, ("python", "-c", "print(1)")) == b"1\n"


def test_a_runs_pods_have_names_of_their_own() -> None:
    folders = ("05_workload_identity/check", "06_volumes/access")
    values = {"NAMESPACE": "airflow", "IMAGE": "i", "PURPOSE": "p", "CLASS": "c", "SERVICE_ACCOUNT": "s"}
    names = {
        load(folder, {**values, "SUFFIX": run})[0].fill()["metadata"]["name"] for folder in folders for run in "12"
    }
    assert len(names) == 4


@pytest.mark.parametrize("early_end", ["", "hang", "reset", "status"])
def test_a_command_that_ends_before_it_has_read_its_input_gives_its_exit_code(
    world: World, rehearsal: Rehearsal, early_end: str
) -> None:
    """Measured on a kubelet 1.36: of 72 runs 22 hung for more than 75 s, and 11 lost the exit code."""
    name = f"early-{early_end or 'end'}"
    rehearsal.control("POST", {"breakdown": "exec", "name": name, "message": early_end})
    idle = pod(world, "python", "-c", "import time; time.sleep(600)", name=name)
    try:
        with short_lived(world.kube, idle) as one:
            began, text = time.monotonic(), (b"x" * 64 * 1024 for _ in range(400))
            with pytest.raises(
                CommandFailed, match=r"`tar` in pod \S+ ended with exit code 2: tar: /nowhere/archive: Cannot"
            ):
                run(world.kube, one, ("tar", "-cf", "/nowhere/archive", "-T", "-"), stdin=text)
            assert time.monotonic() - began < 30
    finally:
        rehearsal.control("DELETE")


def test_a_push_that_fails_says_what_tar_said(world: World, rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Measured: a `dags push` that failed hung for 50 s and lost its code."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "large.py").write_bytes(b"#" * 20_000_000)
    rehearsal.control("POST", {"breakdown": "exec", "name": "pushed-to", "message": "hang"})
    idle = pod(world, "python", "-c", "import time; time.sleep(600)", name="pushed-to")
    try:
        with short_lived(world.kube, idle) as one:
            session, began = world.session(), time.monotonic()
            with pytest.raises(
                CommandFailed, match="`tar` in pod pushed-to ended with exit code 2: tar: /nowhere: Cannot"
            ):
                PodFolder(session, tmp_path / "dags", one, "main", "/nowhere").write(None)
            assert time.monotonic() - began < 30
    finally:
        rehearsal.control("DELETE")


def test_a_port_of_a_pod_is_reached_from_here(world: World) -> None:
    serve = "import http.server as h; h.HTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
    document = pod(world, "python", "-c", serve)
    document["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    with short_lived(world.kube, document) as one, forward(world.kube, one, 8080) as port:
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                assert b"Directory listing" in answer.read()


def test_a_developer_forwards_a_port_and_a_stranger_is_told_why_not(world: World) -> None:
    manifest = Path(__file__).parents[3] / "manifests" / "01_cluster" / "2_developers.yaml"
    world.apply(manifest.read_text(), DEVELOPERS_GROUP="developers")
    serve = "import http.server as h; h.HTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
    document = pod(world, "python", "-c", serve)
    document["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    with short_lived(world.kube, document) as one:
        with forward(world.kube.impersonating("a-developer", "developers"), one, 8080) as port:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).close()
        with pytest.raises(Forbidden) as caught, forward(world.kube.impersonating("stranger", "strangers"), one, 8080):
            pass
    assert caught.value.message.startswith(f"Port-forward to pod {one.name}: ")
    assert 'User "stranger" cannot get resource "pods/portforward"' in caught.value.message
    developers = world.server.environment.entra.developer_group
    assert caught.value.action == (
        f"If you are in the Entra group {developers}, have an administrator run step 1 again: port-forwards need the"
        " verbs get and create on pods/portforward. If not, join it, then run `az account clear` and `az login` for a"
        " new token. A managed identity has to join a day beforehand: Azure keeps its tokens for up to 24 hours."
    )


def test_files_are_pushed_into_a_pod_those_that_differ_alone(world: World, tmp_path: Path) -> None:
    source = tmp_path / "dags"
    (source / "inner" / "__pycache__").mkdir(parents=True)
    (source / "one.py").write_text("print(1)")
    (source / "inner" / "two.py").write_text("print(2)")
    (source / "inner" / "__pycache__" / "two.pyc").write_text("")
    with short_lived(world.kube, pod(world, "python", "-c", "import time; time.sleep(600)")) as one:
        run(world.kube, one, ("python", "-c", "import os; os.makedirs('dags')"))

        def push(mode: Any) -> list[str]:
            session = world.session(mode)
            (change,) = converge(session, PodFolder(session, source, one, "main", "dags"))
            return [change.action, *(each.path for each in change.differences)]

        assert push("plan") == [Action.UPDATE, "inner/two.py", "one.py"]
        assert push("apply") == [Action.UPDATE, "inner/two.py", "one.py"]
        assert push("apply") == [Action.NONE]
        (source / "one.py").write_text("print(3)")
        assert push("apply") == [Action.UPDATE, "one.py"]
        assert run(world.kube, one, ("python", "dags/one.py")) == b"3\n"
