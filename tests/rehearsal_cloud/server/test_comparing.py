"""A trace of a rehearsal that differs from this one shows exactly these differences, and one of itself shows none."""

from __future__ import annotations

import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from airflowaks.azure.subscription import ProviderRegistration, ResourceGroup
from airflowaks.engine.converge import converge
from airflowaks.preflight.run import preflight
from airflowaks.session import Session, open_session
from airflowaks.steps import backend, cluster, key_vault, registry
from tests.support.tracing import describe_traced_environment, trace_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rehearsal import Rehearsal

REGISTRY = "/Microsoft.ContainerRegistry/registries/[^/]*$"
VAULT = "/Microsoft.KeyVault/vaults/[^/]*$"
ROLE = "/vaults/[^/]*/providers/Microsoft.Authorization/roleAssignments/"
DIFFERENT: dict[str, dict[str, Any]] = {
    "status": {"methods": ["PUT"], "path": ROLE, "status": 200, "edit": {}},
    "a missing header": {"methods": ["PUT"], "path": REGISTRY, "edit": {}, "headers": {"Location": None}},
    "a missing property": {"methods": ["PUT"], "path": VAULT, "edit": {"properties": {"enabledForDeployment": None}}},
    "an enum's case": {"methods": ["GET"], "path": VAULT, "skip": 1, "edit": {"properties": {"sku": {"family": "a"}}}},
    "an error's code": {"methods": ["GET"], "path": REGISTRY, "edit": {"error": {"code": "NotFound"}}},
}
FOUND = """\
GET https://management.azure.com/subscriptions/*/resourceGroups/*/providers/Microsoft.ContainerRegistry/registries/*
  error.code
    Azure:     NotFound
    rehearsal: ResourceNotFound
GET https://management.azure.com/subscriptions/*/resourceGroups/*/providers/Microsoft.KeyVault/vaults/*
  properties.sku.family
    Azure:     a
    rehearsal: A
PUT https://management.azure.com/subscriptions/*/resourceGroups/*/providers/Microsoft.ContainerRegistry/registries/*
  header Location
    Azure:     (none)
    rehearsal: https://management.azure.com/subscriptions/
PUT https://management.azure.com/subscriptions/*/resourceGroups/*/providers/Microsoft.KeyVault/vaults/*
  properties.enabledForDeployment
    Azure:     (none)
    rehearsal: False
PUT https://management.azure.com/subscriptions/*/resourceGroups/*/providers/Microsoft.KeyVault/vaults/*\
/providers/Microsoft.Authorization/roleAssignments/*
  status
    Azure:     200
    rehearsal: 201
5 differences in """


@pytest.fixture
def session(rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    name = f"contoso{uuid.uuid4().hex[:6]}"
    describe_traced_environment(tmp_path, name)
    yield open_session(name)
    rehearsal.control("DELETE")


def compare(trace: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "rehearsal_cloud", "compare", str(trace)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout or done.stderr


def make_registry_and_vault(session: Session) -> None:
    group = ResourceGroup(session, session.environment.resource_group)
    namespaces = ("Microsoft.KeyVault", "Microsoft.ContainerRegistry")
    converge(session, group, *(ProviderRegistration(session, namespace) for namespace in namespaces))
    converge(session, session.memoize(registry.Resources).registry)
    key_vault.vault(session)


@pytest.mark.broad
def test_all_five_differences_are_reported_and_nothing_else(session: Session, rehearsal: Rehearsal) -> None:
    for fault in DIFFERENT.values():
        rehearsal.control("POST", fault)
    make_registry_and_vault(session)
    assert {fault["matched"] > fault["skip"] for fault in rehearsal.control("GET")} == {True}

    status, printed = compare(trace_of(session))

    shown = "\n".join(line.partition("11111111-")[0] for line in printed.splitlines())
    assert shown.startswith(FOUND)
    assert status == 1


@pytest.mark.broad
def test_a_deployment_on_a_rehearsal_is_compared_without_a_difference(session: Session) -> None:
    preflight(session)
    for step in (cluster, registry, backend, key_vault):
        step.everything(session)
        step.checks(session)
    key_vault.rotate(session, "airflow-broker-url")

    status, printed = compare(trace_of(session))

    assert printed.startswith("No differences in ")
    assert status == 0
    compared = int(printed.split()[3])
    assert compared > 100


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "it holds no exchange"), ('{"subscription": "x"}\n{"url"', "line 2 is not an exchange"), ("[]", "line 1")],
)
def test_a_file_that_is_no_trace_is_refused_in_two_lines(tmp_path: Path, text: str, reason: str) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(text)
    status, printed = compare(trace)
    assert status == 1
    first, second = printed.splitlines()
    assert first.startswith(f"{trace} is not the trace of a run: {reason}")
    assert second.startswith("→ Name a file runs/trace-")
