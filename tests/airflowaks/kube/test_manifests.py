"""Manifests: placeholders that are filled as what they stand for, and clear errors for those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airflowaks.config.paths import manifests_folder
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.errors import InvalidManifest
from airflowaks.kube.manifests import Manifest, load

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "manifests" / "step"
    made.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return made


def filled(folder: Path, text: str, **values: Any) -> Any:
    (folder / "one.yaml").write_text(HEAD + text)
    (manifest,) = load("step", values)
    return manifest.fill()


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("data: ${IT}", 3, 3),
        ("data: ${IT}", "3", "3"),
        ("data: '${IT}'", 3, "3"),
        ("data: '${IT}'", True, "true"),
        ("data: ${IT}", ["10.0.0.0/8"], ["10.0.0.0/8"]),
        ("data: https://${IT}/x", "host", "https://host/x"),
        ("data: ${IT}", "a: b # no comment", "a: b # no comment"),
        ("data: |\n  first\n  ${IT}\n", "second", "first\nsecond\n"),
        ("data: ${IT}", lambda: "late", "late"),
        ("data: ${IT}", lambda: AFTER_APPLY, AFTER_APPLY),
        ("data: https://${IT}/x", AFTER_APPLY, AFTER_APPLY),
        ("data: 2026-11-22", "", "2026-11-22"),
        ("data: 0o17", "", "0o17"),
    ],
)
def test_a_placeholder_becomes_what_it_stands_for(folder: Path, text: str, value: Any, expected: Any) -> None:
    assert filled(folder, text, IT=value)["data"] == expected


@pytest.mark.parametrize("value", [{}, []])
def test_a_field_whose_value_is_empty_stays_free_for_others(folder: Path, value: Any) -> None:
    assert "data" not in filled(folder, "data: ${IT}", IT=value)
    assert filled(folder, f"data: {value}", IT=value)["data"] == value


@given(value=st.text(min_size=1))
def test_no_value_breaks_out_of_its_place(value: str) -> None:
    text = "a: ${IT}\nb: 'x${IT}y'\n"
    document = Manifest(manifests_folder("environments"), yaml.compose(text), {"IT": value}).fill()
    assert document == {"a": value, "b": f"x{value}y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: ${TYPO}", "step/one.yaml, line 4: the placeholder ${TYPO} does not exist."),
        ("data:\n  a: b\n  c: x-${it}", "step/one.yaml, line 6: the placeholder ${it} does not exist."),
        ("data: ${UNFINISHED", "step/one.yaml, line 4: the placeholder ${UNFINISHED} does not exist."),
        ("data: ${EMPTY}", "step/one.yaml, line 4: the placeholder ${EMPTY} has no value."),
        ("data: ${NOTHING}", "step/one.yaml, line 4: the placeholder ${NOTHING} has no value."),
    ],
)
def test_an_error_names_file_line_and_placeholder(folder: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        filled(folder, text, EMPTY="", NOTHING=lambda: None)
    assert caught.value.message == message


def test_nothing_is_asked_of_values_while_manifests_are_loaded(folder: Path) -> None:
    (folder / "one.yaml").write_text(HEAD + "data: ${IT}")
    asked: list[str] = []
    (manifest,) = load("step", {"IT": lambda: asked.append("it") or "value"})
    assert (manifest.reference.kind, manifest.reference.name, asked) == ("ConfigMap", "settings", [])


def test_files_come_in_the_order_of_their_names_and_may_hold_several_objects(folder: Path) -> None:
    (folder / "2.yaml").write_text(HEAD)
    (folder / "1.yaml").write_text(
        f"# a comment\n---\n{HEAD}---\nkind: Secret\napiVersion: v1\nmetadata: {{name: s}}\n"
    )
    assert [one.reference.kind for one in load("step", {})] == ["ConfigMap", "Secret", "ConfigMap"]


def test_yaml_that_is_none_is_said_so(folder: Path) -> None:
    (folder / "one.yaml").write_text("a: [b")
    with pytest.raises(InvalidManifest, match=r"step/one\.yaml is not valid YAML: .*line 1"):
        load("step", {})


def test_an_object_says_what_it_is(folder: Path) -> None:
    (folder / "one.yaml").write_text("kind: Secret\nmetadata: {name: s}\n")
    with pytest.raises(InvalidManifest, match=r"step/one\.yaml, line 1: the object has no api_version"):
        assert load("step", {})[0].reference
