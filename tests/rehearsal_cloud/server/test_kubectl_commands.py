"""kubectl's commands of an incident and of a change, against the rehearsal: what they do, and what they say.

The texts are kubectl's and the servers' own. Where the installed kubectl lacks a command, its test says so.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.kubectl import NEEDS_KUBECTL, SHELL, WEB, Kubectl, newest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.broad, NEEDS_KUBECTL]
IMAGE = "python:3.12-slim"
DONE = 'deployment "web" successfully rolled out'
_SETTINGS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: first, labels: {set: one}}
data: {x: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: second, labels: {set: one}}
data: {x: "1"}
"""
_FIRST = _SETTINGS.partition("---")[0]
_BUDGET = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"""


def needs(*words: str) -> Any:
    """Skip a test where the installed kubectl lacks a command or an option."""
    *command, option = words
    help_text = subprocess.run([newest(), *command, "--help"], check=False, capture_output=True, text=True).stdout
    return pytest.mark.skipif(option not in help_text, reason=f"{newest()} has no `kubectl {' '.join(words)}`")


def web(kubectl: Kubectl) -> str:
    """Roll a Deployment out and return the name of its pod."""
    kubectl("apply", "-f", "-", given=WEB)
    assert DONE in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    return kubectl.pod("web")


def shell(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=SHELL)
    kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")


def node(kubectl: Kubectl) -> str:
    return kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")


# kubectl debug


@needs("debug", "--profile")
def test_debug_adds_a_container_to_a_running_pod(kubectl: Kubectl) -> None:
    shell(kubectl)
    profile = "--profile=general"
    kubectl("debug", "shell", f"--image={IMAGE}", "-c", "once", profile, "--", "python", "-c", "print(6 * 7)")
    _eventually(lambda: kubectl.run("logs", "shell", "-c", "once").stdout, lambda log: log == "42\n")
    typed = kubectl(
        "debug", "shell", "-i", f"--image={IMAGE}", "--target=shell", profile, "--", "sh", given="echo in; exit\n"
    )
    assert "in" in typed.splitlines()
    kubectl("debug", "shell", f"--image={IMAGE}", "-c", "stays", profile, "--", "sleep", "infinity")
    _eventually(
        lambda: kubectl.run("exec", "shell", "-c", "stays", "--", "echo", "here").stdout, lambda said: said == "here\n"
    )
    described = kubectl("describe", "pod", "shell")
    assert "Ephemeral Containers:\n  once:" in described
    pod = json.loads(kubectl("get", "pod", "shell", "-o", "json"))
    assert (pod["status"]["phase"], pod["status"]["containerStatuses"][0]["ready"]) == ("Running", True)
    kubectl("delete", "pod", "shell")  # with all of its containers


@needs("debug", "--profile")
def test_debug_says_what_is_refused(kubectl: Kubectl) -> None:
    """Texts: validateEphemeralContainers and ValidatePodEphemeralContainersUpdate in pkg/apis/core/validation."""
    shell(kubectl)
    nowhere = ("--target=nowhere", "--profile=general")
    refused = kubectl.run("debug", "shell", f"--image={IMAGE}", *nowhere, "--", "true")
    assert 'spec.ephemeralContainers[0].targetContainerName: Not found: "nowhere"' in refused.stderr
    kubectl("debug", "shell", f"--image={IMAGE}", "-c", "kept", "--profile=general", "--", "true")
    for containers, text in (
        ([], 'Forbidden: existing ephemeral containers "kept" may not be removed'),
        ([{"name": "kept", "image": "other"}], 'Forbidden: existing ephemeral containers "kept" may not be changed'),
        (
            [{"name": "more", "image": IMAGE, "ports": [{"containerPort": 80}]}],
            "ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
    ):
        change = {"spec": {"ephemeralContainers": containers}}
        form = "strategic" if "more" in str(containers) else "merge"
        words = (
            "patch",
            "pod",
            "shell",
            "--subresource=ephemeralcontainers",
            f"--type={form}",
            "-p",
            json.dumps(change),
        )
        assert text in kubectl.run(*words).stderr
    plain = kubectl.run("patch", "pod", "shell", "-p", '{"spec":{"ephemeralContainers":[{"name":"x","image":"y"}]}}')
    assert "pod updates may not change fields other than" in plain.stderr
    created = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "made"},
            "spec": {"containers": [{"name": "a", "image": "i"}], "ephemeralContainers": [{"name": "b", "image": "i"}]},
        }
    )
    assert (
        "spec.ephemeralContainers: Forbidden: cannot be set on create"
        in kubectl.run("create", "-f", "-", given=created).stderr
    )


@needs("debug", "--profile")
def test_debug_is_held_to_the_namespaces_pod_security(kubectl: Kubectl) -> None:
    shell(kubectl)
    kubectl("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    refused = kubectl.run("debug", "shell", f"--image={IMAGE}", "-c", "in", "--profile=general", "--", "true")
    assert refused.returncode == 1
    assert (
        'pods "shell" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation'
        in refused.stderr
    )


@needs("debug", "--profile")
def test_debug_copies_a_pod(kubectl: Kubectl) -> None:
    """The labels are left out, or its ReplicaSet would delete the copy."""
    pod = web(kubectl)
    copy = ("--copy-to=copy", "--container=web", f"--image={IMAGE}", "--share-processes", "--profile=general")
    kubectl("debug", pod, *copy, "--", "sleep", "infinity")
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/copy", "--timeout=60s")
    spec = json.loads(kubectl("get", "pod", "copy", "-o", "json"))
    assert (spec["spec"]["containers"][0]["command"], spec["metadata"].get("labels")) == (["sleep", "infinity"], None)
    assert spec["spec"]["shareProcessNamespace"]
    assert kubectl.pod("web") == pod


# kubectl exec and cp


def test_exec_says_why_a_container_takes_no_command(kubectl: Kubectl) -> None:
    """A client that is refused a WebSocket tries SPDY, and shows the second refusal."""
    waiting = SHELL.replace("[sleep, infinity]", "[sleep, infinity], securityContext: {runAsNonRoot: true}")
    kubectl("apply", "-f", "-", given=waiting)
    reason = "{.status.containerStatuses[0].state.waiting.reason}"
    kubectl("wait", f"--for=jsonpath={reason}=CreateContainerConfigError", "pod/shell", "--timeout=60s")
    refused = kubectl.run("exec", "shell", "--", "true")
    assert refused.returncode == 1
    assert 'unable to upgrade connection: container not found ("shell")' in refused.stderr


def test_cp_takes_folders_there_and_back(kubectl: Kubectl, tmp_path: Path) -> None:
    shell(kubectl)
    (tmp_path / "there/below").mkdir(parents=True)
    (tmp_path / "there/one").write_text("1")
    (tmp_path / "there/below/two").write_text("2")
    kubectl("cp", str(tmp_path / "there"), "shell:/tmp/folder")
    assert kubectl("exec", "shell", "--", "cat", "/tmp/folder/below/two") == "2"
    kubectl("cp", "-c", "shell", f"{kubectl.namespace}/shell:/tmp/folder", str(tmp_path / "back"))
    assert (tmp_path / "back/below/two").read_text() == "2"
    refused = kubectl.run("cp", str(tmp_path / "there/one"), "nobody:/tmp/one")
    assert (refused.returncode, refused.stderr) == (1, 'Error from server (NotFound): pods "nobody" not found\n')


# kubectl top


def test_top_shows_what_pods_and_nodes_use(kubectl: Kubectl) -> None:
    """As metrics-server serves it: a pod without running containers is left out, a missing one is not found."""
    program = "x = bytes([1]) * (50 << 20)\\nwhile True: pass"
    busy = SHELL.replace("[sleep, infinity]", f'[python, -c, "{program}"]')
    kubectl("apply", "-f", "-", given=busy)
    kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")
    pattern = re.compile(r"^shell +(\d+)m +(\d+)Mi", re.MULTILINE)
    heading = "NAME    CPU(cores)   MEMORY(bytes)"
    cpu, memory = _eventually(lambda: pattern.search(kubectl("top", "pods")), lambda found: int(found[1]) > 50).groups()
    assert 50 < int(cpu) < 2000
    assert 50 <= int(memory) < 200
    assert heading in kubectl("top", "pod", "shell")
    assert re.search(r"^shell +shell +\d+m", kubectl("top", "pods", "--containers", "-l", "app=shell"), re.MULTILINE)
    name, cores, share, size, memory_share = kubectl("top", "nodes").splitlines()[1].split()
    assert (name, cores[-1], share[-1], size[-2:], memory_share[-1]) == (node(kubectl), "m", "%", "Mi", "%")
    listed = json.loads(kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{kubectl.namespace}/pods"))
    (metrics,) = listed["items"]
    assert (listed["kind"], metrics["metadata"]["labels"]) == ("PodMetricsList", {"app": "shell"})
    assert re.fullmatch(r"\d+n", metrics["containers"][0]["usage"]["cpu"])
    assert re.fullmatch(r"\d+Ki", metrics["containers"][0]["usage"]["memory"])
    assert "shell" in kubectl("get", "pods.metrics.k8s.io")
    missing = kubectl.run("top", "pod", "nobody")
    assert (missing.returncode, missing.stderr) == (1, 'Error from server (NotFound): pods "nobody" not found\n')
    kubectl("create", "serviceaccount", "app")
    kubectl("create", "rolebinding", "app", "--clusterrole=view", f"--serviceaccount={kubectl.namespace}:app")
    viewer = f"--as=system:serviceaccount:{kubectl.namespace}:app"
    assert "shell" in kubectl("top", "pods", viewer)
    assert "Forbidden" in kubectl.run("top", "nodes", viewer).stderr


def _eventually(look: Any, enough: Any) -> Any:
    for _ in range(60):
        if (found := look()) and enough(found):
            return found
    raise AssertionError(found)


# Nodes


def test_cordon_and_drain(kubectl: Kubectl) -> None:
    """The node controller taints what is cordoned (doNoScheduleTaintingPass in pkg/controller/nodelifecycle)."""
    pod, name = web(kubectl), node(kubectl)
    kubectl("apply", "-f", "-", given=_BUDGET)
    kubectl("wait", "--for=jsonpath={.status.currentHealthy}=1", "pdb/web", "--timeout=30s")
    try:
        assert kubectl("cordon", name) == f"node/{name} cordoned\n"
        assert kubectl("cordon", name) == f"node/{name} already cordoned\n"
        assert "Ready,SchedulingDisabled" in kubectl("get", "nodes")
        taint = "jsonpath={.spec.taints[*].key}"
        kubectl("wait", "--for=jsonpath={.spec.taints[0].effect}=NoSchedule", f"node/{name}", "--timeout=10s")
        assert kubectl("get", "node", name, "-o", taint) == "node.kubernetes.io/unschedulable"
        selector = f"--pod-selector=app=web,pod-template-hash={kubectl('get', 'pod', pod, '-o', _HASH)}"
        drain = ("drain", name, selector, "--ignore-daemonsets", "--delete-emptydir-data")
        dry = kubectl("drain", name, selector, "--dry-run=server")
        assert f"evicting pod {kubectl.namespace}/{pod} (server dry run)" in dry
        held = kubectl.run(*drain, "--timeout=3s")
        assert held.returncode == 1
        assert "Cannot evict pod as it would violate the pod's disruption budget." in held.stderr
        kubectl("delete", "pdb", "web")
        assert f"pod/{pod} evicted" in kubectl(*drain, "--timeout=60s")
        blocked = kubectl("events", "--for", f"pod/{kubectl.pod('web')}", "--types=Warning")
        assert "1 node(s) were unschedulable" in blocked
    finally:
        kubectl("uncordon", name)
    assert DONE in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    spec = json.loads(kubectl("get", "node", name, "-o", "json"))["spec"]
    assert not {"taints", "unschedulable"} & spec.keys()


_HASH = "jsonpath={.metadata.labels.pod-template-hash}"


# Roll-outs


def test_undo_goes_back_to_any_revision(kubectl: Kubectl) -> None:
    web(kubectl)
    for greeting in ("second", "third"):
        kubectl("set", "env", "deployment/web", f"GREETING={greeting}")
        kubectl("annotate", "deployment/web", f"kubernetes.io/change-cause={greeting}", "--overwrite")
        assert DONE in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    history = [line.split() for line in kubectl("rollout", "history", "deployment/web").splitlines()[2:] if line]
    assert history == [["1", "<none>"], ["2", "second"], ["3", "third"]]
    assert "GREETING:\tsecond" in kubectl("rollout", "history", "deployment/web", "--revision=2")
    missing = kubectl.run("rollout", "undo", "deployment/web", "--to-revision=9")
    assert (missing.returncode, missing.stderr) == (1, "error: unable to find specified revision 9 in history\n")
    dry = kubectl("rollout", "undo", "deployment/web", "--dry-run=server")
    assert dry == "deployment.apps/web rolled back (server dry run)\n"
    kubectl("rollout", "pause", "deployment/web")
    paused = kubectl.run("rollout", "undo", "deployment/web")
    assert "you cannot rollback a paused deployment" in paused.stderr
    kubectl("rollout", "resume", "deployment/web")
    assert kubectl("rollout", "undo", "deployment/web", "--to-revision=1") == "deployment.apps/web rolled back\n"
    assert DONE in kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    revisions = [line.split()[0] for line in kubectl("rollout", "history", "deployment/web").splitlines()[2:] if line]
    assert revisions == ["2", "3", "4"]
    greeting = "jsonpath={.spec.template.spec.containers[0].env[0].value}"
    assert kubectl("get", "deployment", "web", "-o", greeting) == "hello"


# apply, diff, create


@needs("apply", "--prune")
def test_apply_prunes_what_is_no_longer_named(kubectl: Kubectl) -> None:
    prune = ("--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap")
    kubectl("create", "configmap", "by-hand", "--from-literal=x=1")
    kubectl("label", "configmap", "by-hand", "set=one")
    said = kubectl("apply", "-f", "-", *prune, given=_SETTINGS)
    assert said == "configmap/first created\nconfigmap/second created\n"
    diff = kubectl.run("diff", "-f", "-", *prune, given=_FIRST)
    assert diff.returncode == 1
    assert "second" in diff.stdout
    dry = kubectl("apply", "-f", "-", *prune, "--dry-run=server", given=_FIRST)
    assert dry == "configmap/first unchanged (server dry run)\nconfigmap/second pruned (server dry run)\n"
    assert kubectl("apply", "-f", "-", *prune, given=_FIRST) == "configmap/first unchanged\nconfigmap/second pruned\n"
    left = kubectl("get", "configmaps", "-l", "set=one", "-o", "name")
    assert left == "configmap/by-hand\nconfigmap/first\n"  # it was not applied, so it is not pruned


def test_apply_prunes_a_set_that_a_secret_names(kubectl: Kubectl) -> None:
    """https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#alternative-kubectl-apply-f-directory-prune."""
    words = ("apply", "-f", "-", "--prune", "--applyset=mine")
    made = kubectl.run(*words, given=_SETTINGS, KUBECTL_APPLYSET="true")
    if "unknown flag" in made.stderr:
        pytest.skip(f"{newest()} has no `kubectl apply --applyset`")
    assert made.stdout == "configmap/first created\nconfigmap/second created\n", made.stderr
    pruned = kubectl.run(*words, given=_FIRST, KUBECTL_APPLYSET="true")
    assert pruned.stdout == "configmap/first unchanged\nconfigmap/second pruned\n", pruned.stderr
    secret = json.loads(kubectl("get", "secret", "mine", "-o", "json"))["metadata"]
    assert secret["annotations"]["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"


def test_diff_shows_what_the_server_would_store(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", given=WEB)
    assert kubectl("diff", "--server-side", "-f", "-", given=WEB) == ""
    changed = kubectl.run("diff", "--server-side", "-f", "-", given=WEB.replace("hello", "good day"))
    assert changed.returncode == 1
    assert "+        - name: GREETING" in changed.stdout or "+          value: good day" in changed.stdout
    kubectl("set", "env", "deployment/web", "GREETING=by hand")
    conflict = kubectl.run("diff", "--server-side", "-f", "-", given=WEB)
    assert conflict.returncode > 1
    assert 'conflict with "kubectl-set" using apps/v1' in conflict.stderr
    forced = kubectl.run("diff", "--server-side", "--force-conflicts", "-f", "-", given=WEB)
    assert (forced.returncode, "-          value: by hand" in forced.stdout) == (1, True)
    wrong = kubectl.run("diff", "-f", "-", given=WEB.replace("containerPort: 8000", "containerPort: 80000"))
    assert wrong.returncode > 1
    assert "must be between 1 and 65535, inclusive" in wrong.stderr


def test_create_makes_each_kind_from_its_words(kubectl: Kubectl) -> None:
    """These requests are protobuf."""
    image = f"--image={IMAGE}"
    for words in (
        ("deployment", "made", image, "--replicas=0", "--port=80", "--", "sleep", "9"),
        ("job", "once", image, "--", "true"),
        ("cronjob", "often", image, "--schedule=*/5 * * * *", "--", "true"),
        ("job", "from", "--from=cronjob/often"),
        ("service", "clusterip", "made", "--tcp=80:8000"),
        ("service", "nodeport", "at-node", "--tcp=80:http"),
        ("quota", "limits", "--hard=pods=50,requests.memory=2Gi"),
        ("poddisruptionbudget", "half", "--selector=app=made", "--min-available=50%"),
        ("poddisruptionbudget", "all-but-one", "--selector=app=made", "--max-unavailable=1"),
        ("ingress", "way", "--rule=example.com/path*=made:80"),
    ):
        assert kubectl("create", *words).endswith(" created\n")

    def part(name: str, path: str) -> str:
        return kubectl("get", name, "-o", f"jsonpath={{{path}}}")

    container = ".spec.template.spec.containers[0]"
    assert part("deployment/made", f"{container}.command") == '["sleep","9"]'
    assert part("deployment/made", f"{container}.ports") == '[{"containerPort":80,"protocol":"TCP"}]'
    assert part("cronjob/often", ".spec.schedule") == "*/5 * * * *"
    assert part("job/from", ".metadata.ownerReferences[0].name") == "often"
    assert part("service/made", ".spec.ports[0].targetPort") == "8000"
    assert part("service/at-node", ".spec.ports[0].targetPort") == "http"
    assert part("quota/limits", ".spec.hard") == '{"pods":"50","requests.memory":"2Gi"}'
    assert part("pdb/half", ".spec.minAvailable") == "50%"
    assert part("pdb/all-but-one", ".spec.maxUnavailable") == "1"
    assert part("ingress/way", ".spec.rules[0].http.paths[0].backend.service.port.number") == "80"


# Who, what, when


@needs("auth", "whoami")
def test_whoami_of_a_person_and_a_service_account(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "app")
    token = kubectl("create", "token", "app").strip()
    review = json.loads(kubectl("auth", "whoami", f"--token={token}", "-o", "json"))
    user = review["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{kubectl.namespace}:app"
    accounts = ["system:serviceaccounts", f"system:serviceaccounts:{kubectl.namespace}", "system:authenticated"]
    assert user["groups"] == accounts


@needs("events", "--types")
def test_events_are_followed_and_chosen(kubectl: Kubectl) -> None:
    shell(kubectl)
    lines = kubectl("events", "--for", "pod/shell").splitlines()
    assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert {"Scheduled", "Pulled", "Created", "Started"} <= {line.split()[2] for line in lines[1:]}
    none = kubectl.run("events", "--types=Warning")
    assert (none.stdout, none.stderr) == ("", f"No events found in {kubectl.namespace} namespace.\n")
    with subprocess.Popen(
        kubectl.words("events", "--watch", "--types=Warning"),
        env=kubectl.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        kubectl("run", "wrong", f"--image={IMAGE}", "--overrides", '{"spec":{"nodeSelector":{"no":"where"}}}')
        reading = threading.Timer(60, watching.kill)
        reading.start()
        seen = [watching.stdout.readline(), watching.stdout.readline()]
        reading.cancel()
        watching.kill()
    assert "FailedScheduling" in "".join(seen)


def test_explain_tells_fields_their_types_and_what_they_are_for(kubectl: Kubectl) -> None:
    strategy = kubectl("explain", "deployment.spec.strategy", "--recursive")
    assert "maxSurge\t<IntOrString>" in strategy
    assert "KIND:       CronJob" in kubectl("explain", "cronjob.spec.jobTemplate.spec.podFailurePolicy.rules")
    assert "FIELD: ephemeralContainers <[]EphemeralContainer>" in kubectl("explain", "pod.spec.ephemeralContainers")
    missing = kubectl.run("explain", "deployment.spec.nothing")
    assert (missing.returncode, missing.stderr) == (1, 'error: field "nothing" does not exist\n')


@needs("wait", "--for=jsonpath")
def test_wait_for_any_field(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=x=1")
    waiting = threading.Timer(1, kubectl, ("patch", "configmap", "settings", "-p", '{"data":{"y":"2"}}'))
    waiting.start()
    met = kubectl("wait", "--for=jsonpath={.data.y}=2", "configmap/settings", "--timeout=30s")
    waiting.join()
    assert met == "configmap/settings condition met\n"
    assert kubectl("wait", "--for=jsonpath={.data.y}", "configmap/settings", "--timeout=5s") == met
    late = kubectl.run("wait", "--for=jsonpath={.data.z}=1", "configmap/settings", "--timeout=1s")
    text = "error: timed out waiting for the condition on configmaps/settings\n"
    assert (late.returncode, late.stderr) == (1, text)


def test_autoscale_sends_the_older_version_and_get_shows_both(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "idle", f"--image={IMAGE}", "--replicas=0")
    told = kubectl("autoscale", "deployment", "idle", "--max=3", "--cpu-percent=50")
    assert told == "horizontalpodautoscaler.autoscaling/idle autoscaled\n"
    assert "cpu: <unknown>/50%" in kubectl("get", "hpa")
    percent = "jsonpath={.apiVersion} {.spec.targetCPUUtilizationPercentage}"
    assert kubectl("get", "horizontalpodautoscalers.v1.autoscaling", "idle", "-o", percent) == "autoscaling/v1 50"


def test_certificate_approves_a_request(kubectl: Kubectl) -> None:
    name = f"{kubectl.namespace}-bob"
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bob")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
    spec = {"request": base64.b64encode(pem).decode(), "usages": ["client auth"], "signerName": "example.com/mine"}
    version = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    kubectl("apply", "-f", "-", given=json.dumps({**version, "metadata": {"name": name}, "spec": spec}))
    told = kubectl("certificate", "approve", name)
    assert told == f"certificatesigningrequest.certificates.k8s.io/{name} approved\n"
    assert kubectl("get", "csr", name, "--no-headers").split()[-1] == "Approved"
    assert "Common Name:    bob" in kubectl("describe", "csr", name)
    kubectl("delete", "csr", name)
