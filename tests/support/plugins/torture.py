"""Cases of torture: many in one test, and at the end a table of what was tried, what held and what fell."""

from __future__ import annotations

import shlex
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROPERTY = "torture"


class Cases:
    """The cases of one test."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._only = item.config.getoption("--torture-case")
        self._fell: list[str] = []

    def selected(self, name: str) -> bool:
        """Tell whether a case is to be tried, which `--torture-case` decides by a part of its name."""
        return self._only in name

    @contextmanager
    def case(self, kind: str, name: str) -> Iterator[None]:
        """Try a case in the block, which raises where it falls; the test goes on."""
        why = ""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a case raises, it fell
            why = f"{type(error).__name__}: {error}"
            self._fell.append(name)
            print(f"{name}\n  {why}")
        self._item.user_properties.append((_PROPERTY, [kind, name, why]))

    def close(self) -> None:
        """Fail the test if a case fell."""
        if self._fell:
            pytest.fail(f"{len(self._fell)} cases fell: {'; '.join(self._fell)}", pytrace=False)


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Iterator[Cases]:
    """The cases of this test; it fails in the end if one of them fell."""
    collected = Cases(request.node)
    yield collected
    collected.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--torture-case` and `--soak-minutes`."""
    parser.addoption("--torture-case", default="", help="try only cases of torture with this in their names")
    parser.addoption("--soak-minutes", default="30", help="how long the soak takes")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and each fallen case with the command that repeats it."""
    tried: Counter[str] = Counter()
    fallen: list[tuple[str, str, str, str]] = []
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if getattr(report, "when", "") == "teardown":
            for kind, name, why in (value for key, value in report.user_properties if key == _PROPERTY):
                tried[kind] += 1
                fallen += [(kind, name, why, report.nodeid)] if why else []
    if not tried:
        return
    terminalreporter.section("torture")
    fell = Counter(kind for kind, *_ in fallen)
    for kind, count in [*tried.items(), ("all", tried.total())]:
        lost = fell[kind] if kind in tried else len(fallen)
        terminalreporter.line(f"{kind:24} tried {count:5}   held {count - lost:5}   fell {lost:5}")
    for _, name, why, nodeid in fallen:
        command = ["pytest", "--numprocesses=0", "-m", "torture", nodeid, "--torture-case", name]
        terminalreporter.line(f"\n{name}\n  {why}\n  {shlex.join(command)}")
