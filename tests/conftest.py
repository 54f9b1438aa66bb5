"""The rehearsal cloud that most tests share, and a resource group's name."""

from __future__ import annotations

import signal
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.rehearsal import own_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.rehearsal import Rehearsal


@pytest.fixture(scope="session")
def rehearsal() -> Iterator[Rehearsal]:
    """The rehearsal cloud that tests share, reached only as a user's programs reach it."""
    with own_rehearsal() as started:
        yield started


@pytest.fixture
def group_name() -> str:
    """A resource group's name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def heeded_interrupts() -> Iterator[None]:
    """Let programs heed Ctrl-C, also where pytest runs in the background of a script: there it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program gets the default for a handler
    yield
    signal.signal(signal.SIGINT, before)
