"""Every control of the Pod Security Standards: what it refuses in which words, and what it allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal_cloud.kubernetes.objects.patches import merge_patch
from rehearsal_cloud.kubernetes.pod_security.baseline import BASELINE
from rehearsal_cloud.kubernetes.pod_security.policy import Standard
from rehearsal_cloud.kubernetes.pod_security.restricted import RESTRICTED
from tests.support.hardened import hardened

CONTROLS = yaml.safe_load((Path(__file__).parent / "cases/controls.yaml").read_text())
NEWEST = 35


def pod(case: dict[str, Any]) -> dict[str, Any]:
    """Return a pod that restricted allows, changed as the case says."""
    spec = hardened(containers=[{"name": name, "image": "i"} for name in "ab"])
    changes = case.get("container") or {}, case.get("other") or {}
    spec["containers"] = list(map(merge_patch, spec["containers"], changes))
    metadata = {"name": "p", "annotations": case.get("annotations") or {}}
    return {"metadata": metadata, "spec": merge_patch(spec, case.get("spec") or {})}


def cases(outcome: str) -> list[Any]:
    return [
        pytest.param(control["level"], case, id=f"{control['control']}{number}")
        for control in CONTROLS
        for number, case in enumerate(control[outcome])
    ]


@pytest.mark.parametrize(("level", "case"), cases("refused"))
def test_a_broken_control_is_named_with_all_that_breaks_it(level: str, case: dict[str, Any]) -> None:
    broken, version = pod(case), case.get("version", "latest")
    listed = list(map(str, Standard(level, version).violations(broken, NEWEST)))
    assert listed == [*case.get("with", ()), case["text"]]
    if level == "restricted":
        assert Standard("baseline", version).violations(broken, NEWEST) == []
    else:
        assert case.get("restricted", case["text"]) in map(
            str, Standard("restricted", version).violations(broken, NEWEST)
        )
    assert Standard("privileged", version).violations(broken, NEWEST) == []


@pytest.mark.parametrize(("level", "case"), cases("allowed"))
def test_what_a_control_allows_is_no_violation(level: str, case: dict[str, Any]) -> None:
    assert Standard(level, case.get("version", "latest")).violations(pod(case), NEWEST) == []


def test_every_control_has_its_cases() -> None:
    assert [control["control"] for control in CONTROLS] == list(
        dict.fromkeys(control.name for control in (*BASELINE, *RESTRICTED))
    )


def test_a_version_newer_than_the_cluster_is_the_clusters() -> None:
    (case,) = (case for case in CONTROLS[5]["refused"][:1])
    assert len(Standard("baseline", "v1.99").violations(pod(case), NEWEST)) == 1
    assert Standard("baseline", "v1.99").violations(pod(case), 33) == []
