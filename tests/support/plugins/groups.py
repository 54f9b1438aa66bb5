"""Groups of tests that share what takes long to start: an Airflow, a real control plane.

A group runs in one process, before the tests of no group. What it shares ends with its last test: an idle Airflow takes
a quarter of two processors from the other tests.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from collections.abc import Generator

    from xdist.remote import Producer

_KUBERNETES = "tests/rehearsal_cloud/kubernetes"
GROUPS = {
    "notebooks": ("notebooks/",),
    "deployed": ("tests/deployed/",),
    "control plane": tuple(
        f"{_KUBERNETES}/{part}"
        for part in ("addons/test_keda", "api/", "auth/", "controllers/", "objects/", "pod_security/")
    ),
}
"""The groups, the slowest first, and where the tests of each stand."""
_SHARED = pytest.StashKey[ExitStack]()


def shared(config: pytest.Config) -> ExitStack:
    """Return what ends with the last test of the group that runs now: enter a context, or register a callback."""
    return config.stash[_SHARED]


def group(nodeid: str) -> str:
    """Return the name of the test's group, or nothing."""
    return next((name for name, folders in GROUPS.items() if nodeid.startswith(folders)), "")


class GroupScheduling(LoadFileScheduling):
    """Gives each group, and each file of no group, to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid) or super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Divide the tests among the processes of `--numprocesses`."""
    return GroupScheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is shared yet."""
    config.stash[_SHARED] = ExitStack()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what an interrupted group shares."""
    shared(config).close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run group after group, then the files of no group."""
    order = [*GROUPS, ""]
    items.sort(key=lambda item: order.index(group(item.nodeid)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """End what a group shares with its last test."""
    ran = yield
    if nextitem is None or group(nextitem.nodeid) != group(item.nodeid):
        shared(item.config).close()
    return ran
