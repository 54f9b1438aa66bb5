"""Files that could crash or stop the reader: each is refused at once, in words."""

import os
from pathlib import Path

import pytest

from airflowaks.config.environment import load_environment
from airflowaks.errors import InvalidEnvironment

REQUIRED = "subscription_id: 33333333-3333-4333-8333-333333333333\n"
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))

REFUSED = {
    "NUL": ("tags: {a: \0}", "line 2: the control character U+0000 is not text; remove it"),
    "NUL by its escape": (
        'ca_bundle: "a\\0"',
        "line 2, column 12: the text contains the invisible character U+0000; remove it",
    ),
    "bell": (
        'entra: {admin_group: "a\\a"}',
        "line 2, column 22: the text contains the invisible character U+0007; remove it",
    ),
    "zero-width space in a key": (
        "tag\u200bs: {}",
        "line 2, column 1: the text contains the invisible character U+200B; remove it",
    ),
    "surrogate": (
        'tags: {a: "\\ud800"}',
        "line 2, column 11: the text contains the invisible character U+D800; remove it",
    ),
    "truth that is none": (
        "trace: !!bool maybe",
        "line 2, column 8: the tag !!bool is not allowed; remove it, and put text in quotes",
    ),
    "time that is none": (
        "trace: !!timestamp maybe",
        "line 2, column 8: the tag !!timestamp is not allowed; remove it, and put text in quotes",
    ),
    "digits of another script": (
        "postgresql: {backup_days: !!int \u0661\u0662}",
        "line 2, column 27: the tag !!int is not allowed; remove it, and put text in quotes",
    ),
    "deep in a line": ("tags: " + "[" * 3000 + "]" * 3000, "line 2, column 18: it is nested more than 12 levels deep"),
    "deep in lines": (
        "tags:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 300)),
        "line 14, column 13: it is nested more than 12 levels deep",
    ),
    "long path": (
        f"ca_bundle: {'a' * 5000}",
        "line 2, column 12: the text has 5,000 characters; at most 1,024 are allowed",
    ),
    "long number": (
        f"trace: {'9' * 5000}",
        "line 2, column 8: the text has 5,000 characters; at most 1,024 are allowed",
    ),
    "aliases that multiply": (
        LAUGHS + "cluster: {node_pool: {zones: *a8}}",
        "line 6, column 15: it has more than 5,000 values, with those that aliases repeat",
    ),
    "long list": (
        f"cluster: {{node_pool: {{zones: [{','.join('1' * 20_000)}]}}}}",
        "line 2, column 10013: it has more than 5,000 values, with those that aliases repeat",
    ),
    "large file": (f"# {' ' * 1_000_000}", "it is larger than 100,000 bytes"),
}


def refusal(folder: Path, content: bytes) -> str:
    (folder / "test.yaml").write_bytes(content)
    with pytest.raises(InvalidEnvironment) as refusal:
        load_environment("test", folder)
    assert refusal.value.action == f"Correct {folder / 'test.yaml'} and run again."
    return refusal.value.message.removeprefix("test.yaml cannot be read: ").removesuffix(".")


@pytest.mark.parametrize(("fragment", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_file_beyond_a_limit_is_refused_in_words(tmp_path: Path, fragment: str, sentence: str) -> None:
    assert refusal(tmp_path, (REQUIRED + fragment).encode()) == sentence


def test_another_encoding_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, REQUIRED.encode("utf-16")) == "line 1: it is not UTF-8 text; save it with that encoding"
    assert refusal(tmp_path, (REQUIRED + "tags: {a: \u00e9}").encode("latin-1")).startswith("line 2: it is not UTF-8")
    unmarked = "line 1: the control character U+0000 is not text; remove it"
    assert refusal(tmp_path, REQUIRED.encode("utf-16-le")) == unmarked


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(InvalidEnvironment, match=rf"{name}\.yaml cannot be read: it is not a regular file"):
            load_environment(name, tmp_path)


@pytest.mark.parametrize("path", ["a" * 300, "~no-such-user/root.pem"])
def test_a_path_that_the_system_refuses_is_no_file(tmp_path: Path, path: str) -> None:
    assert f'ca_bundle (line 2): "{path}" is not a file' in refusal(tmp_path, f"{REQUIRED}ca_bundle: {path}".encode())


def test_text_may_be_marked_as_text_and_repeated(tmp_path: Path) -> None:
    (tmp_path / "test.yaml").write_text(
        "tenant_id: &id !!str 33333333-3333-4333-8333-333333333333\nsubscription_id: *id\nlocation: westeurope\n"
        "tags: {team: &team données}\nentra: {admin_group: *team}\n",
        encoding="utf-8",
    )
    environment = load_environment("test", tmp_path)
    assert (environment.subscription_id, environment.entra.admin_group) == (environment.tenant_id, "données")
