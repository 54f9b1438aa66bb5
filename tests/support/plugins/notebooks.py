"""The rehearsal cloud that nbval's notebooks deploy to: one of their own, not that of the person who runs the tests."""

from __future__ import annotations

import pytest
from nbval.plugin import IPyNbCell

from tests.support.plugins.groups import shared
from tests.support.rehearsal import own_rehearsal

_STARTED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Start it for the first cell; the kernels find it by AIRFLOWAKS_HOME."""
    if isinstance(item, IPyNbCell) and not item.config.stash.get(_STARTED, False):
        item.config.stash[_STARTED] = True
        shared(item.config).enter_context(own_rehearsal())
