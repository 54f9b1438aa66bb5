"""How tests share what takes long to start.

The notebooks deploy an Airflow, and what else needs one runs after them in their process; the tests that compare with a
real control plane are in one process, too.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.rehearsal import run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Generator

    from xdist.remote import Producer

ON_AIRFLOW = (
    "notebooks",
    "tests/deployed/test_deployed",
    "tests/deployed/test_p",
    "tests/deployed/test_i",
    "tests/deployed",
)
"""The tests that need the deployed Airflow, in the order in which they use it."""
_FOLLOWED = ("notebooks", "tests/airflowaks/notebook/widgets")
_KUBERNETES = "tests/rehearsal_cloud/kubernetes"
_ON_A_CONTROL_PLANE = tuple(f"{_KUBERNETES}/{part}/" for part in ("api", "auth", "controllers", "objects"))
_LONGEST = ("test_deploy.py", "test_deployment.py", "test_teardown.py", "test_crashes.py")
_HOME = pytest.StashKey[Path]()


class Together(LoadFileScheduling):
    """Gives each file to one process, and all files that share something to the same."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ON_AIRFLOW):
            return "airflow"
        return "control plane" if nodeid.startswith(_ON_A_CONTROL_PLANE) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    """Let `--numprocesses` divide the tests so."""
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that processes side by side end at about the same time."""
    items.sort(
        key=lambda item: (
            _place(item),
            not item.nodeid.startswith(_ON_A_CONTROL_PLANE),
            item.path.name not in _LONGEST,
        )
    )


def _place(item: pytest.Item) -> int:
    """Return where in the order of `ON_AIRFLOW` the item stands; behind all of them if it needs no Airflow."""
    return next((place for place, folder in enumerate(ON_AIRFLOW) if item.nodeid.startswith(folder)), len(ON_AIRFLOW))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Have what needs Airflow find it in a rehearsal cloud of its own, not in that of whoever runs the tests.

    It ends with the last test that needs it: one that idles takes a quarter of two processors from the others. The
    coverage follows notebooks into the programs that run them; those of other tests it would only slow down.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not item.nodeid.startswith(_FOLLOWED):
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        if not _needs_airflow(item):
            return (yield)
        patch.setenv("AIRFLOWAKS_HOME", str(_home(item.config)))
        ran = yield
    if nextitem is None or not _needs_airflow(nextitem):
        _forget(item.config)
    return ran


def _needs_airflow(item: pytest.Item) -> bool:
    return _place(item) < len(ON_AIRFLOW)


def _home(config: pytest.Config) -> Path:
    """Return the folder of that cloud, started when it is first asked for; durations are 1:20,000 of Azure's."""
    if _HOME not in config.stash:
        home = config.stash[_HOME] = Path(tempfile.mkdtemp(prefix="airflowaks-"))
        start_rehearsal(home, "--time-scale", "0.00005")
        config.add_cleanup(lambda: _forget(config))
    return config.stash[_HOME]


def _forget(config: pytest.Config) -> None:
    if _HOME in config.stash:
        home = config.stash[_HOME]
        del config.stash[_HOME]
        run_rehearsal(home, "reset")
        shutil.rmtree(home, ignore_errors=True)
