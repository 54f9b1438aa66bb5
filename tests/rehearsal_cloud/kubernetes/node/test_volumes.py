"""Volumes: a volume is a folder, and what containers see of it is where they mount it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.support.node import shell

if TYPE_CHECKING:
    from tests.support.node import Namespace


def mounting(volume: dict[str, Any], script: str, **mount: Any) -> dict[str, Any]:
    """A pod's specification: one container that mounts one volume at /volume."""
    mounts = [{"name": "volume", "mountPath": "/volume", **mount}]
    return {"container": shell(script, volumeMounts=mounts), "volumes": [{"name": "volume", **volume}]}


def output(namespace: Namespace, given: dict[str, Any]) -> str:
    pod = namespace.pod(given.pop("container"), **given)
    assert namespace.ended(pod).status.phase == "Succeeded", namespace.log(pod)
    return namespace.log(pod)


def test_the_keys_of_a_config_map_are_files(namespace: Namespace) -> None:
    data = {"one": "1", "two": "2"}
    namespace.core.create_namespaced_config_map(namespace.name, {"metadata": {"name": "words"}, "data": data})
    assert output(namespace, mounting({"configMap": {"name": "words"}}, "cd /volume; echo *; cat one two")) == (
        "one two\n12\n"
    )
    items = {"name": "words", "items": [{"key": "two", "path": "deep/2", "mode": 0o400}]}
    script = "cd /volume; echo *; cat deep/2; test $(stat -L -c %a deep/2 || stat -L -f %Lp deep/2) = 400"
    assert output(namespace, mounting({"configMap": items}, script)) == "deep\n2\n"


def test_a_changed_config_map_changes_the_files_but_not_a_single_one(namespace: Namespace) -> None:
    namespace.core.create_namespaced_config_map(namespace.name, {"metadata": {"name": "words"}, "data": {"one": "old"}})
    mounts = [
        {"name": "volume", "mountPath": "/volume"},
        {"name": "volume", "mountPath": "/single", "subPath": "one"},
    ]
    pod = namespace.pod(
        shell("until grep -q new /volume/one; do sleep 0.1; done; cat /volume/one /single", volumeMounts=mounts),
        volumes=[{"name": "volume", "configMap": {"name": "words"}}],
    )
    namespace.reaches(pod, lambda found: found.status.phase == "Running")
    namespace.core.patch_namespaced_config_map("words", namespace.name, {"data": {"one": "new"}})
    namespace.ended(pod)
    assert namespace.log(pod) == "newold\n"


@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_a_missing_source_is_waited_for(namespace: Namespace, kind: str) -> None:
    volume = {"configMap": {"name": "late"}} if kind == "configMap" else {"secret": {"secretName": "late"}}
    given = mounting(volume, "cat /volume/word")
    pod = namespace.pod(given.pop("container"), **given)
    message = f'MountVolume.SetUp failed for volume "volume" : {kind.lower()} "late" not found'
    assert namespace.events(pod, "FailedMount") == [message]
    assert namespace.read(pod).status.container_statuses[0].state.waiting.reason == "ContainerCreating"
    body: dict[str, Any] = {"metadata": {"name": "late"}}
    if kind == "configMap":
        namespace.core.create_namespaced_config_map(namespace.name, {**body, "data": {"word": "here"}})
    else:
        namespace.core.create_namespaced_secret(namespace.name, {**body, "stringData": {"word": "here"}})
    namespace.ended(pod)
    assert namespace.log(pod) == "here\n"


def test_a_missing_key_is_named(namespace: Namespace) -> None:
    namespace.core.create_namespaced_config_map(namespace.name, {"metadata": {"name": "words"}, "data": {"one": "1"}})
    given = mounting({"configMap": {"name": "words", "items": [{"key": "two", "path": "2"}]}}, "true")
    pod = namespace.pod(given.pop("container"), **given)
    message = 'MountVolume.SetUp failed for volume "volume" : references non-existent config key: two'
    assert namespace.events(pod, "FailedMount") == [message]


def test_containers_share_an_empty_folder_at_places_of_their_own(namespace: Namespace) -> None:
    def mounted(path: str) -> dict[str, Any]:
        return {"volumeMounts": [{"name": "work", "mountPath": path}]}

    pod = namespace.pod(
        shell("echo 'it is here' > /out/file", "writer", **mounted("/out")),
        shell("until test -s /in/file; do sleep 0.1; done; cat /in/file", "reader", **mounted("/in")),
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    assert namespace.ended(pod).status.phase == "Succeeded"
    assert namespace.log(pod, container="reader") == "it is here\n"


def test_a_claim_keeps_what_pods_write(namespace: Namespace) -> None:
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "azurefile-csi",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claim = {"metadata": {"name": "share"}, "spec": spec}
    namespace.core.create_namespaced_persistent_volume_claim(namespace.name, claim)
    volume = {"persistentVolumeClaim": {"claimName": "share"}}
    output(namespace, mounting(volume, "echo kept > /volume/inner", subPath="deep"))
    assert output(namespace, mounting(volume, "cat /volume/deep/inner")) == "kept\n"


def test_the_downward_api_tells_of_the_pod(namespace: Namespace) -> None:
    items = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
    ]
    given = mounting({"downwardAPI": {"items": items}}, "cd /volume; cat name; echo; cat labels; echo; cat cpu")
    container = {**given.pop("container"), "resources": {"limits": {"cpu": "250m"}}}
    pod = namespace.pod(container, labels={"tier": "front"}, **given)
    namespace.ended(pod)
    assert namespace.log(pod).splitlines() == [pod, 'tier="front"', "250"]


def test_a_projected_token_is_the_pods_own(namespace: Namespace) -> None:
    source = {"serviceAccountToken": {"path": "token", "audience": "api://me", "expirationSeconds": 600}}
    given = mounting({"projected": {"sources": [source]}}, "cat /volume/token")
    pod = namespace.pod(given.pop("container"), **given)
    namespace.ended(pod)
    claims = jwt.decode(namespace.log(pod).strip(), options={"verify_signature": False})
    assert claims["aud"] == ["api://me"]
    assert claims["sub"] == f"system:serviceaccount:{namespace.name}:default"
    assert claims["kubernetes.io"]["pod"] == {"name": pod, "uid": namespace.read(pod).metadata.uid}


def test_every_pod_has_its_account_mounted(namespace: Namespace) -> None:
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    pod = namespace.pod(shell(f"cd {folder}; echo *; cat namespace"))
    namespace.ended(pod)
    assert namespace.log(pod) == f"ca.crt namespace token\n{namespace.name}\n"


def test_paths_of_mounts_are_found_in_whatever_names_them(namespace: Namespace) -> None:
    env = [{"name": "PLACE", "value": "file:///work/a:/work/b,/workshop"}]
    pod = namespace.pod(
        shell(
            "echo $PLACE; sleep 1000 & wait",
            volumeMounts=[{"name": "work", "mountPath": "/work"}],
            workingDir="/work",
            env=env,
        ),
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    namespace.until(lambda: namespace.read(pod).status.phase == "Running" and namespace.log(pod))
    first, second, third = namespace.log(pod).strip().removeprefix("file://").replace(",", ":").split(":")
    root = first.removesuffix("/work/a")
    assert root
    assert (second, third) == (f"{root}/work/b", "/workshop")
    assert namespace.run(pod, "sh", "-c", "echo here > /work/file; cat file").out == "here\n"


def test_the_environment_comes_from_all_its_sources(namespace: Namespace) -> None:
    core, name = namespace.core, namespace.name
    core.create_namespaced_config_map(name, {"metadata": {"name": "settings"}, "data": {"A": "1", "B": "2"}})
    core.create_namespaced_secret(name, {"metadata": {"name": "words"}, "stringData": {"key": "s3cret", "C": "3"}})
    core.create_namespaced_service(name, {"metadata": {"name": "api-server"}, "spec": {"ports": [{"port": 8080}]}})
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    pod = namespace.pod(
        {
            "name": "main",
            "image": "python",
            "command": ["python", "-c", program, "$(B)"],
            "envFrom": [
                {"configMapRef": {"name": "settings"}},
                {"secretRef": {"name": "words"}, "prefix": "S_"},
                {"secretRef": {"name": "absent", "optional": True}},
            ],
            "env": [
                {"name": "B", "value": "two"},
                {"name": "BOTH", "value": "$(A)-$(B)-$(NONE)-$$(A)"},
                {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "words", "key": "key"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {
                    "name": "MEMORY",
                    "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}},
                },
            ],
            "resources": {"requests": {"memory": "64Mi"}},
        }
    )
    namespace.ended(pod)
    env = json.loads(namespace.log(pod))
    assert (env["A"], env["B"], env["BOTH"]) == ("1", "two", "1-two-$(NONE)-$(A)")
    assert (env["S_C"], env["WORD"]) == ("3", "s3cret")
    assert (env["IP"], env["MEMORY"], env["HOSTNAME"]) == (namespace.read(pod).status.pod_ip, "64", pod)
    assert env["API_SERVER_SERVICE_PORT"] == "8080"
    assert env["KUBERNETES_SERVICE_PORT"] == "443"
    assert "AZURE_CLIENT_SECRET" not in env
