"""Containers: how they start, end, fail, and what the kubelet says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.node import python, shell

if TYPE_CHECKING:
    from tests.support.node import Namespace

SLEEPS = "sleep 1000 & wait"


def test_a_container_runs_to_its_exit_code(namespace: Namespace) -> None:
    pod = namespace.pod(shell("echo out; echo err >&2; exit 3"))
    found = namespace.ended(pod)
    assert found.status.phase == "Failed"
    ended = found.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason) == (3, "Error")
    assert sorted(namespace.log(pod).splitlines()) == ["err", "out"]
    assert found.status.pod_ip.startswith("10.244.")
    assert namespace.events(pod, "Started") == ["Container started"]


def test_a_container_that_ends_well_completes_its_pod(namespace: Namespace) -> None:
    found = namespace.ended(namespace.pod(shell("echo bye > /dev/termination-log")))
    assert found.status.phase == "Succeeded"
    ended = found.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason, ended.message) == (0, "Completed", "bye\n")
    ready = next(one for one in found.status.conditions if one.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "PodCompleted")


def test_a_message_falls_back_on_the_log(namespace: Namespace) -> None:
    pod = namespace.pod(shell("echo why; exit 1", terminationMessagePolicy="FallbackToLogsOnError"))
    assert namespace.ended(pod).status.container_statuses[0].state.terminated.message == "why\n"


def test_a_crashing_container_is_restarted_with_back_off(namespace: Namespace) -> None:
    pod = namespace.pod(shell("echo boom; exit 1"), restartPolicy="Always")
    found = namespace.waiting(pod, "CrashLoopBackOff")
    assert found.restart_count >= 1
    assert found.last_state.terminated.exit_code == 1
    uid = namespace.read(pod).metadata.uid
    name = f"{pod}_{namespace.name}({uid})"
    assert found.state.waiting.message.endswith(f"restarting failed container=main pod={name}")
    assert namespace.events(pod, "BackOff") == [f"Back-off restarting failed container main in pod {name}"]
    assert namespace.log(pod, previous=True) == "boom\n"


def test_a_failed_container_may_succeed_when_it_is_run_again(namespace: Namespace) -> None:
    mount = {"volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}
    pod = namespace.pod(
        shell("test -e /memory/before && exit 0; touch /memory/before; exit 1", **mount),
        restartPolicy="OnFailure",
        volumes=[{"name": "memory", "emptyDir": {}}],
    )
    found = namespace.ended(pod)
    assert found.status.phase == "Succeeded"
    assert found.status.container_statuses[0].restart_count == 1


def test_a_program_that_is_not_there_cannot_start(namespace: Namespace) -> None:
    pod = namespace.pod({"name": "main", "image": "busybox", "command": ["nonsense"]})
    ended = namespace.ended(pod).status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason) == (128, "StartError")
    assert 'exec: "nonsense": executable file not found in $PATH' in ended.message
    assert 'exec: "nonsense": executable file not found in $PATH' in namespace.events(pod, "Failed")[0]


def test_an_unknown_tag_backs_off(namespace: Namespace) -> None:
    pod = namespace.pod({"name": "main", "image": "busybox:nonsense"})
    found = namespace.waiting(pod, "ImagePullBackOff")
    assert found.state.waiting.message.startswith('Back-off pulling image "busybox:nonsense": ErrImagePull: ')
    assert found.state.waiting.message.endswith("docker.io/library/busybox:nonsense: not found")
    failed = namespace.events(pod, "Failed")
    assert "Error: ErrImagePull" in failed
    assert any(one.startswith('Failed to pull image "busybox:nonsense": ') for one in failed)


def test_an_image_that_is_never_pulled(namespace: Namespace) -> None:
    pod = namespace.pod({"name": "main", "image": "busybox:1.30", "imagePullPolicy": "Never"})
    message = namespace.waiting(pod, "ErrImageNeverPull").state.waiting.message
    assert message == 'Container image "busybox:1.30" is not present with pull policy of Never'


def test_a_missing_secret_is_waited_for(namespace: Namespace) -> None:
    reference = {"secretKeyRef": {"name": "late", "key": "word"}}
    pod = namespace.pod(shell("echo $WORD", env=[{"name": "WORD", "valueFrom": reference}]))
    found = namespace.waiting(pod, "CreateContainerConfigError")
    assert found.state.waiting.message == 'secret "late" not found'
    assert 'Error: secret "late" not found' in namespace.events(pod, "Failed")
    namespace.core.create_namespaced_secret(namespace.name, {"metadata": {"name": "late"}, "stringData": {"no": "x"}})
    wrong = f"couldn't find key word in Secret {namespace.name}/late"
    namespace.reaches(pod, lambda one: wrong in str(one.status.container_statuses[0].state.waiting))
    namespace.core.patch_namespaced_secret("late", namespace.name, {"stringData": {"word": "here"}})
    namespace.ended(pod)
    assert namespace.log(pod) == "here\n"


def test_a_root_user_is_refused_where_none_may_be(namespace: Namespace) -> None:
    pod = namespace.pod(shell("true", securityContext={"runAsNonRoot": True}))
    message = namespace.waiting(pod, "CreateContainerConfigError").state.waiting.message
    assert message.startswith("container has runAsNonRoot and image will run as root")


def test_too_much_memory_kills(namespace: Namespace) -> None:
    program = "memory = bytearray(200 << 20)\nimport time\ntime.sleep(1000)"
    pod = namespace.pod(python(program, resources={"limits": {"memory": "64Mi"}}))
    ended = namespace.ended(pod).status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


def test_init_containers_run_one_after_another(namespace: Namespace) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    pod = namespace.pod(
        shell("cat /work/order", **mount),
        initContainers=[
            shell("echo first >> /work/order", "first", **mount),
            shell("echo second >> /work/order", "second", **mount),
        ],
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    assert namespace.ended(pod).status.phase == "Succeeded"
    assert namespace.log(pod, container="main") == "first\nsecond\n"


def test_a_failed_init_container_fails_the_pod(namespace: Namespace) -> None:
    pod = namespace.pod(shell("true"), initContainers=[shell("exit 7", "first")])
    found = namespace.ended(pod)
    assert found.status.phase == "Failed"
    assert found.status.container_statuses[0].state.waiting.reason == "PodInitializing"
    condition = next(one for one in found.status.conditions if one.type == "Initialized")
    assert condition.message == "containers with incomplete status: [first]"


def test_a_sidecar_lives_as_long_as_the_others(namespace: Namespace) -> None:
    pod = namespace.pod(shell("sleep 0.2"), initContainers=[shell(SLEEPS, "beside", restartPolicy="Always")])
    found = namespace.ended(pod)
    assert found.status.phase == "Succeeded"
    assert found.status.init_container_statuses[0].state.terminated.exit_code == 143


def test_a_failing_liveness_probe_restarts(namespace: Namespace) -> None:
    probe = {"exec": {"command": ["sh", "-c", "echo sick; exit 1"]}, "periodSeconds": 1, "failureThreshold": 1}
    pod = namespace.pod(shell(SLEEPS, livenessProbe=probe), restartPolicy="Always")
    namespace.reaches(pod, lambda found: any(one.restart_count for one in found.status.container_statuses or []))
    assert namespace.events(pod, "Unhealthy") == ["Liveness probe failed: sick\n"]
    assert namespace.events(pod, "Killing") == ["Container main failed liveness probe, will be restarted"]


def test_a_probe_that_takes_too_long_has_failed(namespace: Namespace) -> None:
    probe = {"exec": {"command": ["sleep", "1000"]}, "periodSeconds": 1, "timeoutSeconds": 1}
    pod = namespace.pod(shell(SLEEPS, readinessProbe=probe))
    text = 'Readiness probe failed: command timed out: "sleep 1000" timed out after 1s'
    assert namespace.events(pod, "Unhealthy")[0] == text  # measured with a kubelet 1.36


def test_an_unready_container_makes_its_pod_unready(namespace: Namespace) -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    pod = namespace.pod(shell(SLEEPS, readinessProbe=probe))
    ip = namespace.reaches(pod, lambda found: found.status.phase == "Running").status.pod_ip
    assert namespace.events(pod, "Unhealthy") == [
        f'Readiness probe failed: Get "http://{ip}:8080/": dial tcp {ip}:8080: connect: connection refused'
    ]
    ready = next(one for one in namespace.read(pod).status.conditions if one.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "ContainersNotReady")
    assert ready.message == "containers with unready status: [main]"


def test_readiness_waits_for_the_startup_probe(namespace: Namespace) -> None:
    startup = {"exec": {"command": ["test", "-e", "/work/started"]}, "periodSeconds": 1, "failureThreshold": 60}
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    pod = namespace.pod(
        shell(SLEEPS, startupProbe=startup, **mount),
        shell(f"until test -e /work/go; do sleep 0.1; done; touch /work/started; {SLEEPS}", "other", **mount),
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    namespace.events(pod, "Unhealthy")
    assert [one.started for one in namespace.read(pod).status.container_statuses] == [False, True]
    assert namespace.run(pod, "touch", "/work/go", container="other").code == 0
    namespace.ready(pod)


def test_a_deleted_pod_ends_within_its_grace(namespace: Namespace) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    pod = namespace.pod(
        shell(
            "trap 'echo told; exit 0' TERM; echo up; sleep 1000 & wait",
            lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /work/hook"]}}},
            **mount,
        ),
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    namespace.until(lambda: namespace.read(pod).status.phase == "Running" and namespace.log(pod) == "up\n")
    answer = namespace.core.read_namespaced_pod_log(pod, namespace.name, follow=True, _preload_content=False)
    namespace.gone(pod)
    assert answer.read() == b"up\ntold\n"
    assert namespace.events(pod, "Killing") == ["Stopping container main"]


def test_a_pod_that_does_not_heed_is_killed(namespace: Namespace) -> None:
    pod = namespace.pod(shell("trap '' TERM; echo up; while true; do sleep 0.1; done"), terminationGracePeriodSeconds=1)
    namespace.until(lambda: namespace.read(pod).status.phase == "Running" and namespace.log(pod) == "up\n")
    namespace.gone(pod)


def test_a_pod_may_have_a_deadline(namespace: Namespace) -> None:
    found = namespace.ended(namespace.pod(shell(SLEEPS), activeDeadlineSeconds=1))
    assert (found.status.phase, found.status.reason) == ("Failed", "DeadlineExceeded")
