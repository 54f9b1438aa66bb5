"""Every refusal of an environment file is as it was, and a newcomer can act on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflowaks.config import messages
from airflowaks.config.environment import Environment
from tests.torture import golden
from tests.torture.files import refusals
from tests.torture.files.changes import Change

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Words of Python, pydantic and PyYAML.
FOREIGN = re.compile(
    r"(?<!!)\b(str|int|bool|dict|tuple|NoneType|None|True|False|Traceback|Error|Input should|constructor|scalar"
    r"|timedelta|pydantic|unhashable|regex|validation)\b|tag:yaml|<class|\bobject at\b"
)
# What tells somebody to do something.
FIX = re.compile(
    r"\b(use|write|did you mean|add|remove|choose|enter|put|must be|valid keys are|are allowed|set it|swap|rename|raise"
    r"|narrow|save|indent|lists the regions|no key of the file is|Begin|leave it out)\b"
)
# An example, and the key beside it that the example is of, if it is of another one.
EXAMPLE = re.compile(
    r"(?:\ba (vm_size|sku)\b.{0,14})?"
    r'\b(?:use|such as|like|(?<!operator" )or|for example,|thousandths,|did you mean) "([^"…]+)"|\buse (\d+)'
)


def test_every_refusal_is_as_in_the_golden_file() -> None:
    golden.check(refusals.FILE, refusals.now(), refusals.__name__)


def sentences() -> Iterator[tuple[Change, str, str]]:
    """Return each sentence of the golden file once for each key: a change that earns it, the key, the sentence."""
    seen = set()
    for change, template in refusals.kept():
        for line in template:
            if line != refusals.ACCEPTED and (change.key, line) not in seen:
                seen.add((change.key, line))
                place = re.match(r"(.*?) \(line \d+\): (.*)", line)
                yield change, *(place.groups() if place else (change.key, line))


def test_no_refusal_has_words_of_python() -> None:
    assert [each for each in sentences() if FOREIGN.search(each[2])] == []


def test_every_refusal_says_what_to_do() -> None:
    assert [each for each in sentences() if not FIX.search(each[2])] == []


def test_every_key_that_is_suggested_exists() -> None:
    keys = set(messages._all_keys(Environment))
    matches = [re.search(r'no such key.*did you mean "(.*)"', sentence) for _, _, sentence in sentences()]
    suggested = {re.sub(r"(firewall|queues)\.\w+", r"\1", match[1]) for match in matches if match}
    assert len(suggested) > 90
    assert suggested <= keys


def test_every_example_keeps_the_rule_that_it_explains(tmp_path: Path) -> None:
    tried = 0
    for change, key, sentence in sentences():
        # The SKU decides on the tier, and who writes it in another case learns that next.
        if sentence.startswith("no such key") or key == "postgresql.tier" or "{*" in sentence:
            continue
        part = re.match(r'"([^"…]*)" ', sentence)
        wrong = (part[1] or "''") if part else ""
        for beside, text, number in EXAMPLE.findall(sentence):
            place, example = key, number or f"'{text}'"
            if beside or sentence.startswith("pod_cidr"):
                place = f"{key.rpartition('.')[0]}.{beside}" if beside else f"{key}.pod_cidr"
            elif key.rpartition(".")[2].isdigit():  # an item of a list
                place, example = key.rpartition(".")[0], f"[{example}]"
            elif wrong and wrong in change.value:  # a part of the value
                place, example = change.key, change.value.replace(wrong, text or "''")
            values = {**change.beside, **({change.key: change.value} if change.key != place else {})}
            answer = refusals.refusal(Change(place, example, values), tmp_path)
            ends = [line for line in answer.splitlines() if line.startswith(f"{key} (") and "min_count" not in line]
            assert not ends, f"{key}: {sentence} With {example}: {ends}"
            tried += 1
    assert tried > 250
