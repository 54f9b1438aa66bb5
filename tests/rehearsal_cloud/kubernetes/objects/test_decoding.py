"""What is made of a document before it is looked at: quantities, unknown fields, wrong types, custom resources."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from rehearsal_cloud.kubernetes import quantities
from rehearsal_cloud.kubernetes.failures import Failure
from rehearsal_cloud.kubernetes.objects.decoding import decode
from rehearsal_cloud.kubernetes.objects.kinds import Kinds, kinds_of
from rehearsal_cloud.kubernetes.objects.schema import Schemas
from rehearsal_cloud.kubernetes.objects.validation import validate
from tests.support.repository import REPOSITORY

Document = dict[str, Any]

SCHEMAS = Schemas()
KINDS = Kinds()
_CRDS = REPOSITORY / "rehearsal_cloud" / "kubernetes" / "addons" / "crds"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("1000m", "1"), ("0.5", "500m"), ("0.1", "100m"), (0.25, "250m"), (2, "2"), ("1500m", "1500m"), ("0", "0"),
        ("1000k", "1M"), ("1024", "1024"), ("1e3", "1e3"), ("12e1", "120"), ("1.5Gi", "1536Mi"), ("0.5Gi", "512Mi"),
        ("1024Mi", "1Gi"), ("1000Mi", "1000Mi"), ("0.5Ki", "512"), ("1.5Ki", "1536"), ("-1", "-1"), ("+5", "5"),
        ("0.0000000001", "1n"), ("2000000000", "2G"),
    ],
)  # fmt: skip
def test_a_quantity_in_canonical_form(given: str | float, kept: str) -> None:
    assert quantities.canonical(given) == kept
    assert quantities.canonical(kept) == kept


@pytest.mark.parametrize("text", ["", "1 Gi", "1gi", "abc", "1.2.3", "1mm", "--1"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        quantities.canonical(text)


def deployment(**spec: Any) -> Document:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "it"}, "spec": spec}


def test_unknown_fields_are_dropped_and_told_of() -> None:
    document = deployment(replicas=1, bogus=1, template={"spec": {"containers": [{"name": "c", "imagge": "i"}]}})
    kept, warnings = decode(SCHEMAS, KINDS.named("Deployment"), document)
    assert warnings == ['unknown field "spec.bogus"', 'unknown field "spec.template.spec.containers[0].imagge"']
    assert "bogus" not in kept["spec"]
    assert decode(SCHEMAS, KINDS.named("Deployment"), document, "Ignore")[1] == []


def test_strict_validation_refuses_unknown_and_duplicate_fields() -> None:
    with pytest.raises(Failure) as failure:
        decode(SCHEMAS, KINDS.named("Deployment"), deployment(bogus=1), "Strict", ["spec.replicas"])
    assert failure.value.code == 400
    text = 'strict decoding error: unknown field "spec.bogus", duplicate field "spec.replicas"'
    assert failure.value.message == f'Deployment in version "v1" cannot be handled as a Deployment: {text}'


@pytest.mark.parametrize(
    ("kind", "spec", "text"),
    [
        ("Deployment", {"replicas": "2"}, "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("Deployment", {"replicas": 1.5}, "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ("Deployment", {"paused": 1}, "number into Go struct field DeploymentSpec.spec.paused of type bool"),
        ("Deployment", [], "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        ("Service", {"selector": {"a": 1}}, "number into Go struct field ServiceSpec.spec.selector.a of type string"),
        ("Service", {"selector": []}, "array into Go struct field ServiceSpec.spec.selector of type map[string]string"),
        ("Pod", {"containers": {}}, "object into Go struct field PodSpec.spec.containers of type []v1.Container"),
        (
            "Pod",
            {"containers": [{"env": [{"value": True}]}]},
            "bool into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
    ],
)
def test_a_value_of_another_type(kind: str, spec: Any, text: str) -> None:
    described = KINDS.named(kind)
    with pytest.raises(Failure) as failure:
        decode(SCHEMAS, described, {"metadata": {"name": "it"}, "spec": spec})
    prefix = f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal'
    assert failure.value.message == f"{prefix} {text}"


def test_data_that_is_not_encoded() -> None:
    with pytest.raises(Failure, match="illegal base64 data at input byte 0"):
        decode(SCHEMAS, KINDS.named("Secret"), {"metadata": {"name": "it"}, "data": {"a": "!"}})


def test_another_kind_than_the_paths() -> None:
    with pytest.raises(Failure, match="the kind in the data"):
        decode(SCHEMAS, KINDS.named("Secret"), {"apiVersion": "v1", "kind": "ConfigMap"})


def test_reading_twice_is_reading_once() -> None:
    document = deployment(replicas=0, template={"spec": {"containers": [{"name": "c", "env": []}]}})
    once, _ = decode(SCHEMAS, KINDS.named("Deployment"), document)
    assert decode(SCHEMAS, KINDS.named("Deployment"), once)[0] == once


def custom(schema: Document) -> Document:
    return {
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        }
    }


_THING: Document = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1},
                "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                "name": {"type": "string", "pattern": "^[a-z]+$"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "share": {"x-kubernetes-int-or-string": True},
            },
        }
    },
}


def thing(**spec: Any) -> tuple[Document, list[str], list[tuple[str, str]]]:
    definition, schemas = custom(_THING), Schemas()
    schemas.define(definition)
    ((kind, _),) = kinds_of(definition)
    document = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "it"}, "spec": spec}
    kept, warnings = decode(schemas, kind, document)
    return kept["spec"], warnings, [(one.field, one.message) for one in validate(schemas, kind, kept)]


def test_a_custom_resource_is_pruned_and_defaulted() -> None:
    kept, warnings, wrong = thing(size=1, bogus=2, free={"any": {"thing": []}}, share="50%")
    assert kept == {"size": 1, "mode": "a", "free": {"any": {"thing": []}}, "share": "50%"}
    assert warnings == ['unknown field "spec.bogus"']
    assert wrong == []


@pytest.mark.parametrize(
    ("spec", "field", "text"),
    [
        ({}, "spec.size", "Required value"),
        ({"size": "x"}, "spec.size", 'Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"size": 0}, "spec.size", "Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 1, "mode": "c"}, "spec.mode", 'Unsupported value: "c": supported values: "a", "b"'),
        ({"size": 1, "name": "A"}, "spec.name", "Invalid value: \"A\": spec.name in body should match '^[a-z]+$'"),
    ],
)
def test_a_custom_resource_that_breaks_its_schema(spec: Document, field: str, text: str) -> None:
    assert thing(**spec)[2] == [(field, text)]


def test_the_definitions_of_the_add_ons_have_types() -> None:
    schemas = Schemas()
    for file in _CRDS.iterdir():
        definition = yaml.safe_load(file.read_text())
        schemas.define(definition)
        for kind, _ in kinds_of(definition):
            assert "spec" in schemas.of(kind).fields or "status" in schemas.of(kind).fields
