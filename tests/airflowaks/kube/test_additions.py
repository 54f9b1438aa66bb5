"""What others have added to an object, by its managed fields, and the patch that removes it."""

from __future__ import annotations

from typing import Any

import jsonpatch

from airflowaks.kube.additions import additions, removal

OURS = {
    "f:spec": {
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"worker"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:env": {'k:{"name":"POD_IP"}': {".": {}, "f:name": {}, "f:valueFrom": {}}},
                    }
                }
            }
        }
    }
}
THEIRS = {
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}},
            "f:spec": {
                "f:nodeSelector": {},
                "f:containers": {
                    'k:{"name":"worker"}': {
                        "f:image": {},
                        "f:env": {
                            'k:{"name":"A/B"}': {".": {}, "f:name": {}, "f:value": {}},
                            'k:{"name":"C"}': {".": {}, "f:name": {}, "f:value": {}},
                            'k:{"name":"GONE"}': {".": {}, "f:name": {}},
                        },
                    }
                },
            },
        },
    }
}
CONTAINER: dict[str, Any] = {
    "name": "worker",
    "image": "airflow",
    "env": [{"name": "A/B", "value": "1"}, {"name": "POD_IP", "valueFrom": {}}, {"name": "C", "value": "2"}],
}


def document(**managers: Any) -> dict[str, Any]:
    entries = [
        {"manager": name, "time": "2026-11-22T10:00:00Z", "fieldsV1": fields} for name, fields in managers.items()
    ]
    pod = {"metadata": {"annotations": {}}, "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [CONTAINER]}}
    return {"metadata": {"resourceVersion": "7", "managedFields": entries}, "spec": {"replicas": 2, "template": pod}}


def test_only_what_the_runbook_does_not_set_is_an_addition() -> None:
    found = additions(document(kubectl=THEIRS), document(airflowaks=OURS))
    assert [(one.path, one.by) for one in found] == [
        ("spec.template.spec.nodeSelector", "kubectl"),
        ("spec.template.spec.containers[worker].env[A/B]", "kubectl"),
        ("spec.template.spec.containers[worker].env[C]", "kubectl"),
    ]


def test_an_object_that_the_runbook_did_not_apply_has_none() -> None:
    assert additions(document(kubectl=THEIRS), document(kubectl=THEIRS)) == []


def test_additions_are_removed_from_the_end_of_their_lists() -> None:
    changed = document(kubectl=THEIRS)
    patch = removal(changed, additions(changed, document(airflowaks=OURS)))
    assert patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    spec = jsonpatch.apply_patch(changed, patch)["spec"]["template"]["spec"]
    assert spec == {"containers": [{**CONTAINER, "env": [{"name": "POD_IP", "valueFrom": {}}]}]}


def test_a_list_that_is_all_an_addition_names_its_elements() -> None:
    nothing = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"worker"}': {"f:image": {}}}}}}}
    found = additions(document(kubectl=THEIRS), document(airflowaks=nothing))
    assert "spec.template.spec.containers[worker].env[A/B][C]" in [one.path for one in found]
