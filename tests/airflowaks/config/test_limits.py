"""Files that could crash or stop the reader: each is refused at once, in words."""

import os
from pathlib import Path

import pytest

from airflowaks.config.environment import load_environment
from airflowaks.errors import InvalidEnvironment

REQUIRED = "subscription_id: 33333333-3333-4333-8333-333333333333\n"


def refusal(folder: Path, content: bytes) -> str:
    (folder / "test.yaml").write_bytes(content)
    with pytest.raises(InvalidEnvironment) as refusal:
        load_environment("test", folder)
    assert refusal.value.action == f"Correct {folder / 'test.yaml'} and run again."
    return refusal.value.message.removeprefix("test.yaml cannot be read: ").removesuffix(".")


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"#" + b" " * 1_000_000) == "it is larger than 100,000 bytes"


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
