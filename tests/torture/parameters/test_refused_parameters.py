"""Every wrong parameter of a notebook and of a command is refused as it was, at once, and nothing is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.torture import golden
from tests.torture.parameters import commands, refusals

if TYPE_CHECKING:
    from types import ModuleType

FOREIGN = re.compile(r"Traceback|\bErrno\b|Error\(|Error: \[|\bNoneType\b|<class|\b(str|int|bool|dict)\b")


@pytest.mark.parametrize("module", [commands, pytest.param(refusals, marks=pytest.mark.broad)])
def test_every_refusal_is_as_in_the_golden_file(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOWAKS_HOME", "set by the module")  # and restored after it
    golden.check(module.FILE, module.now(), module.__name__)


@pytest.mark.parametrize("module", [commands, refusals])
def test_no_refusal_has_words_of_python(module: ModuleType) -> None:
    entries = list(golden.entries(module.FILE.read_text(encoding="utf-8")))
    assert len(entries) > 50
    assert [said for _, said, _ in entries if FOREIGN.search(" ".join(said))] == []


def test_a_refusal_is_two_lines_and_the_second_says_what_to_do() -> None:
    told = {said for _, said, _ in golden.entries(refusals.FILE.read_text(encoding="utf-8"))} - {("accepted",)}
    assert [said for said in told if len(said) != 1 or said[0].count(" → ") != 1] == []
