"""What each step would do, by its resources' facts alone: one case a file, and adding a case is adding a file.

`world.json` holds the facts of a deployment in which everything is up to date, as Azure answers them. A case,
`<step>/<case>.json`, says why it matters, which resource is assessed, and by JSON merge patches (RFC 7396) how the
environment and the facts differ from that; `null` is a resource that does not exist. It expects an action with every
difference as [path, before, after], or the code of an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflowaks.azure.redis import Keys
from airflowaks.azure.vault_secret import NEW_SECRET, VaultSecret
from airflowaks.cloud.connection import Connection, Operator
from airflowaks.cloud.redaction import Secret
from airflowaks.config.environment import load_environment
from airflowaks.engine.assessment import assess
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.resource import Resource
from airflowaks.errors import AirflowAksError
from airflowaks.session import Session
from airflowaks.steps import backend, cluster, key_vault, registry

FOLDER = Path(__file__).parent
WORLD = json.loads((FOLDER / "world.json").read_text(encoding="utf-8"))
CASES = sorted(FOLDER.glob("*/*.json"))
STEPS = {"cluster": cluster, "registry": registry, "backend": backend, "key_vault": key_vault}
ENVIRONMENT = {
    "subscription_id": "11111111-1111-4111-8111-111111111111",
    "tenant_id": "22222222-2222-4222-8222-222222222222",
    "location": "westeurope",
    "postgresql": {"firewall": {"office": {"start": "203.0.113.10", "end": "203.0.113.20"}}},
}
OPERATOR = Operator("44444444-4444-4444-8444-444444444444", "User", "operator@example.com")


def patched(target: Any, patch: Any) -> Any:
    """`target` after a JSON merge patch."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        merged[key] = patched(merged.get(key), value)
    return {key: value for key, value in merged.items() if value is not None or key not in patch}


def resources(session: Session) -> dict[str, Resource]:
    """Every resource of the four steps, by step and attribute, and by name where there are several."""
    named: dict[Resource, str] = {}  # a step keeps resources of earlier ones too: their first name counts
    for step, module in STEPS.items():
        for attribute, value in vars(session.memoize(module.Resources)).items():
            if isinstance(value, Resource):
                named.setdefault(value, f"{step}.{attribute}")
            elif isinstance(value, (list, Mapping)):
                for one in value.values() if isinstance(value, Mapping) else value:
                    named.setdefault(one, f"{step}.{attribute}.{one.name}")
    return {name: resource for resource, name in named.items()}


def json_of(value: Any) -> Any:
    """A value as a case file writes it."""
    if isinstance(value, Secret) or value in (AFTER_APPLY, NEW_SECRET):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: json_of(one) for key, one in value.items()}
    return [json_of(one) for one in value] if isinstance(value, (list, tuple)) else value


def session_of(case: dict[str, Any], folder: Path) -> Session:
    """A session that could reach nothing, over the facts of a case."""
    (folder / "dev.yaml").write_text(json.dumps(patched(ENVIRONMENT, case.get("environment", {}))))
    session = Session(load_environment("dev", folder), "plan", Connection(credential=None))  # type: ignore[arg-type]
    session.operator = OPERATOR
    facts = {name: patched(WORLD.get(name), case["facts"].get(name, {})) for name in {*WORLD, *case["facts"]}}
    broker_keys = facts.pop("backend.broker keys")
    for name, resource in resources(session).items():
        known = facts.get(name)
        if isinstance(resource, VaultSecret) and known:
            known = {**known, "value": session.redactor.learn(known["value"])}
        resource._facts = known
    session.memoize(backend.Resources).broker._keys = Keys(*map(session.redactor.learn, broker_keys.values()))
    return session


@pytest.fixture(params=CASES, ids=[f"{path.parent.name}/{path.stem}" for path in CASES])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"facts": {}, **json.loads(request.param.read_text(encoding="utf-8"))}


def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    session = session_of(case, tmp_path)
    resource = resources(session)[case["resource"]]
    if "error" in case:
        with pytest.raises(AirflowAksError) as caught:
            assess(resource)
        assert (caught.value.code, caught.value.message) == (case["error"], case["message"])
        return
    action, differences = assess(resource)
    assert [[one.path, json_of(one.before), json_of(one.after)] for one in differences] == case.get("differences", [])
    assert action.value == case["action"]
    if "wants" in case:
        assert isinstance(resource, VaultSecret)
        assert resource.desired_value.reveal() == case["wants"]


def test_every_case_speaks_of_what_there_is(case: dict[str, Any], tmp_path: Path) -> None:
    known = {*resources(session_of(case, tmp_path)), "backend.broker keys"}
    assert {case["resource"], *case["facts"]} <= known
    assert case["why"]
